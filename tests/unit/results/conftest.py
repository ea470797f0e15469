"""Records as a sweep over LoRA ranks leaves them: 5 groups, 3 seeds, 24 trials, 5 baselines, all invented."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from typing import Any

import pytest

GROUPS = {"full": "full fine-tuning", "lora-2": "LoRA r=2", "lora-8": "LoRA r=8", "lora-32": "LoRA r=32"}
AUC = {"full": 0.731, "lora-2": 0.722, "lora-8": 0.748, "lora-32": 0.744}
TRAINED = {"full": 10_645_248, "lora-2": 331_776, "lora-8": 1_327_104, "lora-32": 5_308_416}
BASELINES = {"random": 0.5, "popularity": 0.512, "newest": 0.497, "tfidf": 0.574, "frozen": 0.621}


def metrics(auc: float, n: int = 895) -> dict[str, dict[str, float]]:
    values = {"auc": auc, "mrr": auc - 0.36, "ndcg@5": auc - 0.33, "ndcg@10": auc - 0.27}
    return {name: {"mean": v, "low": v - 0.017, "high": v + 0.017, "n": n} for name, v in values.items()}


def make(role: str, group: str, auc: float | None, seed: int = 0, **changes: Any) -> dict[str, Any]:
    """Build one record; `changes` replace top-level fields."""
    config: dict[str, Any] = {"baseline": group} if role == "baseline" else {"rank": group, "seed": seed}
    identity = hashlib.sha256(repr((role, group, seed, changes.get("trial"))).encode()).hexdigest()[:12]
    record: dict[str, Any] = {
        "run_id": identity,
        "experiment": "lora_rank_sweep",
        "role": role,
        "status": "finished",
        "size": "default",
        "label": GROUPS.get(group, group),
        "group": group,
        "config": config,
        "method_version": 1,
        "seed": seed,
        "metrics": metrics(auc) if auc is not None else None,
        "counts": {"n_total": 900, "n_scored": 897, "n_single_class": 2, "n_empty_history": 31},
        "split": "validation" if role == "search" else "dev",
        "dialect": "expected",
        "features": ["title"],
        "params_trained": TRAINED.get(group, 0),
        "params_total": 22_713_216 if role != "baseline" else None,
        "data": {"name": "synthetic", "fingerprint": "5d3f0a91c2be", "best_auc": 0.842},
        "encoder": {"name": "all-MiniLM-L6-v2", "fingerprint": "77e1c0ffee12"} if role != "baseline" else None,
        "git": {"commit": "3f9a1c2e7d0b45689a7c1234567890abcdef0123", "dirty": False},
        "versions": {"python": "3.11.7", "torch": "2.13.0+cpu"},
        "hardware": {"cpus": 2, "gpu": None, "workers": 2},
        "wall_time_s": 41.5 + seed,
        "throughput": {"impressions_per_s": 31.25} if role != "baseline" else None,
        "peak_memory_mb": 1710.4 if role != "baseline" else None,
        "values": f"runs/{identity}/impressions.npz",
        "finished_at": f"2026-03-0{1 + seed}T10:00:00Z",
    }
    return record | changes


def trial(number: int, group: str, rng: random.Random) -> dict[str, Any]:
    """Build one search trial: better near a learning rate of 6e-4, every third pruned, the seventh failed."""
    rate, temperature = 10 ** rng.uniform(-4, -2.5), 10 ** rng.uniform(-2, -0.7)
    auc = AUC[group] - 0.02 - 0.05 * abs(rate / 6e-4 - 1) ** 0.5 - 0.2 * abs(temperature - 0.05)
    curve = [[step, auc - 0.06 / (1 + i)] for i, step in enumerate((25, 50, 75, 100))]
    status = "failed" if number == 6 else "pruned" if number % 3 == 2 else "finished"
    entry = {"number": number, "params": {"learning_rate": rate, "temperature": temperature}, "curve": curve}
    if status != "finished":
        entry["curve"] = curve[:2] if status == "pruned" else []
    error = {"error": "ValueError: the loss became NaN at step 12"} if status == "failed" else {}
    return make("search", group, auc if status == "finished" else None, 0, trial=entry, status=status, **error)


@pytest.fixture
def sweep() -> list[dict[str, Any]]:
    rng = random.Random(7)
    search = [trial(number, list(GROUPS)[number % 4], rng) for number in range(24)]
    shift = (0.0021, -0.0013, 0.0004)
    finals = [make("final", group, AUC[group] + shift[seed], seed) for group in GROUPS for seed in range(3)]
    return search + finals + [make("baseline", name, auc) for name, auc in BASELINES.items()]


@pytest.fixture
def run() -> Callable[..., dict[str, Any]]:
    """Builder of one record: role, group, AUC, seed, and any fields."""
    return make
