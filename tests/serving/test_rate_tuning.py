"""The tuning of a real service, whose batches all take about the same time."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from serving.engine import Engine, Piece
from serving.rate_search import Tuned
from serving.rate_tuning import Measured, Measuring, find_limit, promising
from serving.service import Service
from serving.tune_launch import shown
from serving.warm_up import WarmUp


class PerBatch(Engine):
    """20 ms whatever the size, far more than the work: a larger limit carries in proportion."""

    def run(self, pieces: Sequence[Piece]) -> Any:
        time.sleep(0.02)
        return super().run(pieces)


def test_finds_that_larger_batches_carry_more(engine: Engine) -> None:
    slow = PerBatch(engine.snapshot, buckets=(1, 8), like=engine)
    # The target is far above what a busy machine adds, so that queues alone miss it.
    options = Measuring(target_s=0.6, k=1, seconds=0.2, requests=100, resolution=2.0)

    async def run(seed: int) -> tuple[Tuned, list[Measured]]:
        service, done = Service(slow), list[Measured]()
        await service.start()
        try:
            varied = dataclasses.replace(options, seed=seed)
            return await find_limit(service, varied, done.append), done
        finally:
            await service.stop()

    # A machine that stands still for a second spoils a measurement, and with it a search.
    for seed in range(5):
        found, done = asyncio.run(run(seed))
        if found.batch_limit == 8:
            break
    assert found.batch_limit == 8
    assert found.rate > found.rates.get(1, 0.0)
    assert any(one.met for one in done)
    assert any(not one.met for one in done)
    assert shown(done, options).row_count == 2


def test_sizes_that_exceed_the_target_alone_are_left_out() -> None:
    measured = WarmUp(np.array([1, 8, 64]), np.array([0.01, 0.02, 0.2]), 0.5)
    assert promising(measured, 0.1) == (1, 8)
    with pytest.raises(ValueError, match="5 ms cannot be met: the fastest batch alone takes 10 ms"):
        promising(measured, 0.005)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target_s": 0.0}, "target_s=0.0 must be a positive number"),
        ({"seconds": 0.0}, "seconds=0.0 must be a positive number"),
        ({"requests": 10}, "requests=10 must be at least 100"),
    ],
)
def test_rejects_settings(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Measuring(**({"target_s": 0.1} | changes))


def test_rejects_a_limit_that_is_not_compiled(engine: Engine) -> None:
    service = Service(engine)
    with pytest.raises(ValueError, match="rows=16 must be from 1 to 8"):
        service.limit_batches(16)
    with pytest.raises(RuntimeError, match="start the service"):
        service.limit_batches(8)
