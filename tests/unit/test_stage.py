"""What is settled before any work: sizes, seeds, splits, places, stores."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tastelab import presets
from tastelab.config import ClusterConfig
from tastelab.data.tables import DatasetWriter, PreparedData
from tastelab.experiment import Choice, Experiment, Float, Point, Size, TrainedOn
from tastelab.plan import describe, look_ahead
from tastelab.results.store import RecordStore
from tastelab.stage import Options, Stage, point_label, prepare

EXPERIMENT = Experiment(
    name="ranks",
    question="Which rank?\nThe second line explains.",
    base=presets.bi_encoder(optim__global_batch=16),
    group="model.adaptation",
    rows=Choice({"full": presets.full(), "LoRA r=2": presets.lora(2), "LoRA r=4": presets.lora(4)}),
    search={"objective.temperature": Float(0.02, 0.2, log=True)},
    sizes={
        "default": Size({"data.max_tokens": 16}, trials=7, seeds=(0, 1)),
        "smoke": Size({"data.max_tokens": 16, "data.train_impressions": 32}, trials=2, seeds=(0,)),
    },
)


@pytest.fixture
def options(tiny_data: PreparedData, tiny_bert: Path, tmp_path: Path) -> Options:
    places = ClusterConfig(home=tmp_path / "home", reports=tmp_path / "reports", cpus_per_worker=0.1)
    return Options(data=str(tiny_data.path), encoder=str(tiny_bert), cluster=places)


def staged(options: Options, **changes: Any) -> Stage:
    return prepare(EXPERIMENT, dataclasses.replace(options, **changes))


def test_sizes_say_what_options_do_not(options: Options) -> None:
    assert (staged(options).num_trials, staged(options).seeds) == (7, (0, 1))
    chosen = staged(options, trials=9, seeds=3)
    assert (chosen.num_trials, chosen.seeds) == (9, (0, 1, 2))


def test_every_row_has_a_trial(options: Options) -> None:
    assert staged(options, size="smoke").num_trials == 3
    assert staged(options, trials=1).num_trials == 3


def test_the_base_is_that_of_the_size_on_the_data_with_the_encoder(options: Options) -> None:
    base = staged(options, size="smoke").base
    assert base.data.train_impressions == 32
    assert base.data.max_tokens == 16
    assert base.data.dataset == "tiny"
    assert base.model.encoder.name == "tiny-bert"
    assert staged(options, train_impressions=48).base.data.train_impressions == 48
    assert staged(options).base.data.train_impressions is None


def test_dev_is_reported_where_it_has_labels(options: Options, tiny_data: PreparedData, tmp_path: Path) -> None:
    assert staged(options).split == "dev"
    train, dev = (tiny_data.impressions(split).drop_columns(["row"]) for split in ("train", "dev"))
    unlabelled = dev.set_column(dev.column_names.index("labels"), "labels", pa.nulls(len(dev), dev["labels"].type))
    for name, splits in {"no dev": {"train": train}, "unlabelled": {"train": train, "dev": unlabelled}}.items():
        with DatasetWriter(tmp_path / name, name) as writer:
            writer.write_items(tiny_data.items())
            for split, impressions in splits.items():
                writer.write_impressions(split, impressions)
        assert staged(options, data=str(tmp_path / name)).split == "validation"


def test_domains_are_not_compared_where_each_row_would_be_measured_on_its_own(
    options: Options, tiny_data: PreparedData, tmp_path: Path
) -> None:
    with DatasetWriter(tmp_path / "no dev", "no dev") as writer:
        writer.write_items(tiny_data.items())
        writer.write_impressions("train", tiny_data.impressions("train").drop_columns(["row"]))
    about_domains = dataclasses.replace(EXPERIMENT, rows=TrainedOn(), group="row", search={}, probe_domains=True)
    wrong = dataclasses.replace(options, data=str(tmp_path / "no dev"))
    for look in (prepare, look_ahead):
        with pytest.raises(ValueError, match="'no dev' has no dev split with labels to do it on"):
            look(about_domains, wrong)


def test_places_are_absolute_since_trials_run_elsewhere(
    options: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    relative = dataclasses.replace(options.cluster, home=Path("home"), reports=Path("reports"))
    template = staged(options, cluster=relative).template
    assert template.cluster.home == tmp_path / "home"
    assert template.cluster.reports == tmp_path / "reports"
    assert template.data_path.is_absolute()
    assert template.store_path.is_absolute()


def test_the_token_store_is_built_once(options: Options) -> None:
    file = staged(options).template.store_path / "tokens.arrow"
    before = file.stat()
    assert staged(options, size="smoke").template.store_path == file.parent
    assert file.stat().st_mtime_ns == before.st_mtime_ns
    assert file.stat().st_ino == before.st_ino


def test_the_plan_of_a_dry_run_names_cells_batches_steps_and_cost(options: Options) -> None:
    stage = staged(options)
    plan = describe(look_ahead(EXPERIMENT, options))
    for part in (
        "ranks, size default: Which rank?\n",
        f"Data     tiny ({stage.data.fingerprint}), reported on dev",
        "7 trials over model.adaptation, objective.temperature",
        "3 rows × 2 seeds = 6 final runs: full; LoRA r=2; LoRA r=4",
        "16 impressions = 2 workers × 1 micro-steps × 8",
        "180 training impressions × 1 epochs = 12 steps\n",
        "20 validation impressions",
        "2 workers × 0.1 CPU",
        "13 runs; none of this size is recorded here yet",
    ):
        assert part in plan


def test_the_cost_of_a_dry_run_comes_from_records_of_its_size_and_data(options: Options) -> None:
    stage = staged(options)
    point = Point(stage.base, {"model.adaptation": "full", "objective.temperature": "0.05"})

    def add(number: int, size: str, seconds: float) -> None:
        recorder = dataclasses.replace(stage.recorder, size=size)
        job = dataclasses.replace(stage.template, run_id=f"{number:012d}")
        RecordStore(options.cluster.reports).append(recorder.record("search", "finished", job, point, {}, seconds))

    add(1, "default", 20.0)
    add(2, "default", 40.0)
    add(3, "smoke", 5_000.0)
    plan = describe(look_ahead(EXPERIMENT, options))
    assert "13 runs × 30 s (2 recorded) = 6 min; 2 recorded" in plan


def test_a_point_is_named_by_its_row_and_what_else_was_drawn() -> None:
    labels = {"model.adaptation": "LoRA r=2", "objective.temperature": "0.05", "optim.learning_rate": "0.001"}
    assert point_label(Point(EXPERIMENT.base, labels), EXPERIMENT) == "LoRA r=2 (temperature 0.05, learning_rate 0.001)"
    assert point_label(Point(EXPERIMENT.base, {"model.adaptation": "full"}), EXPERIMENT) == "full"
