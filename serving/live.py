"""The last minutes of a service in figures: one frame a second, and what holds now.

Reads what the service counts anyway, and is read by the live page; knows nothing of HTTP. All of
it is bounded: frames, moves of the batch limit, and the samples that means are taken over.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections import Counter, deque

from serving.climbing import Move
from serving.service import Service

EVERY_S = 1.0
FRAMES = 300  # five minutes
_MEANS_S = 10  # samples that the funnel is averaged over; the latencies' span too


@dataclasses.dataclass(frozen=True)
class Frame:
    """One second.

    Attributes:
        at: Its end, seconds since 1970.
        answered_per_s: Requests answered in time.
        rows_per_s: Rows of those.
        refused_per_s: Requests refused at the door.
        late_per_s: Requests let in whose time ran out.
        p50_ms: Median from arrival to answer, over the last ten seconds; `None` without answers.
        p95_ms: Likewise.
        p99_ms: Likewise.
        queue_rows: Rows that wait, now.
        batch_limit: Rows that a batch may have, now.
        rows_per_batch: Mean of the batches that ended; `None` if none did.
        busy_share: Of the second that the device had a batch.
    """

    at: float
    answered_per_s: float
    rows_per_s: float
    refused_per_s: float
    late_per_s: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    queue_rows: int
    batch_limit: int
    rows_per_batch: float | None
    busy_share: float


@dataclasses.dataclass(frozen=True)
class State:
    """What holds now.

    Attributes:
        snapshot_version: That serves.
        ready: Requests are answered.
        degraded: What is wrong all the same.
        target_ms: That the batch limit is climbed for; `None` if it is not climbed.
        percentile: Of the requests that are to be within it, as a share.
        batch_sizes: Compiled.
        climb: Why the batch limit is what it is.
        settled: Nothing is being tried.
        requests: Since the start, refused ones among them.
        refused: Since the start, by reason.
        late: Since the start.
        recompiles: On a request's way; must be 0.
        funnel: Items left after each stage, mean of a row in the last ten seconds; `None` without
            batches.
        coverage: Share of the items searched, likewise.
    """

    snapshot_version: str
    ready: bool
    degraded: str | None
    target_ms: float | None
    percentile: float | None
    batch_sizes: tuple[int, ...]
    climb: str
    settled: bool
    requests: int
    refused: dict[str, int]
    late: int
    recompiles: int
    funnel: dict[str, float] | None
    coverage: float | None


@dataclasses.dataclass(frozen=True)
class Update:
    """What is new: a frame, the state, and the moves of the batch limit since the last one."""

    frame: Frame
    state: State
    moves: tuple[Move, ...]


@dataclasses.dataclass(frozen=True)
class History:
    """All that is kept, oldest first."""

    frames: tuple[Frame, ...]
    state: State
    moves: tuple[Move, ...]


@dataclasses.dataclass(frozen=True)
class _Counts:
    """Of `Stats`, at one moment."""

    when: float
    answered: int
    rows: int
    refused: int
    late: int
    batches: int
    batch_rows: int
    busy_s: float
    coverage: float
    funnel: Counter[str]


class Live:
    """Samples a service.

    Args:
        service: Whose figures.
        now: `time.perf_counter` of the start.

    Attributes:
        frames: The last ones, oldest first.
    """

    def __init__(self, service: Service, now: float | None = None) -> None:
        self.frames: deque[Frame] = deque(maxlen=FRAMES)
        self._service = service
        self._counts = deque([self._count(now)], maxlen=1 + _MEANS_S)
        self._told: Move | None = None

    def sample(self, now: float | None = None, at: float | None = None) -> Update:
        """Takes in the time since the last call; well under a millisecond.

        Args:
            now: `time.perf_counter`.
            at: `time.time`.
        """
        before = self._counts[-1]
        counts = self._count(now)
        self._counts.append(counts)
        seconds = max(counts.when - before.when, 1e-9)
        batches = counts.batches - before.batches
        stats = self._service.stats
        p50, p95, p99 = (
            None if math.isnan(s) else 1e3 * s
            for s in stats.total.quantiles([0.5, 0.95, 0.99], counts.when)
        )
        frame = Frame(
            at=time.time() if at is None else at,
            answered_per_s=(counts.answered - before.answered) / seconds,
            rows_per_s=(counts.rows - before.rows) / seconds,
            refused_per_s=(counts.refused - before.refused) / seconds,
            late_per_s=(counts.late - before.late) / seconds,
            p50_ms=p50,
            p95_ms=p95,
            p99_ms=p99,
            queue_rows=self._service.queue_rows,
            batch_limit=self._service.batch_limit,
            rows_per_batch=(counts.batch_rows - before.batch_rows) / batches if batches else None,
            busy_share=min(1.0, (counts.busy_s - before.busy_s) / seconds),
        )
        self.frames.append(frame)
        return Update(frame, self.state(), self._new_moves())

    def state(self) -> State:
        """What holds now."""
        service, stats = self._service, self._service.stats
        climbing = service.climbing
        newest, oldest = self._counts[-1], self._counts[0]
        rows = newest.batch_rows - oldest.batch_rows
        return State(
            snapshot_version=service.version,
            ready=service.ready,
            degraded=service.degraded,
            target_ms=1e3 * climbing.target_s if climbing else None,
            percentile=climbing.percentile if climbing else None,
            batch_sizes=service.versions.engine.buckets,
            climb=climbing.decision.reason if climbing else "fixed",
            settled=climbing.decision.settled if climbing else True,
            requests=stats.requests,
            refused=dict(stats.shed),
            late=stats.expired,
            recompiles=service.recompiles,
            funnel={
                stage: (total - oldest.funnel[stage]) / rows
                for stage, total in newest.funnel.items()
            }
            if rows
            else None,
            coverage=(newest.coverage - oldest.coverage) / rows if rows else None,
        )

    def history(self) -> History:
        """All frames and moves that are kept."""
        climbing = self._service.climbing
        return History(tuple(self.frames), self.state(), tuple(climbing.moves) if climbing else ())

    def _new_moves(self) -> tuple[Move, ...]:
        new: list[Move] = []
        climbing = self._service.climbing
        for move in reversed(climbing.moves) if climbing else ():
            if move is self._told:
                break
            new.append(move)
        if new:
            self._told = new[0]
        return tuple(reversed(new))

    def _count(self, now: float | None) -> _Counts:
        stats = self._service.stats
        return _Counts(
            when=time.perf_counter() if now is None else now,
            answered=stats.answered,
            rows=stats.answered_rows,
            refused=sum(stats.shed.values()),
            late=stats.expired,
            batches=sum(stats.batches.values()),
            batch_rows=stats.batch_rows,
            busy_s=sum(stats.batch_seconds.values()),
            coverage=stats.coverage,
            funnel=Counter(stats.funnel),
        )
