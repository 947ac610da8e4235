"""One queue of the simulator: its executors, and the rows that wait for them."""

from __future__ import annotations

import bisect
import dataclasses
import functools
import heapq
import math
from typing import NamedTuple, Protocol

import numpy as np
from jaxtyping import Float, Int

from serving.hill_climb_config import Window
from serving.load.workload import Schedule
from serving.service_times import ServiceTimes

_FACTORS = 4096  # of noise, drawn once and used in turn


@dataclasses.dataclass(frozen=True)
class LatencyCurve:
    """How long a batch takes.

    Attributes:
        buckets: Batch sizes there are programs for, ascending; a batch is padded to the next.
        seconds: Mean time of one batch of each.
        noise: Coefficient of variation of a lognormal factor on every batch.
    """

    buckets: tuple[int, ...]
    seconds: tuple[float, ...]
    noise: float = 0.0

    def by_rows(self) -> list[float]:
        """Mean seconds of a batch of 0, 1, ... rows up to the largest bucket."""
        at = np.searchsorted(self.buckets, np.arange(self.buckets[-1] + 1))
        return np.asarray(self.seconds)[at].tolist()

    @functools.cached_property
    def best_rows(self) -> tuple[int, ...]:
        """How many of 0, 1, ... waiting rows the service would take; see `ServiceTimes`."""
        times = ServiceTimes(dict(zip(self.buckets, self.seconds)))
        return tuple(times.best_rows(rows) for rows in range(self.buckets[-1] + 1))


def noise_factors(noise: float, rng: np.random.Generator, *, count: int = _FACTORS) -> list[float]:
    """What mean times are multiplied by, in turn: lognormal, of mean 1 and this coefficient of
    variation."""
    sigma = math.sqrt(math.log1p(noise**2))
    return np.exp(rng.normal(-(sigma**2) / 2, sigma, count)).tolist()


class Waiting(NamedTuple):
    """What a policy may know when an executor is free.

    Attributes:
        now: Seconds.
        requests: Requests (or the pieces they were cut into) that wait.
        rows: Their rows, less those already taken.
        oldest: When the first of them arrived.
        newest: When the last of them arrived.
    """

    now: float
    requests: int
    rows: int
    oldest: float
    newest: float


class Ran(NamedTuple):
    """A batch that ended: rows, seconds, and how long its oldest and newest request waited."""

    rows: int
    seconds: float
    oldest_wait: float
    newest_wait: float


class Policy(Protocol):
    """A rule for batches.

    Attributes:
        limit: Most rows of a batch.
        pieces: Requests are cut into pieces of so many rows when they arrive, and pieces are
            never split; None: rows are taken as the batch has room for them.
        threshold: Requests of more rows go to the accelerator, if there is one.
        window_s: How often `observe` is called; inf for never.
    """

    window_s: float

    @property
    def limit(self) -> int: ...

    @property
    def pieces(self) -> int | None: ...

    @property
    def threshold(self) -> int | None: ...

    def take(self, waiting: Waiting) -> tuple[int, float]:
        """Most rows to run now; if that is 0, when to ask again if nobody arrives."""

    def done(self, batch: Ran) -> None:
        """Told of every batch when it ends."""

    def observe(self, window: Window) -> None:
        """Told of every window of traffic when it ends."""


class Lane:
    """A queue and its executors; `beside` is the curve of one more, of another kind."""

    def __init__(
        self,
        curve: LatencyCurve,
        policy: Policy,
        executors: int,
        deadline: float,
        rng: np.random.Generator,
        beside: LatencyCurve | None = None,
    ) -> None:
        self.batches: list[Ran] = []
        self.starts: list[float] = []
        self._policy, self._deadline = policy, deadline
        self._seconds, self._largest = [curve.by_rows()] * executors, curve.buckets[-1]
        if beside is not None:
            self._seconds.append(beside.by_rows())
            self._largest = min(self._largest, beside.buckets[-1])
        self._factors = noise_factors(curve.noise, rng)
        self._free: list[tuple[float, int, Ran | None]] = [
            (0.0, n, None) for n in range(len(self._seconds))
        ]
        self._arrived: list[float] = []  # by piece
        self._ends: list[int] = []  # rows up to the end of each piece
        self._last: list[tuple[int, bool]] = []  # request of the piece; is it the request's last
        self._position = self._head = 0  # next row, and the piece it is of
        self._hold = 0.0
        self._finish: dict[int, float] = {}  # of requests with rows still to come
        self._answers: list[tuple[float, int, float]] = []  # (when, request, latency), by when
        self._ended: list[Ran] = []

    def push(self, schedule: Schedule, ids: Int[np.ndarray, " n"], pieces: int | None) -> None:
        """Queues requests, cut into pieces if so asked."""
        if not len(ids):
            return
        self._hold = min(self._hold, float(schedule.times[ids[0]]))
        end = self._ends[-1] if self._ends else 0
        for request, time, rows in zip(
            ids.tolist(), schedule.times[ids].tolist(), schedule.sizes[ids].tolist()
        ):
            while rows:
                part = rows if pieces is None else min(rows, pieces)
                end, rows = end + part, rows - part
                self._arrived.append(time)
                self._ends.append(end)
                self._last.append((request, rows == 0))

    def run_until(self, end: float) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """Starts every batch that starts before `end`.

        Returns:
            Requests answered or shed by `end`, and their latencies (nan: shed).
        """
        while True:
            free, executor, ran = self._free[0]
            if ran is not None:
                if free > end:
                    break
                self._policy.done(ran)
                self._ended.append(ran)
                heapq.heapreplace(self._free, (free, executor, None))
                continue
            if not self._waits():
                break
            now = max(free, self._arrived[self._head], self._hold)
            if now >= end:
                break
            self._start(now, executor)
        ready = []
        while self._answers and self._answers[0][0] <= end:
            ready.append(heapq.heappop(self._answers))
        return np.array([r[1] for r in ready], int), np.array([r[2] for r in ready], float)

    def take_ended(self) -> list[Ran]:
        """Batches that ended since the last call."""
        ended, self._ended = self._ended, []
        return ended

    def _waits(self) -> bool:
        return self._head < len(self._ends)

    def _start(self, now: float, executor: int) -> None:
        """Sheds what has waited too long, then starts a batch or notes until when to wait."""
        while self._arrived[self._head] < now - self._deadline:
            self._shed(now)
            if not self._waits():
                return
        head, arrived, ends = self._head, self._arrived, self._ends
        seen = bisect.bisect_right(arrived, now, lo=head)
        waiting = ends[seen - 1] - self._position
        want, until = self._policy.take(
            Waiting(now, seen - head, waiting, arrived[head], arrived[seen - 1])
        )
        if want < 1:
            self._hold = min(until, arrived[seen] if seen < len(arrived) else math.inf)
            return
        stop = self._position + min(want, waiting, self._largest)
        after = bisect.bisect_right(ends, stop, lo=head)  # pieces up to here end in this batch
        if self._policy.pieces is not None:
            after = max(after, head + 1)
            stop = ends[after - 1]
        rows = stop - self._position
        seconds = self._seconds[executor][rows] * self._factors[len(self.starts) % _FACTORS]
        newest = bisect.bisect_left(ends, stop, lo=head)  # the piece with the last of the rows
        ran = Ran(rows, seconds, now - arrived[head], now - arrived[newest])
        self.starts.append(now)
        self.batches.append(ran)
        heapq.heapreplace(self._free, (now + seconds, executor, ran))
        self._answer(after, stop, now + seconds)

    def _answer(self, after: int, stop: int, finish: float) -> None:
        """Notes who is answered when a batch of the rows up to `stop` ends."""
        for piece in range(self._head, after):
            request, last = self._last[piece]
            done = max(finish, self._finish.pop(request, 0.0))
            if last:
                heapq.heappush(self._answers, (done, request, done - self._arrived[piece]))
            else:
                self._finish[request] = done
        self._head, self._position = after, stop
        if after < len(self._ends) and stop > (self._ends[after - 1] if after else 0):
            request = self._last[after][0]
            self._finish[request] = max(finish, self._finish.get(request, 0.0))

    def _shed(self, now: float) -> None:
        """Drops all that is left of the request at the head."""
        request = self._last[self._head][0]
        self._finish.pop(request, None)
        while self._waits() and self._last[self._head][0] == request:
            self._position = self._ends[self._head]
            self._head += 1
        heapq.heappush(self._answers, (now, request, math.nan))
