"""Swaps between two versions under load, and between them the same load without.

A machine that others share has good minutes and bad ones, so the two are measured in turn: some
swaps, then as long without, over and over. A turn that the machine's host spoiled is taken again.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import itertools
import math
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from rich.progress import track

from experiments.serving_drive import Load, Outcome, drive, resident_mib, together
from experiments.undisturbed import undisturbed
from serving.query import Query
from serving.service import Service

_TURN_S = 15.0  # of swaps, or of one if it takes longer


@dataclasses.dataclass(frozen=True)
class Swapping:
    """How to swap.

    Attributes:
        count: Swaps.
        every_s: From the start of one to that of the next, or longer if it takes longer.
        stolen: A turn in which the host takes more than this share of the cores is taken again.
        attempts: At most; the one of which least was stolen counts.
    """

    count: int
    every_s: float
    stolen: float
    attempts: int


class Turn(NamedTuple):
    """Some swaps, and as long without."""

    under: Outcome
    steady: Outcome

    @property
    def stolen(self) -> float:
        """Share of the cores' time that the host took, in the worse of the two."""
        return max(self.under.stolen, self.steady.stolen)

    @property
    def p99_ratio(self) -> float:
        """Under swaps, over that without."""
        return self.under.latencies.quantile(0.99) / self.steady.latencies.quantile(0.99)

    def figures(self) -> dict[str, float]:
        """For a result, where there are many of them."""
        return {
            "stolen": self.stolen,
            "lost": self.under.lost,
            "p99_ms": 1e3 * self.under.latencies.quantile(0.99),
            "steady_p99_ms": 1e3 * self.steady.latencies.quantile(0.99),
        }


@dataclasses.dataclass(frozen=True)
class Swapped:
    """What was measured.

    Attributes:
        turns: Those that count.
        took_s: Of every swap, those of turns that were taken again too.
        memory_mib: Of the process, with two versions in memory: at first, and after every swap.
        attempts: Of each turn.
    """

    turns: list[Turn]
    took_s: list[float]
    memory_mib: list[float]
    attempts: list[int]

    @functools.cached_property
    def all_turns(self) -> Turn:
        """All of them as one."""
        return Turn(
            under=together([one.under for one in self.turns]),
            steady=together([one.steady for one in self.turns]),
        )

    @property
    def growth_mib(self) -> float:
        """From the first quarter to the last, by their medians: under load a single reading is
        some 15 MiB off, by what the C library keeps for later. The first ten do not count."""
        settled = self.memory_mib[min(10, len(self.memory_mib) // 2) :]
        quarter = max(1, len(settled) // 4)
        return float(np.median(settled[-quarter:]) - np.median(settled[:quarter]))


def turns_of(count: int, one_s: float) -> list[int]:
    """How many swaps each turn has, if one takes so many seconds.

    >>> turns_of(25, 1.4)
    [9, 8, 8]
    >>> turns_of(3, 60.0)
    [1, 1, 1]
    """
    in_turn = max(1, int(_TURN_S / one_s))
    return [len(share) for share in np.array_split(range(count), math.ceil(count / in_turn))]


async def swap_under_load(
    service: Service,
    queries: Sequence[Query],
    load: Load,
    swapping: Swapping,
    expected: Mapping[str, Sequence[float]],
) -> Swapped:
    """Swaps to and fro between the two versions of `expected`.

    Args:
        service: Running, from the folder that holds the versions.
        queries: Taken in turn.
        load: Its `seconds` do not matter.
        swapping: How.
        expected: By version, the best value of each query; see `drive`.
    """
    root = service.versions.engine.snapshot.path.parent
    first, second = sorted(expected)
    start = time.perf_counter()
    await service.swap(root / second)  # from here on two versions are in memory
    one_s = max(swapping.every_s, time.perf_counter() - start)
    nexts, seeds = itertools.cycle((first, second)), itertools.count(load.seed)
    memory, took = [resident_mib()], list[float]()

    async def swaps(number: int) -> float:
        began = time.perf_counter()
        for _ in range(number):
            start = time.perf_counter()
            await service.swap(root / next(nexts))
            took.append(time.perf_counter() - start)
            memory.append(resident_mib())
            await asyncio.sleep(max(0.0, swapping.every_s - took[-1]))
        return time.perf_counter() - began

    async def turn(number: int) -> Turn:
        task = asyncio.create_task(swaps(number))
        endless = dataclasses.replace(load, seconds=math.inf, seed=next(seeds))
        under = await drive(service, queries, endless, expected, ended=task.done)
        as_long = dataclasses.replace(load, seconds=await task, seed=next(seeds))
        return Turn(under, await drive(service, queries, as_long, expected))

    turns, attempts = list[Turn](), list[int]()
    for number in track(turns_of(swapping.count, one_s), f"{swapping.count} swaps"):
        one, made = await undisturbed(
            functools.partial(turn, number),
            limit=swapping.stolen,
            attempts=swapping.attempts,
        )
        turns.append(one)
        attempts.append(made)
    return Swapped(turns=turns, took_s=took, memory_mib=memory, attempts=attempts)
