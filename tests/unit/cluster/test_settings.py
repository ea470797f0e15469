"""Ray reads some settings when it is first imported: an experiment has set them by then."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tastelab.cluster.settings import environment, prepare_environment
from tastelab.data.tables import PreparedData

ROOT = Path(__file__).parents[3]
SWEEP = ROOT / "experiments" / "lora_rank_sweep.py"

LAUNCH = """
import sys, importlib.util
spec = importlib.util.spec_from_file_location("sweep", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
assert "ray" not in sys.modules, "the experiment file itself must not import Ray"
from tastelab.launch import command
command(module.experiment, [], [])(sys.argv[2:], standalone_mode=False)
from ray._private import ray_constants
print("beyond loopback:", ray_constants.ENABLE_RAY_CLUSTER)
"""


@pytest.mark.parametrize(("address", "beyond"), [([], False), (["--address", "auto"], True)])
def test_ray_keeps_to_the_loopback_unless_a_cluster_is_joined(
    address: list[str], beyond: bool, tiny_data: PreparedData, tiny_bert: Path, tmp_path: Path
) -> None:
    places = ["--data", str(tiny_data.path), "--encoder", str(tiny_bert), "--home", str(tmp_path / "home")]
    places += ["--reports", str(tmp_path / "reports")]
    own = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "TUNE_"))}
    done = subprocess.run(
        [sys.executable, "-c", LAUNCH, str(SWEEP), "--dry-run", *address, *places],
        env=own | {"PYTHONPATH": str(ROOT / "platform")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"beyond loopback: {beyond}"


def test_what_is_set_already_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S"):
        monkeypatch.setenv(name, "7")
    prepare_environment(local=True)
    assert os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "7"
    assert os.environ["RAY_TRAIN_HEALTH_CHECK_INTERVAL_S"] == "7"


def test_a_cluster_gets_what_its_workers_need_and_nothing_that_is_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("HF_HOME", raising=False)
    passed = environment()
    assert passed["HF_HUB_OFFLINE"] == "1"
    assert "HF_HOME" not in passed
    assert "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER" not in passed, "a cluster of several machines is beyond loopback"
