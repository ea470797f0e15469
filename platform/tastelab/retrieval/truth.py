"""What a model has learned of a synthetic world whose optimum is known (methods.md §6, Theorem 1 of [B]).

Shape letters: S states, K vectors of a user, D width, N items.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from tastelab.config import RetrievalConfig
from tastelab.data.exposure_truth import FILE, Truth, read_truth
from tastelab.data.tables import open_prepared
from tastelab.evaluation.optimum import report
from tastelab.modeling.candidates import CandidateModel
from tastelab.modeling.histories import Histories, UserTowerConfig
from tastelab.modeling.item_tower import ItemVectors


def optimum_report(
    model: CandidateModel, items: ItemVectors, config: RetrievalConfig, folder: Path, temperature: float
) -> dict[str, Any] | None:
    """Hold phi of each state's user against the known optimum; None where the folder knows of none.

    Args:
        model: the two towers, in evaluation mode.
        items: vectors of all items, by row.
        config: of the run.
        folder: the prepared data.
        temperature: of phi.

    Returns:
        See `evaluation.optimum.report`.
    """
    if not (folder / FILE).is_file():
        return None
    truth = read_truth(open_prepared(folder))
    categories_N = model.catalogue.category_N.cpu().numpy()
    has_intents = isinstance(config.user, UserTowerConfig) and config.user.has_intents
    intent_N = categories_N if has_intents and categories_N.max(initial=-1) >= 0 else None
    return report(truth, state_logits(model, items, truth, config.num_vectors, temperature).cpu().numpy(), intent_N)


def state_logits(
    model: CandidateModel, items: ItemVectors, truth: Truth, num_vectors: int, temperature: float
) -> torch.Tensor:
    """Return phi(x, y) of a user in each state and every item, float32 (S, N).

    The user of a state has clicked one item, which names the state. Of several vectors that retrieve, the best counts,
    as it does in retrieval.
    """
    clicked_S = torch.from_numpy(truth.item_of_state_S()).to(items.vectors_ED.device)
    one_S1 = torch.ones((len(clicked_S), 1), dtype=torch.bool, device=clicked_S.device)
    histories = Histories(
        vectors_BSD=items.vectors_ED[clicked_S].unsqueeze(1),
        mask_BS=one_S1,
        row_N=torch.arange(len(clicked_S), device=clicked_S.device),
        end_N=one_S1.sum(dim=1),
        categories_BSE=items.categories_EC[clicked_S].unsqueeze(1),
    )
    with torch.no_grad():
        vectors_SKD = model.user_tower.serving(model.users(histories), num_vectors)
        return (vectors_SKD @ items.vectors_ED.T).amax(dim=1) / temperature
