"""What is estimated from the times of batches."""

from __future__ import annotations

from collections import deque

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from serving.service_times import Margin, ServiceTimes


def test_estimate_counts_what_runs_what_waits_and_the_request_itself() -> None:
    times = ServiceTimes({1: 0.001, 8: 0.004, 64: 0.020})
    assert times.of(1) == 0.001
    assert times.of(9) == 0.020
    assert times.rows_per_s(64) == pytest.approx(3_200)
    assert times.until_answered(1, ahead=0, running=0.0, limit=64) == pytest.approx(0.001)
    # Two full batches before it, and a third with the 6 rows that are left.
    assert times.until_answered(6, ahead=128, running=0.01, limit=64) == pytest.approx(0.054)
    # Ten go as eight, one and one: in a batch of 64 they would take longer.
    assert times.until_answered(2, ahead=8, running=0.0, limit=64) == pytest.approx(0.006)


@given(seconds=st.lists(st.floats(1e-4, 1.0), min_size=5, max_size=5), rows=st.integers(1, 256))
def test_best_rows_get_done_fastest(seconds: list[float], rows: int) -> None:
    sizes = (1, 4, 16, 64, 256)
    times = ServiceTimes(dict(zip(sizes, seconds)))
    best = times.best_rows(rows)
    possible = {rows, *(size for size in sizes if size <= rows)}
    assert best in possible
    assert best / times.of(best) == max(one / times.of(one) for one in possible)


def test_rows_that_would_be_mostly_padding_go_in_two_batches() -> None:
    times = ServiceTimes({1: 0.003, 4: 0.004, 16: 0.009, 64: 0.022})
    assert [times.best_rows(rows) for rows in (0, 1, 3, 5, 12, 20, 44, 64)] == [
        0, 1, 3, 4, 12, 16, 44, 64,
    ]  # fmt: skip


def test_measurements_move_the_estimate_and_bound_the_other_sizes() -> None:
    times = ServiceTimes({1: 0.001, 8: 0.004, 64: 0.020})
    for _ in range(200):
        times.observe(8, 0.002)
    assert times.of(8) == pytest.approx(0.002, rel=0.01)
    assert times.of(1) == 0.001
    assert times.of(64) <= 8 * times.of(8)


def test_sizes_that_a_hiccup_spoilt_run_again() -> None:
    times = ServiceTimes({1: 0.001, 4: 0.002, 16: 0.004, 64: 0.010})
    for size in (4, 16, 64):
        times.observe(size, 10.0)
    times.observe(1, 0.001)
    assert times.best_rows(20) == 16  # not twenty batches of one row
    times.observe(16, 0.004)
    assert times.of(16) < 0.016


def test_estimate_that_a_hiccup_spoilt_recovers_without_batches_of_its_size() -> None:
    times = ServiceTimes({1: 0.001, 64: 0.020})
    for _ in range(50):
        times.observe(64, 10.0)
    assert times.of(64) > 1.0
    for _ in range(50):
        times.observe(1, 0.001)
    assert times.of(64) <= 0.065


@pytest.mark.parametrize("pause", [0.005, 0.03, 0.2])
def test_margin_rests_where_few_answers_are_late(pause: float) -> None:
    margin, rng = Margin(late=0.05), np.random.default_rng(0)
    late = []
    for over in pause * rng.lognormal(0.0, 0.3, 6_000):
        late.append(over > margin.seconds)
        margin.observe(0.05 + margin.seconds, 0.05 + over)
        margin.step()
    assert np.mean(late[1_000:]) == pytest.approx(0.05, abs=0.02)


def test_margin_counts_all_whom_a_pause_makes_late() -> None:
    margin, rng = Margin(late=0.02), np.random.default_rng(0)
    waiting, late = deque[float](), []
    delayed = 0  # batches that still end later than was said
    for _ in range(20_000):
        waiting.append(margin.stretched(0.05, timeout_s=1.0))
        if rng.random() < 0.01:
            delayed = len(waiting)
        if len(waiting) > 30:
            promised, answered = waiting.popleft(), 0.08 if delayed else 0.05
            delayed = max(0, delayed - 1)
            late.append(answered > promised)
            margin.observe(promised, answered)
            margin.step()
    assert np.mean(late) < 0.03


def test_batch_of_late_answers_is_one_step() -> None:
    one, many = Margin(), Margin()
    one.observe(0.05, 1.0)
    for _ in range(64):
        many.observe(0.05, 1.0)
    for margin in (one, many):
        margin.step()
    assert one.seconds == many.seconds > Margin().seconds


def test_margin_locks_nobody_out() -> None:
    margin = Margin()
    for _ in range(1_000):
        margin.observe(0.05, 100.0)
        margin.step()
    assert margin.seconds <= 10.0
    assert margin.stretched(0.04, timeout_s=0.1) == pytest.approx(0.09)  # half is left to use
    assert margin.stretched(0.0, timeout_s=0.1) == 0.0  # and an idle service lets everybody in
    for _ in range(5_000):
        margin.observe(0.05, 0.04)
        margin.step()
    assert margin.seconds == Margin().seconds
