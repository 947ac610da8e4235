"""Verdicts on a target, against scipy's binomial distribution and simulated requests."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from serving.evidence import Evidence
from serving.hill_climb_config import Window

NOTHING = np.zeros(0, int)


def window(latencies: np.ndarray, *, arrivals: int | None = None, batches: int = 0, shed: int = 0):  # type: ignore[no-untyped-def]
    n = len(latencies)
    return Window(
        duration=1.0,
        arrivals=n if arrivals is None else arrivals,
        shed=shed,
        latencies=latencies,
        rows=np.ones(n, int),
        batch_rows=np.ones(batches or n, int),
        batch_seconds=np.full(batches or n, 1e-3),
        batch_limit=8,
    )


@pytest.mark.parametrize("late", [0, 5, 10, 15, 20, 25, 40])
def test_verdict_is_the_binomial_test(late: int) -> None:
    seen = Evidence(seconds=1.0, requests=1000, late=late, batches=1000)
    missed, met = seen.judge(0.99, risk=0.01)
    share = scipy.stats.binom(1000, 0.01)
    assert missed == (share.sf(late - 1) < 0.01)
    assert met == (share.cdf(late) < 0.05)


def test_299_requests_in_time_are_needed_for_a_99th_percentile() -> None:
    assert not Evidence(seconds=1.0, requests=298, late=0, batches=298).judge(0.99, 0.01)[1]
    assert Evidence(seconds=1.0, requests=299, late=0, batches=299).judge(0.99, 0.01)[1]


def test_requests_of_one_batch_count_once() -> None:
    alone = Evidence(seconds=1.0, requests=3200, late=64, batches=3200)
    together = Evidence(seconds=1.0, requests=3200, late=64, batches=100)
    assert alone.judge(0.99, 0.01) == (True, False)
    assert together.judge(0.99, 0.01) == (False, False)


def test_false_alarms_stay_within_the_risk() -> None:
    rng = np.random.default_rng(0)
    late = rng.binomial(2000, 0.01, 4000)
    alarms = [
        Evidence(seconds=1.0, requests=2000, late=int(n), batches=2000).judge(0.99, 0.01)[0]
        for n in late
    ]
    assert np.mean(alarms) <= 0.01 + 3 * np.sqrt(0.01 / 4000)


def test_lateness_counts_once_the_queue_of_before_is_gone() -> None:
    seen = Evidence()
    slow, fast = np.full(300, 0.3), np.full(100, 0.01)
    seen.add(window(slow, arrivals=100), 0.1, after=0.1)  # right after the change
    seen.add(window(slow, arrivals=100), 0.1, after=0.1)  # three leave for one that comes
    assert (seen.requests, seen.late) == (0, 0)
    seen.add(window(fast, arrivals=100), 0.1)
    assert (seen.requests, seen.late) == (100, 0)
    seen.add(window(slow, arrivals=300, shed=7), 0.1)
    assert (seen.requests, seen.late) == (407, 307)
    assert seen.load == pytest.approx(150)


def test_load_differs_beyond_the_scatter_of_poisson() -> None:
    seen = Evidence()
    seen.add(window(np.zeros(0), arrivals=400), 0.1)
    assert not seen.differs(window(np.zeros(0), arrivals=500))
    assert seen.differs(window(np.zeros(0), arrivals=600))
    assert seen.differs(window(np.zeros(0), arrivals=200))
    small = Evidence()
    small.add(window(np.zeros(0), arrivals=5), 0.1)
    assert not small.differs(window(np.zeros(0), arrivals=12))


def test_limit_binds_where_batches_fill() -> None:
    assert Evidence(full_rows=30, all_rows=100).binds
    assert not Evidence(full_rows=10, all_rows=100).binds
