"""What Ray reads from the environment: set before its first import, so nothing here imports it."""

from __future__ import annotations

import logging
import os

SETTINGS = {
    "TOKENIZERS_PARALLELISM": "false",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_TRAIN_ENABLE_STATE_TRACKING": "1",  # lists Train runs in the dashboard
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # records and TensorBoard files are our own
    "RAY_AIR_NEW_OUTPUT": "0",  # the new output prints every trial whatever its verbosity
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
LOCAL = {
    # Ray reads this when it is first imported, and binds to the machine's outward address otherwise.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    # Each is a process per trial, seconds of CPU on a small machine: nobody pre-empts it, and it reports to nobody.
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}
PASSED_ON = ("HF_HUB_OFFLINE", "HF_HOME", "TASTELAB_HOME")


def prepare_environment(local: bool) -> None:
    """Set what this process and the Ray that it starts read; what is set already stays.

    Args:
        local: Ray is started on this machine, keeps to its loopback, and does without what only clusters need.
    """
    for name, value in (SETTINGS | LOCAL if local else SETTINGS).items():
        os.environ.setdefault(name, value)
    for name in ("ray.tune", "ray.train", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)


def environment() -> dict[str, str]:
    """Environment of the processes of a cluster that is joined: what its own Ray was not started with."""
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return passed | {name: SETTINGS[name] for name in ("TOKENIZERS_PARALLELISM", "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S")}
