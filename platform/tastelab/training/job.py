"""One run, described so that any worker on any node can carry it out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tastelab.config import METHOD_VERSION, ClusterConfig, RunConfig, run_id, to_dict
from tastelab.data.clicks import fitting_and_validation_clicks
from tastelab.data.domains import rows_of
from tastelab.data.order import Share, fitting_and_validation, row_groups
from tastelab.data.sequence_collate import SequenceCollate
from tastelab.data.sequence_stream import SequencePipeline, sequence_pipeline
from tastelab.data.sequences import prepare_sequences
from tastelab.data.stream import Collate, Pipeline
from tastelab.data.tables import PreparedData, open_prepared
from tastelab.data.tokens import ItemTexts
from tastelab.training.loop import Plan

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Reading:
    """How a run reads item texts: with which encoder, and where their tokens are."""

    store_path: Path
    encoder_path: str
    """Folder or hub id of the encoder; for word tokens the folder of their vocabulary."""
    encoder_fingerprint: str


def reading_key(config: RunConfig) -> str:
    """Name what decides a run's `Reading`."""
    tokens = getattr(config.model.architecture, "tokens", "encoder")
    encoder = tokens if tokens == "words" else config.model.encoder.name
    return f"{encoder} {ItemTexts.of(config)}"


@dataclass(frozen=True)
class Job:
    """A run's science, its places, and what to keep of it."""

    run_id: str
    config: RunConfig
    cluster: ClusterConfig
    data_path: Path
    store_path: Path
    encoder_path: str
    encoder_fingerprint: str
    keep: bool = False
    """Leave the trained model and the per-impression values in the home folder."""
    readings: Mapping[str, Reading] = field(default_factory=dict)
    """Every way of reading that the runs of a launch need, by `reading_key`; empty: there is one."""

    def at(self, config: RunConfig, data_fingerprint: str, keep: bool = False) -> Job:
        """Describe the run of another configuration, which may read texts in another of the known ways."""
        here = Reading(self.store_path, self.encoder_path, self.encoder_fingerprint)
        reading = self.readings[reading_key(config)] if self.readings else here
        identity = run_id(config, data_fingerprint, reading.encoder_fingerprint)
        return replace(self, config=config, run_id=identity, keep=keep, **vars(reading))

    @property
    def tokenizer(self) -> Path | None:
        """Folder of the vocabulary, where words come with the data and not with an encoder."""
        words = getattr(self.config.model.architecture, "tokens", "encoder") == "words"
        return Path(self.encoder_path) if words else None

    @property
    def folder(self) -> Path:
        """Where the run's files lie: `<home>/runs/<run_id>`."""
        return self.cluster.home / "runs" / self.run_id

    @property
    def stop_file(self) -> Path:
        """A file whose presence asks the run to end after its present step."""
        return self.folder / "stop"

    @property
    def contrast_size(self) -> int:
        """Impressions per group of a coupled term."""
        return self.config.objective.contrast_size or self.config.optim.global_batch

    def open_data(self) -> PreparedData:
        """Open the prepared data set."""
        return open_prepared(self.data_path)

    def share(self, workers: int, rank: int) -> Share:
        """Return the part of each global batch that a worker sees."""
        return Share(self.config.optim.global_batch, workers, rank, self.cluster.accumulation)

    def pipeline(self) -> Pipeline | SequencePipeline:
        """Return what streams the fitting impressions, or the fitting clicks of a retrieval run."""
        data, config = self.open_data(), self.config.data
        if (retrieval := self.config.retrieval) is not None:
            sequences = prepare_sequences(data)
            fitting, _ = fitting_and_validation_clicks(sequences, config, retrieval.days)
            return sequence_pipeline(sequences, fitting, config.max_history, self.config.seed, retrieval.targets)
        fitting, _ = fitting_and_validation(data, config)
        single = getattr(self.config.objective.loss, "single_positive", False)
        return Pipeline(
            tuple(row_groups(data, "train", fitting)),
            config.sampler,  # type: ignore[arg-type]
            config.max_history,
            self.config.seed,
            max_positives=1 if single else None,
        )

    def collate(self, epoch: int) -> Collate | SequenceCollate:
        """Return what makes batches of the rows that `pipeline` streams."""
        return Collate(self.store_path) if self.config.retrieval is None else SequenceCollate(epoch)

    def plan(self, num_fitting: int) -> Plan:
        """Return how long the run is and when it validates."""
        optim = self.config.optim
        return Plan(
            steps_per_epoch=-(-num_fitting // optim.global_batch),
            epochs=optim.epochs,
            accumulation=self.cluster.accumulation,
            validations=self.config.evaluation.validations,
        )

    def evaluation_rows(self, data: PreparedData) -> tuple[str, Ints]:
        """Return the split and the rows that the final evaluation measures."""
        split, domains = self.config.evaluation.split, self.config.evaluation.domains
        if split == "validation":
            split, rows = "train", fitting_and_validation(data, self.config.data)[1]
        else:
            rows = np.arange(data.num_impressions(split))
        return split, rows if domains is None else np.intersect1d(rows, rows_of(data, split, domains))

    def about(self) -> dict[str, object]:
        """Return what a checkpoint says of its run."""
        data = self.open_data()
        return {
            "run_id": self.run_id,
            "config": to_dict(self.config),
            "encoder": {"name": self.config.model.encoder.name, "fingerprint": self.encoder_fingerprint},
            "data": {"name": self.config.data.dataset, "fingerprint": data.fingerprint, "num_items": data.num_items}
            | ({"has_feedback": True} if data.has_feedback else {}),
            "method_version": METHOD_VERSION,
        }
