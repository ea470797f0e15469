"""The three dashboards of a search, all on loopback: optuna-dashboard, TensorBoard, and Ray's where one is running.

The first two are started here, on free ports, and end with the command; Ray starts and ends its own. None of them asks
who is looking, so none of them listens beyond this machine.
"""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import click

LOOPBACK = "127.0.0.1"
RAY_PORTS = range(8265, 8275)
"""Ray takes the first free port from 8265 on; `ray dashboard cluster.yaml` forwards a cluster's to 8265."""
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 5.0
POLL_S = 0.1


@dataclass(frozen=True)
class Server:
    """A dashboard that this process started."""

    name: str
    address: str
    process: subprocess.Popen[bytes]
    log: Path


def show(home: Path, study: str | None = None, reports: Path | None = None) -> None:
    """Open the dashboards, print where they are, and keep them until Ctrl-C or SIGTERM.

    Args:
        home: Folder of caches and runs: `studies/*.journal`, `runs/`.
        study: Name of a study, or the URL of the database that holds it; None takes the newest journal.
        reports: Folder of the generated reports, named at the end if its index is there.

    Raises:
        ValueError: The packages are not installed or there is no such study.
        ChildProcessError: A dashboard did not start or ended by itself; the sentence names its log.
    """
    require("optuna_dashboard", "tensorboard")
    storage = find_storage(home, study)
    # Set in any case: a shell starts what it puts in the background deaf to Ctrl-C.
    for end in (signal.SIGINT, signal.SIGTERM):
        signal.signal(end, _leave)
    with running(commands(storage, home / "runs"), logs=home / "logs") as servers:
        for line in summary(servers, ray_address(), reports):
            click.echo(line)
        try:
            watch(servers)
        except SystemExit:
            click.echo("\nClosed.")


def require(*modules: str) -> None:
    """Raise `ValueError` with the command that installs what is missing of the extra `dashboards`."""
    if missing := [name for name in modules if importlib.util.find_spec(name) is None]:
        raise ValueError(
            f"The dashboards need {' and '.join(missing).replace('_', '-')}: pip install 'tastelab[dashboards]'"
            " (in a checkout: pip install -e '.[dashboards]')."
        )


def find_storage(home: Path, study: str | None) -> str:
    """Return what optuna-dashboard opens: the journal of the named study, the newest one, or a database's URL."""
    if study and "://" in study:
        return study
    journals = sorted((home / "studies").glob("*.journal"), key=lambda path: path.stat().st_mtime)
    if not journals:
        raise ValueError(f"No study lies in {home / 'studies'}: run a search first, or name its folder with --home.")
    chosen = [path for path in journals if study in (None, path.stem)]
    if not chosen:
        names = ", ".join(sorted(path.stem for path in journals))
        raise ValueError(f"No study is called '{study}' in {home / 'studies'}: choose one of {names}.")
    return str(chosen[-1])


def commands(storage: str, runs: Path) -> dict[str, list[str]]:
    """Return the command of each dashboard, by name; a port is still to be added."""
    optuna = ["optuna_dashboard._cli", storage, "--server", "wsgiref", "--quiet"]
    tensorboard = ["tensorboard.main", "--logdir", str(runs), "--reload_interval", "15"]
    return {
        "Study (optuna-dashboard)": [sys.executable, "-m", *optuna, "--host", LOOPBACK, "--port"],
        "Runs (TensorBoard)": [sys.executable, "-m", *tensorboard, "--host", LOOPBACK, "--port"],
    }


@contextmanager
def running(commands: Mapping[str, Sequence[str]], logs: Path) -> Iterator[list[Server]]:
    """Start each command with a free port as its last argument; end them all, with their children, on leaving."""
    logs.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        servers = []
        for name, command in commands.items():
            servers.append(_start(name, command, logs))
            stack.callback(_end, servers[-1].process)
        for server in servers:
            _await_start(server)
        yield servers


def watch(servers: Iterable[Server]) -> NoReturn:
    """Sleep until one of the servers ends, which raises `ChildProcessError`."""
    servers = list(servers)
    while True:
        for server in servers:
            _check_alive(server)
        time.sleep(POLL_S)


def summary(servers: Iterable[Server], ray: str | None, reports: Path | None) -> Iterator[str]:
    """Yield the lines that say where everything is."""
    for server in servers:
        yield f"{server.name:26} {server.address}"
    none = "not running: it comes up with an experiment, or with `ray dashboard cluster.yaml` for a cluster"
    yield f"{'Cluster (Ray)':26} {ray or none}"
    if ray:
        yield f"{'':26} `ray get-auth-token` prints the token that it asks for"
    if reports and (reports / "README.md").is_file():
        yield f"{'Reports':26} {reports / 'README.md'}"
    yield "Ctrl-C closes the first two."


def ray_address(ports: Iterable[int] = RAY_PORTS) -> str | None:
    """Return the address of the Ray dashboard on this machine's loopback, or None.

    The page is told by its title: everything else of it asks for the cluster's token.
    """
    for port in ports:
        address = f"http://{LOOPBACK}:{port}/"
        try:
            with urllib.request.urlopen(address, timeout=1.0) as page:
                if b"<title>Ray Dashboard</title>" in page.read(10_000):
                    return address
        except OSError:
            continue
    return None


def _start(name: str, command: Sequence[str], logs: Path) -> Server:
    port = _free_port()
    log = logs / f"{re.sub(r'[^a-z]+', '-', name.lower()).strip('-')}.log"
    # A session of its own: Ctrl-C reaches this process alone, which then ends the whole group in order.
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, str(port)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Server(name, f"http://{LOOPBACK}:{port}/", process, log)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
    return port


def _await_start(server: Server) -> None:
    port = int(server.address.rstrip("/").rpartition(":")[2])
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        _check_alive(server)
        with socket.socket() as probe:
            if probe.connect_ex((LOOPBACK, port)) == 0:
                return
        time.sleep(POLL_S)
    raise ChildProcessError(f"{server.name} did not answer within {START_TIMEOUT_S:.0f} s: see {server.log}.")


def _check_alive(server: Server) -> None:
    status = server.process.poll()
    if status is not None:
        raise ChildProcessError(f"{server.name} ended by itself with status {status}: see {server.log}.")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a server and what it started; a group that is gone already is no error."""
    for what in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, what)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_TIMEOUT_S)
            return


def _leave(*_: object) -> NoReturn:
    raise SystemExit(0)
