"""A checkpoint on a whole split: with the data that its items are of, and with others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tastelab.config import Adaptation, Architecture, Pooling
from tastelab.data.tables import DatasetWriter, PreparedData, open_prepared
from tastelab.modeling.ranker import Ranker, build_ranker
from tastelab.modeling.text_encoder import TextEncoder
from tastelab.serving.offline import Request, evaluate_split, prepare
from tastelab.training.job import Job
from tastelab.training.local import LocalSession
from tastelab.training.run import run


@pytest.fixture(scope="module")
def other_data(tiny_data: PreparedData, tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    """The same items and fewer impressions: another data set."""
    folder = tmp_path_factory.mktemp("data") / "other"
    with DatasetWriter(folder, "other") as writer:
        writer.write_items(tiny_data.items())
        writer.write_impressions("dev", tiny_data.impressions("dev").drop_columns(["row"]).slice(0, 10))
    return open_prepared(folder)


@pytest.fixture(scope="module")
def trained(make_job: Callable[..., Job]) -> Callable[[str], tuple[Job, dict[str, Any]]]:
    """Function that trains an architecture for an epoch, keeps it, and returns its job and result."""

    def train(name: str) -> tuple[Job, dict[str, Any]]:
        values = {
            "model.architecture": Architecture.named(name),
            "model.adaptation": Adaptation.named("frozen"),
            "model.pooling": Pooling.named("mean"),
            "objective.auxiliaries": (),
            "optim.epochs": 1,
            "optim.learning_rate": 0.05,
            "evaluation.split": "dev",
            "evaluation.validations": 1,
        }
        job = make_job(values, keep=True)
        return job, run(job, LocalSession(job))

    return train


@pytest.mark.parametrize("name", ["id_sas", "bi_encoder"])
def test_a_table_of_items_is_refused_on_other_data(
    trained: Callable[[str], tuple[Job, dict[str, Any]]],
    name: str,
    tiny_data: PreparedData,
    other_data: PreparedData,
    tiny_bert: Path,
) -> None:
    job, result = trained(name)

    def request(data: PreparedData) -> Request:
        checkpoint = job.folder / "checkpoint"
        return Request(str(data.path), job.cluster.home, checkpoint, str(tiny_bert), precision="fp32")

    again = evaluate_split(request(tiny_data))
    assert again.counts == result["counts"]
    assert again.metrics["auc"]["mean"] == pytest.approx(result["metrics"]["auc"]["mean"], abs=1e-3)
    if name == "bi_encoder":  # it knows texts, not items
        assert evaluate_split(request(other_data)).counts["n_total"] == 10
        return
    with pytest.raises(ValueError) as caught:
        prepare(request(other_data))
    assert str(caught.value) == (
        f"The checkpoint has trained vectors of the items of tiny ({tiny_data.fingerprint}), and 'other' is "
        f"{other_data.fingerprint}: pass the data that it was trained on, or rank texts with `tastelab rank`."
    )


@pytest.mark.parametrize("kept", [True, False])
def test_no_token_vectors_outlive_a_single_pass(
    trained: Callable[[str], tuple[Job, dict[str, Any]]], kept: bool, tiny_data: PreparedData, tiny_bert: Path
) -> None:
    """Each item is encoded once, so the outputs of frozen layers, a vector per token, would be kept for nothing."""
    job, _ = trained("bi_encoder")

    def keeps(ranker: Ranker) -> bool:
        (encoder,) = (part for part in ranker.modules() if isinstance(part, TextEncoder))
        return encoder._layers is not None

    assert keeps(build_ranker(job.config.model, str(tiny_bert))), "this encoder could keep them"
    checkpoint = job.folder / "checkpoint" if kept else None
    ready = prepare(Request(str(tiny_data.path), job.cluster.home, checkpoint, str(tiny_bert)))
    assert not keeps(ready.ranker)
