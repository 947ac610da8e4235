"""The simulator, by hand on small cases and against queueing theory on large ones."""

from __future__ import annotations

import math

import numpy as np
import pytest

from experiments.policies import Greedy
from experiments.serving_sim import LatencyCurve, Run, simulate
from serving.load.workload import Schedule, constant, schedule

CURVE = LatencyCurve((1, 4, 8), (1.0, 2.0, 3.0))


def run(times: list[float], sizes: list[int], policy: Greedy, **options: object) -> Run:
    made = Schedule(np.array(times), np.array(sizes), 10.0)
    return simulate(made, CURVE, policy, **options)  # type: ignore[arg-type]


def test_a_batch_takes_what_waits_and_is_padded() -> None:
    got = run([0.0, 0.1, 0.2, 0.3], [1, 1, 1, 1], Greedy(8, splits=True))
    np.testing.assert_allclose(got.latencies, [1.0, 2.9, 2.8, 2.7])
    assert got.batch_rows.tolist() == [1, 3]
    assert got.batch_starts.tolist() == [0.0, 1.0]


def test_a_large_request_is_split_and_its_last_batch_filled() -> None:
    got = run([0.0, 0.5], [10, 2], Greedy(4, splits=True))
    assert got.batch_rows.tolist() == [4, 4, 4]
    np.testing.assert_allclose(got.latencies, [6.0, 5.5])


def test_whole_pieces_are_not_split() -> None:
    got = run([0.0, 0.5, 0.6], [3, 3, 3], Greedy(4))
    assert got.batch_rows.tolist() == [3, 3, 3]
    assert run([0.0, 0.5], [6, 4], Greedy(4)).batch_rows.tolist() == [4, 2, 4]


def test_executors_work_side_by_side() -> None:
    got = run([0.0, 0.0], [4, 4], Greedy(4, splits=True), executors=2)
    np.testing.assert_allclose(got.latencies, [2.0, 2.0])
    split = run([0.0], [8], Greedy(4, splits=True), executors=2)
    np.testing.assert_allclose(split.latencies, [2.0])


def test_who_waited_beyond_the_deadline_is_shed() -> None:
    got = run([0.0, 0.1, 0.2, 1.5], [1, 1, 1, 1], Greedy(1, splits=True), deadline=1.0)
    np.testing.assert_allclose(got.latencies, [1.0, 1.9, math.nan, 1.5])
    assert got.goodput(1.6) == pytest.approx(0.2)


def test_large_requests_go_to_the_accelerator_whole() -> None:
    policy = Greedy(4, splits=True)
    policy.threshold = 5
    fast = LatencyCurve((8,), (0.5,))
    got = run([0.0, 0.0, 0.0], [4, 8, 7], policy, accelerator=fast)
    np.testing.assert_allclose(got.latencies, [2.0, 0.5, 1.0])


def test_an_executor_beside_takes_from_the_same_queue() -> None:
    fast = LatencyCurve((8,), (0.5,))
    got = run([0.0, 0.1, 0.2], [4, 4, 4], Greedy(4, splits=True), beside=fast)
    np.testing.assert_allclose(got.latencies, [2.0, 0.5, 0.9])


def test_windows_change_nothing_and_count_everything() -> None:
    class Watching(Greedy):
        window_s = 0.7

        def __init__(self) -> None:
            super().__init__(8, splits=True)
            self.seen: list[object] = []

        def observe(self, window: object) -> None:
            self.seen.append(window)

    made = schedule(constant(3.0, 200.0), sizes="fixed:3", seed=4)
    noisy = LatencyCurve(CURVE.buckets, CURVE.seconds, noise=0.3)
    policy = Watching()
    watched = simulate(made, noisy, policy, deadline=20.0, seed=2)
    plain = simulate(made, noisy, Greedy(8, splits=True), deadline=20.0, seed=2)
    np.testing.assert_array_equal(watched.latencies, plain.latencies)
    ended = sum(len(w.latencies) + w.shed for w in policy.seen)  # type: ignore[attr-defined]
    assert 0.9 * len(made) < ended <= len(made)  # the last ones end after the last window
    late = np.concatenate([w.latencies for w in policy.seen])  # type: ignore[attr-defined]
    answered = np.sort(plain.latencies[~np.isnan(plain.latencies)])
    assert set(late.tolist()) <= set(answered.tolist())


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_mean_wait_is_that_of_pollaczek_and_khinchine(noise: float) -> None:
    rate, service = 0.6, 1.0
    made = schedule(constant(rate, 100_000.0), sizes="fixed:1", seed=5)
    got = simulate(made, LatencyCurve((1,), (service,), noise), Greedy(1, splits=True), seed=6)
    wait = rate * service**2 * (1 + noise**2) / (2 * (1 - rate * service))
    # 60,000 correlated waits; the noise is 4,096 factors in turn.
    assert got.latencies.mean() - service == pytest.approx(wait, rel=0.1)


def test_noise_keeps_the_mean() -> None:
    made = schedule(constant(0.01, 200_000.0), sizes="fixed:1", seed=7)
    got = simulate(made, LatencyCurve((1,), (1.0,), 0.5), Greedy(1, splits=True), seed=8)
    assert got.latencies.mean() == pytest.approx(1.0, abs=0.05)
