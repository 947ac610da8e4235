"""Timing that is fair on a machine that others use too: many short turns, and their median."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from experiments.search.systems import Run

_WARM = 0.25  # share of a turn that is not counted


def queries_per_second(
    runs: Sequence[Run],
    queries: np.ndarray,
    batch: int,
    *,
    rounds: int,
    turn: float,
    clock: Callable[[], float] = time.perf_counter,
) -> list[list[float]]:
    """Queries per second of each run in each round.

    In a round each run has one turn, so that what else the machine does hits all of them. The
    first part of a turn is not counted: it brings the run's own index back to the cache, and
    lets the threads of the turn before go to sleep.

    Args:
        queries: At least one batch; taken in order, over and over.
        batch: Queries per call.
        rounds: Turns of each run.
        turn: Seconds that are counted in a turn, at least one call.
    """
    parts = [queries[at : at + batch] for at in range(0, len(queries) - batch + 1, batch)]
    if not parts:
        raise ValueError(f"{len(queries)} queries do not fill a {batch=}")
    at = [0] * len(runs)
    speeds: list[list[float]] = [[] for _ in runs]

    def calls(which: int, seconds: float) -> float:
        done, start = 0, clock()
        while True:
            runs[which](parts[at[which] % len(parts)])
            at[which] += 1
            done += 1
            if (passed := clock() - start) >= seconds:
                return done / passed

    for _ in range(rounds):
        for which, speed in enumerate(speeds):
            calls(which, _WARM * turn)
            speed.append(batch * calls(which, turn))
    return speeds
