"""How other servers choose their batches, each rule behind the simulator's `Policy`.

Written from their documentation and published descriptions. All of them take requests (or the
pieces that a client cut them into, since none splits a request itself) in order of arrival.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np

from experiments.serving_lane import Policy
from experiments.serving_sim import LatencyCurve, Ran, Waiting
from serving.hill_climb import Decision, HillClimber
from serving.hill_climb_config import HillClimbConfig, Window
from serving.warm_up import warm_up


class Greedy:
    """Whatever waits, at once, up to a fixed limit. Limit 1 is a server without batching.

    Args:
        limit: Most rows of a batch.
        splits: Fill batches with parts of requests; otherwise requests are cut into pieces of
            `limit` rows when they arrive, and pieces stay whole.
        best: How many of 0, 1, ... waiting rows to take below the limit, as the service does;
            None: all.
    """

    threshold: int | None = None
    window_s = math.inf

    def __init__(
        self, limit: int, *, splits: bool = False, best: Sequence[int] | None = None
    ) -> None:
        self.limit = limit
        self.pieces = None if splits else limit
        self._best = best

    def take(self, waiting: Waiting) -> tuple[int, float]:
        return _rows_to_take(self.limit, waiting.rows, self._best), 0.0

    def done(self, batch: Ran) -> None: ...

    def observe(self, window: Window) -> None: ...


def fixed(limit: int, curve: LatencyCurve) -> Greedy:
    """The service with a limit that stays."""
    return Greedy(limit, splits=True, best=curve.best_rows)


def _rows_to_take(limit: int, waiting: int, best: Sequence[int] | None) -> int:
    return limit if best is None or waiting >= limit else best[waiting]


class Triton(Greedy):
    """Triton's dynamic batcher: `max_batch_size`, `preferred_batch_size`, `max_queue_delay`.

    When an instance is free, the queued requests that make up the largest preferred size go
    at once. Where none can be made up, the batch waits until its oldest request has waited for
    the delay, then takes what there is. Without preferred sizes the maximum is the only one.
    (Triton user guide, "Dynamic Batcher".)
    """

    def __init__(self, limit: int, *, delay: float = 0.0, preferred: tuple[int, ...] = ()) -> None:
        super().__init__(limit)
        self._delay, self._preferred = delay, preferred or (limit,)

    def take(self, waiting: Waiting) -> tuple[int, float]:
        ready = [size for size in self._preferred if size <= waiting.rows]
        if ready:
            return max(ready), 0.0
        until = waiting.oldest + self._delay
        return (self.limit, 0.0) if waiting.now >= until else (0, until)


class BentoML(Greedy):
    """BentoML's adaptive batching (the CORK dispatcher).

    Fits duration = a * rows + b by least squares to the last 50 batches, at most every 5 s.
    While rows * (newest wait + tick + a) <= 0.95 * the average wait of past batches, it waits
    for one more tick of 1 ms. (Their `max_latency_ms` is the simulator's deadline.)
    """

    _TICK, _MARGIN, _REFRESH = 1e-3, 0.95, 5.0

    def __init__(self, limit: int = 100) -> None:
        super().__init__(limit)
        self._slope, self._fitted = 0.0, 0.0
        self._waits, self._batches = 0.0, list[Ran]()

    def take(self, waiting: Waiting) -> tuple[int, float]:
        if waiting.now - self._fitted > self._REFRESH:
            self._fit(waiting.now)
        rows = min(waiting.rows, self.limit)
        newest = waiting.now - waiting.newest
        patience = self._MARGIN * self._waits
        if rows < self.limit and rows * (newest + self._TICK + self._slope) <= patience:
            return 0, waiting.now + self._TICK
        return self.limit, 0.0

    def done(self, batch: Ran) -> None:
        self._batches = [*self._batches[-49:], batch]
        self._waits += 0.1 * (batch.oldest_wait - self._waits)

    def _fit(self, now: float) -> None:
        self._fitted = now
        rows = np.array([batch.rows for batch in self._batches], float)
        if len(set(rows.tolist())) > 1:
            seconds = np.array([batch.seconds for batch in self._batches])
            self._slope = max(0.0, float(np.polyfit(rows, seconds, 1)[0]))


class Clipper(Greedy):
    """Clipper's AIMD (NSDI 2017, 4.3.1): the limit grows by a step while batches stay within
    the target, and shrinks by 10 % when one exceeds it. Starts at 1."""

    def __init__(self, target: float, *, largest: int, step: int = 2) -> None:
        super().__init__(1, splits=True)
        self._target, self._largest, self._step = target, largest, step

    def done(self, batch: Ran) -> None:
        if batch.seconds > self._target:
            self.limit = max(1, int(0.9 * self.limit))
        elif batch.rows >= self.limit:
            self.limit = min(self._largest, self.limit + self._step)


def other_rules(
    ladder: Sequence[int], target: float, *, preferred: tuple[int, ...]
) -> dict[str, Callable[[], Policy]]:
    """The rules of other servers as they come, by name; a fresh one for each run.

    Args:
        ladder: Batch sizes, ascending.
        target: Seconds, for the rule that has one.
        preferred: Sizes, for the rule that is told some.
    """
    largest = ladder[-1]
    return {
        "Triton, default": lambda: Triton(largest),
        "Triton, delay 5 ms": lambda: Triton(largest, delay=5e-3),
        "Triton, preferred": lambda: Triton(largest, delay=1e-3, preferred=preferred),
        "BentoML, default": lambda: BentoML(min(100, largest)),
        "Clipper (AIMD)": lambda: Clipper(target, largest=largest),
    }


class IdleMachine:
    """Runs batches on a clock of its own; the first of a size takes three times as long."""

    def __init__(self, curve: LatencyCurve, haste: float, seed: int) -> None:
        self._seconds = dict(zip(curve.buckets, (s / haste for s in curve.seconds)))
        self._sigma = math.sqrt(math.log1p(curve.noise**2))
        self._rng = np.random.default_rng(seed)
        self._ran: set[int] = set()
        self._now = 0.0

    def clock(self) -> float:
        return self._now

    def run(self, rows: int) -> None:
        factor = 1.0 if rows in self._ran else 3.0
        factor *= self._rng.lognormal(-(self._sigma**2) / 2, self._sigma)
        self._ran.add(rows)
        self._now += self._seconds[rows] * factor


@dataclasses.dataclass
class Climbing:
    """Ours: the hill climber of the service, a window at a time.

    Attributes:
        climber: Decides.
        best: How many of 0, 1, ... waiting rows to take below the limit; None: all.
        window_s: Length of a window.
        trace: Every decision, with the window (counted from 1) that led to it.
    """

    climber: HillClimber
    best: Sequence[int] | None = None
    window_s: float = 0.5
    trace: list[tuple[float, Decision]] = dataclasses.field(default_factory=list)
    pieces: int | None = None

    def __post_init__(self) -> None:
        self._decision = self.climber.decision
        self._now = 0.0

    @classmethod
    def warmed(
        cls,
        config: HillClimbConfig,
        curve: LatencyCurve,
        *,
        seed: int,
        haste: float = 1.0,
        window_s: float = 0.5,
    ) -> Climbing:
        """A climber that starts as that of a service does, from the times of its warm-up.

        Args:
            curve: What a batch takes once requests come; noise included.
            seed: Of the noise of the warm-up.
            haste: Batches run so many times faster while nothing else does.
        """
        climber, idle = HillClimber(config), IdleMachine(curve, haste, seed)
        measured = warm_up(idle.run, curve.buckets, clock=idle.clock)
        climber.learn(measured.rows, measured.seconds)
        return cls(climber, curve.best_rows, window_s)

    @property
    def limit(self) -> int:
        """In force."""
        return self._decision.batch_limit

    @property
    def threshold(self) -> int | None:
        """In force."""
        return self._decision.offload_threshold

    def take(self, waiting: Waiting) -> tuple[int, float]:
        return _rows_to_take(self.limit, waiting.rows, self.best), 0.0

    def done(self, batch: Ran) -> None: ...

    def observe(self, window: Window) -> None:
        self._now += window.duration
        self._decision = self.climber.step(window)
        self.trace.append((self._now, self._decision))
