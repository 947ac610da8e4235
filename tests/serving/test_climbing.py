"""The hill climber drives the batch limit of a real service."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from serving.climbing import Climbing
from serving.engine import Engine, Piece
from serving.hill_climb import HillClimber
from serving.hill_climb_config import HillClimbConfig
from serving.query import Query
from serving.service import Service


class PerBatch(Engine):
    """Nearly all the time of a batch is the same whatever its size: larger batches pay."""

    def run(self, pieces: Sequence[Piece]) -> Any:
        time.sleep(0.005)
        return super().run(pieces)


def test_limit_rises_under_load_where_larger_batches_pay(engine: Engine) -> None:
    slow = PerBatch(engine.snapshot, buckets=engine.buckets, like=engine)
    climber = HillClimber(HillClimbConfig(ladder=engine.buckets, target_s=0.5, start=1))

    async def run() -> Service:
        service = Service(slow, climber=climber)
        await service.start()
        assert service.batch_limit == 1
        async with asyncio.timeout(60):
            end = asyncio.Event()

            async def client() -> None:
                while not end.is_set():
                    await service.answer([Query(k=1)], timeout=30.0)

            clients = [asyncio.create_task(client()) for _ in range(24)]
            while service.batch_limit < 8:
                await asyncio.sleep(0.05)
            end.set()
            await asyncio.gather(*clients)
        await service.stop()
        return service

    service = asyncio.run(run())
    assert service.climbing is not None
    moves = list(service.climbing.moves)
    assert [move.batch_limit for move in moves][:1] == [1]
    assert moves[-1].batch_limit == 8
    assert all(move.reason for move in moves)
    assert service.recompiles == 0


def test_begins_with_the_best_limit_of_its_warm_up_and_keeps_it_through_a_swap(
    engine: Engine, snapshots: Path
) -> None:
    slow = PerBatch(engine.snapshot, buckets=engine.buckets, like=engine)

    async def run() -> Service:
        service = Service(slow, climber=HillClimber(HillClimbConfig(engine.buckets, target_s=0.5)))
        await service.start()
        assert service.batch_limit == 8
        await service.swap(snapshots / "00000002")
        assert service.batch_limit == 8
        await service.stop()
        return service

    service = asyncio.run(run())
    assert service.climbing is not None
    assert [move.batch_limit for move in service.climbing.moves] == [8]
    assert service.climbing.moves[0].reason.startswith("start: should carry ")


def test_rejects_a_ladder_that_is_not_compiled_or_offloads() -> None:
    with pytest.raises(ValueError, match="the ladder has \\[16\\], for which nothing is compiled"):
        Climbing(HillClimber(HillClimbConfig(ladder=(1, 16), target_s=0.1)), (1, 4))
    offloads = HillClimbConfig(ladder=(1,), target_s=0.1, thresholds=(4,), accelerator_buckets=(8,))
    with pytest.raises(ValueError, match="no second executor"):
        Climbing(HillClimber(offloads), (1, 4))
