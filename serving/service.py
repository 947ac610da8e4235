"""A snapshot as a service: requests in, batches to the device, answers out, versions swapped.

Everything that decides runs on the event loop and is plain Python without locks; everything that
waits for the device runs on threads of its own. The way of a request:

    answer()   check and encode -> the door (`admission`) -> the queue (`batcher`)
    scheduler  while the device has room: the next batch -> `pipeline` -> rows to their requests
    answer()   all its rows are there, or its time ran out, or its client went away

A request is encoded for the version that is current when it comes, and answered by that version,
also if it is split or if another version is put in place while it waits.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from typing import NoReturn

from serving.admission import STOPPING, Admission
from serving.answered import Answered
from serving.climbing import Climbing
from serving.config import ServiceConfig
from serving.engine import BUCKETS, Engine
from serving.errors import DeadlineExceeded, Overloaded
from serving.explain import Explanation
from serving.explaining import Explaining
from serving.hill_climb import HillClimber
from serving.query import Query
from serving.recompiles import RecompileCounter
from serving.scheduler import Pending, Scheduler
from serving.stats import Stats
from serving.versions import Versions, open_newest

_DEFAULTS = ServiceConfig()


class Service:
    """Answers queries from the current snapshot, in batches, within their deadlines.

        service = Service.open("snapshots", ServiceConfig(watch_s=1.0))
        await service.start()
        answered = await service.answer([Query(user="42")], timeout=0.1)
        print(answered.version, answered.replies[0].items)
        await service.stop()

    Args:
        engine: The version to begin with.
        config: Bounds and defaults.
        climber: Moves the batch limit; without one it is the largest compiled size.
        degraded: What is wrong from the start, such as a newer version that cannot serve.
        scheduler: Makes the scheduler; studies put the rules of other servers in its place.

    Attributes:
        stats: Counters and recent durations.
        versions: The snapshots, and the way to change them.
        climbing: The batch limit's moves and their reasons; `None` without a climber.
        warmed_up: How long a batch of each size took; known after `start`.
    """

    def __init__(
        self,
        engine: Engine,
        config: ServiceConfig = _DEFAULTS,
        climber: HillClimber | None = None,
        *,
        degraded: str | None = None,
        scheduler: Callable[..., Scheduler] = Scheduler,
    ) -> None:
        self.config = config
        self._make_scheduler = scheduler
        self.climbing = Climbing(climber, engine.buckets) if climber else None
        self.stats = Stats(climbing=self.climbing)
        self.versions = Versions(engine, self.stats, degraded)
        self._recompiles = RecompileCounter()
        self._explaining = Explaining()
        self._door = Admission(config.capacity_rows, config.reserved_share)
        self._scheduler: Scheduler | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._open = False

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        config: ServiceConfig = _DEFAULTS,
        climber: HillClimber | None = None,
        *,
        buckets: Sequence[int] = BUCKETS,
        k: int | None = None,
    ) -> Service:
        """A service of one version, or of the newest of a folder of versions that can serve.

        Raises:
            SnapshotError: None can; says what is wrong with the newest.
        """
        engine, degraded = open_newest(path, buckets=buckets, k=k)
        return cls(engine, config, climber, degraded=degraded)

    async def start(self) -> None:
        """Warms the programs up and opens the door. Call on the loop that will serve."""
        self.warmed_up = measured = await self.versions.warm()
        self._recompiles.watch_this_thread()
        self._scheduler = self._make_scheduler(
            limit=self.versions.engine.buckets[-1],
            depth=self.config.depth,
            head_start_s=self.config.head_start_s,
            times=measured.typical(),
            stats=self.stats,
            recompiles=self._recompiles,
        )
        if self.climbing:
            self.climbing.begin(self._scheduler.queue, measured)
            self._tasks.append(asyncio.create_task(self.climbing.run(self._scheduler.queue)))
        if self.config.watch_s:
            self._tasks.append(asyncio.create_task(self.versions.watch(self.config.watch_s)))
        self._open = True

    async def stop(self) -> None:
        """Closes the door, answers what was let in (for `drain_s` at most) and ends the threads."""
        self._open = False
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._scheduler is not None:
            await self._scheduler.drain(self.config.drain_s)
            await self._scheduler.close()
        await self._explaining.close()
        await self.versions.close()
        self._recompiles.leave_this_thread()

    @property
    def ready(self) -> bool:
        """Warm, and not stopping."""
        return self._open

    @property
    def degraded(self) -> str | None:
        """What is wrong although requests are answered; `None` if nothing is."""
        return self.versions.degraded

    @property
    def version(self) -> str:
        """The version that new requests are answered from."""
        return self.versions.engine.version

    @property
    def recompiles(self) -> int:
        """Programs compiled on the way of a request since the start; must stay 0."""
        return self._recompiles.count

    @property
    def queue_rows(self) -> int:
        """Rows that wait now."""
        return self._scheduler.queue.rows if self._scheduler else 0

    @property
    def batches_running(self) -> int:
        """Batches on their way now."""
        return self._scheduler.running if self._scheduler else 0

    @property
    def batch_limit(self) -> int:
        """Rows that a batch may have now."""
        return self._scheduler.queue.limit if self._scheduler else 0

    def limit_batches(self, rows: int) -> None:
        """Sets how many rows a batch may have, until a climber, if there is one, moves it.

        Raises:
            ValueError: No program is compiled for so many.
            RuntimeError: The service has not been started.
        """
        largest = self.versions.engine.buckets[-1]
        if not 1 <= rows <= largest:
            raise ValueError(f"{rows=} must be from 1 to {largest}, the largest size compiled")
        if self._scheduler is None:
            raise RuntimeError("start the service before its batches are limited")
        self._scheduler.queue.limit = rows

    async def answer(
        self, queries: Sequence[Query], *, timeout: float | None = None, priority: int = 0
    ) -> Answered:
        """Answers one request. Cancelling the task frees its place.

        Args:
            timeout: Seconds until the answer must be there; `None` takes `config.timeout_s`.
            priority: Higher goes first, within `config.priorities`.

        Raises:
            Overloaded: At once, if the answer could not come in time or the queue is full.
            DeadlineExceeded: The time ran out.
            BatchFailed: The device gave an error.
            ValueError, KeyError: The caller's fault, said before the request queues.
        """
        return await self.ask(queries, timeout=timeout, priority=priority)

    def ask(
        self, queries: Sequence[Query], *, timeout: float | None = None, priority: int = 0
    ) -> asyncio.Future[Answered]:
        """As `answer`, for who has many requests at a time and no task for each.

        Whoever is refused, or asks what cannot be answered, is told by this call; what goes wrong
        later is told by the future. Cancelling the future frees the request's place.
        """
        arrival = time.perf_counter()
        timeout = self._checked(len(queries), timeout, priority)
        scheduler, promised = self._let_in(len(queries), arrival, timeout, priority)
        engine = self.versions.engine
        rows = engine.encode(queries)
        self.stats.arrived(len(rows))
        pending, ticket = scheduler.add(
            engine, rows, arrival=arrival, timeout_s=timeout, promised_s=promised, priority=priority
        )
        timer = asyncio.get_running_loop().call_later(timeout, self._expire, scheduler, pending)

        def leave(future: asyncio.Future[Answered]) -> None:
            timer.cancel()
            scheduler.queue.cancel(ticket)
            self.stats.cancelled += future.cancelled()

        pending.future.add_done_callback(leave)
        return pending.future

    async def explain(
        self, query: Query, item: str, *, timeout: float | None = None
    ) -> Explanation:
        """Which stage keeps or drops an item, beside the requests and never in their way.

        Args:
            item: External id.
            timeout: As in `answer`.

        Raises:
            Overloaded, DeadlineExceeded, ValueError, KeyError: As in `answer`.
            NotImplementedError: The engine was made without `traces`.
        """
        timeout = self._checked(1, timeout, 0)
        if not self._open:
            raise Overloaded(self.config.drain_s, STOPPING)
        return await self._explaining.explain(self.versions.engine, query, item, timeout)

    async def swap(self, path: str | os.PathLike[str]) -> str:
        """Serves another version from now on; see `Versions.swap`."""
        return await self.versions.swap(path)

    async def rollback(self) -> str:
        """Serves the version before the current one; see `Versions.rollback`."""
        return await self.versions.rollback()

    def _checked(self, rows: int, timeout: float | None, priority: int) -> float:
        """The request's time in seconds."""
        if not rows:
            raise ValueError("a request needs at least 1 query; this one has none")
        lowest, highest = self.config.priorities
        if not lowest <= priority <= highest:
            raise ValueError(f"{priority=} must be from {lowest} to {highest}")
        timeout = self.config.timeout_s if timeout is None else timeout
        if not 0 < timeout <= self.config.longest_timeout_s:
            raise ValueError(
                f"{timeout=} must be above 0 and at most {self.config.longest_timeout_s} seconds"
            )
        return timeout

    def _let_in(
        self, rows: int, now: float, timeout: float, priority: int
    ) -> tuple[Scheduler, float]:
        """Refuses before any work is done, or says who takes it and how long that takes at most."""
        scheduler = self._scheduler
        if scheduler is None or not self._open:
            self._refuse(rows, self.config.drain_s, STOPPING)
        promised = scheduler.margin.stretched(scheduler.estimate_s(rows, priority, now), timeout)
        refusal = self._door.decide(
            rows,
            waiting=scheduler.queue.rows,
            priority=priority,
            now=now,
            deadline=now + timeout,
            estimate_s=promised,
            rows_per_s=scheduler.rows_per_s,
        )
        if refusal is not None:
            self._refuse(rows, refusal.retry_after, refusal.reason)
        return scheduler, promised

    def _refuse(self, rows: int, retry_after: float, reason: str) -> NoReturn:
        self.stats.arrived(rows)
        self.stats.refused(reason)
        raise Overloaded(retry_after, reason)

    def _expire(self, scheduler: Scheduler, pending: Pending) -> None:
        if not pending.future.done():
            self.stats.ran_out()
            waited = time.perf_counter() - pending.arrival
            scheduler.margin.observe(pending.promised_s, waited)
            pending.future.set_exception(
                DeadlineExceeded(f"no answer within {waited:.3f} s; the request was withdrawn")
            )
