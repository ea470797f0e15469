"""Towers against the known optimum of a small world."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from tastelab.config import RunConfig, UserTower
from tastelab.data.clicks import reported_clicks
from tastelab.data.exposure_truth import FILE, Truth
from tastelab.data.sequences import Sequences
from tastelab.data.tables import DatasetWriter, PreparedData, open_prepared
from tastelab.modeling.candidates import CandidateModel
from tastelab.retrieval.evaluate import all_items, evaluate_retrieval
from tastelab.retrieval.truth import state_logits

CPU = torch.device("cpu")
Make = Callable[..., CandidateModel]


@pytest.fixture
def truth() -> Truth:
    """Two states, named by the items 0 and 1; each is shown a part of the items."""
    rng = np.random.default_rng(0)
    q_SN = rng.random((2, 70))
    q_SN[0, :40] = q_SN[1, 40:] = 0.0
    state_N = np.full(70, -1)
    state_N[:2] = [0, 1]
    return Truth(rng.random((2, 70)), q_SN / q_SN.sum(axis=1, keepdims=True), state_N, np.array([0.5, 0.5]))


@pytest.fixture
def known(tmp_path: Path, truth: Truth, items: pa.Table) -> PreparedData:
    with DatasetWriter(tmp_path / "world", "world") as writer:
        writer.write_items(items)
        truth.save(writer.file(FILE))
    return open_prepared(tmp_path / "world")


@pytest.fixture
def items() -> pa.Table:
    empty = [""] * 70
    texts = {name: empty for name in ("title", "abstract", "body", "category", "subcategory", "entities")}
    rest = {"created": pa.nulls(70, pa.timestamp("s")), "has_text": [True] * 70}
    return pa.table({"item_id": [f"N{row}" for row in range(70)], **texts, **rest})


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_the_divergence_is_that_of_the_definition(
    make_towers: Make, sequences: Sequences, config: RunConfig, truth: Truth, known: PreparedData, temperature: float
) -> None:
    model, rows = make_towers().eval(), reported_clicks(sequences, "dev")
    there = dataclasses.replace(sequences, path=known.path / "sequences")
    found = evaluate_retrieval(model, there, rows, config, np.full(70, 1 / 70), CPU, temperature)
    vectors = model.items(torch.arange(70)).vectors_ED.detach().double().numpy()
    divergences = []
    for state in range(2):
        shown = truth.q_SN[state] > 0
        learned = np.exp(vectors[shown] @ vectors[state] / temperature)
        optimum = truth.click_SN[state][shown] / truth.click_SN[state][shown].sum()
        divergences.append(float((optimum * np.log(optimum / (learned / learned.sum()))).sum()))
    assert found.metrics["kl"]["mean"] == pytest.approx(np.mean(divergences), rel=1e-4)
    assert found.metrics["kl"]["n"] == 2
    assert found.optimum is not None
    assert found.optimum["kl_per_state"] == pytest.approx(divergences, rel=1e-4)
    assert "kl" not in found.values


def test_the_best_of_several_vectors_counts(truth: Truth, make_towers: Make) -> None:
    model = make_towers(user=UserTower.named("multi_clrec", num_intents=3)).eval()
    vectors = all_items(model, 70, CPU)
    one, three = (state_logits(model, vectors, truth, number, 0.1) for number in (1, 3))
    assert (three >= one - 1e-5).all()
    assert (three > one + 1e-3).any()
