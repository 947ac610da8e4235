"""Timing that is fair on a machine that others use too: many short turns, and their median."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence

import numpy as np

from experiments.search.systems import Run

_WARM = 0.25  # share of a turn that is not counted


def calls_per_second(
    calls: Sequence[Callable[[], object]],
    *,
    rounds: int,
    turn: float,
    clock: Callable[[], float] = time.perf_counter,
) -> list[list[float]]:
    """Calls per second of each in each round.

    In a round each has one turn, so that what else the machine does hits all of them. The
    first part of a turn is not counted: it brings the callee's own data back to the cache, and
    lets the threads of the turn before go to sleep.

    Args:
        calls: What to time.
        rounds: Turns of each.
        turn: Seconds that are counted in a turn, at least one call.
    """
    speeds: list[list[float]] = [[] for _ in calls]

    def speed_of(call: Callable[[], object], seconds: float) -> float:
        done, start = 0, clock()
        while True:
            call()
            done += 1
            if (passed := clock() - start) >= seconds:
                return done / passed

    for _ in range(rounds):
        for call, speed in zip(calls, speeds, strict=True):
            speed_of(call, _WARM * turn)
            speed.append(speed_of(call, turn))
    return speeds


def queries_per_second(
    runs: Sequence[Run],
    queries: np.ndarray,
    batch: int,
    *,
    rounds: int,
    turn: float,
    clock: Callable[[], float] = time.perf_counter,
) -> list[list[float]]:
    """Queries per second of each search in each round; each goes through the queries in turn.

    Args:
        queries: At least one batch; taken in order, over and over.
        batch: Queries per call.
        rounds: As in `calls_per_second`, like the rest.
    """
    parts = [queries[at : at + batch] for at in range(0, len(queries) - batch + 1, batch)]
    if not parts:
        raise ValueError(f"{len(queries)} queries do not fill a {batch=}")

    def walk(run: Run) -> Callable[[], object]:
        following = itertools.cycle(parts)
        return lambda: run(next(following))

    speeds = calls_per_second([walk(run) for run in runs], rounds=rounds, turn=turn, clock=clock)
    return [[batch * speed for speed in own] for own in speeds]
