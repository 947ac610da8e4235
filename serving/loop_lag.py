"""How long the event loop keeps whoever is ready waiting: the first thing to look at when a server
is slow and its device is not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

EVERY_S = 0.01


async def watch_lag(observe: Callable[[float], None]) -> None:
    """Tells by how many seconds a sleep of `EVERY_S` was overslept, again and again, for ever."""
    while True:
        due = time.perf_counter() + EVERY_S
        await asyncio.sleep(EVERY_S)
        observe(max(0.0, time.perf_counter() - due))
