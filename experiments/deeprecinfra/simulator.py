"""Queries on many cores and an accelerator, event by event.

A query of n items is cut into batches; each runs on one core, in order of arrival, on the core
that is free first. An accelerator runs one launch at a time. A query ends when its last part
does. Settings stay as they are during a run; rules that decide batch by batch run in
`experiments.serving_sim`.
"""

from __future__ import annotations

import collections
import dataclasses
import heapq
import itertools
import math

import numpy as np
from jaxtyping import Float, Int

from experiments.deeprecinfra.profiles import Machine
from experiments.serving_lane import noise_factors
from serving.load.workload import LARGEST, Schedule

_FACTORS = 8191  # of noise, drawn once and used in turn; prime, so that no pattern repeats
_BLOCK = 256  # queries between two looks at how many are late


@dataclasses.dataclass(frozen=True)
class Setting:
    """How queries are placed.

    Attributes:
        batch: Most items of a batch on a core.
        workers: Cores in use.
        threshold: Queries of more items go to the accelerator; None: all go to the cores.
        share: Part of such a query that the accelerator takes; the cores take the rest.
        joined: Most items of a launch that joins waiting queries; 0: one query a launch.
        pulls: The accelerator also takes from the cores' queue, in the same way and up to `joined`
            items a launch, as soon as so many items wait there; 0: it does not. Without
            `threshold`.
        fill: The last core that is free takes so many items of what waits, in order, and cuts
            the last query where it is full; 0: one batch. Without `threshold`.
        even: Batches of a query are equally large; otherwise all but the last are full.
    """

    batch: int
    workers: int
    threshold: int | None = None
    share: float = 1.0
    joined: int = 0
    pulls: int = 0
    fill: int = 0
    even: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.batch <= LARGEST:
            raise ValueError(f"batch={self.batch} must be from 1 to {LARGEST}")
        if self.workers < 1 or not 0 < self.share <= 1:
            raise ValueError(
                f"workers={self.workers} and share={self.share} must be positive, and the share "
                "at most 1"
            )
        if (self.pulls or self.fill) and self.threshold is not None:
            raise ValueError(
                f"pulls={self.pulls} and fill={self.fill} are of one queue; they need no "
                f"threshold, which is {self.threshold}"
            )
        for name, most in (("joined", self.joined), ("fill", self.fill)):
            least = self.batch if name == "joined" and self.pulls else 0
            if not least <= most <= LARGEST:
                raise ValueError(f"{name}={most} must be from {least} to {LARGEST}")


def parts(rows: int, batch: int, *, even: bool) -> list[int]:
    """Items of each batch of a query, largest first."""
    count = math.ceil(rows / batch)
    if not even:
        return [batch] * (count - 1) + [rows - batch * (count - 1)] if count else []
    return [rows // count + (one < rows % count) for one in range(count)]


def take(
    queue: collections.deque[tuple[int, float, int]], now: float, most: int
) -> tuple[list[int], int]:
    """The first batch that waits, and what came after it by now, up to so many items.

    Args:
        queue: (query, arrival, items), in order of arrival; what is taken leaves it.

    Returns:
        The queries, and their items together.
    """
    query, _, total = queue.popleft()
    which = [query]
    while queue and queue[0][1] <= now and total < most:
        query, came, items = queue.popleft()
        taken = min(items, most - total)
        if taken < items:
            queue.appendleft((query, came, items - taken))
        which.append(query)
        total += taken
    return which, total


class Servers:
    """Cores and accelerator under one setting; runs queries and remembers what is still busy."""

    def __init__(self, machine: Machine, setting: Setting, *, seed: int = 0) -> None:
        if setting.workers > machine.cores:
            raise ValueError(f"workers={setting.workers} exceed the {machine.cores} cores")
        if machine.accelerator is None and (setting.threshold is not None or setting.pulls):
            raise ValueError(
                f"threshold={setting.threshold}, pulls={setting.pulls} need an accelerator; "
                f"{machine.name} has none"
            )
        self._setting = setting
        self._core = machine.cpu.by_rows(setting.workers)
        self._free = [0.0] * setting.workers
        self._launched = 0.0
        self._pieces: dict[int, list[float]] = {}
        self._core_seconds: list[float] = self._core.tolist()
        # For an accelerator that pulls: (query, arrival, items) that wait, items of all of them,
        # and the latest arrival.
        self._queue = collections.deque[tuple[int, float, int]]()
        self._waiting, self._latest = 0, 0.0
        rngs = np.random.default_rng(seed).spawn(2)
        self._noise = itertools.cycle(noise_factors(machine.cpu.noise, rngs[0], count=_FACTORS))
        if machine.accelerator is not None:
            self._launch = machine.accelerator.by_rows().tolist()
            self._launch_noise = itertools.cycle(
                noise_factors(machine.accelerator.noise, rngs[1], count=_FACTORS)
            )

    def capacity(self, sizes: Int[np.ndarray, " n"]) -> float:
        """Queries per second at which a device is always busy; an upper bound where they join."""
        here, there = self._split(sizes)
        core = np.mean([sum(self._seconds(rows)) for rows in here.tolist()])
        if self._setting.fill:  # batches at best as good as one that is filled, or a part of it
            fill = np.arange(1, max(self._setting.fill, self._setting.batch) + 1)
            core = min(core, sizes.mean() * (self._core[fill] / fill).min())
        rate = self._setting.workers / core if core else math.inf
        if self._setting.pulls:  # launches at best full
            joined = self._setting.joined
            rate += joined / self._launch[joined] / float(sizes.mean())
        if there.any():
            launch = np.asarray(self._launch)
            busy = np.where(there > 0, launch[there], 0.0).mean()
            if self._setting.joined:  # at best every launch is full
                busy = there.mean() * (launch[1:] / np.arange(1, len(launch))).min()
            rate = min(rate, 1 / busy)
        return float(rate)

    def run(self, schedule: Schedule, *, target: float = math.inf, late: int = -1) -> np.ndarray:
        """Latencies in seconds, in order of arrival.

        Args:
            schedule: Queries, later than all that ran before.
            target: Seconds.
            late: The run ends early once more queries than this took longer; -1: never.
        """
        here, there = self._split(schedule.sizes)
        ends = self._accelerate(schedule.times, there)
        latencies, count = [], 0
        joins = self._setting.pulls or self._setting.fill
        step = 8 * _BLOCK if joins else _BLOCK  # in between, the queue runs dry
        for at in range(0, len(schedule), step):
            block = slice(at, at + step)
            serve = self._together if joins else self._cores
            done = serve(schedule.times[block], here[block])
            latencies.append(np.maximum(done, ends[block]) - schedule.times[block])
            count += int((latencies[-1] > target).sum())
            if 0 <= late < count:
                break
        return np.concatenate(latencies)

    def _split(self, sizes: Int[np.ndarray, " n"]) -> tuple[np.ndarray, np.ndarray]:
        """Items on the cores and on the accelerator."""
        setting = self._setting
        if setting.threshold is None:
            return sizes, np.zeros_like(sizes)
        away = np.ceil(setting.share * sizes).astype(int)
        there = np.where(sizes > setting.threshold, away, 0)
        return sizes - there, there

    def _seconds(self, rows: int) -> list[float]:
        if rows not in self._pieces:
            cut = parts(rows, self._setting.batch, even=self._setting.even)
            self._pieces[rows] = self._core[cut].tolist() if cut else []
        return self._pieces[rows]

    def _cores(self, times: np.ndarray, rows: np.ndarray) -> Float[np.ndarray, " n"]:
        free, noise, take = self._free, self._noise, heapq.heapreplace
        done = []
        for now, size in zip(times.tolist(), rows.tolist()):
            last = 0.0
            for seconds in self._seconds(size):
                start = free[0]
                end = (start if start > now else now) + seconds * next(noise)
                take(free, end)
                if end > last:
                    last = end
            done.append(last)
        return np.array(done)

    def _together(self, times: np.ndarray, rows: np.ndarray) -> Float[np.ndarray, " n"]:
        """The same, where batches join and an accelerator may take from the queue."""
        done = np.zeros(len(times))
        cut = {size: parts(size, self._setting.batch, even=self._setting.even)
               for size in set(rows.tolist())}  # fmt: skip
        for query, (now, size) in enumerate(zip(times.tolist(), rows.tolist())):
            self._take(done, now)
            self._queue += [(query, now, items) for items in cut[size]]
            self._waiting += size
            self._latest = now
        self._take(done, math.inf)
        return done

    def _take(self, done: np.ndarray, until: float) -> None:
        """Starts what starts before `until`."""
        free, queue, setting = self._free, self._queue, self._setting
        while queue:
            core = max(free[0], queue[0][1])
            launch = self._pull_at()
            if min(core, launch) >= until:
                return
            if core <= launch:
                others = min(free[1:3], default=math.inf)  # of a heap: the next to be free
                which, items = self._pop(core, setting.fill if others > core else 0)
                end = core + self._core_seconds[items] * next(self._noise)
                heapq.heapreplace(free, end)
            else:
                which, items = self._pop(launch, setting.joined)
                end = self._launched = launch + self._launch[items] * next(self._launch_noise)
            for query in which:
                done[query] = max(done[query], end)

    def _pop(self, now: float, most: int) -> tuple[list[int], int]:
        which, total = take(self._queue, now, most)
        self._waiting -= total
        return which, total

    def _pull_at(self) -> float:
        """When the accelerator takes its next launch, by what has come so far.

        Had enough waited before the latest arrival, it would have started by then.
        """
        if not 0 < self._setting.pulls <= self._waiting:
            return math.inf
        return max(self._launched, self._latest)

    def _accelerate(self, times: np.ndarray, rows: np.ndarray) -> Float[np.ndarray, " n"]:
        """When the accelerator's part of each query ends; 0 where it has none."""
        ends = np.zeros(len(times))
        which = np.flatnonzero(rows)
        came, sizes = times[which].tolist(), rows[which].tolist()
        at = 0
        while at < len(which):
            start, items, after = max(self._launched, came[at]), sizes[at], at + 1
            while (
                after < len(which)
                and came[after] <= start
                and items + sizes[after] <= self._setting.joined
            ):
                items, after = items + sizes[after], after + 1
            self._launched = start + self._launch[items] * next(self._launch_noise)
            ends[which[at:after]] = self._launched
            at = after
        return ends
