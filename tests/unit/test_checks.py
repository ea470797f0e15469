"""Checks of a configuration before any work: what is refused, and what only looks wrong."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from tastelab import presets
from tastelab.checks import check_configuration, check_configurations, check_on_encoder, check_on_encoders, reachable
from tastelab.config import ClusterConfig, RunConfig, Scorer, replace_at, value_at
from tastelab.experiment import Choice, Experiment, Float, Given, Point, Variants
from tastelab.modeling.encoders import EncoderFacts

FACTS = EncoderFacts(width=32, num_layers=2, max_tokens=64)
ONE = ClusterConfig(workers=1, cpus_per_worker=0.1)


def config(**overrides: Any) -> RunConfig:
    values = {path.replace("__", "."): value for path, value in overrides.items()}
    return replace_at(presets.full_bi_encoder(data__max_tokens=16, optim__global_batch=8), values)


def with_row(row: dict[str, Any]) -> RunConfig:
    return replace_at(config(), row)


MLP = {"model.scorer": Scorer.named("mlp")}
UNIFORMITY, REDUNDANCY = ({f"objective.auxiliaries.{name}.weight": 0.1} for name in ("uniformity", "redundancy"))
COSINE = presets.loss("cosine_embedding")
POOLED = {"model.pooling": presets.pooling("mix")}

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "more than all is missing": (
        {"data.missing": 1.5},
        "missing is 1.5: choose the share of items that lack each feature, from 0 to 1.",
    ),
    "titles of no word": (
        {"data.title_words": 0},
        "title_words is 0: keep at least 1 word of each title, or None for all.",
    ),
    "uniformity, cross-encoder": (
        presets.cross_encoder() | UNIFORMITY,
        "uniformity compares item vectors, and cross_encoder encodes no item alone: leave uniformity out, "
        "or choose bi_encoder.",
    ),
    "redundancy, cross-encoder": (
        presets.cross_encoder() | REDUNDANCY,
        "redundancy compares item vectors, and cross_encoder encodes no item alone: leave redundancy out, "
        "or choose bi_encoder.",
    ),
    "redundancy, half cross-encoder": (
        presets.architecture("half_cross_encoder") | REDUNDANCY,
        "redundancy compares item vectors, and half_cross_encoder encodes candidates only alone: "
        "leave redundancy out, or choose bi_encoder.",
    ),
    "id_sas, trained adaptation": (
        presets.id_sas() | {"model.adaptation": presets.lora(2)},
        "ID-SAS trains a table of items, not the encoder, but model.adaptation is 'lora': set it to 'frozen'.",
    ),
    "cosine embedding, cross-encoder": (
        presets.cross_encoder() | COSINE,
        "Cosine embedding needs a score from -1 to 1, and that of cross_encoder has no bounds: choose another loss.",
    ),
    "cosine embedding, nrms": (
        presets.nrms() | COSINE,
        "Cosine embedding needs a score from -1 to 1, and that of nrms has no bounds: choose another loss.",
    ),
    "cosine embedding, mlp": (
        MLP | COSINE,
        "Cosine embedding needs a score from -1 to 1, and that of scorer 'mlp' has no bounds: choose another loss.",
    ),
    **{
        f"whitening, {name}": (
            {**row, "evaluation.whitening": True},
            f"Whitening transforms the item vectors of a bi-encoder, not of {name}: leave it out.",
        )
        for name, row in {
            "cross_encoder": presets.cross_encoder(),
            "colbert": presets.architecture("colbert"),
            "id_sas": presets.id_sas(),
            "nrms": presets.nrms(),
        }.items()
    },
    **{
        f"pooling, {name}": (
            {**row, **POOLED},
            f"{name} pools no item vectors, so 'mix' has no effect: leave the pooling at mean.",
        )
        for name, row in {
            "cross_encoder": presets.cross_encoder(),
            "half_cross_encoder": presets.architecture("half_cross_encoder"),
            "nrms": presets.nrms(),
        }.items()
    },
    "scorer, colbert": (
        presets.architecture("colbert") | MLP,
        "colbert has a score of its own, so scorer 'mlp' has no effect: leave it at cosine.",
    ),
    "no history": ({"data.max_history": 0}, "max_history is 0: choose at least 1 click."),
    "rate": ({"optim.learning_rate": float("nan")}, "The learning rate is nan: choose a number above 0."),
    "contrast": (
        UNIFORMITY | {"objective.contrast_size": 3},
        "uniformity couples 3 impressions, but a micro-step holds 8: set contrast_size to a divisor of 8, "
        "or use fewer accumulation steps.",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_parts_that_do_not_fit_are_one_sentence(name: str) -> None:
    row, sentence = REFUSED[name]
    with pytest.raises(ValueError) as caught:
        check_configuration(with_row(row), ONE)
    assert str(caught.value) == sentence


FINE = {
    "uniformity on candidates of a half cross-encoder": presets.architecture("half_cross_encoder") | UNIFORMITY,
    "every auxiliary on a bi-encoder": {**UNIFORMITY, **REDUNDANCY},
    "every auxiliary on ColBERT": presets.architecture("colbert") | UNIFORMITY | REDUNDANCY,
    "every auxiliary on ID-SAS": presets.id_sas() | UNIFORMITY | REDUNDANCY,
    "every auxiliary on NRMS": presets.nrms() | UNIFORMITY | REDUNDANCY,
    "auxiliaries of weight 0 on a cross-encoder": presets.cross_encoder(),
    "cosine embedding on ColBERT": presets.architecture("colbert") | COSINE,
    "k above the history": {"model.pooling": presets.pooling("top_k", k=99), "data.max_history": 2},
    "whitening of a bi-encoder": {"evaluation.whitening": True},
    "groups within a micro-step": UNIFORMITY | {"objective.contrast_size": 4},
    "as many clicks as positions": {
        "model.pooling": presets.pooling("sasrec", num_heads=4, max_positions=50),
        "data.max_history": 50,
    },
}


@pytest.mark.parametrize("name", FINE)
def test_parts_that_fit_pass(name: str) -> None:
    check_configuration(with_row(FINE[name]), ONE)
    check_on_encoder(with_row(FINE[name] | {"data.max_tokens": 64}), FACTS)


BEYOND: dict[str, tuple[dict[str, Any], str]] = {
    "lora rank": (
        {"model.adaptation": presets.lora(33)},
        "The LoRA rank is 33, the encoder's width 32: choose a rank up to 32.",
    ),
    "layers": ({"model.encoder.num_layers": 3}, "num_layers is 3, the encoder has 2: choose 1 to 2."),
    "no layers": ({"model.encoder.num_layers": 0}, "num_layers is 0, the encoder has 2: choose 1 to 2."),
    "tokens": (
        {"data.max_tokens": 65, "model.encoder.name": "tiny"},
        "max_tokens is 65, but tiny reads at most 64 tokens: choose at most 64.",
    ),
    "positions": (
        {"model.pooling": presets.pooling("sasrec", num_heads=4, max_positions=49)},
        "A history has up to 50 clicks, SASRec 49 positions: raise its max_positions, or lower max_history.",
    ),
    "heads": (
        {"model.pooling": presets.pooling("sasrec", num_heads=5)},
        "5 heads do not divide the width 32: choose a divisor of it as num_heads.",
    ),
    "heads of ID-SAS": (
        presets.id_sas() | {"model.pooling": presets.pooling("sasrec", num_heads=3)},
        "3 heads do not divide the width 32: choose a divisor of it as num_heads.",
    ),
}


@pytest.mark.parametrize("name", BEYOND)
def test_what_an_encoder_cannot_give_is_one_sentence(name: str) -> None:
    row, sentence = BEYOND[name]
    with pytest.raises(ValueError) as caught:
        check_on_encoder(with_row(row), FACTS)
    assert str(caught.value) == sentence
    check_configuration(with_row(row), ONE)  # it does not show without the encoder


def experiment(rows: dict[str, Any], search: dict[str, Any] | None = None) -> Experiment:
    return Experiment("checked", "?", config(), "row", Variants(rows), search or {}, baselines=())


def test_an_encoder_is_checked_as_far_as_it_is_known_and_where_it_is_read() -> None:
    base = replace_at(config(), {"model.encoder.name": "tiny"})
    too_long = {"data.max_tokens": 65}
    for rows in ({"other": too_long | {"model.encoder.name": "not here"}}, {"words": presets.nrms() | too_long}):
        check_on_encoders(experiment(rows), base, {"tiny": FACTS})
    with pytest.raises(ValueError, match="reads at most 64 tokens"):
        check_on_encoders(experiment({"fine": {}, "long": too_long}), base, {"tiny": FACTS})
    searched = experiment({"row": {}}, {"model.adaptation": Choice({"4": presets.lora(4), "64": presets.lora(64)})})
    with pytest.raises(ValueError, match="The LoRA rank is 64"):
        check_on_encoders(searched, base, {"tiny": FACTS})


def test_a_search_is_reached_value_by_value_bound_by_bound_and_case_by_case() -> None:
    search = {
        "objective.temperature": Float(0.1, 0.2),
        "optim.epochs": Choice.of(1, 2),
        "optim.learning_rate": Given("row", {"a": Float(1e-4, 2e-4)}, Choice.of(3e-4)),
        "parts": Variants({"plain": {}, "both": {"seed": 7, "optim.clip_norm": 1.0}}),
    }
    base = config()
    changed = [
        {path: value_at(found, path) for path in ("objective.temperature", "optim.epochs", "optim.learning_rate",
                                                  "seed", "optim.clip_norm")
         if value_at(found, path) != value_at(base, path)}
        for found in reachable(experiment({"a": {}}, search), Point(base, {"row": "a"}))
    ]  # fmt: skip
    assert changed == [
        {},
        {"objective.temperature": 0.1},
        {"objective.temperature": 0.2},
        {},
        {"optim.epochs": 2},
        {},
        {"optim.learning_rate": 2e-4},
        {},
        {"seed": 7, "optim.clip_norm": 1.0},
    ]


def test_a_row_that_cannot_run_is_named(tmp_path: Path) -> None:
    wrong = experiment({"fine": {}, "wrong": {"optim.learning_rate": 0.0}})
    with pytest.raises(ValueError, match=r"^Row 'wrong': The learning rate is 0\.0: choose a number above 0\.$"):
        check_configurations(wrong, wrong.base, ONE)
    within = experiment({"row": {}}, {"parts": Variants({"no": {}, "yes": presets.cross_encoder() | UNIFORMITY})})
    with pytest.raises(ValueError, match="Row 'row': uniformity compares item vectors"):
        check_configurations(within, within.base, ONE)
    check_configurations(experiment({"fine": {}}), config(), ONE)


def test_a_probe_changes_what_is_read_or_measured_and_no_more(tmp_path: Path) -> None:
    made = experiment({"fine": {}})

    def probed(**values: Any) -> Experiment:
        overrides = {path.replace("__", "."): value for path, value in values.items()}
        return dataclasses.replace(made, probes={"other": overrides})

    for path in ("model__gamma", "data__domains", "optim__epochs"):
        with pytest.raises(ValueError, match=f"Probe 'other' sets {path.replace('__', '.')}, which is settled in"):
            check_configurations(probed(**{path: 1}), made.base, ONE)
    with pytest.raises(ValueError, match=r"missing is 2: choose"):
        check_configurations(probed(data__missing=2), made.base, ONE)
    with pytest.raises(ValueError, match=r"Unknown text feature colour"):
        check_configurations(probed(data__features=("colour",)), made.base, ONE)
    fine = probed(data__features=("title",), data__max_history=2, evaluation__domains=("ai",))
    check_configurations(fine, made.base, ONE)


def test_a_file_of_word_vectors_is_looked_for_before_any_work(tmp_path: Path) -> None:
    made = experiment({"fine": {}})
    for file, content in (("missing.txt", None), ("binary.txt", b"\xff\xfe\x00\x01"), ("plain.gz", b"word 1 2")):
        if content is not None:
            (tmp_path / file).write_bytes(content)
        with pytest.raises(ValueError, match=rf"The word vectors .*{file} cannot be read \(.+\): pass a text file"):
            check_configurations(made, made.base, dataclasses.replace(ONE, glove=tmp_path / file))
    (tmp_path / "glove.txt").write_text("word 1 2\n")
    check_configurations(made, made.base, dataclasses.replace(ONE, glove=tmp_path / "glove.txt"))
