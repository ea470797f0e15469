"""What a run reads of its items: vectors of the encoder as it is used, and which items training sees clicked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from tastelab.config import RetrievalConfig
from tastelab.data.sequences import Sequences
from tastelab.data.tables import DatasetWriter, PreparedData, open_prepared
from tastelab.presets import retrieval as presets
from tastelab.schema import ITEMS, UNKNOWN_TIME
from tastelab.training.candidate_checkpoint import load_candidates
from tastelab.training.catalogue import known_items, text_vectors
from tastelab.training.job import Job
from tastelab.training.local import LocalSession
from tastelab.training.retrieve import retrieve

MakeJob = Callable[..., Job]
RUN = {
    "retrieval": RetrievalConfig(),
    **presets.items(width=8, text="none"),
    **presets.multi_clrec(num_intents=3, queue=32, intent_queue=8),
    "retrieval.ks": (5,),
    "retrieval.metric": "hr@5",
    "optim.epochs": 1,
}


def test_an_encoder_of_fewer_layers_has_vectors_of_its_own(make_job: MakeJob, tiny_data: PreparedData) -> None:
    jobs = [make_job({"retrieval": None, "model.encoder.num_layers": layers}) for layers in (1, None, 1)]
    assert jobs[0].store_path == jobs[1].store_path
    cut, whole, again = (np.array(text_vectors(job, tiny_data, torch.device("cpu"))) for job in jobs)
    assert np.abs(cut - whole).max() > 0.01
    assert np.array_equal(cut, again)


@pytest.mark.parametrize(
    ("fitting", "max_history", "items"),
    [
        ([3], 2, [1, 2, 3]),  # the two clicks before it, and no older one
        ([3, 8], 1, [2, 3, 5, 7]),  # the click of dev between is hidden from training
        ([1, 3, 8], 9, [0, 1, 2, 3, 5, 7]),  # nobody's clicks are another's history
    ],
)
def test_only_fitted_clicks_and_their_histories_are_known(
    fitting: list[int], max_history: int, items: list[int]
) -> None:
    splits = np.array([0, 0, 0, 0, 1, 0, 1, 0, 0], np.int8)
    clicked = np.array([0, 1, 2, 3, 4, 9, 6, 5, 7], np.int32)
    nothing = np.zeros(9, np.int64)
    users = pa.array(["a", "b", "c"])
    sequences = Sequences(
        Path(), users, np.array([0, 5, 6, 9]), clicked, nothing + UNKNOWN_TIME, splits, nothing.astype(np.int32)
    )
    known_N = known_items(sequences, np.array(fitting), max_history, 12)
    assert np.flatnonzero(known_N).tolist() == items


def test_a_checkpoint_whose_categories_are_clusters_is_rebuilt(
    make_job: MakeJob, tiny_data: PreparedData, tmp_path: Path
) -> None:
    table = tiny_data.items(ITEMS.names)
    with DatasetWriter(tmp_path / "plain", "plain") as writer:
        writer.write_items(table.set_column(table.schema.get_field_index("category"), "category", pa.array([""] * 60)))
        for split in ("train", "dev"):
            writer.write_impressions(split, tiny_data.impressions(split).drop_columns(["row"]))
    data = open_prepared(tmp_path / "plain")
    job = make_job(RUN, keep=True, data=data)
    retrieve(job, LocalSession(job))
    model, _, _ = load_candidates(job.folder / "checkpoint", data, job.encoder_path)
    assert model.catalogue.num_categories > 1
