"""The rows that a retrieval table ends with: random items, and the most clicked ones for everyone (methods.md §1).

Shape letters: N examples, k slots, M items.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from tastelab.config import RunConfig
from tastelab.data.clicks import Examples, examples_of
from tastelab.data.sequences import Sequences
from tastelab.metrics.retrieval import NOTHING, Floats, Ints
from tastelab.retrieval.measure import RetrievalEvaluation, Retrieved, measure
from tastelab.retrieval.merge import Excluded, merge, without
from tastelab.retrieval.search import check_k
from tastelab.retrieval.seen import seen_before

PLAIN = ("random", "popularity")
EXAMPLES_PER_CALL = 4_096
SMALL = 8
"""A catalogue of fewer items than this many lists is shuffled whole for each example."""


def score_plain(
    name: str,
    sequences: Sequences,
    rows: Ints,
    config: RunConfig,
    p_data_M: npt.ArrayLike,
    seed: int = 0,
    keep: bool = False,
) -> RetrievalEvaluation:
    """Measure a system that looks at no user, by the same metrics as `evaluate_retrieval`; no rank waits for another.

    Args:
        name: random (distinct items, drawn evenly for each example) or popularity (by share of the clicks in training;
            of equal shares the lower row first).
        sequences: clicks of the prepared data.
        rows: sorted rows of the clicks to be retrieved.
        config: of the run; `retrieval` is set.
        p_data_M: share of each item in the clicks of training.
        seed: of the random lists.
        keep: leave the lists in the result.

    Raises:
        ValueError: the name is neither, or a cut-off is larger than the catalogue.
    """
    retrieval = config.retrieval
    assert retrieval is not None, "only a run of candidate generation is compared with these"
    if name not in PLAIN:
        raise ValueError(f"Unknown baseline '{name}': choose one of {', '.join(PLAIN)}.")
    p_data, k = np.asarray(p_data_M, np.float64), max(retrieval.ks)
    check_k(k, len(p_data))
    blocks = []
    for block, examples in enumerate(_examples(sequences, np.asarray(rows, np.int64))):
        exclude = seen_before(sequences, examples.rows_N) if retrieval.exclude_seen else None
        if name == "random":
            lists = random_lists(len(examples.rows_N), len(p_data), k, (seed, block), exclude)
        else:
            lists = popular_lists(len(examples.rows_N), p_data, k, exclude)
        blocks.append((examples, lists.astype(np.int32)))
    retrieved = Retrieved(
        rows_N=np.concatenate([part.rows_N for part, _ in blocks]),
        users_N=np.concatenate([part.users_N for part, _ in blocks]),
        targets_N=np.concatenate([part.targets_N for part, _ in blocks]),
        target_times_N=np.concatenate([part.target_times_N for part, _ in blocks]),
        lists_NK=np.concatenate([lists for _, lists in blocks]),
    )
    return measure(retrieved, retrieval, p_data, keep)


def random_lists(num: int, num_items: int, k: int, seed: tuple[int, ...], exclude: Excluded | None = None) -> Ints:
    """Draw k distinct items evenly for each example; `NOTHING` where fewer are left."""
    rng, wanted = np.random.default_rng(seed), k + (exclude.longest if exclude else 0)
    if wanted * SMALL >= num_items:
        order = rng.random((num, num_items), np.float32).argsort(axis=1)
    else:  # of so few draws, hardly one in eight is drawn before: twice as many are always enough
        order = rng.integers(num_items, size=(num, 2 * wanted + 16))
    return _first(order, k, exclude)


def popular_lists(num: int, p_data_M: Floats, k: int, exclude: Excluded | None = None) -> Ints:
    """Return the k items of the largest share for each example; `NOTHING` where fewer are left."""
    wanted = k + (exclude.longest if exclude else 0)
    order = np.argsort(-p_data_M, kind="stable")[:wanted]
    return _first(np.broadcast_to(order, (num, len(order))), k, exclude)


def _first(order_NL: Ints, k: int, exclude: Excluded | None) -> Ints:
    """Take the first k distinct items of each row that are not excluded."""
    scores_NL = np.broadcast_to(-np.arange(order_NL.shape[1], dtype=np.float32), order_NL.shape)
    if exclude is not None:
        order_NL, scores_NL = without(order_NL, scores_NL, exclude)
    rows, _ = merge(order_NL, scores_NL, k)
    assert exclude is not None or not (rows == NOTHING).any()
    return rows


def _examples(sequences: Sequences, rows: Ints) -> Iterator[Examples]:
    for start in range(0, len(rows), EXAMPLES_PER_CALL):
        yield examples_of(sequences, rows[start : start + EXAMPLES_PER_CALL], 1)
