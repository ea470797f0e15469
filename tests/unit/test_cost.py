"""The arithmetic of a run's cost, by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tastelab import presets
from tastelab.config import Adaptation, Architecture, RunConfig, replace_at
from tastelab.cost import BLOCK_PARAMETERS, Cost, estimate, total_petaflops

HISTORY, CANDIDATES, LENGTH = 10, 4, 16
TRAIN, REPORTED, SHOWN = 1_000, 500, 37


def config(name: str, **overrides: Any) -> RunConfig:
    values = {
        "model.architecture": Architecture.named(name),
        "model.encoder.name": "thenlper/gte-base",
        "data.max_history": HISTORY,
        "data.sampler.num_candidates": CANDIDATES,
    }
    return replace_at(presets.full_bi_encoder(), values | {k.replace("__", "."): v for k, v in overrides.items()})


def petaflops(tokens: float) -> float:
    """Two operations per weight and token."""
    return 2 * 85e6 * tokens / 1e15


def cost(made: RunConfig) -> float:
    found = estimate(made, TRAIN, REPORTED)
    assert found is not None
    return found.petaflops


def test_a_bi_encoder_reads_each_text_once_an_impression_three_passes_long() -> None:
    read = (HISTORY + CANDIDATES) * LENGTH
    assert cost(config("bi_encoder")) == pytest.approx(petaflops(3 * TRAIN * read))
    assert cost(config("bi_encoder", optim__epochs=2)) == pytest.approx(petaflops(6 * TRAIN * read))
    assert cost(config("bi_encoder", data__train_impressions=10)) == pytest.approx(petaflops(30 * read))
    assert cost(config("bi_encoder", data__train_impressions=9_999)) == pytest.approx(petaflops(3 * TRAIN * read))
    assert cost(config("bi_encoder", data__max_tokens=8)) == pytest.approx(petaflops(3 * TRAIN * read / 2))


def test_features_that_are_read_apart_are_so_many_texts() -> None:
    made = config("feature_bi_encoder", data__features=("title", "abstract", "category"))
    assert cost(made) == pytest.approx(petaflops(3 * TRAIN * (HISTORY + CANDIDATES) * 3 * LENGTH))


@pytest.mark.parametrize(("adaptation", "passes"), [("full", 3), ("lora", 2), ("frozen", 1)])
def test_passes_depend_on_what_is_trained(adaptation: str, passes: int) -> None:
    made = config("colbert", model__adaptation=Adaptation.named(adaptation))
    assert cost(made) == pytest.approx(petaflops(passes * TRAIN * (HISTORY + CANDIDATES) * LENGTH))


@pytest.mark.parametrize(("share", "passes"), [(0.0, 3), (0.5, 2), (0.75, 1.5)])
def test_frozen_layers_are_passed_forward_only(share: float, passes: float) -> None:
    made = config("bi_encoder", model__adaptation=Adaptation.named("full", frozen_layers_share=share))
    assert cost(made) == pytest.approx(petaflops(passes * TRAIN * (HISTORY + CANDIDATES) * LENGTH))


def test_id_sas_reads_no_text_in_its_steps() -> None:
    assert cost(config("id_sas", model__adaptation=Adaptation.named("frozen"))) == 0.0


def test_a_cross_encoder_reads_the_history_again_for_every_candidate() -> None:
    training = 3 * TRAIN * CANDIDATES * (HISTORY + 1) * LENGTH
    scoring = REPORTED * SHOWN * (HISTORY + 1) * LENGTH
    assert cost(config("cross_encoder")) == pytest.approx(petaflops(training + scoring))


@pytest.mark.parametrize("name", ["half_cross_encoder", "half_cross_encoder_colbert"])
def test_a_half_cross_encoder_reads_every_history_that_is_reported(name: str) -> None:
    training = 3 * TRAIN * (HISTORY + CANDIDATES) * LENGTH
    scoring = REPORTED * (HISTORY + SHOWN) * LENGTH
    assert cost(config(name)) == pytest.approx(petaflops(training + scoring))


def test_a_long_cap_reads_the_mean_history() -> None:
    assert cost(config("bi_encoder", data__max_history=50)) == pytest.approx(
        petaflops(3 * TRAIN * (33 + CANDIDATES) * LENGTH)
    )


def test_what_is_not_known_has_no_estimate() -> None:
    assert estimate(config("nrms"), TRAIN, REPORTED) is None, "it has no encoder"
    assert estimate(config("bi_encoder", model__encoder__name="tiny-bert"), TRAIN, REPORTED) is None
    assert estimate(config("bi_encoder"), 0, 0) is None
    for name in BLOCK_PARAMETERS:
        assert estimate(config("bi_encoder", model__encoder__name=name), TRAIN, REPORTED) is not None


def test_a_launch_is_every_seed_of_every_row_and_its_trials_at_their_mean() -> None:
    costs = [Cost(1.0), None, Cost(5.0)]
    assert total_petaflops(costs, num_seeds=2, trials=0) == 12.0
    assert total_petaflops(costs, num_seeds=2, trials=4) == 24.0
    assert total_petaflops([None], num_seeds=2, trials=4) == 0.0
