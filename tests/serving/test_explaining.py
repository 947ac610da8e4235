"""Explanations beside the requests: the same thread of events, bounded, never compiled."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from serving.config import ServiceConfig
from serving.engine import Engine
from serving.errors import DeadlineExceeded, Overloaded
from serving.explain import explain
from serving.explaining import IN_LINE
from serving.query import Query
from serving.service import Service
from silverjax.item_trace import ItemTrace
from silverjax.retriever import Request


def held(engine: Engine, gate: threading.Event) -> Engine:
    """The same engine, but explanations wait at a gate."""

    class Held(Engine):
        def trace(self, request: Request, item: int) -> ItemTrace:
            if item:  # warming up asks for the first
                gate.wait(20)
            return super().trace(request, item)

    return Held(engine.snapshot, buckets=engine.buckets, like=engine, traces=True)


def serve(engine: Engine, client: Callable[[Service], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        service = Service(engine, ServiceConfig(timeout_s=20.0))
        await service.start()
        try:
            return await client(service)
        finally:
            await service.stop()

    return asyncio.run(run())


def test_the_service_explains_what_it_answers(engine: Engine) -> None:
    query = Query(user="u3", k=3)

    async def client(service: Service) -> None:
        best = (await service.answer([query])).replies[0].items[0]
        explained = await service.explain(query, best.item)
        assert explained == explain(engine, query, engine.encode([query]), best.row)
        assert (explained.returned, explained.place) == (True, 1)
        assert service.recompiles == 0

    serve(engine, client)


def test_requests_go_on_while_explanations_wait(engine: Engine) -> None:
    gate = threading.Event()

    async def client(service: Service) -> None:
        try:
            waiting = [
                asyncio.create_task(service.explain(Query(k=1), "i1")) for _ in range(IN_LINE)
            ]
            await asyncio.sleep(0)
            with pytest.raises(Overloaded, match="queue_full"):
                await service.explain(Query(k=1), "i1")
            assert (await service.answer([Query(k=2)])).version == "00000001"
        finally:
            gate.set()
        assert {one.item for one in await asyncio.gather(*waiting)} == {"i1"}
        assert (await service.explain(Query(k=1), "i2")).item == "i2", "the line is empty again"

    serve(held(engine, gate), client)


def test_time_that_runs_out_is_told_and_keeps_the_place_until_done(engine: Engine) -> None:
    gate = threading.Event()

    async def client(service: Service) -> None:
        try:
            with pytest.raises(DeadlineExceeded, match="no explanation within 0.010 s"):
                await service.explain(Query(k=1), "i1", timeout=0.01)
            assert service._explaining._in_line == 1
        finally:
            gate.set()
        await service.explain(Query(k=1), "i2")
        assert service._explaining._in_line == 0

    serve(held(engine, gate), client)


def test_rejects_what_cannot_be_explained(engine: Engine) -> None:
    async def client(service: Service) -> None:
        with pytest.raises(KeyError, match="no item 'x' among the 300"):
            await service.explain(Query(k=1), "x")
        with pytest.raises(ValueError, match="no feature `colour`"):
            await service.explain(Query(k=1, where="colour:red"), "i1")
        with pytest.raises(ValueError, match="must be above 0"):
            await service.explain(Query(k=1), "i1", timeout=0)
        assert service._explaining._in_line == 0

    serve(engine, client)


def test_rejects_all_without_traces(engine: Engine) -> None:
    async def client(service: Service) -> None:
        with pytest.raises(NotImplementedError, match="make its engine with traces=True"):
            await service.explain(Query(k=1), "i1")

    serve(Engine(engine.snapshot, buckets=engine.buckets, like=engine), client)


def test_rejects_before_the_door_is_open(engine: Engine) -> None:
    async def ask() -> None:
        await Service(engine).explain(Query(k=1), "i1")

    with pytest.raises(Overloaded, match="stopping"):
        asyncio.run(ask())
