"""The service in one process: answers, deadlines, overload, cancellation, priorities."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import jax
import numpy as np
import pytest

from serving.admission import CAPACITY, STOPPING, TOO_LATE
from serving.config import ServiceConfig
from serving.engine import Engine, Piece
from serving.errors import BatchFailed, DeadlineExceeded, Overloaded
from serving.query import Query, Reply
from serving.service import Service


def slowed(engine: Engine, seconds: float) -> Engine:
    """The same engine, but a batch takes so much longer."""

    class Slow(Engine):
        def run(self, pieces: Sequence[Piece]) -> Any:
            time.sleep(seconds)
            return super().run(pieces)

    return Slow(engine.snapshot, buckets=engine.buckets, like=engine)


def serve(
    engine: Engine, client: Callable[[Service], Awaitable[Any]], **config: Any
) -> tuple[Service, Any]:
    """Runs a client against a service, on a loop of its own."""

    async def run() -> tuple[Service, Any]:
        service = Service(engine, ServiceConfig(**config))
        await service.start()
        try:
            return service, await client(service)
        finally:
            await service.stop()

    return asyncio.run(run())


def gathered(
    requests: Callable[[Service], Sequence[Awaitable[Any]]],
) -> Callable[[Service], Awaitable[list[Any]]]:
    """A client that makes all its requests at once and keeps exceptions as results."""

    async def client(service: Service) -> list[Any]:
        return await asyncio.gather(*requests(service), return_exceptions=True)

    return client


def users(count: int, start: int = 0) -> list[Query]:
    return [Query(user=f"u{(start + n) % 20}", k=3) for n in range(count)]


def same(one: Sequence[Reply], other: Sequence[Reply]) -> bool:
    """Whether two lists of replies name the same items with the same values."""
    return len(one) == len(other) and all(
        [i.item for i in a.items] == [i.item for i in b.items]
        and np.allclose([i.value for i in a.items], [i.value for i in b.items], rtol=1e-4)
        for a, b in zip(one, other)
    )


def test_requests_of_all_sizes_get_the_engines_answers(engine: Engine) -> None:
    wanted = [users(rows, start) for start, rows in enumerate([1, 3, 20, 1, 8, 1, 13, 2])]
    service, answers = serve(
        engine, gathered(lambda s: [s.answer(queries) for queries in wanted]), timeout_s=30.0
    )
    for queries, answered in zip(wanted, answers, strict=True):
        assert same(answered.replies, engine.recommend(queries))
        assert answered.version == "00000001"
        assert answered.arrays.rows.shape == (len(queries), engine.sizes.k)
        assert answered.queue_ms >= 0
        assert answered.infer_ms > 0
        assert answered.batch in engine.buckets
    stats = service.stats
    assert stats.answered == stats.requests == 8
    assert stats.answered_rows == stats.rows == stats.batch_rows == 49
    assert sum(stats.batches.values()) == sum(stats.dispatches.values()) < 49
    assert stats.funnel["returned"] == 49 * engine.sizes.k
    assert stats.funnel["live"] > stats.funnel["probed"] >= stats.funnel["candidates"]
    assert 0 < stats.coverage <= 49
    assert service.recompiles == 0
    assert service.queue_rows == service.batches_running == 0


def test_device_has_a_batch_to_follow_while_another_is_put_together(engine: Engine) -> None:
    async def client(service: Service) -> int:
        large = asyncio.create_task(service.answer(users(100)))
        await asyncio.sleep(0.01)
        running = service.batches_running
        await large
        return running

    _, running = serve(slowed(engine, 0.05), client, timeout_s=30.0)
    assert running == 3


def test_small_request_does_not_wait_for_a_large_one(engine: Engine) -> None:
    order: list[str] = []

    async def client(service: Service) -> None:
        async def ask(name: str, rows: int) -> None:
            await service.answer(users(rows))
            order.append(name)

        large = asyncio.create_task(ask("large", 80))
        await asyncio.sleep(0.01)
        await asyncio.gather(large, ask("small", 1))

    serve(slowed(engine, 0.02), client, timeout_s=30.0)
    assert order == ["small", "large"]


def test_higher_priority_is_answered_first(engine: Engine) -> None:
    order: list[int] = []

    async def client(service: Service) -> None:
        async def ask(priority: int) -> None:
            await service.answer(users(8), priority=priority)
            order.append(priority)

        await asyncio.gather(*(ask(p) for p in (0, 0, 0, 0, 2)))

    serve(slowed(engine, 0.01), client, timeout_s=30.0, head_start_s=10.0)
    assert order == [2, 0, 0, 0, 0]


def test_time_that_runs_out_ends_the_wait_and_frees_the_place(engine: Engine) -> None:
    class Stuck(Engine):
        stuck = False

        def run(self, pieces: Sequence[Piece]) -> Any:
            time.sleep(0.5 if self.stuck else 0.0)
            return super().run(pieces)

    sometimes = Stuck(engine.snapshot, buckets=engine.buckets, like=engine)

    async def client(service: Service) -> float:
        sometimes.stuck = True  # after the warm-up, so that the door knows nothing of it
        running = asyncio.create_task(service.answer(users(1), timeout=30.0))
        await asyncio.sleep(0.01)
        start = time.perf_counter()
        with pytest.raises(DeadlineExceeded, match="no answer within"):
            await service.answer(users(5), timeout=0.1)
        waited = time.perf_counter() - start
        assert service.queue_rows == 0
        await running
        return waited

    service, waited = serve(sometimes, client, depth=1)
    assert waited < 0.45  # before the engine was free again
    assert service.stats.expired == 1
    assert service.stats.answered == 1


def test_overload_is_refused_at_once_and_the_rest_is_answered(engine: Engine) -> None:
    largest = 0

    async def client(service: Service) -> list[Any]:
        nonlocal largest

        async def ask(number: int) -> Any:
            nonlocal largest
            await asyncio.sleep(0.001 * number)
            try:
                return await service.answer(users(4), timeout=0.5)
            finally:
                largest = max(largest, service.queue_rows)

        return await asyncio.gather(*map(ask, range(150)), return_exceptions=True)

    service, results = serve(slowed(engine, 0.02), client, capacity_rows=40, reserved_share=0.0)
    refused = [r for r in results if isinstance(r, Overloaded)]
    answered = [r for r in results if not isinstance(r, Exception)]
    assert len(refused) + len(answered) + service.stats.expired == 150
    assert len(answered) > 10
    assert len(refused) > 10
    assert largest <= 40
    assert all(r.reason in (CAPACITY, TOO_LATE) and 0 < r.retry_after < 5 for r in refused)
    assert service.stats.shed.total() == len(refused)


def test_what_cannot_be_in_time_is_refused_before_it_waits(engine: Engine) -> None:
    async def client(service: Service) -> Overloaded:
        large = asyncio.create_task(service.answer(users(400), timeout=30.0))
        await asyncio.sleep(0.01)
        start = time.perf_counter()
        with pytest.raises(Overloaded) as refusal:
            await service.answer(users(8), timeout=0.3)
        assert time.perf_counter() - start < 0.2
        large.cancel()
        return refusal.value

    _, refusal = serve(slowed(engine, 0.02), client)
    assert refusal.reason == TOO_LATE


def test_cancellation_frees_the_place(engine: Engine) -> None:
    async def client(service: Service) -> None:
        tasks = [asyncio.create_task(service.answer(users(8))) for _ in range(10)]
        await asyncio.sleep(0.01)
        assert service.queue_rows >= 80 - 3 * 8  # three batches are on their way
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert service.queue_rows == 0
        answered = await service.answer(users(1))
        assert len(answered.replies) == 1

    service, _ = serve(slowed(engine, 0.05), client, timeout_s=30.0)
    assert service.stats.cancelled == 10
    assert service.stats.answered == 1


def test_batch_that_fails_harms_no_other(engine: Engine) -> None:
    class Failing(Engine):
        def run(self, pieces: Sequence[Piece]) -> Any:
            if any(rows.fields["k"][0] == 6 for rows, _, _ in pieces):
                raise RuntimeError("out of memory")
            return super().run(pieces)

    async def client(service: Service) -> None:
        with pytest.raises(BatchFailed, match="the log says which"):
            await service.answer([Query(k=6)])
        assert len((await service.answer(users(2))).replies) == 2

    service, _ = serve(Failing(engine.snapshot, buckets=engine.buckets, like=engine), client)
    assert service.stats.failed == service.stats.answered == 1


@pytest.mark.parametrize(
    ("queries", "options", "message"),
    [
        ([], {}, "at least 1 query"),
        ([Query(k=99)], {}, "k=99 must be from 1 to 7"),
        ([Query(where="colour:red", k=1)], {}, "no feature `colour`"),
        ([Query(k=1), Query(user="nobody", k=1)], {}, "no user 'nobody'"),
        ([Query(k=1)], {"timeout": 0.0}, "must be above 0"),
        ([Query(k=1)], {"timeout": float("nan")}, "must be above 0"),
        ([Query(k=1)], {"priority": 3}, "must be from -2 to 2"),
        ([Query(k=1)] * 4_000, {}, "exceeds the 3687 that may wait"),
    ],
)
def test_rejects_what_is_the_callers_fault_before_it_waits(
    engine: Engine, queries: list[Query], options: dict[str, Any], message: str
) -> None:
    async def client(service: Service) -> None:
        with pytest.raises((ValueError, KeyError), match=message):
            await service.answer(queries, **options)
        assert service.queue_rows == service.stats.requests == 0

    serve(engine, client)


def test_stopping_answers_what_was_let_in_and_refuses_the_rest(engine: Engine) -> None:
    async def run() -> None:
        service = Service(slowed(engine, 0.02), ServiceConfig(timeout_s=30.0))
        with pytest.raises(Overloaded):
            await service.answer(users(1))
        assert not service.ready
        await service.start()
        assert service.ready
        tasks = [asyncio.create_task(service.answer(users(8))) for _ in range(5)]
        await asyncio.sleep(0.01)
        stopping = asyncio.create_task(service.stop())
        await asyncio.sleep(0)
        with pytest.raises(Overloaded) as refusal:
            await service.answer(users(1))
        assert refusal.value.reason == STOPPING
        await stopping
        assert [len(task.result().replies) for task in tasks] == [8] * 5

    asyncio.run(run())


def test_recompiles_on_the_way_of_a_request_are_counted(engine: Engine) -> None:
    class Careless(Engine):
        """Compiles for whatever shape comes, like `jax.jit` without buckets."""

        def run(self, pieces: Sequence[Piece]) -> Any:
            rows = sum(stop - start for _, start, stop in pieces)
            jax.jit(lambda ones: ones + 1)(np.ones(rows, np.int32))
            return super().run(pieces)

    async def client(service: Service) -> int:
        before = service.recompiles
        await service.answer(users(2), timeout=60.0)
        return service.recompiles - before

    _, counted = serve(Careless(engine.snapshot, buckets=engine.buckets, like=engine), client)
    assert counted >= 1


def test_unknown_users_are_served_cold_if_asked_for(engine: Engine) -> None:
    queries = [
        Query(user="nobody", k=3, allow_unknown=True),
        Query(k=3),
        Query(user="u1", k=3, allow_unknown=True),
    ]
    _, answered = serve(engine, lambda s: s.answer(queries))
    assert [reply.cold_start for reply in answered.replies] == [True, True, False]
    assert same(answered.replies[:1], answered.replies[1:2])
