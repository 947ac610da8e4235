"""The estimate of what a setting carries, against queueing theory and the simulator."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.policies import Greedy
from experiments.serving_sim import LatencyCurve, simulate
from serving.capacity import BatchTimes, joined_rate, usable_share, whole_rate
from serving.load.workload import constant, schedule


def test_usable_share_solves_the_percentile_of_the_wait() -> None:
    mean, square, own, target, p = 0.01, 3e-4, 0.02, 0.2, 0.99
    u = usable_share(mean, square, own=own, target=target, p=p)
    wait = u / (1 - u) * square / (2 * mean)  # Pollaczek and Khinchine
    assert own + wait * np.log(1 / (1 - p)) == pytest.approx(target)
    assert usable_share(mean, square, own=0.2, target=0.2, p=p) == 0


@pytest.mark.parametrize("sizes", ["fixed:10", "mlperf"])
def test_whole_requests_carry_what_a_queue_shows(sizes: str) -> None:
    """The 99th percentile at the estimated rate is near the target: heavy traffic, 15 %."""
    made = schedule(constant(1.0, 40_000.0), sizes=sizes, seed=1)
    per_row = 1e-3
    target = 20 * per_row * float(made.sizes.mean())
    rate = whole_rate(made.sizes * per_row, 1.0, target=target, p=0.99)
    alone, free = np.zeros(len(made)), 0.0
    for n, (time, rows) in enumerate(zip(made.times / rate, made.sizes)):
        free = max(free, time) + rows * per_row
        alone[n] = free - time
    assert np.quantile(alone, 0.99) == pytest.approx(target, rel=0.15)


def test_joined_batches_carry_what_the_simulator_finds() -> None:
    made = schedule(constant(1.0, 60_000.0), sizes="fixed:1", seed=1)
    curve = LatencyCurve((1, 8, 64), (2e-3, 4e-3, 16e-3))
    for limit, seconds in zip(curve.buckets, curve.seconds):
        rate = joined_rate(
            np.ones(10), 1.0, limit=limit, seconds=seconds, executors=1, residual=1.0,
            target=0.1, p=0.99,
        )  # fmt: skip
        latencies = simulate(made.faster(rate), curve, Greedy(limit, splits=True)).latencies
        assert np.quantile(latencies, 0.99) < 0.1  # cautious
        beyond = made.faster(1.02 * limit / seconds)
        assert (
            np.quantile(simulate(beyond, curve, Greedy(limit, splits=True)).latencies, 0.99) > 0.1
        )  # no estimate exceeds what a batch limit can ever carry
        assert rate < limit / seconds


def test_batch_times_are_the_means_of_the_buckets() -> None:
    times = BatchTimes((1, 8, 64))
    rows, seconds = np.array([1, 1, 5, 8, 9, 64]), np.array([1.0, 3.0, 4.0, 6.0, 10.0, 20.0])
    assert times.learn(rows, seconds) is None
    np.testing.assert_allclose(times.mean, [2, 5, 15])
    np.testing.assert_array_equal(times.weight, [2, 2, 2])
    assert times.spread(1) == pytest.approx(1.0)


def test_unknown_buckets_are_guessed_from_the_nearest() -> None:
    times = BatchTimes((1, 4, 16, 64))
    assert np.isnan(times.guess(2, 0.5))
    times.learn(np.array([4]), np.array([0.01]))
    assert times.guess(1, 0.5) == 0.01
    assert times.guess(3, 0.5) == pytest.approx(0.04)
    assert times.guess(3, 0.0) == 0.01
    assert times.guess(0, 0.5) == pytest.approx(0.0025)


def test_drift_is_told_from_noise_and_scales_what_did_not_run() -> None:
    rng = np.random.default_rng(0)
    times = BatchTimes((8, 64))
    for _ in range(40):
        assert times.learn(np.full(20, 8), 0.01 * rng.lognormal(0, 0.2, 20)) is None
        assert times.learn(np.full(20, 64), 0.04 * rng.lognormal(0, 0.2, 20)) is None
    note = times.learn(np.full(20, 8), 0.02 * rng.lognormal(0, 0.2, 20))
    assert note is not None
    assert note.startswith("a batch of 8 takes 2")
    assert times.mean[0] == pytest.approx(0.02, rel=0.15)
    assert times.mean[1] == pytest.approx(0.08, rel=0.2)
    assert times.weight[1] == 1  # a guess until it runs


def test_old_batches_are_forgotten() -> None:
    times = BatchTimes((8,), memory=100)
    times.learn(np.full(400, 8), np.full(400, 0.010))
    for _ in range(30):
        times.learn(np.full(20, 8), np.full(20, 0.0115))  # below what counts as drift
    assert times.mean[0] == pytest.approx(0.0115, rel=0.01)
