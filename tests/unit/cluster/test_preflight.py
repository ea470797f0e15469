"""Preflight: the trials that fit, the share of a worker, the batch of a worker, and what is said when they do not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tastelab.cluster.preflight import batch_per_worker, concurrency, worker_cpus


@pytest.mark.parametrize(
    ("cpus", "gpus", "workers", "cpus_per_worker", "gpus_per_worker", "expected"),
    [
        (2, 0, 2, 0.4, 0.0, 1),  # 0.01 + 0.8 + 1 = 1.81
        (2, 0, 1, 0.9, 0.0, 1),
        (3.02, 0, 2, 0.5, 0.0, 2),  # 2 · 1.01 + 1 = 3.02, exactly full
        (64, 0, 2, 1.0, 0.0, 31),  # 63 / 2.01 = 31.3
        (64, 4, 2, 1.0, 1.0, 2),
        (64, 4, 2, 1.0, 0.5, 4),
        (4, 8, 2, 1.0, 1.0, 1),  # CPUs bind, not GPUs
    ],
)
def test_concurrency_by_hand(
    cpus: float, gpus: float, workers: int, cpus_per_worker: float, gpus_per_worker: float, expected: int
) -> None:
    assert concurrency(cpus, gpus, workers, cpus_per_worker, gpus_per_worker) == expected


@given(
    cpus=st.integers(2, 200),
    workers=st.integers(1, 8),
    tenths=st.integers(1, 20),
    gpus=st.integers(0, 16),
    halves=st.integers(0, 2),
)
def test_concurrency_is_the_largest_that_fits(cpus: int, workers: int, tenths: int, gpus: int, halves: int) -> None:
    share, gpu_share = tenths / 10, halves / 2

    def fits(trials: int) -> bool:  # in hundredths and halves, so that no rounding enters
        return trials * (1 + workers * tenths * 10) + 100 <= cpus * 100 and trials * workers * halves <= gpus * 2

    if not fits(1):
        with pytest.raises(ValueError, match="One trial of"):
            concurrency(cpus, gpus, workers, share, gpu_share)
        return
    trials = concurrency(cpus, gpus, workers, share, gpu_share)
    assert fits(trials)
    assert not fits(trials + 1)


def test_too_few_cpus_says_what_is_there_and_what_is_needed() -> None:
    with pytest.raises(ValueError, match=r"2 workers needs 2\.01 CPUs .* has 2: use fewer workers"):
        concurrency(2, 0, 2, 0.5, 0)


def test_too_few_gpus_says_what_is_there_and_what_is_needed() -> None:
    with pytest.raises(ValueError, match=r"2 workers needs 2 GPUs \(1 per worker\) but the cluster has 1: use fewer"):
        concurrency(16, 1, 2, 1, 1)


@pytest.mark.parametrize(
    ("cpus", "workers", "expected"),
    [(2, 2, 0.4), (2, 1, 0.9), (3, 2, 0.9), (4, 2, 1.0), (4, 4, 0.7), (64, 2, 1.0), (2, 9, 0.1)],
)
def test_worker_share_by_hand(cpus: float, workers: int, expected: float) -> None:
    assert worker_cpus(cpus, workers, None) == pytest.approx(expected)


@given(cpus=st.integers(2, 128), workers=st.integers(1, 64))
def test_a_share_that_is_given_lets_one_trial_fit(cpus: int, workers: int) -> None:
    try:
        share = worker_cpus(cpus, workers)
    except ValueError:
        assert cpus - 1.01 < workers * 0.1
    else:
        assert concurrency(cpus, 0, workers, share, 0) >= 1


def test_a_requested_share_is_kept() -> None:
    assert worker_cpus(64, 2, 4.0) == 4.0


def test_worker_share_errors_say_what_to_change() -> None:
    with pytest.raises(ValueError, match=r"2 CPUs are too few for 16 workers .* use at most 9 workers"):
        worker_cpus(2, 16)
    with pytest.raises(ValueError, match="use a machine with 2 CPUs or more"):
        worker_cpus(1, 1)
    with pytest.raises(ValueError, match="above 0, not 0"):
        worker_cpus(8, 2, 0)
    with pytest.raises(ValueError, match="number of workers must be at least 1, not 0"):
        worker_cpus(8, 0)


@pytest.mark.parametrize(("batch", "workers", "steps", "expected"), [(32, 2, 1, 16), (32, 2, 4, 4), (3, 1, 3, 1)])
def test_batch_per_worker(batch: int, workers: int, steps: int, expected: int) -> None:
    assert batch_per_worker(batch, workers, steps) == expected


def test_an_indivisible_batch_names_the_nearest_choices() -> None:
    message = "30 cannot be shared by 2 workers × accumulation 4: use a global batch of 24 or 32, or .* be 6 or 10"
    with pytest.raises(ValueError, match=message):
        batch_per_worker(30, 2, 4)
    with pytest.raises(ValueError, match="use a global batch of 4, or let workers × accumulation be 2"):
        batch_per_worker(2, 2, 2)
    with pytest.raises(ValueError, match="number of accumulation must be at least 1"):
        batch_per_worker(32, 2, 0)
