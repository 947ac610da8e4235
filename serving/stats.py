"""What the service counts, for metrics and for tests to hold it to."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from serving.climbing import Climbing
from silverjax.retriever import Answer


class Sliding:
    """Durations of the last seconds.

    Args:
        span_s: How far back they count.
        room: How many are kept; under more load the span is shorter.
    """

    def __init__(self, span_s: float = 10.0, room: int = 8_192) -> None:
        self._span_s = span_s
        self._times = np.full(room, -np.inf)
        self._seconds = np.zeros(room)
        self._next = 0

    def add(self, now: float, seconds: float) -> None:
        """Takes in one duration measured now (`time.perf_counter`)."""
        self._times[self._next] = now
        self._seconds[self._next] = seconds
        self._next = (self._next + 1) % len(self._times)

    def quantiles(self, shares: Sequence[float], now: float | None = None) -> list[float]:
        """Seconds that these shares of the durations do not exceed; NaN where there are none."""
        now = time.perf_counter() if now is None else now
        recent = self._seconds[self._times >= now - self._span_s]
        if not len(recent):
            return [float("nan")] * len(shares)
        return np.quantile(recent, shares, method="inverted_cdf").tolist()


@dataclasses.dataclass
class Stats:
    """Counters since the start, and durations of the last seconds.

    Attributes:
        requests: That came and could be understood, the refused ones among them.
        rows: Of those requests.
        answered: Requests answered in time.
        answered_rows: Of those requests.
        shed: Requests refused at the door, by reason (`serving.admission`).
        expired: Requests let in, whose time ran out.
        cancelled: Requests whose client went away.
        failed: Requests of batches that failed.
        batches: By compiled size.
        batch_seconds: Time they kept the device busy, by compiled size.
        dispatches: Batches by the reason why they left (`serving.batcher`).
        batch_rows: Rows of all batches, without padding.
        funnel: Items left after each stage, summed over all rows.
        coverage: Share of the items that was searched, summed over all rows.
        swaps: Snapshots put in place, rollbacks among them.
        refused_swaps: Snapshots that could not be put in place.
        queue: From arrival to the first batch.
        infer: From there to the answer.
        total: Both.
        climbing: Is told of the same events, if the batch limit is climbed.
    """

    requests: int = 0
    rows: int = 0
    answered: int = 0
    answered_rows: int = 0
    shed: Counter[str] = dataclasses.field(default_factory=Counter)
    expired: int = 0
    cancelled: int = 0
    failed: int = 0
    batches: Counter[int] = dataclasses.field(default_factory=Counter)
    batch_seconds: defaultdict[int, float] = dataclasses.field(
        default_factory=lambda: defaultdict(float)
    )
    dispatches: Counter[str] = dataclasses.field(default_factory=Counter)
    batch_rows: int = 0
    funnel: Counter[str] = dataclasses.field(default_factory=Counter)
    coverage: float = 0.0
    swaps: int = 0
    refused_swaps: int = 0
    queue: Sliding = dataclasses.field(default_factory=Sliding)
    infer: Sliding = dataclasses.field(default_factory=Sliding)
    total: Sliding = dataclasses.field(default_factory=Sliding)
    climbing: Climbing | None = None

    def arrived(self, rows: int) -> None:
        """Counts a request that came and could be understood."""
        self.requests += 1
        self.rows += rows
        if self.climbing:
            self.climbing.arrived()

    def refused(self, reason: str) -> None:
        """Counts a request that was refused at the door."""
        self.shed[reason] += 1
        if self.climbing:
            self.climbing.shed()

    def ran_out(self) -> None:
        """Counts a request whose time ran out."""
        self.expired += 1
        if self.climbing:
            self.climbing.shed()

    def batch_done(
        self, answer: Answer, rows: int, bucket: int, reason: str, busy_s: float
    ) -> None:
        """Counts a batch; `answer` is on the host, and only its first `rows` rows were asked."""
        self.batches[bucket] += 1
        self.batch_seconds[bucket] += busy_s
        self.dispatches[reason] += 1
        self.batch_rows += rows
        for stage, counts in answer.funnel._asdict().items():
            self.funnel[stage] += int(np.sum(counts[:rows]))
        self.coverage += float(np.sum(answer.coverage[:rows]))
        if self.climbing:
            self.climbing.batch_done(rows, busy_s)

    def request_done(self, rows: int, now: float, queue_s: float, infer_s: float) -> None:
        """Counts a request that was answered in time."""
        self.answered += 1
        self.answered_rows += rows
        self.queue.add(now, queue_s)
        self.infer.add(now, infer_s)
        self.total.add(now, queue_s + infer_s)
        if self.climbing:
            self.climbing.answered(queue_s + infer_s, rows)
