"""What is estimated from the times of batches."""

from __future__ import annotations

import numpy as np
import pytest

from serving.service_times import Margin, ServiceTimes


def test_estimate_counts_what_runs_what_waits_and_the_request_itself() -> None:
    times = ServiceTimes({1: 0.001, 8: 0.004, 64: 0.020})
    assert times.of(1) == 0.001
    assert times.of(9) == 0.020
    assert times.rows_per_s(64) == pytest.approx(3_200)
    assert times.until_answered(1, ahead=0, running=0.0, limit=64) == pytest.approx(0.001)
    # Two full batches before it, and a third with the 6 rows that are left.
    assert times.until_answered(6, ahead=128, running=0.01, limit=64) == pytest.approx(0.054)


def test_measurements_move_the_estimate_and_bound_the_other_sizes() -> None:
    times = ServiceTimes({1: 0.001, 8: 0.004, 64: 0.020})
    for _ in range(200):
        times.observe(8, 0.002)
    assert times.of(8) == pytest.approx(0.002, rel=0.01)
    assert times.of(1) == 0.001
    assert times.of(64) <= 8 * times.of(8)


def test_estimate_that_a_hiccup_spoilt_recovers_without_batches_of_its_size() -> None:
    times = ServiceTimes({1: 0.001, 64: 0.020})
    for _ in range(50):
        times.observe(64, 10.0)
    assert times.of(64) > 1.0
    for _ in range(50):
        times.observe(1, 0.001)
    assert times.of(64) <= 0.065


@pytest.mark.parametrize("slower", [0.8, 1.5, 3.0])
def test_margin_rests_where_few_answers_are_late(slower: float) -> None:
    margin, rng = Margin(late=0.05), np.random.default_rng(0)
    took = slower * rng.lognormal(0.0, 0.3, 6_000)
    late = []
    for seconds in took:
        late.append(seconds > margin.factor)
        margin.observe(1.0, seconds, timeout_s=2.0)
    assert np.mean(late[1_000:]) == pytest.approx(0.05, abs=0.02)


def test_margin_ignores_what_was_far_from_its_deadline() -> None:
    margin = Margin()
    for _ in range(100):
        margin.observe(0.001, 0.02, timeout_s=0.1)
    assert margin.factor == 1.0
    for _ in range(1_000):
        margin.observe(0.05, 10.0, timeout_s=0.1)
    assert margin.factor <= 8.0
