"""The training loop, one for every architecture: no Ray, no device, no order of data of its own."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from tastelab.config import OptimConfig
from tastelab.evaluation.collectives import any_rank, sum_over_ranks
from tastelab.evaluation.encode import autocast
from tastelab.schema import Batch, SequenceBatch
from tastelab.training.checkpoint import load_checkpoint, save_checkpoint
from tastelab.training.curves import Curves
from tastelab.training.optim import build_optimizer, build_scheduler, clip_gradients
from tastelab.training.sparse import sync_tables
from tastelab.training.trainable import Trainable

Scalars = dict[str, float]


class NonFiniteLoss(ArithmeticError):
    """The loss or its gradient became NaN or infinite: the run ends by this name, and a sweep goes on without it."""


class Session(Protocol):
    """What the loop needs of its surroundings; `cluster.session` implements it on Ray Train."""

    device: torch.device

    def wrap(self, module: Trainable) -> nn.Module:
        """Move the module to the device and wrap it in DDP where there is more than one worker."""

    def batches(self, epoch: int) -> Iterator[Any]:
        """Iterate over this worker's micro-batches of an epoch, in order."""

    def resume_from(self) -> Path | None:
        """Folder of the checkpoint to go on from, if any."""

    def asked_to_stop(self) -> bool:
        """Tell whether the run is to end early; one rank's word is enough."""

    def log(self, step: int, scalars: Scalars) -> None:
        """Write scalars of a step, on rank 0."""

    def report(self, step: int, scalars: Scalars, save: Callable[[Path], None]) -> None:
        """Report a validation and a checkpoint that `save(folder)` writes; every rank calls it, rank 0 saves."""


@dataclass(frozen=True)
class Plan:
    """How long a run is and when it validates, in optimiser steps."""

    steps_per_epoch: int
    epochs: int
    accumulation: int
    validations: int

    @property
    def total(self) -> int:
        """Optimiser steps of the whole run."""
        return self.steps_per_epoch * self.epochs

    def validates(self, step: int) -> bool:
        """Tell whether a validation follows `step` (counted from 1); the last step is always one."""
        return step == self.total or self.validation(step) > self.validation(step - 1)

    def validation(self, step: int) -> int:
        """Number of validations up to and with `step`; one falls due at each `1 / validations` of the run."""
        return max(1, self.validations) if step == self.total else step * self.validations // self.total


def train(
    module: Trainable,
    session: Session,
    optim: OptimConfig,
    plan: Plan,
    validate: Callable[[], Scalars],
    about: Mapping[str, Any],
    curves: Curves,
    save: Callable[..., None] = save_checkpoint,
) -> Scalars:
    """Train `module` to the end of its plan, from the session's checkpoint if there is one.

    Args:
        module: model and objective.
        session: device, data and reports.
        optim: optimiser, schedule, clipping, precision.
        plan: length and validations.
        validate: measures the model as it stands; every rank calls it.
        about: what a checkpoint says of its run.
        curves: gains what is measured; a checkpoint keeps it.
        save: writes a checkpoint.

    Returns:
        What it cost: impressions per second while training, and steps done; `stopped` if it ended early.

    Raises:
        NonFiniteLoss: the global loss or gradient is NaN or infinite; every rank raises at the same step.
    """
    wrapped = session.wrap(module)
    optimizer = build_optimizer(module, optim)
    resume = session.resume_from()
    step, before = load_checkpoint(resume, module, optimizer) if resume else (0, {})
    curves.resume(before)
    scheduler = build_scheduler(optimizer, optim, max(1, plan.total), step)
    clock = Clock()
    for epoch in range(step // max(1, plan.steps_per_epoch), plan.epochs):
        batches = session.batches(epoch)
        done = (step - epoch * plan.steps_per_epoch) * plan.accumulation
        for _ in range(plan.steps_per_epoch - step % plan.steps_per_epoch):
            micro = [b.to(session.device) for b in islice(batches, done, done + plan.accumulation)]
            done, step = 0, step + 1
            with clock.training(len(micro) * len(micro[0].rows_B)):
                scalars = optimise(wrapped, module, optimizer, micro, optim)
            scalars |= {"train/learning_rate": optimizer.param_groups[0]["lr"], "train/epoch": float(epoch)}
            scheduler.step()
            session.log(step, scalars)
            curves.add(step, scalars)
            check_finite(scalars, step)
            if plan.validates(step):
                report = scalars | validate() | clock.scalars() | {"validation": plan.validation(step)}
                curves.add(step, report)
                known = {**about, "curves": curves.as_json()}
                session.report(step, report, partial(save, module, known, step, optimizer))
            if step < plan.total and any_rank(session.asked_to_stop(), session.device):
                return clock.scalars() | {"steps": float(step), "stopped": 1.0}
    return clock.scalars() | {"steps": float(step)}


def check_finite(scalars: Scalars, step: int) -> None:
    """Raise `NonFiniteLoss` if the loss of a step, or the gradient that the next one builds on, is not finite."""
    for name in ("loss", "grad_norm"):
        if not math.isfinite(value := scalars[f"train/{name}"]):
            what = "loss" if name == "loss" else "gradient norm"
            raise NonFiniteLoss(f"The {what} is {value} at step {step}: try a lower learning rate.")


def optimise(
    wrapped: nn.Module,
    module: Trainable,
    optimizer: torch.optim.Optimizer,
    micro: list[Batch] | list[SequenceBatch],
    optim: OptimConfig,
) -> Scalars:
    """Take one optimiser step over its micro-batches and return the global loss, its parts and the gradient norm."""
    by = module.normaliser(micro)
    device = micro[0].rows_B.device
    sums: dict[str, torch.Tensor] = {}
    optimizer.zero_grad(set_to_none=True)
    for i, batch in enumerate(micro):
        last = i == len(micro) - 1
        no_sync = getattr(wrapped, "no_sync", contextlib.nullcontext)
        with contextlib.nullcontext() if last else no_sync():
            with autocast(optim.precision, device):
                loss, parts = wrapped(batch, by)
            loss.backward()
        sums = {name: sums.get(name, 0.0) + value for name, value in parts.items()}
    sync_tables(module)
    norm = clip_gradients(module, optim.clip_norm)
    optimizer.step()
    totals = sum_over_ranks(torch.stack([value.float() for value in sums.values()])).tolist()
    scalars = {f"train/{name}": value for name, value in zip(sums, totals, strict=True)}
    scalars |= {"train/grad_norm": norm.item(), "train/temperature": module.temperature().item()}
    return scalars | module.after_step()


class Clock:
    """Time spent in training steps and impressions trained, on this worker, leaving out the first step's warm-up."""

    def __init__(self) -> None:
        self.seconds = self.impressions = 0.0
        self._steps = 0

    @contextlib.contextmanager
    def training(self, impressions: int) -> Iterator[None]:
        """Count the time of one step."""
        start = time.perf_counter()
        yield
        self._steps += 1
        if self._steps > 1:
            self.seconds += time.perf_counter() - start
            self.impressions += impressions

    def scalars(self) -> Scalars:
        """Return the rate of this worker in impressions per second."""
        return {"perf/impressions_per_s_per_worker": self.impressions / self.seconds if self.seconds else 0.0}
