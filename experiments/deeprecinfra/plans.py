"""What a scheduler may decide on: a way to place queries, that can be run."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Protocol

import numpy as np
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment

from experiments.deeprecinfra.profiles import Machine, Profile
from experiments.deeprecinfra.simulator import Servers, Setting
from experiments.serving_lane import LatencyCurve, Policy
from experiments.serving_sim import simulate
from serving.load.workload import Schedule


class Plan(Protocol):
    """Places queries."""

    def start(self, machine: Machine, seed: int) -> Running:
        """Begins with nothing waiting."""


class Running(Protocol):
    """A plan at work."""

    def run(
        self, schedule: Schedule, *, target: float = math.inf, late: int = -1
    ) -> Float[np.ndarray, " n"]:
        """Latencies; may end early once more than `late` queries exceeded the target."""


@dataclasses.dataclass(frozen=True)
class Fixed:
    """One setting throughout.

    Attributes:
        setting: That one.
        claimed: Queries per second that its scheduler says it carries, if it says.
    """

    setting: Setting
    claimed: float | None = dataclasses.field(default=None, compare=False)

    def start(self, machine: Machine, seed: int) -> Running:
        return Servers(machine, self.setting, seed=seed)


@dataclasses.dataclass(frozen=True)
class Batching:
    """The rule of a server: every core, and the accelerator, takes what the rule gives it.

    Attributes:
        name: Of the rule, with its limit.
        make: A fresh rule.
    """

    name: str
    make: Callable[[], Policy]

    def start(self, machine: Machine, seed: int) -> Running:
        return _Batching(machine, self.make, seed)


class _Batching:
    def __init__(self, machine: Machine, make: Callable[[], Policy], seed: int) -> None:
        self._machine, self._make, self._seed = machine, make, seed

    def run(
        self, schedule: Schedule, *, target: float = math.inf, late: int = -1
    ) -> Float[np.ndarray, " n"]:
        """A run of its own: these rules are not stopped early and go on from nothing."""
        beside = self._machine.accelerator
        return simulate(
            schedule,
            _curve(self._machine.cpu, self._machine.cores),
            self._make(),
            executors=self._machine.cores,
            beside=None if beside is None else _curve(beside, 1),
            seed=self._seed,
        ).latencies


def _curve(profile: Profile, workers: int) -> LatencyCurve:
    seconds = profile.by_rows(workers)[1:]
    return LatencyCurve(tuple(range(1, len(seconds) + 1)), tuple(seconds.tolist()), profile.noise)


@dataclasses.dataclass(frozen=True)
class Matching:
    """Kairos (HPDC 2023, 5.1): waiting queries are matched with executors, whole.

    Whenever a query comes or an executor is free, the first queries that wait and the executors
    (with what is left of their work) are matched at the least sum of completion times, where a
    completion beyond the target costs ten times as much. Queries matched with a free executor
    start; the others wait for the next match.

    Attributes:
        target: Seconds.
        window: Waiting queries that are looked at.
    """

    target: float
    window: int = 8

    def start(self, machine: Machine, seed: int) -> Running:
        return _Matching(machine, self.target, self.window, seed)


class _Matching:
    def __init__(self, machine: Machine, target: float, window: int, seed: int) -> None:
        profiles = [machine.cpu] * machine.cores
        profiles += [machine.accelerator] if machine.accelerator else []
        kinds = {id(one): one.by_rows(machine.cores) for one in profiles}
        self._seconds = np.array([kinds[id(one)] for one in profiles])
        self._free = np.zeros(len(profiles))
        self._noise = np.array([one.noise for one in profiles])
        self._rng = np.random.default_rng(seed)
        self._target, self._window = target, window

    def run(
        self, schedule: Schedule, *, target: float = math.inf, late: int = -1
    ) -> Float[np.ndarray, " n"]:
        """Latencies of whole queries."""
        times, sizes = schedule.times.tolist(), schedule.sizes.tolist()
        latencies, waiting = np.zeros(len(times)), list[int]()
        at, count, now = 0, 0, 0.0
        while at < len(times) or waiting:
            comes = times[at] if at < len(times) else math.inf
            frees = float(self._free[self._free > now].min(initial=math.inf))
            now = min(comes, frees if waiting else math.inf)
            if comes <= now:
                waiting.append(at)
                at += 1
            for query, executor in self._match(waiting[: self._window], times, sizes, now):
                waiting.remove(query)
                noise = math.exp(self._rng.normal(0.0, self._noise[executor]))
                self._free[executor] = now + self._seconds[executor, sizes[query]] * noise
                latencies[query] = self._free[executor] - times[query]
                count += latencies[query] > target
            if 0 <= late < count:
                return latencies[latencies > 0]
        return latencies

    def _match(
        self, waiting: list[int], times: list[float], sizes: list[int], now: float
    ) -> list[tuple[int, int]]:
        """Queries to start now, with their executors."""
        if not (self._free <= now).any():
            return []
        # Of executors of one kind only as many can matter as there are queries.
        kinds = (range(len(self._free) - 1), [len(self._free) - 1])
        columns = np.concatenate(
            [np.array(kind)[np.argsort(self._free[kind])[: len(waiting)]] for kind in kinds]
        )
        rows = np.array([sizes[query] for query in waiting])
        since = np.array([now - times[query] for query in waiting])
        left = np.maximum(self._free[columns] - now, 0.0)
        cost = left + self._seconds[np.ix_(columns, rows)].T
        cost *= np.where(since[:, None] + cost > self._target, 10.0, 1.0)
        pairs = zip(*linear_sum_assignment(cost)) if len(rows) > 1 else [(0, cost[0].argmin())]
        return [(waiting[row], int(columns[column])) for row, column in pairs if left[column] == 0]
