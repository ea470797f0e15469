"""A trained model's retrieval on a set of clicks: item vectors once, users in blocks, exact search of the catalogue.

Workers share both: each computes a part of the item vectors and searches for a part of the examples.

Shape letters: N examples, n examples of a block, H clicks of a history, K vectors of a user, D width, M items, k slots.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tastelab.config import RetrievalConfig, RunConfig
from tastelab.data.clicks import Examples, examples_of
from tastelab.data.sequences import Sequences
from tastelab.evaluation.collectives import gather_objects, gather_ragged, rank, world_size
from tastelab.metrics.retrieval import Ints
from tastelab.modeling.candidates import CandidateModel
from tastelab.modeling.histories import Histories, Users
from tastelab.modeling.item_tower import ItemVectors
from tastelab.retrieval.measure import RetrievalEvaluation, Retrieved, measure
from tastelab.retrieval.search import check_finite, search
from tastelab.retrieval.seen import seen_before
from tastelab.retrieval.truth import optimum_report

ITEMS_PER_CALL = 8_192
EXAMPLES_PER_CALL = 512


@torch.no_grad()
def evaluate_retrieval(
    model: CandidateModel,
    sequences: Sequences,
    rows: Ints,
    config: RunConfig,
    p_data_M: npt.ArrayLike,
    device: torch.device,
    temperature: float | None = None,
    *,
    keep: bool = False,
) -> RetrievalEvaluation:
    """Measure a model on clicks, each with the clicks before it (methods.md §1, §6), over the whole catalogue.

    Every rank calls it and gets the same result. Where the prepared folder has `truth.npz`, `kl` is the mean over the
    states of its world of KL(optimum ‖ softmax of phi over what may be shown).

    Args:
        model: the two towers.
        sequences: clicks of the prepared data.
        rows: sorted rows of the clicks to be retrieved.
        config: of the run; `retrieval` is set.
        p_data_M: share of each item in the clicks of training.
        device: where the model is.
        temperature: of phi, where it was learned; None takes the configuration's.
        keep: leave the lists in the result.

    Raises:
        ValueError: there are no examples, a cut-off is larger than the catalogue, or a vector is not finite.
    """
    retrieval = config.retrieval
    assert retrieval is not None, "only a run of candidate generation is evaluated so"
    if not len(rows):
        raise ValueError("There are no clicks to retrieve: every user of the split has one click, or none.")
    was_training = model.training
    model.eval()
    items = all_items(model, model.catalogue.num_items, device)
    check_finite(items.vectors_ED, "item")
    searcher = _Searcher(model, items, sequences, config.data.max_history, retrieval, device)
    mine = np.array_split(np.asarray(rows, np.int64), world_size())[rank()]
    parts = gather_objects(
        [searcher.block(mine[n : n + EXAMPLES_PER_CALL]) for n in range(0, len(mine), EXAMPLES_PER_CALL)]
    )
    temperature = retrieval.temperature if temperature is None else temperature
    optimum = optimum_report(model, items, retrieval, sequences.path.parent, temperature)
    model.train(was_training)
    return measure(_joined([block for part in parts for block in part]), retrieval, p_data_M, keep, optimum)


def all_items(model: CandidateModel, num_items: int, device: torch.device) -> ItemVectors:
    """Compute the vectors of all items by row, every rank its part; the same on every rank, without gradient."""
    mine = torch.arange(num_items).tensor_split(world_size())[rank()]
    with torch.no_grad():
        parts = [model.items(ids_E.to(device)) for ids_E in mine.split(ITEMS_PER_CALL)]
    vectors = torch.cat(gather_ragged(torch.cat([part.vectors_ED for part in parts])))
    categories = torch.cat(gather_ragged(torch.cat([part.categories_EC for part in parts])))
    return ItemVectors(vectors, categories)


def histories_of(examples: Examples, items: ItemVectors, device: torch.device) -> Histories:
    """Turn examples into histories whose query stands after the last click."""

    def there(values: npt.NDArray[np.generic] | None) -> Tensor | None:
        return None if values is None else torch.from_numpy(np.ascontiguousarray(values)).to(device)

    history = torch.from_numpy(examples.history_NH).to(device)
    mask = torch.from_numpy(examples.mask_NH).to(device)
    return Histories(
        vectors_BSD=items.vectors_ED[history],
        mask_BS=mask,
        row_N=torch.arange(len(mask), device=device),
        end_N=mask.sum(dim=1),
        categories_BSE=items.categories_EC[history],
        times_BS=there(examples.times_NH),
        dwell_BS=there(examples.dwell_NH),
        time_N=there(examples.target_times_N),
    )


@dataclass(frozen=True)
class _Searcher:
    """What every block of examples is searched with."""

    model: CandidateModel
    items: ItemVectors
    sequences: Sequences
    max_history: int
    retrieval: RetrievalConfig
    device: torch.device

    def block(self, rows_n: Ints) -> Retrieved:
        examples = examples_of(self.sequences, rows_n, self.max_history)
        users: Users = self.model.users(histories_of(examples, self.items, self.device))
        vectors_nKD = self.model.user_tower.serving(users, self.retrieval.num_vectors)
        exclude = seen_before(self.sequences, rows_n) if self.retrieval.exclude_seen else None
        lists_nk, _ = search(vectors_nKD, self.items.vectors_ED, max(self.retrieval.ks), exclude)
        return Retrieved(
            rows_n,
            examples.users_N,
            examples.targets_N,
            examples.target_times_N,
            lists_nk.to(torch.int32).cpu().numpy(),
        )


def _joined(blocks: list[Retrieved]) -> Retrieved:
    names = ("rows_N", "users_N", "targets_N", "target_times_N", "lists_NK")
    whole = {name: np.concatenate([getattr(block, name) for block in blocks]) for name in names}
    return Retrieved(**whole)
