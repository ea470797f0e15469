"""A model on a whole split: `tastelab evaluate` and `tastelab submit`, in one process and without Ray."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from tastelab.config import Adaptation, EncoderConfig, ModelConfig, Pooling, RunConfig, replace_at
from tastelab.data.catalog import resolve
from tastelab.data.order import fitting_and_validation
from tastelab.data.tables import PreparedData
from tastelab.data.tokens import ItemTexts, TokenStore, build_store, check_features, store_path
from tastelab.evaluation.evaluate import Evaluation, Scored, evaluate, no_labels, score_split
from tastelab.evaluation.slices import Slices, slices
from tastelab.evaluation.submission import check_place, write_submission
from tastelab.evaluation.whitening import Whitening
from tastelab.modeling.encoders import encoder_fingerprint, find_encoder, load_tokenizer
from tastelab.modeling.ranker import Ranker, Resources, build_ranker
from tastelab.serving.checkpoint import Trained, open_checkpoint

Ints = npt.NDArray[np.int64]

DEFAULT_ENCODER = "all-MiniLM-L6-v2"


@dataclass(frozen=True)
class Request:
    """What a command asks for: a trained model, or the frozen encoder where no checkpoint is given."""

    data: str
    home: Path
    checkpoint: Path | None = None
    encoder: str | None = None
    split: str = "dev"
    max_history: int | None = None
    """None: what the checkpoint was trained with, 50 for the frozen encoder."""
    features: tuple[str, ...] | None = None
    ties: str = "expected"
    precision: str = "auto"


@dataclass(frozen=True)
class Ready:
    """A model and the data it will score."""

    ranker: Ranker
    data: PreparedData
    store: TokenStore
    max_history: int
    device: torch.device
    whitening: Whitening | None = None
    trained: Trained | None = None

    def seen_rows(self) -> Ints:
        """Return the train rows that the model was fitted to; none if it is untrained, or was trained on other data."""
        trained = self.trained
        same = trained is not None and trained.about.get("data", {}).get("fingerprint") == self.data.fingerprint
        if trained is None or not same or not trained.config.optim.epochs:
            return np.empty(0, np.int64)
        return fitting_and_validation(self.data, trained.config.data)[0]

    def score(self, request: Request) -> Scored:
        """Score every candidate of the split that is asked for."""
        return score_split(
            self.ranker,
            self.data,
            self.store,
            request.split,
            max_history=self.max_history,
            device=self.device,
            precision=request.precision,
            whitening=self.whitening,
        )


def prepare(request: Request, labelled: bool = False) -> Ready:
    """Load the model, resolve the data, tokenise what is not tokenised yet.

    Args:
        request: what is asked for.
        labelled: the split must have labels.

    Raises:
        ValueError: a name, folder, split or size is wrong.
    """
    if request.max_history is not None and request.max_history < 1:
        raise ValueError(f"max_history is {request.max_history}: choose at least 1 click.")
    check_features(request.features or ("title",))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # Names of models are checked first: preparing a large data set takes minutes.
    trained = open_checkpoint(request.checkpoint, request.encoder, device) if request.checkpoint else None
    source = trained.encoder if trained else find_encoder(request.encoder or DEFAULT_ENCODER)
    data = resolve(request.data, request.home)
    if not data.has_labels(request.split) and labelled:
        raise ValueError(no_labels(data, request.split))
    if trained:
        _check_items(trained, data)
        ranker, config, tokenizer = trained.ranker, trained.config, trained.tokenizer
        fingerprint = trained.encoder_fingerprint
    else:
        ranker = build_ranker(frozen_model(source.label), Resources(source.path, reuse_mb=0)).to(device).eval()
        config, tokenizer = RunConfig(), load_tokenizer(source.path)
        fingerprint = encoder_fingerprint(source.path)
    texts = ItemTexts.of(config)
    texts = replace(texts, features=request.features or texts.features)
    store = build_store(data, texts, store_path(data, texts, source.label, fingerprint), tokenizer)
    whitening = trained.whitening if trained else None
    return Ready(ranker, data, store, request.max_history or config.data.max_history, device, whitening, trained)


def _check_items(trained: Trained, data: PreparedData) -> None:
    """Refuse other items than those that a trained table of items has rows for."""
    about = trained.about.get("data", {})
    if trained.ranker.has_item_table and about.get("fingerprint") != data.fingerprint:
        raise ValueError(
            f"The checkpoint has trained vectors of the items of {about.get('name')} ({about.get('fingerprint')}), and "
            f"'{data.name}' is {data.fingerprint}: pass the data that it was trained on, or rank texts with "
            "`tastelab rank`."
        )


def frozen_model(encoder: str) -> ModelConfig:
    """Return the zero-shot model: the encoder as it comes, mean pooling, cosine."""
    parts = {"adaptation": Adaptation.named("frozen"), "pooling": Pooling.named("mean")}
    return replace_at(ModelConfig(encoder=EncoderConfig(name=encoder)), parts)


def evaluate_split(request: Request) -> Evaluation:
    """Measure a model on a labelled split."""
    return evaluate_slices(request)[0]


def evaluate_slices(request: Request) -> tuple[Evaluation, Slices]:
    """Measure a model on a labelled split, as a whole and in slices."""
    ready = prepare(request, labelled=True)
    found = evaluate(
        ready.ranker,
        ready.data,
        ready.store,
        request.split,
        max_history=ready.max_history,
        ties=request.ties,
        device=ready.device,
        precision=request.precision,
        whitening=ready.whitening,
    )
    return found, slices(ready.data, request.split, found, ready.seen_rows(), ready.max_history)


def submit_split(request: Request, output: Path) -> int:
    """Score a split, with or without labels, and write MIND's submission zip; return the number of impressions."""
    check_place(output)
    ready = prepare(request)
    scored = ready.score(request)
    names = ready.data.impressions(request.split, ["impression_id"])["impression_id"]
    write_submission(output, names.to_pylist(), scored.scores, scored.offsets)
    return len(names)


def as_lines(found: Evaluation, cut: Slices | None = None) -> str:
    """Format an evaluation for a person: a metric a line with its 95 % interval, the counts, then a slice a line."""
    lines = [f"{'metric':<8} {'mean':>7}  95 % interval        n"]
    for name, value in found.metrics.items():
        interval = f"{value['low']:.4f} – {value['high']:.4f}"
        lines.append(f"{name:<8} {value['mean']:>7.4f}  {interval}  {int(value['n']):>7,}")
    lines.append(", ".join(f"{name} {count:,}" for name, count in found.counts.items()))
    return "\n".join([*lines, *(_slice_lines(cut) if cut else [])])


def _slice_lines(cut: Slices) -> list[str]:
    """Align dimension, slice, number of impressions with an AUC, and AUC with its interval."""
    rows = [(name, str(part["slice"]), part) for name, parts in cut.items() for part in parts]
    wide = max(len(name) for name, _, _ in rows)
    narrow = max(len("slice"), *(len(label) for _, label, _ in rows))
    lines = ["", f"{'slice of':<{wide}}  {'slice':<{narrow}} {'n':>9} {'auc':>7}  95 % interval"]
    for name, label, part in rows:
        auc = part.get("metrics", {}).get("auc")
        measured = f"{auc['mean']:>7.4f}  {auc['low']:.4f} – {auc['high']:.4f}" if auc else f"too few ({part['n']})"
        lines.append(f"{name:<{wide}}  {label:<{narrow}} {part['n']:>9,} {measured}")
    return lines


def as_plain(found: Evaluation, cut: Slices | None = None) -> dict[str, object]:
    """Return an evaluation and its slices as JSON values; what is not a number becomes null."""

    def plain(value: float) -> float | None:
        return value if np.isfinite(value) else None

    metrics = {name: {key: plain(number) for key, number in value.items()} for name, value in found.metrics.items()}
    return {"metrics": metrics, "counts": found.counts} | ({} if cut is None else {"slices": cut})
