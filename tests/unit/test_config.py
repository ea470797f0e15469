"""Configurations: their identity, their way through JSON, and what a wrong name is told."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tastelab import config
from tastelab.config import (
    METHOD_VERSION,
    Adaptation,
    Auxiliary,
    ClusterConfig,
    Component,
    DataConfig,
    Loss,
    ObjectiveConfig,
    Pooling,
    RunConfig,
    Sampler,
    Scorer,
    digest,
    from_dict,
    replace_at,
    run_id,
    to_dict,
    value_at,
)

ROOT = Path(__file__).resolve().parents[2]
RICH = RunConfig(
    data=DataConfig(features=("title", "abstract"), train_impressions=100),
    objective=ObjectiveConfig(
        auxiliaries=(Auxiliary.named("uniformity"), Auxiliary.named("redundancy")), contrast_size=8
    ),
)


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted paths of all fields of a configuration that are not configurations themselves."""
    if isinstance(value, tuple) and value and isinstance(value[0], Component):
        for member in value:
            yield from leaves(member, f"{path}.{member.name}")
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from leaves(getattr(value, field.name), f"{path}.{field.name}" if path else field.name)
    else:
        yield path, value


def another(value: Any) -> Any:
    """A value of the same kind that is not the same."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value / 2 if value else 0.25
    if isinstance(value, tuple):
        return value[:-1] if len(value) > 1 else (*value, *value)
    return f"{value}x" if isinstance(value, str) else 77


PATHS = dict(leaves(RICH))
COMPONENTS = {
    "data.sampler": Sampler.named("impression", num_candidates=5),
    "model.adaptation": Adaptation.named("full"),
    "model.pooling": Pooling.named("top_k"),
    "objective.loss": Loss.named("infonce"),
    "objective.auxiliaries": (Auxiliary.named("redundancy"),),
}


def test_a_run_id_is_that_of_the_science_alone() -> None:
    again = from_dict(RunConfig, json.loads(json.dumps(to_dict(RICH))))
    assert run_id(RICH, "d", "e") == run_id(again, "d", "e") == run_id(dataclasses.replace(RICH), "d", "e")
    assert len(run_id(RICH, "d", "e")) == 12


def test_a_run_id_is_stable_over_processes_and_releases() -> None:
    """Spelled out: a change here makes every record of an earlier release unknown."""
    assert digest({"b": [1, None, True], "a": {"ß": 0.1}}) == "57711b75c22f"
    assert digest({"a": {"ß": 0.1}, "b": (1, None, True)}) == "57711b75c22f"


@pytest.mark.parametrize("path", PATHS)
def test_a_run_id_changes_with_any_field(path: str) -> None:
    changed = replace_at(RICH, {path: another(PATHS[path])})
    assert run_id(changed, "d", "e") != run_id(RICH, "d", "e")


def test_the_fields_are_found_in_all_depths() -> None:
    assert {"seed", "data.sampler.num_candidates", "model.encoder.name", "model.adaptation.rank"} <= set(PATHS)
    assert {"objective.auxiliaries.redundancy.threshold", "optim.learning_rate", "evaluation.ks"} <= set(PATHS)


@pytest.mark.parametrize("path", COMPONENTS)
def test_a_run_id_changes_with_any_component(path: str) -> None:
    assert run_id(replace_at(RICH, {path: COMPONENTS[path]}), "d", "e") != run_id(RICH, "d", "e")


def test_a_run_id_changes_with_data_encoder_and_method(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = {run_id(RICH, "d", "e"), run_id(RICH, "x", "e"), run_id(RICH, "d", "x"), run_id(RICH, "e", "d")}
    monkeypatch.setattr(config, "METHOD_VERSION", config.METHOD_VERSION + 1)
    assert len(ids | {run_id(RICH, "d", "e")}) == 5


def test_the_place_of_a_run_is_no_part_of_it() -> None:
    """No field of `ClusterConfig` is reachable from what is hashed, by name or by value."""
    hashed = json.dumps(to_dict(RICH))
    places = {field.name for field in dataclasses.fields(ClusterConfig)}
    assert places.isdisjoint(name for path in PATHS for name in path.split("."))
    assert str(ClusterConfig().home) not in hashed


@pytest.mark.parametrize(
    "value",
    [
        RICH,
        RunConfig(),
        *[replace_at(RICH, {path: value}) for path, value in COMPONENTS.items()],
        ClusterConfig(home=Path("/h"), data_path=Path("d"), cpus_per_worker=0.5),
        ClusterConfig(),
        Adaptation.named("lora", alpha=3.0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_configuration_survives_json(value: Any) -> None:
    read = from_dict(type(value), json.loads(json.dumps(_without_name(value))))
    assert read == value
    assert type(read) is type(value)
    assert hash(read) == hash(value)


def _without_name(value: Any) -> Any:
    return {k: v for k, v in to_dict(value).items() if not (isinstance(value, Component) and k == "name")}


def test_a_component_says_its_name_in_json() -> None:
    assert to_dict(Pooling.named("top_k", k=3)) == {"name": "top_k", "k": 3}
    assert to_dict(RICH)["objective"]["auxiliaries"][0]["name"] == "uniformity"
    assert to_dict(ClusterConfig(home=Path("/h")))["home"] == "/h"


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        (Loss, "Unknown loss 'x': choose one of infonce, mince."),
        (Pooling, "Unknown item pooling 'x': choose one of mean, mix, top_k."),
        (Adaptation, "Unknown adaptation 'x': choose one of frozen, full, lora."),
        (Auxiliary, "Unknown auxiliary loss 'x': choose one of redundancy, uniformity."),
        (Sampler, "Unknown candidate sampler 'x': choose one of impression."),
        (Scorer, "Unknown scorer 'x': choose one of cosine."),
    ],
)
def test_a_wrong_component_lists_the_right_ones(kind: type[Component], sentence: str) -> None:
    with pytest.raises(ValueError, match="Unknown") as refused:
        kind.named("x")
    names = sentence.partition("one of ")[2].rstrip(".").split(", ")
    assert str(refused.value).startswith(sentence.partition("one of ")[0])
    assert set(names) <= set(str(refused.value).partition("one of ")[2].rstrip(".").split(", "))


def test_a_wrong_parameter_lists_the_right_ones() -> None:
    with pytest.raises(ValueError, match="impression has no field size: choose among max_positives, num_candidates"):
        Sampler.named("impression", size=3)
    with pytest.raises(ValueError, match="mince has no field m: choose among –"):
        Loss.named("mince", m=1)


def test_a_wrong_field_lists_the_right_ones() -> None:
    with pytest.raises(ValueError, match=r"RunConfig has no field optimiser: choose among data, evaluation, model"):
        from_dict(RunConfig, {"optimiser": {}})
    with pytest.raises(ValueError, match=r"OptimConfig has no field lr: choose among .*learning_rate"):
        from_dict(RunConfig, {"optim": {"lr": 1}})


def test_a_name_is_registered_once() -> None:
    with pytest.raises(ValueError, match="The loss 'mince' is registered twice"):
        Loss.register("mince")(Loss)


def test_fields_are_replaced_at_any_depth_and_nothing_else() -> None:
    values = {
        "seed": 3,
        "optim.learning_rate": 1e-4,
        "model.adaptation.rank": 16,
        "objective.auxiliaries.uniformity.weight": 0.7,
    }
    changed = replace_at(RICH, values)
    assert {path: value_at(changed, path) for path in values} == values
    assert {path for path, value in leaves(changed) if value != PATHS[path]} == set(values)
    assert dict(leaves(RICH)) == PATHS
    assert [term.name for term in changed.objective.auxiliaries] == ["uniformity", "redundancy"]


def test_replacements_are_made_in_order() -> None:
    changed = replace_at(RICH, {"model.adaptation": Adaptation.named("lora", rank=2), "model.adaptation.alpha": 9.0})
    assert changed.model.adaptation == Adaptation.named("lora", rank=2, alpha=9.0)


def test_a_whole_component_of_several_is_replaced_by_name() -> None:
    term = Auxiliary.named("redundancy", weight=0.4, threshold=0.2)
    changed = replace_at(RICH, {"objective.auxiliaries.redundancy": term})
    assert changed.objective.auxiliaries == (Auxiliary.named("uniformity"), term)


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("optim.rate", "OptimConfig has no field 'rate': choose among global_batch, epochs, learning_rate"),
        ("optimiser.rate", "RunConfig has no field 'optimiser': choose among data, model, objective"),
        ("model.adaptation.k", "LoRA has no field 'k': choose among rank, alpha"),
        ("objective.auxiliaries.margin.weight", "There is no 'margin' among uniformity, redundancy"),
    ],
)
def test_a_wrong_path_is_told_what_is_there(path: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        replace_at(RICH, {path: 1})


def test_replacing_obeys_the_components_own_rules() -> None:
    with pytest.raises(ValueError, match="num_candidates is 1"):
        replace_at(RICH, {"data.sampler.num_candidates": 1})


def test_configurations_are_frozen() -> None:
    for value in (RICH, RICH.optim, RICH.objective.loss, ClusterConfig()):
        with pytest.raises(dataclasses.FrozenInstanceError):
            value.seed = 1  # type: ignore[attr-defined]


LATER_FIELDS = {
    "data.domains": ("ai",),
    "data.missing": 0.5,
    "data.title_words": 3,
    "evaluation.domains": ("ai",),
    "model.gamma": 0.7,
    "model.learnable_gamma": False,
}


@pytest.mark.parametrize("path", LATER_FIELDS)
def test_a_field_added_later_is_hashed_where_it_is_set_and_else_absent(path: str) -> None:
    plain, changed = RunConfig(), replace_at(RunConfig(), {path: LATER_FIELDS[path]})
    part, name = path.split(".")
    assert name not in to_dict(plain)[part]
    assert run_id(changed, "d", "e") != run_id(plain, "d", "e")
    assert from_dict(RunConfig, to_dict(changed)) == changed


def test_recorded_runs_keep_their_ids() -> None:
    """A change of configuration classes must not make recorded runs unknown: each would be run again."""
    files = sorted((ROOT / "reports" / "runs").glob("*.jsonl"))
    lines = [line for file in files for line in file.read_text().splitlines()]
    records = [record for line in lines if (record := json.loads(line))["role"] == "final"]
    checked = 0
    for record in records:
        config = from_dict(RunConfig, record["config"])
        whole = to_dict(config) == record["config"]  # the first sweep is older than a field that is always hashed
        if whole and record["encoder"] is not None and record["method_version"] == METHOD_VERSION:
            checked += 1
            known = run_id(config, record["data"]["fingerprint"], record["encoder"]["fingerprint"])
            assert known == record["run_id"], record["label"]
    assert checked > 50
