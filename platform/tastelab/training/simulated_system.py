"""A system of candidate generation that is trained on its own log, day after day, and serves a simulated population.

Shape letters: P users of a day, p those of this worker, N items, K vectors of a user, D width.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import nn
from torch.nn.functional import embedding

from tastelab.config import RetrievalConfig
from tastelab.data.negatives import Drawer
from tastelab.data.population import Population
from tastelab.data.population_log import PopulationLog, serving_batch, steps
from tastelab.data.propensity import Distribution
from tastelab.data.synthetic_world import Floats, Ints
from tastelab.evaluation.collectives import gather_ragged, rank, world_size
from tastelab.losses.contrast import ContrastiveLoss
from tastelab.modeling.candidates import CandidateModel, CandidateResources, build_candidate_model
from tastelab.modeling.histories import Histories
from tastelab.schema import SequenceBatch
from tastelab.training.candidate_module import CandidateModule, Drawn
from tastelab.training.catalogue import load_catalogue
from tastelab.training.curves import Curves
from tastelab.training.job import Job
from tastelab.training.loop import Clock, Session, check_finite, optimise
from tastelab.training.optim import build_optimizer


class TrainedSystem:
    """Implements `simulated_days.Policy`: `learn` trains on the log so far, from where the day before ended.

    The learning rate warms up once and then stays: there is no last day that it could fall towards. Which items have an
    embedding of their own, and what negatives are drawn from, follow the log.
    """

    greedy = False

    def __init__(self, job: Job, session: Session, population: Population) -> None:
        """Stand on one of the workers; the towers are built when there is a log to learn from."""
        self.job, self.session, self.population = job, session, population
        assert job.config.retrieval is not None and job.config.retrieval.simulation is not None
        self.config: RetrievalConfig = job.config.retrieval
        self.daily_epochs = job.config.retrieval.simulation.daily_epochs
        self.curves, self.clock = Curves(), Clock()
        self.step = self.epoch = 0
        self.module: CandidateModule | None = None
        self._log: PopulationLog | None = None

    @property
    def model(self) -> CandidateModel:
        """The towers as they stand."""
        assert self.module is not None
        return self.module.ranker

    def learn(self, log: PopulationLog, day: int) -> None:
        """Train on everything that was logged before `day`; every worker calls it.

        Raises:
            ValueError: the log is too small for the loss, or asks for a distribution that it does not know.
        """
        self._log = log
        epochs = self.daily_epochs
        if self.module is None:
            epochs = self.job.config.optim.epochs
            self._build(log)
        assert self.module is not None
        model = self.model
        model.catalogue = dataclasses.replace(model.catalogue, known_N=torch.from_numpy(log.clicked_N > 0))
        self.module.drawn = drawn(self.config, log, self.job.config.seed)
        self.module.train()
        for _ in range(epochs):
            self._pass(log)
            self.epoch += 1

    @torch.no_grad()
    def scores(self, users_P: Ints, day: int) -> Floats:
        """Score the whole catalogue by cosine / temperature, an item by the best of a user's vectors, `[P, N]`.

        Each worker serves its share of the users; the scores are gathered, so that all workers show the same slates.
        """
        assert self.module is not None and self._log is not None
        self.module.eval()
        users_p = np.array_split(users_P, world_size())[rank()]
        batch = serving_batch(self._log.clicks(), users_p, self.job.config.data.max_history).to(self.session.device)
        all_N = torch.arange(self.model.catalogue.num_items, device=self.session.device)
        items_ND = self.model.items(all_N).vectors_ED
        found = self.model.users(self._histories(batch, users_p, day))
        vectors_pKD = self.model.user_tower.serving(found, self.config.num_vectors)
        scores_pN = torch.einsum("pkd,nd->pkn", vectors_pKD, items_ND).amax(dim=1) / self.module.temperature()
        return torch.cat(gather_ragged(scores_pN)).double().cpu().numpy()

    def _build(self, log: PopulationLog) -> None:
        config, data = self.job.config, self.job.open_data()
        loss = self.config.loss
        assert isinstance(loss, ContrastiveLoss)
        loss.check(data.num_items, len(log.clicks().rows_with_history()))
        resources = CandidateResources(
            load_catalogue(self.job, data, log.clicked_N > 0, self.session.device),
            self.job.encoder_path,
            self.job.cluster.token_budget,
            self.job.cluster.reuse_mb,
            has_times=True,
            has_dwell=True,
            max_history=config.data.max_history,
        )
        model = build_candidate_model(config.model, self.config, resources, config.seed).to(self.session.device)
        self.module = CandidateModule(model, self.config, Drawn()).to(self.session.device)
        self._wrapped: nn.Module = self.session.wrap(self.module)
        self._optimizer = build_optimizer(self.module, config.optim)

    def _pass(self, log: PopulationLog) -> None:
        job, module = self.job, self.module
        assert module is not None
        share, optim = job.share(world_size(), rank()), job.config.optim
        for micro in steps(log.clicks(), share, job.config.data.max_history, job.config.seed, self.epoch):
            for group in self._optimizer.param_groups:
                group["lr"] = optim.learning_rate * min(1.0, (self.step + 1) / max(1, optim.warmup_steps))
            moved = [batch.to(self.session.device) for batch in micro]
            with self.clock.training(len(moved) * share.micro_batch):
                scalars = optimise(self._wrapped, module, self._optimizer, moved, optim)
            self.step += 1
            self.session.log(self.step, scalars)
            self.curves.add(self.step, scalars)
            check_finite(scalars, self.step)

    def _histories(self, batch: SequenceBatch, users_p: Ints, day: int) -> Histories:
        """Ask for each user as they come on the day, after all that they clicked before."""
        items = self.model.items(batch.item_ids_U)
        device = self.session.device
        return Histories(
            embedding(batch.clicks_BS, items.vectors_ED),
            batch.click_mask_BS,
            torch.arange(len(users_p), device=device),
            batch.click_mask_BS.sum(dim=1),
            embedding(batch.clicks_BS, items.categories_EC),
            batch.times_BS,
            batch.dwell_BS,
            torch.from_numpy(self.population.times(users_p, day)).to(device),
        )


def drawn(config: RetrievalConfig, log: PopulationLog, seed: int) -> Drawn:
    """Build the distributions over items that a loss asks for, as the log so far shows them.

    Raises:
        ValueError: it asks for the true policy, which a system in service does not know.
    """
    loss = config.loss
    assert isinstance(loss, ContrastiveLoss)
    wants = loss.wants(len(log.clicked_N))
    return Drawn(
        Drawer(logged(log, wants.distribution), wants.power) if wants.sampled else None,
        Drawer(logged(log, wants.propensity), 1.0) if wants.propensity else None,
        seed,
    )


def logged(log: PopulationLog, kind: str) -> Distribution:
    """Return a distribution over items by the log: clicks, logged (what was shown) or uniform."""
    counts = {"uniform": np.ones(len(log.clicked_N)), "clicks": log.clicked_N, "logged": log.shown_N}
    if kind not in counts:
        raise ValueError(f"The simulation logs no '{kind}' distribution: choose one of {', '.join(counts)}.")
    total = max(1.0, float(counts[kind].sum()))
    with np.errstate(divide="ignore"):
        log_p_N = np.log(counts[kind] / total).astype(np.float32)
    return Distribution(kind, log_p_N, floor=-float(np.log(total)))
