from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tastelab.cli import main
from tastelab.results.rebuild import load_chapters, rebuild, refresh_page
from tastelab.results.store import RecordStore

Record = dict[str, Any]
DECLARATION = '''\
"""Does rank matter ([A] Table {number})?"""

from tastelab import presets
from tastelab.experiment import Choice, Experiment
from tastelab.launch import run
from tastelab.results.plots import RankCurve
from tastelab.results.tables import Table

ROWS = (("full", "full"), ("lora-8", "8"))
experiment = Experiment(
    name="{name}",
    question=__doc__,
    base=presets.bi_encoder(),
    group="model.adaptation",
    rows=Choice({{"lora-8": presets.lora(8)}}),
)
tables = [Table("{name}", "LoRA rank", rows=ROWS, figures=("{name}",))]
plots = [RankCurve("{name}", "AUC against rank", ROWS)]

if __name__ == "__main__":
    run(experiment, tables, plots)
'''


@pytest.fixture
def experiments(tmp_path: Path) -> Path:
    folder = tmp_path / "experiments"
    folder.mkdir()
    declare(folder, "lora_rank_sweep")
    (folder / "shared.py").write_text("ROWS = 3\n")
    return folder


@pytest.fixture
def reports(tmp_path: Path, sweep: list[Record]) -> Path:
    store = RecordStore(tmp_path / "reports")
    for record in sweep:
        store.append(record)
    return tmp_path / "reports"


def declare(folder: Path, name: str, number: int = 3, head: str = "") -> None:
    (folder / f"{name}.py").write_text(head + DECLARATION.format(name=name, number=number))


def report(reports: Path, experiments: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["report", f"--reports={reports}", f"--experiments={experiments}", *arguments])


def state(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_new_files_are_made_and_listed_and_are_no_failure(reports: Path, experiments: Path) -> None:
    made = report(reports, experiments)
    assert made.exit_code == 0, made.output
    names = {
        *("README.md", "index.html", "tables/lora_rank_sweep.md", "tables/lora_rank_sweep.csv"),
        "figures/lora_rank_sweep-synthetic.svg",
    }
    assert {line.removeprefix(f"new: {reports}/") for line in made.output.splitlines()[:-1]} == names
    assert set(state(reports)) == names | {"runs/lora_rank_sweep.jsonl"}
    assert made.output.splitlines()[-1] == "Made what was missing (5 files): commit it."


def test_nothing_differs_after_a_rebuild(reports: Path, experiments: Path) -> None:
    rebuild(reports, experiments)
    before = state(reports)
    for arguments in ([], ["--check"]):
        again = report(reports, experiments, *arguments)
        assert (again.exit_code, again.output) == (0, f"{reports} is what its records make.\n")
    assert state(reports) == before


def test_a_check_names_what_is_changed_missing_and_left_over_and_writes_nothing(
    reports: Path, experiments: Path
) -> None:
    rebuild(reports, experiments)
    good = state(reports)
    table, figure = reports / "tables/lora_rank_sweep.md", reports / "figures/lora_rank_sweep-synthetic.svg"
    table.write_text(table.read_text().replace("0.7", "0.8", 1))
    figure.unlink()
    (reports / "tables/gone.md").write_text("# An experiment of last year\n")
    bad = state(reports)
    checked = report(reports, experiments, "--check")
    assert checked.exit_code == 1
    assert checked.output.splitlines() == [
        f"missing: {figure}",
        f"differs: {table}",
        f"left over: {reports / 'tables/gone.md'}",
        f"{reports} is not what its records make (3 files): run `tastelab report`.",
    ]
    assert state(reports) == bad
    repaired = report(reports, experiments)
    assert repaired.exit_code == 1
    assert repaired.output.splitlines()[-1] == "Repaired what the records do not make (2 files): commit it."
    assert state(reports) == good
    assert report(reports, experiments, "--check").exit_code == 0


def test_a_missing_file_fails_a_check_and_a_new_record_changes_its_table(
    reports: Path, experiments: Path, run: Callable[..., Record]
) -> None:
    assert report(reports, experiments, "--check").exit_code == 1
    rebuild(reports, experiments)
    RecordStore(reports).append(run("final", "lora-8", 0.9, 7))
    found = rebuild(reports, experiments, check=True)
    assert not found.missing and not found.left_over
    assert {"README.md", "index.html", "tables/lora_rank_sweep.md", "tables/lora_rank_sweep.csv"} <= set(found.changed)


def test_only_changed_figures_point_to_the_version_that_draws(reports: Path, experiments: Path) -> None:
    rebuild(reports, experiments)
    figure = reports / "figures/lora_rank_sweep-synthetic.svg"
    figure.write_text(figure.read_text().replace("#", "##", 1))
    refresh_page(reports, experiments)
    assert "compare matplotlib" in report(reports, experiments, "--check").output
    (reports / "tables/lora_rank_sweep.csv").write_text("")
    assert "compare matplotlib" not in report(reports, experiments, "--check").output


def test_an_experiment_without_records_has_its_table_page_and_line(reports: Path, experiments: Path) -> None:
    declare(experiments, "losses", number=1)
    rebuild(reports, experiments)
    assert "| [losses](#losses) " in (reports / "README.md").read_text()
    assert "- [LoRA rank](tables/losses.md) ([CSV](tables/losses.csv))" in (reports / "README.md").read_text()
    page = (reports / "index.html").read_text()
    assert page.index('id="losses"') < page.index('id="lora_rank_sweep"'), "in the order of [A]'s tables"


def test_a_file_is_imported_with_its_neighbours_and_never_run(reports: Path, experiments: Path) -> None:
    head = "from shared import ROWS\nif __name__ == '__main__':\n    raise SystemExit(3)\n"
    declare(experiments, "lora_rank_sweep", head=head)
    path = list(sys.path)
    assert [chapter.name for chapter in load_chapters(experiments)] == ["lora_rank_sweep"]
    assert sys.path == path and not [name for name in sys.modules if name.startswith("_tastelab_experiment")]


@pytest.mark.parametrize("line", ["import nowhere_at_all", "1 +", "raise SystemExit('stop')"])
def test_a_file_that_cannot_be_imported_is_one_sentence(reports: Path, experiments: Path, line: str) -> None:
    (experiments / "broken.py").write_text(line + "\n")
    failed = report(reports, experiments)
    assert failed.exit_code == 2 and not (reports / "tables").exists()
    assert f"{experiments / 'broken.py'} cannot be imported (" in failed.output


def test_a_folder_without_experiments_changes_nothing(reports: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no experiment file: pass --experiments"):
        rebuild(reports, tmp_path / "nowhere")
    assert set(state(reports)) == {"runs/lora_rank_sweep.jsonl"}


def test_two_files_may_not_make_the_same_table(reports: Path, experiments: Path) -> None:
    (experiments / "second.py").write_text((experiments / "lora_rank_sweep.py").read_text())
    with pytest.raises(ValueError, match="More than one of the tables is named 'lora_rank_sweep'"):
        rebuild(reports, experiments)


def test_the_page_alone_can_be_refreshed(reports: Path, experiments: Path) -> None:
    rebuild(reports, experiments)
    whole = (reports / "index.html").read_bytes()
    (reports / "index.html").unlink()
    assert refresh_page(reports, experiments).read_bytes() == whole


def test_a_file_that_calls_run_without_a_guard_declares_all_the_same(reports: Path, experiments: Path) -> None:
    file = experiments / "lora_rank_sweep.py"
    file.write_text(file.read_text().replace('if __name__ == "__main__":\n    run', "run"))
    assert "\nrun(" in file.read_text()
    assert [chapter.name for chapter in load_chapters(experiments)] == ["lora_rank_sweep"]


def test_a_launch_imports_no_file_that_declares_nothing(reports: Path, experiments: Path) -> None:
    rebuild(reports, experiments)
    (experiments / "backup.py").write_text("experiment == 3\nraise SystemExit('a script that does things')\n")
    assert refresh_page(reports, experiments).is_file()
    with pytest.raises(ValueError, match=r"backup\.py cannot be imported"):
        load_chapters(experiments)


def test_a_report_needs_no_ray(reports: Path, experiments: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tastelab.results.rebuild import rebuild; "
        f"rebuild(Path({str(reports)!r}), Path({str(experiments)!r}), check=True); "
        "print([name for name in ('ray', 'transformers', 'optuna') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
