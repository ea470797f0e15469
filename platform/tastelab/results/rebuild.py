"""Everything under `reports/` made again from its records: what a committed report must be equal to.

An experiment file declares its tables and figures; it is imported, never run. All is made in a folder of its own first
and then compared byte by byte, so that a check changes nothing and a rebuild writes only what differs.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

from tastelab.experiment import IMPORTED_AS, Experiment
from tastelab.results.index import write_index
from tastelab.results.page.chapters import Chapter
from tastelab.results.page.document import write_page
from tastelab.results.plots import write_plot
from tastelab.results.store import RecordStore
from tastelab.results.tables import write_table, write_text

GENERATED = ("README.md", "index.html", "tables/*.md", "tables/*.csv", "figures/*.svg")
"""What of a reports folder is made from records, as glob patterns; what else lies there is not looked at."""

ASSIGNS = re.compile(r"^experiment\b[^=\n]*=(?!=)", re.MULTILINE)

DRAWN = ("figures/", "index.html")
"""What holds figures, whose bytes hang on the version of matplotlib."""


@dataclass(frozen=True)
class Differences:
    """How a reports folder differs from what its records make: paths within it, sorted."""

    missing: tuple[str, ...]
    changed: tuple[str, ...]
    left_over: tuple[str, ...]
    """Tables and figures that no experiment makes any more."""

    @property
    def is_empty(self) -> bool:
        """Whether the folder is what its records make."""
        return not self.differing

    @property
    def differing(self) -> int:
        """Number of files that are not what the records make."""
        return len(self.missing) + self.repaired

    @property
    def repaired(self) -> int:
        """Number of those that were there."""
        return len(self.changed) + len(self.left_over)


def rebuild(reports: Path, experiments: Path, check: bool = False) -> Differences:
    """Make every table, figure and page again; write what differs, and remove what is left over, unless `check`.

    Args:
        reports: The reports folder; its `runs/*.jsonl` are read and never changed.
        experiments: The folder of the experiment files.
        check: Only compare.

    Raises:
        ValueError: There is no experiment file, or one cannot be imported, or two make the same table or figure.
    """
    chapters = load_chapters(experiments)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder)
        _build(chapters, reports, made)
        found = _compare(reports, made)
        if not check:
            for name in (*found.missing, *found.changed):
                write_text(reports / name, (made / name).read_text(encoding="utf-8"))
            for name in found.left_over:
                (reports / name).unlink()
    return found


def sentences(found: Differences, reports: Path, check: bool) -> list[str]:
    """Say what differed, a file a line, and what to do about it."""
    if found.is_empty:
        return [f"{reports} is what its records make."]
    kinds = {"missing": found.missing, "differs": found.changed, "left over": found.left_over}
    done = kinds if check else dict(zip(("new", "rebuilt", "removed"), kinds.values(), strict=True))
    lines = [f"{word}: {reports / name}" for word, names in done.items() for name in names]
    drawn = any(name.endswith(".svg") for name in found.changed)
    if drawn and all(name.startswith(DRAWN) for name in found.changed):
        lines.append(f"Only figures differ: compare matplotlib ({version('matplotlib')} here) with constraints.txt.")
    if check:
        return [*lines, f"{reports} is not what its records make ({_files(found.differing)}): run `tastelab report`."]
    if found.repaired:
        return [*lines, f"Repaired what the records do not make ({_files(found.repaired)}): commit it."]
    return [*lines, f"Made what was missing ({_files(found.differing)}): commit it."]


def _files(number: int) -> str:
    return "1 file" if number == 1 else f"{number} files"


def refresh_page(reports: Path, experiments: Path) -> Path:
    """Write `index.html` anew from the records and the figures as they lie there; return its path.

    A launch calls it for the folder of its file, whatever else lies there: only files that assign `experiment` are
    imported.

    Raises:
        ValueError: As `rebuild`.
    """
    declaring = [path for path in sorted(experiments.glob("*.py")) if _assigns_experiment(path)]
    return write_page(load_chapters(experiments, declaring), reports)


def load_chapters(experiments: Path, paths: Sequence[Path] | None = None) -> list[Chapter]:
    """Import every file of a folder that declares an `experiment`, in the order of the tables of [A] that they fill.

    Args:
        experiments: The folder.
        paths: The files of it that are imported; None takes all.

    Raises:
        ValueError: There is none, one cannot be imported, or two make the same table or figure.
    """
    paths = sorted(experiments.glob("*.py")) if paths is None else paths
    with _importable(experiments):
        found = [chapter for path in paths if (chapter := _declared(path)) is not None]
    if not found:
        raise ValueError(f"{experiments} holds no experiment file: pass --experiments with the folder that does.")
    _check_names(found)
    return sorted(found, key=_place)


def _build(chapters: Sequence[Chapter], reports: Path, made: Path) -> None:
    (made / "runs").mkdir(parents=True)
    for path in sorted((reports / "runs").glob("*.jsonl")):
        shutil.copyfile(path, made / "runs" / path.name)
    store = RecordStore(made)
    for chapter in chapters:
        records = store.load(chapter.name)
        for plot in chapter.plots:
            write_plot(plot, records, made)
        for table in chapter.tables:
            write_table(table, records, made)
    write_index(made)
    write_page(chapters, made)


def _compare(reports: Path, made: Path) -> Differences:
    wanted, present = _generated(made), _generated(reports)
    both = sorted(wanted & present)
    changed = [name for name in both if (reports / name).read_bytes() != (made / name).read_bytes()]
    return Differences(tuple(sorted(wanted - present)), tuple(changed), tuple(sorted(present - wanted)))


def _generated(folder: Path) -> set[str]:
    paths = [path for pattern in GENERATED for path in folder.glob(pattern) if not path.name.startswith(".")]
    return {path.relative_to(folder).as_posix() for path in paths}


def _assigns_experiment(path: Path) -> bool:
    return ASSIGNS.search(path.read_text(encoding="utf-8", errors="replace")) is not None


def _declared(path: Path) -> Chapter | None:
    module = _import(path)
    experiment = getattr(module, "experiment", None)
    if not isinstance(experiment, Experiment):
        return None
    tables, plots = getattr(module, "tables", ()), getattr(module, "plots", ())
    return Chapter(experiment.name, experiment.question or "", tuple(tables), tuple(plots))


def _import(path: Path) -> ModuleType:
    """Import a file under a name that is not `__main__` and that `launch.run` knows: it declares and does not run."""
    name = f"{IMPORTED_AS}{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # a dataclass looks its module up while it is made
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        reason = " ".join(str(error).split()) or "no message"
        raise ValueError(f"{path} cannot be imported ({type(error).__name__}: {reason}): mend it first.") from error
    finally:
        del sys.modules[name]
    return module


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Let experiment files import their neighbours, as they can when they are run."""
    place = str(folder.resolve())
    sys.path.insert(0, place)
    try:
        yield
    finally:
        sys.path.remove(place)


def _check_names(chapters: Sequence[Chapter]) -> None:
    for kind in ("tables", "plots"):
        names = Counter(each.name for chapter in chapters for each in getattr(chapter, kind))
        if twice := [name for name, number in names.items() if number > 1]:
            raise ValueError(f"More than one of the {kind} is named '{twice[0]}': give each a name of its own.")
    names = Counter(chapter.name for chapter in chapters)
    if twice := [name for name, number in names.items() if number > 1]:
        raise ValueError(f"More than one experiment is named '{twice[0]}': give each a name of its own.")


def _place(chapter: Chapter) -> tuple[int, str]:
    """Order by the table of [A] that the question names, the others after them by name."""
    table = re.search(r"\[A\] Table (\d+)", chapter.question)
    return (int(table[1]) if table else sys.maxsize, chapter.name)
