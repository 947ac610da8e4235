from __future__ import annotations

import functools

import numpy as np
import pytest

from experiments.search.rounds import queries_per_second
from experiments.search.systems import Run

QUERIES = np.arange(20, dtype=np.float32)[:, None]


def test_turns_are_taken_in_order_and_timed_by_the_clock() -> None:
    now = 0.0
    calls: list[tuple[str, int]] = []

    def run(queries: np.ndarray, *, name: str, seconds: float) -> np.ndarray:
        nonlocal now
        now += seconds
        calls.append((name, int(queries[0, 0])))
        return queries

    runs: list[Run] = [
        functools.partial(run, name="a", seconds=0.25),
        functools.partial(run, name="b", seconds=0.5),
    ]
    speeds = queries_per_second(runs, QUERIES, 8, rounds=2, turn=1.0, clock=lambda: now)
    assert speeds == [[32.0, 32.0], [16.0, 16.0]]  # 8 queries a call
    # One call that is not counted, then a second's worth; the two whole batches in turn.
    a, b = [("a", 0), ("a", 8)], [("b", 0), ("b", 8)]
    assert calls == [*a, *a, a[0], *b, b[0], a[1], *a, *a, b[1], *b]


def test_rejects_a_batch_larger_than_the_queries() -> None:
    with pytest.raises(ValueError, match="20 queries do not fill a batch=32"):
        queries_per_second([], QUERIES, 32, rounds=1, turn=0.0)
