"""What an experiment's command line offers."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from tastelab import presets
from tastelab.experiment import Choice, Experiment, Variants
from tastelab.launch import command

SIZES = {"smoke": presets.smoke(), "default": presets.default(seeds=(0, 1, 2)), "paper": presets.paper()}


def help_of(rows: Choice, **fields: object) -> str:
    experiment = Experiment("asked", "Why?", presets.full_bi_encoder(), "row", rows, sizes=SIZES, **fields)  # type: ignore[arg-type]
    shown = CliRunner().invoke(command(experiment, (), ()), ["--help"], terminal_width=100)
    assert shown.exit_code == 0, shown.output
    return " ".join(shown.output.split())


def test_defaults_are_said_at_each_size() -> None:
    said = help_of(Variants({"plain": {}}))
    assert "[default: synthetic, synthetic-smoke at --smoke, mind-small at --paper]" in said
    assert "[default: 3, 1 at --smoke]" in said
    assert f"all-MiniLM-L6-v2, {presets.GTE} at --paper]".replace("-", "") in said.replace("- ", "").replace("-", "")


@pytest.mark.parametrize("option", ["--trials", "--storage"])
def test_options_of_a_search_are_shown_where_something_is_searched(option: str) -> None:
    assert option not in help_of(Variants({"plain": {}}))
    assert option in help_of(Variants({"plain": {}}), search={"objective.temperature": Choice.of(0.1, 0.2)})


def test_word_vectors_are_offered_where_a_row_reads_words() -> None:
    assert "--glove" not in help_of(Variants({"plain": {}}))
    assert "--glove" in help_of(Variants({"plain": {}, "NRMS": presets.nrms()}))
