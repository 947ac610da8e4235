"""Keeps to a schedule whatever the service does: an open loop, without coordinated omission.

A request is sent when its time has come, however many are still unanswered, and its latency
counts from that time, not from when it was sent: if generator or service lag, the tail shows it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Awaitable, Callable

import numpy as np
from jaxtyping import Float, Int

from serving.load.workload import Schedule

# Number and rows of a request -> status (200 is a success) and batch (0 where unknown).
Send = Callable[[int, int], Awaitable[tuple[int, int]]]


@dataclasses.dataclass(frozen=True, eq=False)
class Outcomes:
    """What became of the requests of a schedule; those still on their way have status -1.

    Attributes:
        schedule: What was asked for.
        latencies: Seconds from the scheduled time to the answer; nan while there is none.
        statuses: 200 where it was answered; 0 where there was no answer, or the error's code.
        batches: Rows of the batch that each ran in; 0 where unknown.
        lags: Seconds by which each was sent after its time; nan while it was not.
    """

    schedule: Schedule
    latencies: Float[np.ndarray, " requests"]
    statuses: Int[np.ndarray, " requests"]
    batches: Int[np.ndarray, " requests"]
    lags: Float[np.ndarray, " requests"]


def blank(schedule: Schedule) -> Outcomes:
    """Nothing sent yet."""
    n = len(schedule)
    return Outcomes(
        schedule, np.full(n, np.nan), np.full(n, -1), np.zeros(n, int), np.full(n, np.nan)
    )


async def drive(
    schedule: Schedule, send: Send, *, outcomes: Outcomes | None = None, drain_s: float = 10.0
) -> Outcomes:
    """Sends every request at its time.

    Args:
        schedule: Times and rows.
        send: Sends one request and awaits its answer: over HTTP, or a function of this process.
            A ValueError or OSError counts as an answer with status 0.
        outcomes: Filled as answers come, for whoever looks on; made where absent.
        drain_s: Seconds to wait for the last answers; what has none by then stays at -1.
    """
    outcomes = blank(schedule) if outcomes is None else outcomes
    running: set[asyncio.Task[None]] = set()
    failed: list[Exception] = []
    times, sizes = schedule.times.tolist(), schedule.sizes.tolist()
    start = time.perf_counter()

    async def one(number: int) -> None:
        try:
            status, batch = await send(number, sizes[number])
        except (ValueError, OSError):
            status, batch = 0, 0
        except Exception as error:  # a mistake of ours, not of the service
            failed.append(error)
            return
        outcomes.latencies[number] = time.perf_counter() - start - times[number]
        outcomes.statuses[number], outcomes.batches[number] = status, batch

    number = 0
    while number < len(times) and not failed:
        now = time.perf_counter() - start
        if times[number] > now:
            await asyncio.sleep(times[number] - now)
            continue
        outcomes.lags[number] = now - times[number]
        task = asyncio.create_task(one(number))
        running.add(task)
        task.add_done_callback(running.discard)
        number += 1
        if number % 32 == 0:
            await asyncio.sleep(0)  # a generator that lags still reads its answers
    rest = schedule.duration - (time.perf_counter() - start)
    if running:
        await asyncio.wait(running, timeout=max(0.0, rest) + drain_s)
    for task in (left := list(running)):
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    if failed:
        raise failed[0]
    return outcomes
