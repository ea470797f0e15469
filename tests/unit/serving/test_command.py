"""`tastelab rank` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tastelab.cli import main
from tastelab.serving.ranker import load

TEXTS = ["zebra", "beer brewing", "surface codes"]


@pytest.fixture
def options(checkpoint: Path, tiny_bert: Path) -> list[str]:
    return ["rank", "--checkpoint", str(checkpoint), "--encoder", str(tiny_bert), "--liked", "cat", "--liked", "beer"]


def invoke(options: list[str], text: str | bytes = "\n".join(TEXTS)) -> Result:
    return CliRunner().invoke(main, options, input=text)


def test_json_holds_the_ranking_of_the_python_interface(options: list[str], checkpoint: Path, tiny_bert: Path) -> None:
    result = invoke([*options, "--disliked", "wine", "--candidates", "-", "--json"])
    expected = load(checkpoint, str(tiny_bert)).rank(["cat", "beer"], TEXTS, ["wine"])
    assert result.exit_code == 0
    assert json.loads(result.stdout) == [vars(place) for place in expected]


def test_a_file_gives_a_table_best_first(options: list[str], tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("zebra\n\n  beer brewing \nsurface codes\n")
    lines = invoke([*options, "--candidates", str(tmp_path / "texts.txt")]).stdout.splitlines()
    assert lines[0].split() == ["rank", "score", "text"]
    assert [line.split()[0] for line in lines[1:]] == ["1", "2", "3"]
    scores = [float(line.split()[1]) for line in lines[1:]]
    assert scores == sorted(scores, reverse=True)
    assert sorted(line.split(maxsplit=2)[2] for line in lines[1:]) == sorted(TEXTS)


@pytest.mark.parametrize(
    ("text", "extra", "sentence"),
    [
        ("\n \n", [], "There are no candidates"),
        (b"\xff\xfe\xfa", [], "not UTF-8"),
        ("zebra", ["--gamma", "-1"], "gamma is -1.0: choose 0 or more."),
    ],
)
def test_mistakes_are_one_sentence(options: list[str], text: str | bytes, extra: list[str], sentence: str) -> None:
    result = invoke([*options, "--candidates", "-", *extra], text)
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert "Traceback" not in result.output
