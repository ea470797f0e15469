"""RecTools' side of `rectools.py`, run by the interpreter that has it: one fit, which waits between turns.

The first line of its input is a JSON object of settings, every other one a number of steps to take. It answers each
with a line of JSON. Its input ended, it ends too.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from pytorch_lightning import Callback, Trainer
from rectools import Columns, __version__
from rectools.dataset import Dataset
from rectools.models import SASRecModel


@dataclass
class Turns(Callback):  # type: ignore[misc]
    """Take steps as they are asked for: a turn begins before the loading of its first batch, and ends with a step."""

    answers: int
    """Descriptor of the file that they go to: RecTools copies its trainer, which no open file survives."""
    left: int = 0
    clock: float = 0.0
    cpu: float = 0.0
    losses: list[float] = field(default_factory=list)

    def on_train_start(self, trainer: Any, module: Any) -> None:
        """Tell what runs here, and wait for the first turn."""
        tables = sum(p.numel() for name, p in module.named_parameters() if "item_model" in name)
        versions = {"rectools": __version__, "torch": torch.__version__, "threads": torch.get_num_threads()}
        self.answer(versions | {"precision": str(trainer.precision), "item_parameters": tables})
        self.wait()

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """After the last step of a turn, tell what it took, and wait for the next."""
        self.losses.append(float(outputs["loss"]))
        self.left -= 1
        if self.left:
            return
        seconds, cpu = time.perf_counter() - self.clock, time.process_time() - self.cpu
        self.answer({"seconds": seconds, "cpu_seconds": cpu, "loss": float(np.mean(self.losses))})
        self.wait()

    def answer(self, found: dict[str, Any]) -> None:
        """Write a line."""
        os.write(self.answers, json.dumps(found).encode() + b"\n")

    def wait(self) -> None:
        """Read a number of steps, and start the clocks."""
        if not (line := sys.stdin.readline()):
            sys.exit()
        self.left, self.losses = int(line), []
        self.clock, self.cpu = time.perf_counter(), time.process_time()


def trainer(answers: int) -> Trainer:
    """Build the trainer that RecTools builds itself, on the CPU, without an end, with turns."""
    return Trainer(
        max_epochs=-1,
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=False,
        enable_checkpointing=False,
        devices=1,
        accelerator="cpu",
        callbacks=[Turns(answers)],
    )


def interactions(path: str) -> pd.DataFrame:
    """Read clicks, user after user, each user's in their order."""
    items_US = np.load(path)
    users, slots = np.indices(items_US.shape).reshape(2, -1)
    times = pd.Timestamp("2026-01-01") + pd.to_timedelta(slots, unit="min")
    columns = {Columns.User: users, Columns.Item: items_US.ravel(), Columns.Weight: 1.0, Columns.Datetime: times}
    return pd.DataFrame(columns)


def main() -> None:
    """Fit until the input ends."""
    # Libraries greet on the standard output, which is for answers here.
    answers = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    settings = json.loads(sys.stdin.readline())
    torch.set_num_threads(settings["threads"])
    model = SASRecModel(
        n_blocks=settings["layers"],
        n_heads=settings["heads"],
        n_factors=settings["width"],
        dropout_rate=settings["dropout"],
        session_max_len=settings["history"],
        batch_size=settings["batch"],
        loss="sampled_softmax",
        n_negatives=settings["negatives"],
        get_trainer_func=trainer,
        get_trainer_func_kwargs={"answers": answers},
    )
    model.fit(Dataset.construct(interactions(settings["clicks"])))


if __name__ == "__main__":
    main()
