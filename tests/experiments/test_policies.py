"""The rules of other servers, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from experiments.policies import BentoML, Clipper, Greedy, Triton
from experiments.serving_sim import LatencyCurve, Ran, Run, Waiting, simulate
from serving.load.workload import Schedule

CURVE = LatencyCurve((1, 4, 8), (1.0, 2.0, 3.0))


def run(times: list[float], policy: Greedy, *, rows: int = 1) -> Run:
    made = Schedule(np.array(times), np.full(len(times), rows), 10.0)
    return simulate(made, CURVE, policy)


def test_batch_one_runs_rows_one_by_one() -> None:
    assert run([0.0, 0.0], Greedy(1), rows=2).batch_rows.tolist() == [1, 1, 1, 1]


def test_triton_waits_for_its_delay_then_takes_what_there_is() -> None:
    got = run([0.0, 0.2, 0.9], Triton(8, delay=0.5))
    assert got.batch_starts.tolist() == [0.0 + 0.5, 2.5]
    assert got.batch_rows.tolist() == [2, 1]


def test_triton_sends_a_preferred_size_at_once() -> None:
    got = run([0.0, 0.2, 0.3, 0.4, 0.5], Triton(8, delay=5.0, preferred=(4,)))
    assert got.batch_starts.tolist()[0] == pytest.approx(0.4)
    assert got.batch_rows.tolist() == [4, 1]
    assert got.batch_starts.tolist()[1] == pytest.approx(5.5)


def test_triton_without_delay_never_waits() -> None:
    assert run([0.0, 0.2], Triton(8)).batch_starts.tolist() == [0.0, 1.0]


def test_bentoml_waits_while_patience_lasts() -> None:
    policy = BentoML(8)
    waiting = Waiting(now=1.0, requests=2, rows=2, oldest=0.5, newest=0.99)
    assert policy.take(waiting) == (8, 0.0)  # no past wait, no patience
    policy.done(Ran(rows=4, seconds=2.0, oldest_wait=5.0, newest_wait=1.0))
    assert policy.take(waiting) == (0, 1.0 + 1e-3)  # 2 * 0.011 <= 0.95 * 0.5
    assert policy.take(waiting._replace(rows=8)) == (8, 0.0)  # full


def test_bentoml_fits_the_slope_of_its_last_batches() -> None:
    policy = BentoML(100)
    for rows in (1, 5, 9, 30):
        policy.done(Ran(rows, 0.5 + 0.1 * rows, oldest_wait=1.0, newest_wait=0.0))
    # Patience is 0.95 * 0.3439; 3 * (0.001 + 0.1) = 0.303 fits in it, 4 * 0.101 does not.
    waiting = Waiting(now=6.0, requests=3, rows=3, oldest=5.9, newest=6.0)
    assert policy.take(waiting)[0] == 0
    assert policy.take(waiting._replace(rows=4))[0] == 100


def test_clipper_adds_while_in_time_and_shrinks_by_a_tenth() -> None:
    policy = Clipper(2.5, largest=8)
    for _ in range(6):
        policy.done(Ran(policy.limit, 1.0, 0.0, 0.0))
    assert policy.limit == 8
    policy.done(Ran(8, 3.0, 0.0, 0.0))
    assert policy.limit == math.floor(0.9 * 8)
    policy.done(Ran(3, 1.0, 0.0, 0.0))  # not full: says nothing of larger ones
    assert policy.limit == 7
