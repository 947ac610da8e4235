"""From the queue to the device and back: which batch goes when, and whose rows came back.

Lives on the event loop. The device's waits are on the threads of `serving.pipeline`, which hands
each finished batch back in one call.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import time
from collections import deque
from collections.abc import Mapping

from serving.answered import Answered, Part
from serving.batcher import AHEAD, IDLE, Batch, Batcher, Ticket
from serving.encoder import Rows
from serving.engine import Engine
from serving.errors import BatchFailed
from serving.pipeline import Job, Pipeline
from serving.recompiles import RecompileCounter
from serving.service_times import Margin, ServiceTimes
from serving.stats import Stats

log = logging.getLogger(__name__)

# A batch is put together in less; what arrives later than this goes with the next one.
AHEAD_S = 0.001


@dataclasses.dataclass(eq=False)
class Pending:
    """A request that was let in.

    Attributes:
        engine: The version that answers all of it.
        rows: What it asks.
        arrival: `time.perf_counter`, seconds.
        timeout_s: Time it has.
        promised_s: How long the answer was thought to take at most, with the margin.
        future: Gets the answer.
        left: Rows that have no answer yet.
        parts: Answers so far, in order.
        left_queue: When its first rows did; 0 before.
    """

    engine: Engine
    rows: Rows
    arrival: float
    timeout_s: float
    promised_s: float
    future: asyncio.Future[Answered]
    left: int
    parts: list[Part] = dataclasses.field(default_factory=list)
    left_queue: float = 0.0


class Scheduler:
    """Keeps the device busy with the right batches.

    Args:
        limit: Most rows of a batch.
        depth: Batches on their way at a time.
        head_start_s: See `Batcher`.
        times: First measurement of each compiled size, in seconds.
        stats: Where batches and answers are counted.
        recompiles: Counts what the pipeline's threads compile.

    Attributes:
        queue: What waits.
        margin: What is added to estimates at the door.
    """

    def __init__(
        self,
        *,
        limit: int,
        depth: int,
        head_start_s: float,
        times: Mapping[int, float],
        stats: Stats,
        recompiles: RecompileCounter,
    ) -> None:
        self.queue = Batcher[Pending](limit, head_start_s=head_start_s)
        self._depth = depth
        self._times = ServiceTimes(times)
        self._stats = stats
        self._loop = asyncio.get_running_loop()
        self._running: deque[Batch[Pending]] = deque()
        self._busy_until = 0.0  # when what runs should be done
        self._pump_due = False
        self._alarm: asyncio.TimerHandle | None = None
        self.margin = Margin()
        self._pipeline = Pipeline(self._hand_back, recompiles)
        self._pipeline.start()

    @property
    def running(self) -> int:
        """Batches on their way."""
        return len(self._running)

    @property
    def rows_per_s(self) -> float:
        """How fast a long queue empties."""
        return self._times.rows_per_s(self.queue.limit)

    def estimate_s(self, rows: int, priority: int, now: float) -> float:
        """Seconds until a request that comes now would be answered.

        Nothing waits and nothing runs: 0, whatever was measured before. An estimate that keeps
        all requests out would never be corrected.
        """
        if not self.queue.rows and not self._running:
            return 0.0
        return self._times.until_answered(
            rows,
            ahead=self.queue.rows_ahead(priority),
            running=max(0.0, self._busy_until - now),
            limit=self.queue.limit,
        )

    def add(
        self,
        engine: Engine,
        rows: Rows,
        *,
        arrival: float,
        timeout_s: float,
        promised_s: float,
        priority: int,
    ) -> tuple[Pending, Ticket[Pending]]:
        """Queues a request that was let in."""
        future: asyncio.Future[Answered] = self._loop.create_future()
        pending = Pending(engine, rows, arrival, timeout_s, promised_s, future, len(rows))
        ticket = self.queue.add(
            pending, len(rows), arrival=arrival, priority=priority, group=engine
        )
        if not self._pump_due:  # once all requests that have already arrived are in the queue
            self._pump_due = True
            self._loop.call_soon(self._pump)
        return pending, ticket

    async def drain(self, seconds: float) -> None:
        """Waits until nothing waits or runs, but not for ever."""
        until = time.perf_counter() + seconds
        while (self.queue.rows or self._running) and time.perf_counter() < until:
            await asyncio.sleep(0.005)

    async def close(self) -> None:
        """Ends the threads, after the batches that are on their way."""
        await self._loop.run_in_executor(None, self._pipeline.stop)

    def _pump(self) -> None:
        """Sends batches off as long as there is one to send and room for it."""
        self._pump_due = False
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        while len(self._running) < self._depth:
            now = time.perf_counter()
            batch, again = self._next(now)
            if batch is None:
                if self.queue.rows:
                    self._alarm = self._loop.call_later(again - now, self._pump)
                return
            self._send(batch, now)

    def _next(self, now: float) -> tuple[Batch[Pending] | None, float]:
        """The batch to send now; if there is none, when to ask again if nothing else happens."""
        left = self._busy_until - now
        free = IDLE if not self._running else AHEAD if left < AHEAD_S else None
        most = self._times.best_rows(min(self.queue.rows, self.queue.limit)) if free else None
        return self.queue.next(now, free=free, most=most), self._busy_until - AHEAD_S

    def _send(self, batch: Batch[Pending], now: float) -> None:
        for piece in batch.pieces:
            piece.item.left_queue = piece.item.left_queue or now
        self._busy_until = max(self._busy_until, now) + self._times.of(batch.rows)
        self._running.append(batch)
        pieces = [(piece.item.rows, piece.start, piece.stop) for piece in batch.pieces]
        self._pipeline.submit(Job(batch.pieces[0].item.engine, pieces))

    def _hand_back(self, job: Job) -> None:
        """On the reaper's thread: back to the loop's."""
        with contextlib.suppress(RuntimeError):  # the loop was closed under us
            self._loop.call_soon_threadsafe(self._done, job)

    def _done(self, job: Job) -> None:
        batch = self._running.popleft()  # the pipeline keeps the order
        now = time.perf_counter()
        if not self._running:
            self._busy_until = now
        if job.answer is None:
            log.error("a batch of %d rows failed", batch.rows, exc_info=job.error)
            self._fail(batch)
        else:
            bucket = job.engine.bucket_for(batch.rows)
            self._times.observe(bucket, job.busy_s)
            self._stats.batch_done(job.answer, batch.rows, bucket, batch.reason, job.busy_s)
            at = 0
            for piece in batch.pieces:
                part = Part(job.answer, at, at := at + piece.stop - piece.start)
                self._deliver(piece.item, part, bucket, now)
            self.margin.step()
        self._pump()

    def _deliver(self, pending: Pending, part: Part, bucket: int, now: float) -> None:
        pending.parts.append(part)
        pending.left -= part.stop - part.start
        if pending.left or pending.future.done():
            return
        queue_s, infer_s = pending.left_queue - pending.arrival, now - pending.left_queue
        self._stats.request_done(len(pending.rows), now, queue_s, infer_s)
        self.margin.observe(pending.promised_s, queue_s + infer_s)
        pending.future.set_result(
            Answered(
                rows=pending.rows,
                parts=pending.parts,
                names=pending.engine.replies,
                queue_ms=1e3 * queue_s,
                infer_ms=1e3 * infer_s,
                batch=bucket,
            )
        )

    def _fail(self, batch: Batch[Pending]) -> None:
        for piece in batch.pieces:
            if not piece.item.future.done():
                self._stats.failed += 1
                piece.item.future.set_exception(
                    BatchFailed("the device gave an error instead of an answer; the log says which")
                )
