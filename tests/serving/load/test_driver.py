"""The open loop, against functions of this process."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from serving.load.driver import drive
from serving.load.workload import Schedule, constant, schedule


def test_every_request_is_sent_once_with_its_rows() -> None:
    made = schedule(constant(500.0, 0.4), sizes="kairos", seed=1)
    sent = []

    async def send(number: int, rows: int) -> tuple[int, int]:
        sent.append((number, rows))
        return 200, 8

    outcomes = asyncio.run(drive(made, send))
    assert sent == list(enumerate(made.sizes.tolist()))
    assert (outcomes.statuses == 200).all()
    assert (outcomes.batches == 8).all()
    assert (outcomes.lags >= 0).all()


def test_latency_counts_from_the_scheduled_time() -> None:
    """One at a time, 50 ms each, all due at once: coordinated omission would show 50 ms."""
    made = Schedule(np.full(6, 0.01), np.ones(6, int), 0.02)
    lock = asyncio.Lock()

    async def send(number: int, rows: int) -> tuple[int, int]:
        async with lock:
            await asyncio.sleep(0.05)
        return 200, 0

    latencies = asyncio.run(drive(made, send)).latencies
    assert (np.sort(latencies) >= 0.049 * np.arange(1, 7)).all()


def test_slow_answers_do_not_hold_up_the_next_request() -> None:
    made = Schedule(np.arange(10) * 0.01, np.ones(10, int), 0.1)
    running = most = 0

    async def send(number: int, rows: int) -> tuple[int, int]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.5)
        running -= 1
        return 200, 0

    asyncio.run(drive(made, send))
    assert most == 10


def test_failures_and_what_never_ends_are_told_apart() -> None:
    made = Schedule(np.array([0.0, 0.01, 0.02]), np.ones(3, int), 0.03)

    async def send(number: int, rows: int) -> tuple[int, int]:
        if number == 0:
            raise ConnectionResetError("gone")
        if number == 1:
            await asyncio.sleep(60)
        return 429, 0

    outcomes = asyncio.run(drive(made, send, drain_s=0.1))
    assert outcomes.statuses.tolist() == [0, -1, 429]
    assert np.isnan(outcomes.latencies[1])


def test_mistakes_of_the_caller_are_not_swallowed() -> None:
    made = Schedule(np.array([0.0]), np.ones(1, int), 0.01)

    async def send(number: int, rows: int) -> tuple[int, int]:
        raise TypeError("a bug")

    with pytest.raises(TypeError, match="a bug"):
        asyncio.run(drive(made, send, drain_s=0.1))
