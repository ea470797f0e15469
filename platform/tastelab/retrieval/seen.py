"""What a user had clicked before a click, where such items are not to be retrieved."""

from __future__ import annotations

import numpy as np

from tastelab.data.clicks import examples_of
from tastelab.data.sequences import Sequences
from tastelab.metrics.retrieval import Ints
from tastelab.retrieval.merge import Excluded


def seen_before(sequences: Sequences, rows_N: Ints) -> Excluded:
    """Return every item that each click's user clicked before it, however long ago, as its split may see."""
    examples = examples_of(sequences, rows_N, sequences.num_clicks)
    offsets = np.concatenate([[0], np.cumsum(examples.mask_NH.sum(axis=1))])
    return Excluded(examples.history_NH[examples.mask_NH], offsets)
