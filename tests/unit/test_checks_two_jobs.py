"""What is refused of a ranker that retrieves: weights of nothing, and architectures without item vectors."""

from __future__ import annotations

from typing import Any

import pytest

from tastelab import presets
from tastelab.checks import check_configuration, check_probes
from tastelab.config import Auxiliary, ClusterConfig, RunConfig, replace_at, run_id
from tastelab.experiment import Experiment, Variants

ONE = ClusterConfig(workers=1, cpus_per_worker=0.1)
IN_BATCH = {"objective.auxiliaries": (Auxiliary.named("in_batch"),)}


def with_row(row: dict[str, Any]) -> RunConfig:
    return replace_at(presets.full_bi_encoder(data__max_tokens=16, optim__global_batch=8), row)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "weight": ({"objective.ranking_weight": -1.0}, "ranking_weight is -1.0: choose a number of 0 or more."),
    "no number": ({"objective.ranking_weight": float("nan")}, "ranking_weight is nan: choose a number of 0 or more."),
    "nothing trained": (
        {"objective.ranking_weight": 0.0},
        "ranking_weight is 0 and no auxiliary has a weight: nothing is trained; give one of them one.",
    ),
    "few": ({"evaluation.retrieve": 9}, "evaluation.retrieve is 9: retrieve at least the 10 items that are shown."),
    **{
        f"retrieval, {name}": (
            {**presets.architecture(name), "evaluation.retrieve": 200},
            f"Retrieval looks items up by their vectors, and {name} does not encode every item alone: "
            "leave evaluation.retrieve out, or choose bi_encoder.",
        )
        for name in ("cross_encoder", "half_cross_encoder")
    },
    "in-batch, cross-encoder": (
        presets.cross_encoder() | IN_BATCH,
        "in_batch compares item vectors, and cross_encoder encodes no item alone: leave in_batch out, "
        "or choose bi_encoder.",
    ),
    "in-batch, half cross-encoder": (
        presets.architecture("half_cross_encoder") | IN_BATCH,
        "in_batch compares item vectors, and half_cross_encoder encodes candidates only alone: "
        "leave in_batch out, or choose bi_encoder.",
    ),
    "a retriever in training": (
        {"evaluation.retriever": "Retrieval only"},
        "evaluation.retriever is of probes, and no run is trained by it: leave it out.",
    ),
    "groups": (
        IN_BATCH | {"objective.contrast_size": 3},
        "in_batch couples 3 impressions, but a micro-step holds 8: set contrast_size to a divisor of 8, "
        "or use fewer accumulation steps.",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_parts_that_do_not_fit_are_one_sentence(name: str) -> None:
    row, sentence = REFUSED[name]
    with pytest.raises(ValueError) as caught:
        check_configuration(with_row(row), ONE)
    assert str(caught.value) == sentence


FINE: dict[str, dict[str, Any]] = {
    "retrieval alone": IN_BATCH | {"objective.ranking_weight": 0.0, "evaluation.retrieve": 200},
    "nothing trained, without an epoch": {"objective.ranking_weight": 0.0, "optim.epochs": 0},
    "both, mix pooling": IN_BATCH | {"model.pooling": presets.pooling("mix"), "evaluation.retrieve": 10},
    "words": presets.nrms() | IN_BATCH | {"evaluation.retrieve": 200},
}


@pytest.mark.parametrize("name", FINE)
def test_parts_that_fit_pass(name: str) -> None:
    check_configuration(with_row(FINE[name]), ONE)


def probed(values: dict[str, Any], row: dict[str, Any] | None = None) -> Experiment:
    rows = Variants({"Ranking only": {}, "Retrieval only": {}})
    return Experiment("checked", "?", with_row(row or {}), "row", rows, probes={"two models": values})


def test_a_probe_names_a_row_to_retrieve_by_and_how_many_items() -> None:
    by_row, many = {"evaluation.retriever": "Retrieval only"}, {"evaluation.retrieve": 200}
    check_probes(probed(by_row, many))
    check_probes(probed(by_row | many))
    with pytest.raises(ValueError, match=r"names a row to retrieve by: set evaluation.retrieve as well"):
        check_probes(probed(by_row))
    with pytest.raises(ValueError, match="retrieves by the row 'Both': name one of Ranking only, Retrieval only"):
        check_probes(probed({"evaluation.retriever": "Both"}, many))


def test_what_was_run_before_keeps_its_id_and_the_new_fields_change_it() -> None:
    config = with_row({})
    explicit = with_row({"objective.ranking_weight": 1.0, "evaluation.retrieve": None})
    others = [with_row({"objective.ranking_weight": 0.5}), with_row({"evaluation.retrieve": 200})]
    assert run_id(explicit, "data", "encoder") == run_id(config, "data", "encoder")
    assert len({run_id(each, "data", "encoder") for each in (config, *others)}) == 3
