"""What a fresh machine relies on: the pins, the Makefile, the continuous integration script, the links of the docs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINNED_EXTRAS = ("minilm", "dashboards", "dev")
MAKE = shutil.which("make")

needs_make = pytest.mark.skipif(MAKE is None, reason="make is not installed")


def requirements() -> list[Requirement]:
    """What the package and the pinned extras ask for directly."""
    extras = [text for extra in PINNED_EXTRAS for text in PROJECT["optional-dependencies"][extra]]
    return [Requirement(text) for text in [*PROJECT["dependencies"], *extras]]


def pins() -> dict[str, Version]:
    """Exact versions by canonical name."""
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]
    return {name: Version(version) for name, _, version in (line.partition("==") for line in lines)}


def closure(roots: Iterable[Requirement]) -> Iterator[str]:
    """Yield the canonical names that the requirements install here, their own requirements included."""
    waiting, seen = list(roots), set()
    while waiting:
        requirement = waiting.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if key in seen:
            continue
        seen.add(key)
        yield key[0]
        for text in distribution(requirement.name).requires or []:
            child = Requirement(text)
            asked = [{"extra": extra} for extra in requirement.extras or {""}]
            if child.marker is None or any(child.marker.evaluate(extra) for extra in asked):
                waiting.append(child)


def make(*arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run make in the checkout, without what a surrounding make hands down."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    environment |= {"PATH": path} if path else {}
    command = [str(MAKE), *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)


def script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def test_pins_are_exact_sorted_and_without_local_tags() -> None:
    versions = pins()
    assert list(versions) == sorted(versions)
    assert all(name == canonicalize_name(name) for name in versions)
    assert all(version.local is None for version in versions.values())


def test_every_requirement_is_met_by_its_pin() -> None:
    versions = pins()
    unmet = [str(r) for r in requirements() if versions[canonicalize_name(r.name)] not in r.specifier]
    assert not unmet


def test_the_closure_of_the_requirements_is_pinned() -> None:
    try:
        names = set(closure(requirements()))
    except PackageNotFoundError as missing:
        pytest.skip(f"an extra of {PINNED_EXTRAS} is not installed: {missing}")
    assert not names - set(pins())


def test_nothing_names_an_index() -> None:
    for name in ("pyproject.toml", "constraints.txt", "Makefile", ".ci/run", ".pre-commit-config.yaml"):
        text = (ROOT / name).read_text()
        assert not re.search(r"index-url|find-links|https?://", text), name


def test_the_licence_is_the_one_that_is_declared() -> None:
    assert PROJECT["license"] == "Apache-2.0"
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_the_command_line_starts_without_the_heavy_libraries() -> None:
    code = "import sys, tastelab.cli; print(sorted({'torch', 'ray', 'polars', 'pyarrow'} & set(sys.modules)))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "platform")}
    command = [sys.executable, "-c", code]
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert shown.stdout.strip() == "[]"


@needs_make
def test_help_lists_every_target() -> None:
    (phony,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    shown = make("help").stdout
    assert set(re.findall(r"^  make ([a-z-]+)  ", shown, re.MULTILINE)) == set(phony.split())


@needs_make
def test_an_environment_is_used_again_until_its_sources_change(tmp_path: Path) -> None:
    script(tmp_path / "bin" / "python", "")
    stamps = [tmp_path / ".installed-run", tmp_path / ".installed-dev"]
    for age_s, installs in ((-60, False), (10 * 365 * 24 * 3600, True)):
        for stamp in stamps:
            stamp.touch()
            os.utime(stamp, (time.time() - age_s,) * 2)
        for target in ("sweep", "test"):
            shown = make("-n", target, f"VENV={tmp_path}")
            assert shown.returncode == 0, shown.stderr
            assert ("pip install -c constraints.txt -e" in shown.stdout) is installs
            assert "-m venv" not in shown.stdout


@needs_make
def test_names_on_the_path_that_do_not_run_are_passed_over(tmp_path: Path) -> None:
    bash = shutil.which("bash")
    script(tmp_path / "python3.13", "#!/bin/sh\necho 'this version is not active' >&2\nexit 127\n")
    script(tmp_path / "python3.12", f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (tmp_path / "bash").symlink_to(str(bash))
    shown = make("-n", "sweep", f"VENV={tmp_path / 'venv'}", path=str(tmp_path))
    assert '"python3.12" -m venv' in shown.stdout, shown.stderr


@needs_make
@pytest.mark.parametrize(
    ("python", "message"),
    [
        ("", "No Python 3.11 or newer was found: install one, or name it with make PYTHON=/path/to/python3."),
        ("/no/such/python", "/no/such/python is not a working Python 3.11 or newer: name another with make PYTHON="),
    ],
)
def test_without_a_python_the_error_says_what_to_do(tmp_path: Path, python: str, message: str) -> None:
    shown = make("sweep", f"VENV={tmp_path / 'venv'}", f"PYTHON={python}")
    assert shown.returncode != 0
    assert message in " ".join(shown.stdout.split())


@pytest.mark.parametrize(("with_data", "preset"), [(True, None), (False, None), (True, "/elsewhere")])
def test_continuous_integration_runs_the_tests_from_anywhere(
    tmp_path: Path, with_data: bool, preset: str | None
) -> None:
    if MAKE is None:
        pytest.skip("make is not installed")
    checkout, data = tmp_path / "a checkout", tmp_path / "shared" / "data"
    script(checkout / ".ci" / "run", (ROOT / ".ci" / "run").read_text())
    targets = 'report:\n\t@echo "report $(ARGS)"\ntest:\n\t@echo "$$PWD|$$TASTELAB_TEST_DATA|$$HF_HUB_OFFLINE"\n'
    (checkout / "Makefile").write_text(targets)
    if with_data:
        data.mkdir(parents=True)
    # Run by `make test`, this process has make's own variables, and a make below it would tell where it enters.
    outer = {"TASTELAB_TEST_DATA", "MAKELEVEL", "MAKEFLAGS", "MFLAGS"}
    environment = {name: value for name, value in os.environ.items() if name not in outer}
    environment |= {"TASTELAB_TEST_DATA": preset} if preset else {}
    command = ["bash", str(checkout / ".ci" / "run")]
    shown = subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, check=True)
    expected = preset or (str(data) if with_data else "")
    assert shown.stdout.splitlines() == ["report --check", f"{checkout}|{expected}|1"]


def test_hooks_use_tools_that_the_environment_has() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    tools = {hook["entry"].split()[0] for repo in config["repos"] for hook in repo["hooks"]}
    installed = {f".venv/bin/{canonicalize_name(r.name)}" for r in requirements()} | {".venv/bin/python"}
    assert tools <= installed
    assert all(repo["repo"] == "local" for repo in config["repos"])


DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\((?!https?://|mailto:|#)([^)#\s]+)", document.read_text())
    assert not [target for target in targets if not (document.parent / target).exists()]
