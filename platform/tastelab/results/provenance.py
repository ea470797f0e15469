"""Where a result comes from, told without telling whose machine it was.

A record names the commit, the versions and the hardware. It never names a host, a user or a place on a disk:
`private_part` finds such a thing in a text, `anonymise` takes it out.
"""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import re
import socket
import subprocess
from pathlib import Path
from typing import Any

import tastelab

PACKAGES = ("torch", "transformers", "peft", "ray", "optuna")

# A machine may bear a name that every record holds anyway, such as the split "dev".
HARMLESS_HOSTS = {"localhost", "dev", "train", "test", "validation", "search", "final", "default", "paper", "title"}

# A slash that opens a word after white space, a quote, a bracket or a separator: not "items/s", "a / b", "https://".
ABSOLUTE_PATH = r"(?:(?<![^\s\"'`(\[{=,;:|])|\bfile:/*)/(?=[\w.])[^\s\"'`)\]},;:|]*|\b[A-Za-z]:[\\/](?=\w)[^\s\"'`]*"
ADDRESS = r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.])(?::\d+)?"


def provenance(root: Path | None = None) -> dict[str, Any]:
    """Return `git`, `versions` and `hardware` of this process.

    Args:
        root: A folder of the checkout; None takes the one that this package is imported from.
    """
    return {"git": git_state(root), "versions": versions(), "hardware": hardware()}


def git_state(root: Path | None = None) -> dict[str, Any] | None:
    """Return `{"commit": 40 hex digits, "dirty": bool}`, or None outside a checkout and before its first commit.

    A change or a new file makes the checkout dirty unless it lies under `reports/`, which runs themselves write.
    """
    package = Path(tastelab.__file__).parent
    # An installed copy may lie in the ignored environment of some other checkout, whose commit says nothing.
    if root is None and _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    folder = root or package
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    changes = _git(folder, "status", "--porcelain", "--", ":(top)", ":(top,exclude)reports")
    return None if commit is None or changes is None else {"commit": commit, "dirty": bool(changes)}


def versions() -> dict[str, str | None]:
    """Return the versions of Python, of this package and of what its results depend on; None where absent."""
    found: dict[str, str | None] = {"python": platform.python_version(), "tastelab": tastelab.__version__}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def hardware() -> dict[str, Any]:
    """Return `cpu` (model), `cpus` (that this process may use) and `gpu` (model or None) of this machine."""
    import torch

    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cpu": _cpu_model(), "cpus": usable, "gpu": gpu}


def private_part(text: str) -> str | None:
    """Return the first part of a text that names a place on this machine or the machine itself, or None.

    Found are the home directory, the working directory, the host name as a whole word, and any absolute path.
    """
    match = _private_pattern(Path.home(), Path.cwd(), socket.gethostname()).search(text)
    return match[0] if match else None


def anonymise(text: str) -> str:
    """Replace host names, network addresses and the folders of absolute paths by `…`; file names stay."""
    text = re.sub(ABSOLUTE_PATH, lambda path: "…/" + re.split(r"[\\/]", path[0].rstrip("\\/"))[-1], text)
    text = _private_pattern(Path.home(), Path.cwd(), socket.gethostname()).sub("…", text)
    return re.sub(ADDRESS, "…", text)


@functools.lru_cache(maxsize=8)
def _private_pattern(home: Path, working: Path, host: str) -> re.Pattern[str]:
    places = {str(place) for path in (home, working) for place in (path, path.resolve())} - {"/"}
    parts = [rf"(?<![\w.]){re.escape(place)}(?![\w.-])" for place in sorted(places, key=len, reverse=True)]
    parts.append(ABSOLUTE_PATH)
    names = {host, host.split(".")[0]} - HARMLESS_HOSTS - {""}
    parts += [rf"(?<![\w-]){re.escape(name)}(?![\w-])" for name in sorted(names, key=len, reverse=True)]
    return re.compile("|".join(parts))


def _cpu_model() -> str:
    try:
        described = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        described = None
    return described[1].strip() if described else platform.processor() or platform.machine()


def _git(folder: Path, *arguments: str) -> str | None:
    """Run git in a folder; None where git, the folder or a checkout is missing."""
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
