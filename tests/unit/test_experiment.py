"""Experiments: what a search space draws, what a grid holds, and when two searches are one study."""

from __future__ import annotations

import dataclasses
from typing import Any

import optuna
import pytest

from tastelab.config import Adaptation, Auxiliary, ObjectiveConfig, Pooling, RunConfig, replace_at
from tastelab.experiment import NOTHING, Choice, Experiment, Float, Given, Point, Size, TrainedOn, Variants, seeded

BASE = RunConfig(objective=ObjectiveConfig(auxiliaries=(Auxiliary.named("uniformity"),)))
ROWS = Choice({"LoRA 4": Adaptation.named("lora", rank=4), "full": Adaptation.named("full")})


def experiment(**changed: Any) -> Experiment:
    search = {
        "optim.learning_rate": Given(
            "model.adaptation", {"full": Float(1e-5, 3e-4, log=True)}, Float(1e-4, 3e-3, True)
        ),
        "objective.temperature": Float(0.02, 0.2),
        "objective.auxiliaries.uniformity.weight": Choice({"off": 0.0, "on": 0.1}),
    }
    made = Experiment("sweep", "Does rank matter?", BASE, "model.adaptation", ROWS, search)
    return dataclasses.replace(made, **changed)


def drawn(num: int, made: Experiment) -> list[tuple[Point, dict[str, Any]]]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trials = [study.ask() for _ in range(num)]
    return [(made.draw(trial, made.base), trial.params) for trial in trials]


def test_a_draw_sets_each_path_and_names_each_value() -> None:
    for point, _ in drawn(40, experiment()):
        config, labels = point.config, point.labels
        assert set(labels) == set(experiment().space)
        assert config.model.adaptation == ROWS.values[labels["model.adaptation"]]
        assert labels["objective.temperature"] == f"{config.objective.temperature:.3g}"
        assert (
            config.objective.auxiliaries[0].weight
            == {"off": 0.0, "on": 0.1}[labels["objective.auxiliaries.uniformity.weight"]]
        )
        assert 0.02 <= config.objective.temperature <= 0.2
        low, high = (1e-5, 3e-4) if labels["model.adaptation"] == "full" else (1e-4, 3e-3)
        assert low <= config.optim.learning_rate <= high
        assert labels["optim.learning_rate"] == f"{config.optim.learning_rate:.3g}"
    assert {point.labels["model.adaptation"] for point, _ in drawn(40, experiment())} == set(ROWS.values)


def test_each_case_is_a_parameter_of_its_own() -> None:
    """A sampler that saw one range under two names would be told that its parameter changed."""
    names = set()
    for point, params in drawn(40, experiment()):
        case = "full" if point.labels["model.adaptation"] == "full" else "otherwise"
        assert f"optim.learning_rate[{case}]" in params
        names |= {name for name in params if name.startswith("optim")}
    assert names == {"optim.learning_rate[full]", "optim.learning_rate[otherwise]"}


def test_a_point_drawn_again_from_its_parameters_is_the_same() -> None:
    for point, params in drawn(10, experiment()):
        again = experiment().draw(optuna.trial.FixedTrial(params), BASE)
        assert again == point


def test_the_group_is_drawn_first() -> None:
    assert next(iter(experiment().space)) == "model.adaptation"


def test_a_grid_holds_the_rows_in_order() -> None:
    points = list(experiment(search={}).grid(BASE))
    assert [point.labels for point in points] == [{"model.adaptation": "LoRA 4"}, {"model.adaptation": "full"}]
    assert [p.config for p in points] == [replace_at(BASE, {"model.adaptation": a}) for a in ROWS.values.values()]


def test_seeds_repeat_whole_rows_one_seed_after_the_other() -> None:
    points = list(experiment(search={}).grid(BASE))
    repeated = seeded(points, (3, 5))
    assert [(p.config.seed, p.labels["model.adaptation"]) for p in repeated] == [
        (3, "LoRA 4"),
        (3, "full"),
        (5, "LoRA 4"),
        (5, "full"),
    ]
    assert dataclasses.replace(repeated[2].config, seed=0) == points[0].config


def test_choices_label_values_by_themselves() -> None:
    assert Choice.of(8, "mean", 0.5).values == {"8": 8, "mean": "mean", "0.5": 0.5}


@pytest.mark.parametrize("bounds", [(1.0, 1.0, False), (2.0, 1.0, False), (0.0, 1.0, True), (-1.0, 1.0, True)])
def test_an_impossible_range_is_refused(bounds: tuple[float, float, bool]) -> None:
    with pytest.raises(ValueError, match=r"The range .* is empty or not positive: give low < high"):
        Float(*bounds)


def test_a_size_changes_the_base() -> None:
    size = Size({"optim.epochs": 3, "data.train_impressions": 100})
    config = experiment().based(size, "mind-small", "gte")
    assert (config.optim.epochs, config.data.train_impressions) == (3, 100)
    assert (config.data.dataset, config.model.encoder.name) == ("mind-small", "gte")
    assert config.objective == BASE.objective


def test_an_unknown_size_lists_the_known() -> None:
    made = experiment(sizes={"smoke": Size(), "default": Size()})
    assert made.size("smoke") is made.sizes["smoke"]
    with pytest.raises(ValueError, match="sweep has no size 'paper': choose smoke, default"):
        made.size("paper")


def test_a_study_is_named_by_all_that_its_results_depend_on() -> None:
    made = experiment()
    name = made.study_name(BASE, "smoke", ("d", "e"))
    assert name == experiment(question="Reworded?", baselines=()).study_name(BASE, "smoke", ("d", "e"))
    wider = made.search | {"objective.temperature": Float(0.02, 0.3)}
    log = made.search | {"objective.temperature": Float(0.02, 0.2, log=True)}
    rate = Given("model.adaptation", {"full": Float(1e-5, 1e-4, log=True)}, Float(1e-4, 3e-3, True))
    relabelled = Choice({"LoRA 8": Adaptation.named("lora", rank=8), "full": Adaptation.named("full")})
    others = [
        made.study_name(BASE, "default", ("d", "e")),
        made.study_name(BASE, "smoke", ("x", "e")),
        made.study_name(BASE, "smoke", ("d", "x")),
        made.study_name(replace_at(BASE, {"optim.epochs": 2}), "smoke", ("d", "e")),
        experiment(name="other").study_name(BASE, "smoke", ("d", "e")),
        experiment(search=wider).study_name(BASE, "smoke", ("d", "e")),
        experiment(search=log).study_name(BASE, "smoke", ("d", "e")),
        experiment(search=made.search | {"optim.learning_rate": rate}).study_name(BASE, "smoke", ("d", "e")),
        experiment(rows=relabelled).study_name(BASE, "smoke", ("d", "e")),
    ]
    assert name.startswith("sweep-smoke-")
    assert len({name, *others}) == 10


PLAIN, MIX, LORA = {}, {"model.pooling": Pooling.named("mix")}, {"model.adaptation": Adaptation.named("lora", rank=2)}
VARIANTS = Variants({"plain": PLAIN, "mix": MIX, "both": {**MIX, **LORA, "optim.learning_rate": 1e-3}})


def grid(**changed: Any) -> Experiment:
    return experiment(group="row", rows=VARIANTS, search={}, **changed)


def test_a_row_of_variants_is_the_base_with_its_overrides() -> None:
    points = list(grid().grid(BASE))
    assert [point.labels for point in points] == [{"row": "plain"}, {"row": "mix"}, {"row": "both"}]
    assert points[0].config == BASE
    assert points[1].config == replace_at(BASE, MIX)
    both = points[2].config
    assert (both.model.pooling.name, both.model.adaptation, both.optim.learning_rate) == (
        "mix",
        Adaptation.named("lora", rank=2),
        1e-3,
    )
    assert grid().row("both", BASE) == points[2]


def test_a_draw_of_variants_sets_all_that_the_row_does_and_what_depends_on_its_label() -> None:
    rate = Given("row", {"plain": Float(1e-5, 2e-5)}, Float(1e-4, 2e-4))
    made = experiment(
        group="row", rows=VARIANTS, search={"objective.temperature": Float(0.02, 0.2), "optim.learning_rate": rate}
    )
    seen = set()
    for point, _ in drawn(30, made):
        seen.add(label := point.labels["row"])
        drawn_too = {
            "objective.temperature": point.config.objective.temperature,
            "optim.learning_rate": point.config.optim.learning_rate,
        }
        assert point.config == replace_at(made.row(label, BASE).config, drawn_too), "the search is laid over the row"
        assert (point.config.optim.learning_rate < 5e-5) == (label == "plain")
    assert seen == set(VARIANTS.values)


def test_nothing_leaves_a_row_without_a_field_as_it_is() -> None:
    """A field that one row alone has is searched there; the others keep their configuration and print a dash."""
    of_mix = {"mix": Choice.of(2, 4)}
    made = experiment(group="row", rows=VARIANTS, search={"model.pooling.k": Given("row", of_mix, otherwise=NOTHING)})
    seen = set()
    for point, params in drawn(30, made):
        label, k = point.labels["row"], point.labels["model.pooling.k"]
        row = made.row(label, BASE).config
        if label == "mix":
            assert point.config == replace_at(row, {"model.pooling.k": int(k)})
            assert params["model.pooling.k[mix]"] == k
        else:
            assert (point.config, k) == (row, "–")
            assert params["model.pooling.k[otherwise]"] == "–"
        seen.add((label == "mix", k))
    assert seen == {(True, "2"), (True, "4"), (False, "–")}


def test_the_case_of_a_label_is_the_space_that_applies() -> None:
    given = Given("row", {"mix": Choice.of(2, 4)}, otherwise=NOTHING)
    assert given.case("mix") is given.cases["mix"]
    assert given.case("plain") is NOTHING
    labels = {"row": "plain"}
    assert given.suggest(optuna.trial.FixedTrial({"x[otherwise]": "–"}), "x", labels) == {}
    assert labels == {"row": "plain", "x": "–"}


def test_a_size_runs_some_rows_and_changes_single_ones() -> None:
    size = Size(
        only=("mix", "plain"), rows={"mix": {"data.train_impressions": 7, "model.pooling": Pooling.named("top_k")}}
    )
    made = grid().at(size)
    assert list(made.rows.values) == ["mix", "plain"]
    assert made.row("mix", BASE).config == replace_at(BASE, size.rows["mix"]), "the size has the last word"
    assert made.row("plain", BASE).config == BASE
    assert VARIANTS.values["mix"] is MIX, "the experiment itself stays as it was"
    assert list(grid().at(Size()).rows.values) == list(VARIANTS.values)
    chosen = experiment().at(Size(only=("full",)))
    assert chosen.rows == Choice({"full": Adaptation.named("full")})


@pytest.mark.parametrize(
    "size", [Size(only=("mix", "mxi")), Size(rows={"mxi": {}}), Size(only=("mix",), rows={"mxi": {}})]
)
def test_a_size_that_names_no_row_lists_the_rows(size: Size) -> None:
    with pytest.raises(ValueError, match="sweep has no row 'mxi': choose among plain, mix, both"):
        grid().at(size)


def test_a_size_cannot_override_rows_that_have_no_overrides() -> None:
    with pytest.raises(ValueError, match="sweep cannot override single rows of a Choice: make its rows Variants"):
        experiment().at(Size(rows={"full": {"data.train_impressions": 7}}))


def test_another_override_of_a_variant_is_another_study() -> None:
    prints = ("d", "e")
    rows = dict(VARIANTS.values)
    other = experiment(group="row", rows=Variants({**rows, "plain": {"optim.epochs": 2}}), search={})
    assert grid().study_name(BASE, "smoke", prints) != other.study_name(BASE, "smoke", prints)
    assert grid().study_name(BASE, "smoke", prints) == grid(question="?").study_name(BASE, "smoke", prints)


def about_domains(**changed: Any) -> Experiment:
    return dataclasses.replace(
        Experiment(
            "transfer", "", BASE, "row", TrainedOn(), probe_domains=True, probes={"short": {"data.title_words": 3}}
        ),
        **changed,
    )


def test_domains_make_rows_and_probes() -> None:
    made = about_domains().on(["ai", "beer", "quantum"])
    rows = {label: replace_at(BASE, values).data.domains for label, values in made.rows.values.items()}
    assert rows == {
        "ai": ("ai",),
        "beer": ("beer",),
        "quantum": ("quantum",),
        "All domains": None,
        "All but ai": ("beer", "quantum"),
        "All but beer": ("ai", "quantum"),
        "All but quantum": ("ai", "beer"),
    }
    assert list(made.probes) == ["short", "ai", "beer", "quantum"]
    assert replace_at(BASE, made.probes["beer"]).evaluation.domains == ("beer",)


def test_of_two_domains_all_but_one_is_the_other() -> None:
    assert list(about_domains().on(["ai", "beer"]).rows.values) == ["ai", "beer", "All domains"]


def test_before_the_data_are_known_one_row_stands_for_all() -> None:
    assert [point.config for point in about_domains().at(Size()).grid(BASE)] == [BASE]
    assert len(about_domains().at(Size()).on(["ai", "beer"]).rows.values) == 3


@pytest.mark.parametrize("changed", [{}, {"rows": ROWS, "group": "model.adaptation"}, {"probe_domains": False}])
def test_one_domain_is_too_few_to_compare(changed: dict[str, Any]) -> None:
    with pytest.raises(
        ValueError, match="compares domains, and the data have one, ai: join several data sets with --data"
    ):
        about_domains(**changed).on(["ai"])


def test_an_experiment_about_something_else_leaves_domains_alone() -> None:
    made = experiment(probes={"short": {"data.title_words": 3}})
    assert made.on(["ai"]) is made
