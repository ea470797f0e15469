"""The two towers of candidate generation with their objective in one module, as the loop trains it [B].

Every worker encodes its own windows, and its share of what is contrasted with besides; the vectors are gathered, and
every worker computes the loss of the whole global batch with gradient through its own vectors alone. Scaled by the
number of workers, DDP's mean is then the gradient of that loss, whatever their number.

Shape letters: N examples of the global batch, n those of this worker, B windows, S slots, E items encoded in a step, D
width, L sampled negatives, Q places of the queue, H intents.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding

from tastelab.config import RetrievalConfig
from tastelab.data.negatives import Drawer
from tastelab.evaluation.collectives import gather_equal, gather_ragged, rank, sum_over_ranks, world_size
from tastelab.losses.contrast import Contrast, ContrastiveLoss, Intents, Queued, Sampled, Wants
from tastelab.losses.multi_clrec import routed
from tastelab.losses.objective import Temperature
from tastelab.losses.queue import IntentQueues, Queue
from tastelab.modeling.candidates import CandidateModel
from tastelab.modeling.histories import Histories, Users
from tastelab.schema import SequenceBatch
from tastelab.training.trainable import Trainable


@dataclass(frozen=True)
class Count:
    """Examples of an optimiser step over all workers: what the sum of their losses is divided by."""

    examples: float


@dataclass(frozen=True)
class Drawn:
    """What a loss draws from, and what it weighs by; None where it does neither."""

    negatives: Drawer | None = None
    propensity: Drawer | None = None
    seed: int = 0


@dataclass(frozen=True)
class _Step:
    """What this worker encoded of a step."""

    histories: Histories
    users: Users
    positives_nD: Tensor
    ids_n: Tensor
    last_n: Tensor
    """Item of the last click that each query sees."""
    categories_nE: Tensor
    ids_E: Tensor
    vectors_ED: Tensor
    place: Mapping[str, Tensor]
    """Places, in `vectors_ED`, of this worker's share of what is contrasted with."""


class CandidateModule(Trainable):
    """Towers, temperature, queues and loss: `forward` returns this worker's scaled loss and its named parts."""

    kept_apart = ("queue", "intent_queues")
    steps_done: Tensor

    def __init__(self, model: CandidateModel, config: RetrievalConfig, drawn: Drawn) -> None:
        """Join the towers and an objective.

        Args:
            model: the towers.
            config: loss and temperature.
            drawn: distributions over items, as far as the loss asks for them.
        """
        super().__init__()
        self.ranker: CandidateModel = model
        self.temperature = Temperature(config.temperature, config.learnable_temperature)
        self.loss = cast(ContrastiveLoss, config.loss)
        self.wants: Wants = self.loss.wants(model.catalogue.num_items)
        self.drawn = drawn
        wants, num_intents = self.wants, model.user_tower.num_vectors
        width = model.width if wants.cached else 0  # IDs alone have no vectors
        self.queue = Queue(wants.queue, width) if wants.queue else None
        self.intent_queues = IntentQueues(num_intents, wants.intent_queue, width) if wants.intent_queue else None
        self.register_buffer("steps_done", torch.zeros((), dtype=torch.int64))
        self._leaving: tuple[Tensor, Tensor] | None = None

    def normaliser(self, micro: list[SequenceBatch]) -> Count:
        """Count the targets of a step over all workers."""
        own = torch.stack([batch.target_mask_BS.sum() for batch in micro]).sum().float()
        return Count(max(1.0, float(sum_over_ranks(own))))

    def objective_state(self) -> dict[str, Tensor]:
        """Return what a checkpoint keeps beside the towers: a learnable temperature, the queues, the steps done."""
        kept: dict[str, Tensor] = {"steps_done": self.steps_done}
        kept |= {f"temperature.{n}": p for n, p in self.temperature.named_parameters() if p.requires_grad}
        for name, queue in (("queue", self.queue), ("intent_queues", self.intent_queues)):
            kept |= {} if queue is None else {f"{name}.{n}": b for n, b in queue.named_buffers()}
        return {f"objective.{name}": value for name, value in kept.items()}

    def forward(self, batch: SequenceBatch, by: Count) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute this worker's part of the step's loss; see `training.module.TrainingModule.forward`."""
        self.ranker.item_tower.draw_by(self.drawn.seed, batch.epoch, batch.step)
        step = self._encode(batch)
        with torch.autocast(step.positives_nD.device.type, enabled=False):
            contrast = self._contrast(step, batch)
            terms = self.loss(contrast)
            total = terms.loss_N.sum() / by.examples
        self._leaving = (contrast.positive_ids_N, contrast.positives_ND.detach())
        parts = {name: value.detach() / world_size() for name, value in terms.parts.items()}
        return total * world_size(), parts | {"loss": total.detach() / world_size()}

    @torch.no_grad()
    def after_step(self) -> dict[str, float]:
        """Enqueue the positives of the step, of all workers in their order; return the age and size of the queue."""
        self.steps_done += 1
        if self.queue is None or self._leaving is None:
            return {}
        now = int(self.steps_done)
        ids_N, vectors_ND = self._leaving
        left_ids, left_vectors = self.queue.enqueue(ids_N, vectors_ND, now)
        if self.intent_queues is not None and len(left_ids):
            categories = self.ranker.categories(left_ids)
            log_routing = self.ranker.user_tower.log_routing(categories)
            kept = routed(log_routing)
            intents = log_routing.argmax(dim=1)[kept]
            self.intent_queues.enqueue(left_ids[kept], left_vectors[kept], intents, now)
        self._leaving = None
        return {"queue/staleness": float(self.queue.staleness(now)), "queue/filled": float(self.queue.num_filled)}

    def _encode(self, batch: SequenceBatch) -> _Step:
        """Encode every item that this worker needs once, then its users."""
        row_n, slot_n = batch.target_mask_BS.nonzero(as_tuple=True)
        last_n = batch.item_ids_U[batch.clicks_BS[row_n, (slot_n - 1).clamp(min=0)]]
        # The row of each target, not of its window's last click: no two of a window draw alike.
        behind_n = batch.click_mask_BS.sum(dim=1)[row_n] - 1 - slot_n
        wanted = self._wanted(batch, batch.rows_B[row_n] - behind_n, last_n)
        sizes = [len(batch.item_ids_U), *(ids.numel() for ids in wanted.values())]
        ids = torch.cat([batch.item_ids_U, *(ids.flatten() for ids in wanted.values())])
        ids_E, place_all = torch.unique(ids, return_inverse=True)
        items = self.ranker.items(ids_E)
        place_U, *places = place_all.split(sizes)
        place = {name: part.view(ids.shape) for (name, ids), part in zip(wanted.items(), places, strict=True)}
        clicks_BS = place_U[batch.clicks_BS]
        histories = Histories(
            embedding(clicks_BS, items.vectors_ED),
            batch.click_mask_BS,
            row_n,
            slot_n,
            embedding(clicks_BS, items.categories_EC),
            batch.times_BS,
            batch.dwell_BS,
            None if batch.times_BS is None else batch.times_BS[row_n, slot_n],
        )
        targets_n = clicks_BS[row_n, slot_n]
        users = self.ranker.users(histories)
        return _Step(
            histories,
            users,
            items.vectors_ED[targets_n],
            ids_E[targets_n],
            last_n,
            items.categories_EC[targets_n],
            ids_E,
            items.vectors_ED,
            place,
        )

    def _wanted(self, batch: SequenceBatch, rows_n: Tensor, last_n: Tensor) -> dict[str, Tensor]:
        """Return the rows of items that this worker has to encode beside its windows', by what they are for."""
        wants, device = self.wants, rows_n.device
        wanted: dict[str, Tensor] = {}
        if wants.catalogue:
            wanted["catalogue"] = _share(torch.arange(self.ranker.catalogue.num_items, device=device))
        if wants.sampled:
            drawer = self.drawn.negatives
            assert drawer is not None
            if wants.shared:
                ids = _share(torch.from_numpy(drawer.shared(wants.sampled, self.drawn.seed, batch.epoch, batch.step)))
            else:
                arrays = (rows_n.cpu().numpy(), self.drawn.seed, batch.epoch, last_n.cpu().numpy())
                ids = torch.from_numpy(drawer.each(wants.sampled, *arrays))
            wanted["sampled"] = ids.to(device)
        if self.queue is not None and not wants.cached:
            queued = self.queue.contents()
            wanted["queue"] = _share(queued.ids_Q[queued.mask_Q])
        if self.intent_queues is not None and not wants.cached:
            ids_HR, _, mask_HR = self.intent_queues.contents()
            wanted["intents"] = _share(ids_HR[mask_HR])
        return wanted

    def _contrast(self, step: _Step, batch: SequenceBatch) -> Contrast:
        tower, users = self.ranker.user_tower, step.users
        shared = {name: whole(step.vectors_ED[place]) for name, place in step.place.items() if name != "sampled"}
        ids_N, last_N = whole(step.ids_n), whole(step.last_n)
        return Contrast(
            users_NKD=whole(users.vectors_NKD),
            users_ND=whole(tower.meet(users, step.positives_nD)),
            positives_ND=whole(step.positives_nD),
            positive_ids_N=ids_N,
            temperature=_own_share(self.temperature()),
            sampled=self._sampled(step, batch, ids_N, last_N),
            queue=self._queued(shared),
            catalogue_MD=shared.get("catalogue"),
            log_q_N=self._propensity(ids_N, last_N),
            num_items=self.ranker.catalogue.num_items,
            intents=self._intents(step, shared.get("intents")) if self.loss.needs_intents else None,
        )

    def _sampled(self, step: _Step, batch: SequenceBatch, ids_N: Tensor, last_N: Tensor) -> Sampled | None:
        drawer, wants = self.drawn.negatives, self.wants
        if not wants.sampled or drawer is None:
            return None
        place, last, device = step.place["sampled"], last_N.cpu().numpy(), ids_N.device
        log_p_positive_N = _floats(drawer.log_p(ids_N.cpu().numpy(), last), device)
        ids = whole(step.ids_E[place])
        log_p = _floats(drawer.log_p(ids.cpu().numpy(), None if wants.shared else last), device)
        if wants.shared:
            return Sampled(ids, whole(step.vectors_ED[place]), log_p, log_p_positive_N)
        # An item is drawn many times: its vector travels once, and is not copied for its draws.
        place_NL = whole(place + _rows_before(len(step.vectors_ED), device))
        return Sampled(ids, whole(step.vectors_ED), log_p, log_p_positive_N, place_NL)

    def _propensity(self, ids_N: Tensor, last_N: Tensor) -> Tensor | None:
        drawer = self.drawn.propensity
        if drawer is None:
            return None
        return _floats(drawer.log_p(ids_N.cpu().numpy(), last_N.cpu().numpy()), ids_N.device)

    def _queued(self, shared: Mapping[str, Tensor]) -> Queued | None:
        if self.queue is None:
            return None
        queued = self.queue.contents()
        if "queue" not in shared:
            return queued
        vectors_QD = shared["queue"].new_zeros((len(queued.ids_Q), self.ranker.width))
        vectors_QD = vectors_QD.masked_scatter(queued.mask_Q.unsqueeze(1), shared["queue"])
        return Queued(queued.ids_Q, vectors_QD, queued.mask_Q)

    def _intents(self, step: _Step, encoded_ED: Tensor | None) -> Intents:
        """Gather what intents know; the IDs in their queues are encoded anew unless the queues hold vectors."""
        users, queues = step.users, self.intent_queues
        assert users.weights_NK is not None and users.routing_K is not None and users.num_routed is not None
        assert queues is not None
        routed_K = whole(users.routing_K[None]).sum(dim=0)
        ids_HR, vectors_HRD, mask_HR = queues.contents()
        if encoded_ED is not None:
            vectors_HRD = encoded_ED.new_zeros((*ids_HR.shape, self.ranker.width))
            vectors_HRD = vectors_HRD.masked_scatter(mask_HR.unsqueeze(2), encoded_ED)
        return Intents(
            whole(users.weights_NK),
            whole(self.ranker.user_tower.log_routing(step.categories_nE)),
            routed_K / whole(users.num_routed[None]).sum().clamp(min=1.0),
            ids_HR,
            vectors_HRD,
            mask_HR,
        )


def whole(values_n: Tensor) -> Tensor:
    """Concatenate the tensors of all workers along dim 0, in rank order, with gradient through this worker's own."""
    if world_size() == 1:
        return values_n
    parts = gather_ragged(values_n)
    parts[rank()] = values_n
    return torch.cat(parts)


def _share(ids: Tensor) -> Tensor:
    """Return this worker's contiguous part of what all workers encode together."""
    return ids.tensor_split(world_size())[rank()]


def _rows_before(num_rows: int, device: torch.device) -> int:
    """Return how many rows the workers before this one put into `whole`, if this one puts in `num_rows`."""
    return int(gather_equal(torch.tensor([num_rows], device=device))[: rank()].sum())


def _own_share(value: Tensor) -> Tensor:
    """Pass on one part in W of the gradient: every worker has the whole gradient of what all of them share."""
    return value.detach() + (value - value.detach()) / world_size()


def _floats(values: np.ndarray[tuple[int, ...], np.dtype[np.generic]], device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)).to(device)
