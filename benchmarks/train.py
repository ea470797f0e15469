"""Training steps: tastelab against the plain loop that a user would write, both in this process, in turns.

The plain loop encodes every title of every real slot, padded to the longest of the batch, under bf16 autocast.
tastelab encodes each distinct title of the batch once, sorted by length. Model, LoRA, data, order of impressions, loss
and optimiser are the same, and so must be the losses.

    python benchmarks/train.py --data FOLDER [--steps 10] [--json]
"""

from __future__ import annotations

import ctypes
import gc
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import click
import numpy as np
import torch
from torch import nn
from torch.nn.functional import normalize

from tastelab.config import ClusterConfig, RunConfig, replace_at
from tastelab.data.catalog import resolve
from tastelab.data.tokens import build_store, store_path
from tastelab.evaluation.encode import autocast
from tastelab.modeling.encoders import encoder_fingerprint, find_encoder, load_tokenizer
from tastelab.modeling.ranker import build_ranker
from tastelab.schema import Batch
from tastelab.training.job import Job
from tastelab.training.local import LocalSession
from tastelab.training.loop import Plan, optimise
from tastelab.training.module import TrainingModule
from tastelab.training.optim import build_optimizer

SETTINGS = {
    "data.max_history": 20,
    "data.sampler.num_candidates": 16,
    "optim.global_batch": 16,
    "optim.learning_rate": 5e-4,
}


@dataclass
class Side:
    """One way to take a step, and what its steps measured."""

    name: str
    step: Callable[[Batch], float]
    seconds: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    peak_mb: float = 0.0

    def take(self, batch: Batch) -> None:
        """Take one step and note its time, loss and peak memory."""
        settle_memory()
        before = resident_mb()
        start = time.perf_counter()
        self.losses.append(self.step(batch))
        self.seconds.append(time.perf_counter() - start)
        self.peak_mb = max(self.peak_mb, peak_mb() - before)


def plain_side(config: RunConfig, encoder_path: str, titles: list[str]) -> Side:
    """Build the loop a user would write with transformers and peft."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(encoder_path, local_files_only=True)
    encoder = AutoModel.from_pretrained(encoder_path, local_files_only=True, add_pooling_layer=False)
    for module in encoder.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    torch.manual_seed(config.seed)
    targets = ["query", "key", "value", "dense"]
    model = get_peft_model(encoder, LoraConfig(r=8, lora_alpha=16, target_modules=targets))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=config.optim.learning_rate)

    def encode(texts: list[str]) -> torch.Tensor:
        tokens = tokenizer(texts, padding=True, truncation=True, max_length=32, return_tensors="pt")
        hidden = model(**tokens).last_hidden_state.float()
        mask = tokens["attention_mask"].unsqueeze(-1).float()
        return normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)

    def step(batch: Batch) -> float:
        total = torch.zeros(())
        history = batch.item_ids_U[batch.history_index_BH]
        shown = batch.item_ids_U[batch.candidate_index_BC]
        ids = torch.cat([history[batch.history_mask_BH], shown[batch.candidate_mask_BC]]).tolist()
        with torch.autocast("cpu", torch.bfloat16):
            vectors = encode([titles[i] for i in ids])
        clicks, candidates = vectors.split([int(batch.history_mask_BH.sum()), int(batch.candidate_mask_BC.sum())])
        clicks_of = clicks.split(batch.history_mask_BH.sum(1).tolist())
        candidates_of = candidates.split(batch.candidate_mask_BC.sum(1).tolist())
        for b, (mine, offered) in enumerate(zip(clicks_of, candidates_of, strict=True)):
            user = normalize(mine.mean(0), dim=0)
            labels = batch.labels_BC[b][batch.candidate_mask_BC[b]]
            log_p = (offered @ user / config.objective.temperature).log_softmax(0)
            total = total - (log_p * labels).sum() / labels.sum()
        loss = total / len(batch.rows_B)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), config.optim.clip_norm)
        optimizer.step()
        return float(loss.detach())

    return Side("plain loop", step)


def tastelab_side(config: RunConfig, encoder_path: str, precision: str = "bf16") -> Side:
    """Build tastelab's own step."""
    config = replace_at(config, {"optim.precision": precision})
    module = TrainingModule(build_ranker(config.model, encoder_path), config.objective, config.optim.global_batch)
    optimizer = build_optimizer(module, config.optim)
    plan = Plan(1, 1, 1, config.optim.global_batch, 0)

    def step(batch: Batch) -> float:
        return optimise(module, module, optimizer, [batch], config.optim, plan)["train/loss"]

    return Side("tastelab", step)


def settle_memory() -> None:
    """Give freed memory back to the system and reset the peak, so that the next peak is the next side's own."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")


def peak_mb() -> float:
    """Peak resident memory since the last reset."""
    return _status("VmHWM")


def resident_mb() -> float:
    """Resident memory now."""
    return _status("VmRSS")


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


def prepare(data: str, encoder: str, home: Path, steps: int) -> tuple[RunConfig, str, list[str], list[Batch]]:
    """Return the configuration, the encoder's folder, all titles and the batches of the first steps."""
    prepared, source = resolve(data, home), find_encoder(encoder)
    config = replace_at(RunConfig(), {"data.dataset": prepared.name, **SETTINGS})
    fingerprint = encoder_fingerprint(source.path)
    store = store_path(prepared, ("title",), 32, source.label, fingerprint)
    build_store(prepared, ("title",), 32, store, load_tokenizer(source.path))
    job = Job("benchmark", config, ClusterConfig(home=home), prepared.path, store, source.path, fingerprint)
    batches = list(islice(LocalSession(job).batches(0), steps))
    return config, source.path, prepared.items(["title"])["title"].to_pylist(), batches


@click.command()
@click.option("--data", default="synthetic", show_default=True)
@click.option("--encoder", default="all-MiniLM-L6-v2", show_default=True)
@click.option("--steps", default=10, show_default=True, help="Steps of each side; the first warms up.")
@click.option("--home", type=click.Path(path_type=Path), default=Path(tempfile.gettempdir()) / "tastelab-benchmark")
@click.option("--json", "as_json", is_flag=True)
def main(data: str, encoder: str, steps: int, home: Path, as_json: bool) -> None:
    """Compare training steps per second and memory of both sides."""
    config, path, titles, batches = prepare(data, encoder, home, steps + 1)
    sides = [plain_side(config, path, titles), tastelab_side(config, path)]
    for batch in batches:
        for side in sides:
            side.take(batch)
    rates = {side.name: len(batches[1].rows_B) / statistics.median(side.seconds[1:]) for side in sides}
    ratios = [a / b for a, b in zip(sides[0].seconds[1:], sides[1].seconds[1:], strict=True)]
    slots = [int(b.history_mask_BH.sum() + b.candidate_mask_BC.sum()) for b in batches]
    found = {
        "impressions_per_s": rates,
        "ratio_median": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "peak_mb_of_a_step": {side.name: round(side.peak_mb) for side in sides},
        "memory_ratio": sides[1].peak_mb / sides[0].peak_mb,
        "first_loss": {side.name: side.losses[0] for side in sides},
        "max_loss_difference": float(np.max(np.abs(np.subtract(sides[0].losses, sides[1].losses)))),
        "slots_per_distinct_item": sum(slots) / sum(len(b.item_ids_U) for b in batches),
        "precision": "bf16" if autocast("auto", torch.device("cpu")) else "fp32",
        "threads": torch.get_num_threads(),
        "pairs": len(ratios),
    }
    if as_json:
        print(json.dumps(found))
        return
    for name, rate in rates.items():
        print(f"{name:<12} {rate:6.1f} impressions/s, {found['peak_mb_of_a_step'][name]:,} MB above rest in a step")  # type: ignore[index]
    spread = f"median of {len(ratios)} pairs, {min(ratios):.2f} to {max(ratios):.2f}"
    print(f"ratio        {found['ratio_median']:.2f} ({spread})")
    print(f"memory       {found['memory_ratio']:.2f} of the plain loop's")
    print(f"loss         differs by at most {found['max_loss_difference']:.2e} over {len(batches)} steps")


if __name__ == "__main__":
    main()
