"""Presets: what each row stands for in [A], and the three sizes."""

from __future__ import annotations

from typing import Any

import pytest

from tastelab import presets
from tastelab.config import RunConfig, from_dict, replace_at, to_dict, value_at
from tastelab.experiment import Experiment, Size, Variants

ROWS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "all components": (
        presets.all_components(),
        {"adaptation": "lora", "pooling": "mix", "loss": "mince", "rate": 5e-4, "redundancy": 0.1, "uniformity": 0.0},
    ),
    "id_sas": (
        presets.id_sas(),
        {"architecture": "id_sas", "adaptation": "frozen", "pooling": "sasrec", "loss": "bce", "rate": 1e-3},
    ),
    "nrms": (presets.nrms(), {"architecture": "nrms", "loss": "mince", "temperature": 1.0, "rate": 1e-3}),
    "cross_encoder": (
        presets.cross_encoder(),
        {"architecture": "cross_encoder", "loss": "bce", "temperature": 1.0, "adaptation": "full", "rate": 1e-4},
    ),
    "with_lora": (presets.with_lora(2), {"adaptation": "lora", "rate": 5e-4, "loss": "mince", "pooling": "mean"}),
    "loss": (presets.loss("margin", margin=0.3), {"loss": "margin", "adaptation": "full", "rate": 1e-4}),
    "architecture": (presets.architecture("colbert"), {"architecture": "colbert", "loss": "mince"}),
}


def shown(config: RunConfig) -> dict[str, Any]:
    auxiliaries = {term.name: term.weight for term in config.objective.auxiliaries}  # type: ignore[attr-defined]
    return {
        "architecture": config.model.architecture.name,
        "adaptation": config.model.adaptation.name,
        "pooling": config.model.pooling.name,
        "loss": config.objective.loss.name,
        "temperature": config.objective.temperature,
        "rate": config.optim.learning_rate,
        **auxiliaries,
    }


@pytest.mark.parametrize("name", ROWS)
def test_a_row_is_the_first_row_but_for_what_it_stands_for(name: str) -> None:
    overrides, stated = ROWS[name]
    base = presets.full_bi_encoder()
    config = replace_at(base, overrides)
    assert shown(config).items() >= stated.items()
    again = replace_at(config, {path: value_at(base, path) for path in overrides})
    assert again == base, "nothing else is changed"
    assert from_dict(RunConfig, to_dict(config)) == config


def test_the_first_row_is_full_fine_tuning_with_nothing_added() -> None:
    config = presets.full_bi_encoder()
    assert shown(config) == {
        "architecture": "bi_encoder",
        "adaptation": "full",
        "pooling": "mean",
        "loss": "mince",
        "temperature": 0.05,
        "rate": 1e-4,
        "uniformity": 0.0,
        "redundancy": 0.0,
    }
    assert config.evaluation.validations == 3
    assert presets.full_bi_encoder(evaluation__validations=1, optim__epochs=2).evaluation.validations == 1
    assert presets.bi_encoder().model.adaptation == presets.lora(8)


def test_sizes_take_what_an_experiment_chooses_over_their_own() -> None:
    usual = presets.smoke()
    assert (usual.dataset, usual.seeds, usual.workers, usual.cpus_per_worker) == ("synthetic-smoke", (0,), 1, 0.4)
    assert presets.smoke(only=("a",), workers=2) == Size(usual.overrides, "synthetic-smoke", seeds=(0,), workers=2,
                                                          cpus_per_worker=0.4, only=("a",))  # fmt: skip
    assert presets.default(seeds=(0, 1, 2)).seeds == (0, 1, 2)
    paper = presets.paper({"optim.global_batch": 32}, dataset="mind-large")
    assert (paper.overrides, paper.dataset) == ({"optim.global_batch": 32}, "mind-large")
    assert (paper.encoder, paper.seeds) == (presets.GTE, (0, 1, 2))
    assert presets.paper().overrides["optim.global_batch"] == 48


@pytest.mark.parametrize("size", [presets.smoke(), presets.default(), presets.paper()])
def test_a_size_fits_the_base(size: Size) -> None:
    base = presets.full_bi_encoder()
    made = Experiment("sizes", "?", base, "row", Variants({"row": {}}), sizes={"default": size})
    config = made.based(size, size.dataset, size.encoder)
    assert {path: value_at(config, path) for path in size.overrides} == dict(size.overrides)
    assert config.data.sampler.num_candidates == size.overrides.get("data.sampler.num_candidates", 32)  # type: ignore[attr-defined]
