"""`tastelab dashboard`: real servers over a real study, on loopback only, gone when it ends."""

from __future__ import annotations

import http.server
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import psutil
import pytest
from click.testing import CliRunner
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from tastelab.cli import main
from tastelab.cluster import dashboard

PACKAGE_ROOT = Path(__file__).resolve().parents[3] / "platform"


def make_study(home: Path, name: str) -> None:
    """Write a finished study of two trials as the journal `home/studies/<name>.journal`."""
    (home / "studies").mkdir(parents=True, exist_ok=True)
    storage = JournalStorage(JournalFileBackend(str(home / "studies" / f"{name}.journal")))
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(storage=storage, study_name=name, direction="maximize")
    study.optimize(lambda trial: trial.suggest_float("temperature", 0.01, 0.2), n_trials=2)


@contextmanager
def page_on_loopback(title: str) -> Iterator[int]:
    """Serve a page with the title on a free port of the loopback."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(f"<html><title>{title}</title></html>".encode())

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def check_dashboards(parent: subprocess.Popen[str]) -> None:
    """Read the addresses, open them, end the command, and look for what it left."""
    assert parent.stdout is not None
    lines = list(iter(parent.stdout.readline, "Ctrl-C closes the first two.\n"))
    study, runs = (re.search(r"http://127\.0\.0\.1:\d+/", line) for line in lines[:2])
    assert study and runs, lines
    assert lines[2].startswith("Cluster (Ray)")
    children = psutil.Process(parent.pid).children(recursive=True)

    with urllib.request.urlopen(f"{study[0]}api/studies", timeout=30) as answer:
        assert answer.status == 200
        assert b'"ranks"' in answer.read()
    with urllib.request.urlopen(runs[0], timeout=30) as answer:
        assert answer.status == 200
        assert b"TensorBoard" in answer.read()
    listening = [c.laddr.ip for p in children for c in p.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    assert len(listening) >= 2
    assert set(listening) <= {"127.0.0.1", "::1"}

    parent.send_signal(signal.SIGINT)
    assert parent.wait(20) == 0
    assert not psutil.wait_procs(children, timeout=5)[1]


@pytest.mark.slow
def test_the_command_serves_the_study_and_the_runs_and_ends_both(tmp_path: Path) -> None:
    pytest.importorskip("optuna_dashboard", reason="the extra 'dashboards' is not installed")
    make_study(tmp_path, "ranks")
    command = [sys.executable, "-m", "tastelab.cli", "dashboard", "--home", str(tmp_path), "--reports", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE_ROOT)}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as parent:
        try:
            check_dashboards(parent)
        finally:
            parent.kill()


def test_the_newest_study_is_opened_unless_one_is_named(tmp_path: Path) -> None:
    for age, name in enumerate(["newest", "older"]):
        make_study(tmp_path, name)
        path = tmp_path / "studies" / f"{name}.journal"
        os.utime(path, (time.time() - 100 * age,) * 2)
    assert dashboard.find_storage(tmp_path, None).endswith("newest.journal")
    assert dashboard.find_storage(tmp_path, "older").endswith("older.journal")
    assert dashboard.find_storage(tmp_path, "postgresql://host/optuna") == "postgresql://host/optuna"


@pytest.mark.parametrize(
    ("study", "message"),
    [(None, r"No study lies in .*studies: run a search first"), ("ranks", r"called 'ranks' in .* choose one of other")],
)
def test_a_missing_study_is_one_sentence(tmp_path: Path, study: str | None, message: str) -> None:
    if study:
        make_study(tmp_path, "other")
    with pytest.raises(ValueError, match=message):
        dashboard.find_storage(tmp_path, study)


def test_a_missing_extra_is_one_sentence_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashboard.importlib.util, "find_spec", lambda name: None if "optuna" in name else object())
    result = CliRunner().invoke(main, ["dashboard", "--home", str(tmp_path)])
    assert result.exit_code == 2
    assert "need optuna-dashboard: pip install 'tastelab[dashboards]'" in " ".join(result.output.split())


def test_a_server_that_cannot_start_names_its_log_and_ends_the_others(tmp_path: Path) -> None:
    waits = [sys.executable, "-c", "import time; time.sleep(60)"]
    fails = [sys.executable, "-c", "raise SystemExit('no storage')"]
    started = set(psutil.Process().children())
    with (
        pytest.raises(ChildProcessError, match=r"broken ended by itself with status 1: see .*broken\.log"),
        dashboard.running({"broken": fails, "fine": waits}, tmp_path),
    ):
        pass
    assert set(psutil.Process().children()) <= started
    assert b"no storage" in (tmp_path / "broken.log").read_bytes()


def test_rays_dashboard_is_told_by_its_title() -> None:
    with page_on_loopback("Ray Dashboard") as ray, page_on_loopback("Another page") as other:
        assert dashboard.ray_address([other]) is None
        assert dashboard.ray_address([other, ray]) == f"http://127.0.0.1:{ray}/"
    assert dashboard.ray_address([ray]) is None
