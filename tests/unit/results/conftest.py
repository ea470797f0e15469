"""Records as a sweep over LoRA ranks leaves them: 5 groups, 3 seeds, 24 trials, 5 baselines, all invented."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable
from typing import Any

import pytest

GROUPS = {"full": "full fine-tuning", "lora-2": "LoRA r=2", "lora-8": "LoRA r=8", "lora-32": "LoRA r=32"}
AUC = {"full": 0.731, "lora-2": 0.722, "lora-8": 0.748, "lora-32": 0.744}
TRAINED = {"full": 10_645_248, "lora-2": 331_776, "lora-8": 1_327_104, "lora-32": 5_308_416}
BASELINES = {"random": 0.5, "popularity": 0.512, "newest": 0.497, "tfidf": 0.574, "frozen": 0.621}


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the store write dozens of made-up records without waiting for the disk after each."""
    monkeypatch.setattr(os, "fsync", lambda file: None)


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


GRID = {"Bi-encoder BCE": 0.572, "Bi-encoder MINCE": 0.585, "ID-SAS BCE": 0.561, "Cross-encoder BCE": 0.592}
NOISE = (0.0021, -0.0013, 0.0004)


def cell(row: str, data: str, seed: int, shift: float = 0.0, **changes: Any) -> dict[str, Any]:
    """Build one run of a grid: `changes` replace top-level fields."""
    identity = hashlib.sha256(repr((row, data, seed, changes.get("size"))).encode()).hexdigest()[:12]
    config = {
        "data": {"train_impressions": 256 if row.startswith("Cross") else 1024},
        "model": {"row": row},
        "optim": {"epochs": 1, "learning_rate": 5e-4, "weight_decay": 0.01, "global_batch": 32},
        "seed": seed,
    }
    fields = {
        "run_id": identity,
        "experiment": "main_table",
        "label": row,
        "config": config,
        "params_trained": 10_645_248,
        "data": {"name": data, "fingerprint": hashlib.sha256(data.encode()).hexdigest()[:12]},
        "latency_ms": {"warm_1": 5.3125 if "Cross" not in row else 212.5, "warm_64": 0.04321, "cold_1": 31.0},
    }
    return make("final", row, GRID[row] + shift + NOISE[seed], seed, **(fields | changes))


def compared(runs: list[dict[str, Any]], against: list[dict[str, Any]], p: float, **changes: Any) -> dict[str, Any]:
    """Build the record of a paired test of one row's runs against another's."""
    mean = sum(run["metrics"]["auc"]["mean"] for run in runs) / len(runs)
    gap = mean - sum(run["metrics"]["auc"]["mean"] for run in against) / len(against)
    test = {
        **{"metric": "auc", "against": against[0]["label"], "test": "paired permutation", "n": 895},
        **{"runs": [run["run_id"] for run in runs], "against_runs": [run["run_id"] for run in against]},
        **{"difference": gap, "low": gap - 0.01, "high": gap + 0.012, "p": p, "seeds": len(runs)},
    }
    kept = ("experiment", "size", "group", "label", "data", "encoder", "split", "dialect", "git", "method_version")
    shared = {key: runs[0][key] for key in kept}
    return {"run_id": hashlib.sha256(repr(test).encode()).hexdigest()[:12], "role": "comparison"} | (
        shared | {"status": "finished", "comparison": test} | changes
    )


@pytest.fixture
def grid() -> list[dict[str, Any]]:
    """A main table half-way: whole rows, one with a failed seed, tests that hold and one that holds no more.

    On `mix_sample` the cross-encoder is pending; on `synthetic` it has one seed and its test was made with three.
    """
    records = []
    for data, shift in (("mix_sample", 0.0), ("synthetic", 0.12)):
        runs = {row: [cell(row, data, seed, shift) for seed in range(3)] for row in list(GRID)[:3]}
        first = runs["Bi-encoder BCE"]
        if data == "synthetic":
            broken = {"status": "failed", "metrics": None, "error": "RuntimeError: the loss became NaN at step 12"}
            runs["ID-SAS BCE"][2] |= broken
            runs["Cross-encoder BCE"] = [cell("Cross-encoder BCE", data, 0, shift)]
        records += [run for row in runs.values() for run in row]
        records.append(compared(runs["Bi-encoder MINCE"], first, 0.0031))
        records.append(compared([run for run in runs["ID-SAS BCE"] if run["status"] == "finished"], first, 0.0402))
        fields = {"data": first[0]["data"], "experiment": "main_table"}
        levels = {name: auc + shift / 2 for name, auc in BASELINES.items()}
        records += [make("baseline", name, level, run_id=f"{name}-{data}", **fields) for name, level in levels.items()]
    far = [cell("Cross-encoder BCE", "synthetic", seed, 0.12) for seed in range(3)]
    records.append(compared(far, [run for run in records if run["group"] == "Bi-encoder BCE"][3:6], 0.0001))
    records += [cell(row, "synthetic-smoke", 0, -0.05, size="smoke") for row in GRID]
    return records


def probed(of: dict[str, Any], name: str, auc: float | None, order: int = 0, /, **changes: Any) -> dict[str, Any]:
    """Build the probe of a run; `changes` replace top-level fields, `data` and `evaluation` parts of its config."""
    config = of["config"] | {
        "data": of["config"].get("data", {}) | changes.pop("data_config", {}),
        "evaluation": {"split": "dev"} | changes.pop("evaluation", {}),
    }
    shared = {key: of[key] for key in ("experiment", "size", "group", "label", "seed", "data", "encoder")}
    identity = hashlib.sha256(repr((of["run_id"], name, config)).encode()).hexdigest()[:12]
    own = {"run_id": identity, "of": of["run_id"], "probe": name, "probe_order": order, "config": config}
    return make("probe", of["group"], auc, of["seed"]) | shared | own | changes


DOMAINS = ("ai", "beer", "physics")
TRANSFER = {  # row → domains that it was trained on, AUC on each of DOMAINS
    "ai": (["ai"], (0.70, 0.55, 0.56)),
    "beer": (["beer"], (0.52, 0.66, 0.48)),
    "All": (None, (0.68, 0.64, 0.62)),
    "All but physics": (["ai", "beer"], (0.69, 0.67, 0.58)),
}


def trained(row: str, domains: list[str] | None, seed: int = 0, **changes: Any) -> dict[str, Any]:
    """Build one run of a transfer study."""
    data = {"features": ["title"]} | ({} if domains is None else {"domains": domains})
    identity = hashlib.sha256(repr((row, seed, changes.get("size"))).encode()).hexdigest()[:12]
    fields = {"experiment": "transfer", "run_id": identity, "label": row, "config": {"data": data, "seed": seed}}
    return make("final", row, 0.6, seed, **(fields | changes))


@pytest.fixture
def transfer() -> list[dict[str, Any]]:
    """Four models and the frozen encoder on three domains and on all, two seeds .01 apart; frozen on physics waits."""
    runs = [trained(row, domains, seed) for row, (domains, _) in TRANSFER.items() for seed in (0, 1)]
    frozen = {"experiment": "transfer", "label": "Frozen encoder", "config": {"baseline": "frozen"}}
    records = [*runs, make("baseline", "frozen", 0.56, **frozen)]
    levels = {name: aucs for name, (_, aucs) in TRANSFER.items()} | {"frozen": (0.6, 0.57)}
    for run in list(records):
        shift = 0.01 * run["seed"]
        for order, (name, auc) in enumerate(zip(DOMAINS, levels[run["group"]], strict=False), start=1):
            records.append(probed(run, name, auc + shift, order, evaluation={"domains": [name]}))
        records.append(probed(run, "everything", 0.6 + shift, 0))
    return records


@pytest.fixture
def probe() -> Callable[..., dict[str, Any]]:
    """Builder of the probe of a run: run, name, AUC, order, and any fields."""
    return probed


SYSTEMS = {"Full softmax": (0.08, 600, 0.006), "CLRec": (0.12, 900, 0.003), "IPW": (0.1, 1200, 0.0015)}
SPREAD = (0.002, -0.002)


def retrieved(role: str, group: str, seed: int = 0, values: dict[str, float] | None = None, **changes: Any) -> Any:
    """Build one record of candidate generation; `values` are further metrics."""
    hr, diversity, popularity = SYSTEMS.get(group, (0.05, 60, 0.009) if group == "popularity" else (0.03, 1500, 0.0006))
    hr += SPREAD[seed] if role != "baseline" else 0
    found = {"hr@50": hr, "hr@10": hr / 3, "diversity": diversity, "coverage": diversity / 1682, "gini": 0.7}
    found |= {"popularity": popularity} | (values or {})
    config = {"retrieval": {"metric": "hr@50", "ks": [10, 50]}, "row": group, "seed": seed}
    fields: dict[str, Any] = {
        "experiment": "candidate_generation",
        "label": group,
        "config": {"baseline": group} if role == "baseline" else config,
        "metrics": {name: {"mean": v, "low": 0.9 * v, "high": 1.1 * v, "n": 943} for name, v in found.items()},
        "counts": {"n_total": 2000, "n_users": 943, "n_diversity_users": 500, "n_cold_targets": 12},
        "degrees": {"edges": [0, 1, 2, 4], "items": [1000 - seed, 600 + seed, 82], "catalogue": [900, 700, 82]},
        "data": {"name": "ml-100k", "fingerprint": "0d0d"},
        "encoder": None,
    }
    return make(role, group, None, seed, **(fields | changes))


@pytest.fixture
def retrieval() -> Callable[..., dict[str, Any]]:
    """Builder of one record of candidate generation: role, group, seed, further metrics, and any fields."""
    return retrieved


@pytest.fixture
def candidates() -> list[dict[str, Any]]:
    """Three systems of two seeds each, three baselines, and a test of CLRec against the first."""
    records = [retrieved("final", group, seed) for group in SYSTEMS for seed in range(2)]
    sides = {group: [r["run_id"] for r in records if r["group"] == group] for group in SYSTEMS}
    test = {
        **{"metric": "hr@50", "against": "Full softmax", "test": "paired permutation", "n": 943, "seeds": [0, 1]},
        **{"difference": 0.04, "low": 0.03, "high": 0.05, "p": 0.001},
        **{"runs": sides["CLRec"], "against_runs": sides["Full softmax"]},
    }
    baselines = [retrieved("baseline", name) for name in ("random", "popularity", "frozen")]
    compared_ = retrieved("comparison", "CLRec", run_id="c0c0", metrics=None, comparison=test)
    return [*records, *baselines, compared_]
