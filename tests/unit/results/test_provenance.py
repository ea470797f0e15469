from __future__ import annotations

import json
import os
import platform
import socket
import subprocess
from pathlib import Path

import pytest

from tastelab.results.provenance import anonymise, git_state, hardware, private_part, provenance, versions

HOST = "gondolin-7"


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine whose names are known."""
    monkeypatch.setattr(socket, "gethostname", lambda: f"{HOST}.example.org")
    monkeypatch.setenv("HOME", "/Users/luthien")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    for name in ("reports", "package"):
        (folder / name).mkdir(parents=True)
    (folder / "package" / "code.py").write_text("1\n")
    (folder / "reports" / "table.md").write_text("1\n")
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "first"]):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *command], cwd=folder, check=True)
    return folder


@pytest.mark.parametrize(
    "text",
    [
        "/tmp",
        "cannot read '/srv/data/news.tsv'",
        "PATH=/opt/bin:/bin",
        "file:///srv/data",
        r"C:\Users\luthien\x.tsv",
        "/Users/luthien/.cache",
        "luthien@gondolin-7",
        "on gondolin-7.example.org:",
        'File "/usr/lib/python3/x.py", line 3',
    ],
)
def test_a_place_or_a_host_is_private(text: str) -> None:
    assert private_part(text) is not None
    assert private_part(anonymise(text)) is None
    assert "gondolin" not in anonymise(text)


@pytest.mark.parametrize(
    "text",
    [
        "impressions/s",
        "a / b",
        "train|dev/test",
        "https://example.org/x/y",
        "s3://bucket/runs/1",
        "runs/0a1b2c3d4e5f/checkpoint",
        "Alibaba-NLP/gte-modernbert-base",
        "ndcg@5",
        "5e-4/3",
        "gondolin-70",
        "torch 2.13.0+cpu",
        "sub/Users/luthien",
    ],
)
def test_relative_paths_names_and_addresses_of_the_web_are_not_private(text: str) -> None:
    assert private_part(text) is None
    assert anonymise(text) == text


def test_anonymise_keeps_the_file_name_and_drops_network_addresses() -> None:
    text = "node 10.1.2.3:6379 failed on '/srv/data/mind/news.tsv': line 7"
    assert anonymise(text) == "node … failed on '…/news.tsv': line 7"


def test_a_host_named_like_a_word_of_every_record_does_not_forbid_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "dev")
    assert private_part("dev") is None


def test_git_state_of_a_clean_checkout_is_its_commit(checkout: Path) -> None:
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=checkout, capture_output=True, text=True, check=True)
    assert git_state(checkout) == {"commit": head.stdout.strip(), "dirty": False}
    assert git_state(checkout / "package") == git_state(checkout)


@pytest.mark.parametrize(
    ("path", "dirty"),
    [("reports/table.md", False), ("reports/new.md", False), ("package/code.py", True), ("package/new.py", True)],
)
def test_changes_make_a_checkout_dirty_unless_under_reports(checkout: Path, path: str, dirty: bool) -> None:
    (checkout / path).write_text("2\n")
    for folder in (checkout, checkout / "package"):
        state = git_state(folder)
        assert state is not None
        assert state["dirty"] is dirty


def test_there_is_no_git_state_outside_a_checkout_or_before_its_first_commit(tmp_path: Path) -> None:
    assert git_state(tmp_path / "absent") is None
    assert git_state(tmp_path) is None
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    assert git_state(tmp_path) is None


def test_there_is_no_git_state_without_git(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert git_state(checkout) is None


def test_provenance_names_versions_and_hardware_and_nothing_private() -> None:
    found = provenance()
    assert set(found) == {"git", "versions", "hardware"}
    assert found["versions"]["python"] == platform.python_version()
    assert {"tastelab", "torch", "transformers", "peft", "ray", "optuna"} <= set(versions())
    assert hardware()["cpus"] in range(1, (os.cpu_count() or 1) + 1)
    assert private_part(json.dumps(found)) is None
