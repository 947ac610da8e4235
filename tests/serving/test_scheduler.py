"""Which rows the scheduler sends off together, given what batches are known to take."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from serving.config import ServiceConfig
from serving.engine import Engine
from serving.query import Query
from serving.scheduler import Scheduler
from serving.service import Service


@pytest.mark.parametrize(
    ("times", "batches"),
    [
        ({1: 1.0, 4: 1.0, 8: 1.0}, [4, 4, 4]),  # padding costs nothing
        # Once batches of one row have run, one of four is known to take four times as long at
        # most: still more than three of those.
        ({1: 0.001, 4: 1.0, 8: 1.0}, [1, 1, 1]),
    ],
)
def test_a_batch_that_would_be_mostly_padding_is_not_made(
    engine: Engine, times: dict[int, float], batches: list[int]
) -> None:
    async def run() -> list[int]:
        def scheduler(**settings: Any) -> Scheduler:
            return Scheduler(**(settings | {"times": times}))

        service = Service(engine, ServiceConfig(timeout_s=30.0), scheduler=scheduler)
        await service.start()
        try:
            one = [Query(user="u1", k=3)]
            answers = await asyncio.gather(*(service.answer(one) for _ in range(3)))
            return [answered.batch for answered in answers]
        finally:
            await service.stop()

    assert asyncio.run(run()) == batches
