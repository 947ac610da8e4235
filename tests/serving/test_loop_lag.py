"""The event loop's lag, as it is told."""

from __future__ import annotations

import asyncio
import time

from serving.loop_lag import watch_lag


def test_lag_is_what_somebody_held_the_loop_for() -> None:
    told: list[float] = []

    async def run() -> None:
        watcher = asyncio.create_task(watch_lag(told.append))
        await asyncio.sleep(0)
        time.sleep(0.1)
        await asyncio.sleep(0.03)
        watcher.cancel()

    asyncio.run(run())
    assert told[0] >= 0.08
    assert min(told) >= 0.0
