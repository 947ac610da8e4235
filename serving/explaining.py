"""Explanations beside the requests: on a thread of their own, one at a time, a few in line.

Their program is compiled when a version is loaded, like those of the requests; what is left is one
batch of one row, which shares the device with the requests but is never in their queue.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from serving.admission import CAPACITY
from serving.engine import Engine
from serving.errors import DeadlineExceeded, Overloaded
from serving.explain import Explanation, explain
from serving.query import Query

IN_LINE = 8  # explanations are for people, who ask one at a time
_RETRY_S = 1.0


class Explaining:
    """Lives on the event loop, which never waits for it."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="silverjax-explain")
        self._in_line = 0

    async def explain(self, engine: Engine, query: Query, item: str, timeout: float) -> Explanation:
        """Follows one item through the stages; see `serving.explain`.

        Args:
            item: External id.
            timeout: Seconds.

        Raises:
            NotImplementedError: The engine was made without `traces`.
            Overloaded: Too many are in line.
            DeadlineExceeded: The time ran out.
            ValueError, KeyError: The caller's fault.
        """
        if not engine.traces:
            raise NotImplementedError(
                "this service explains no items; make its engine with traces=True"
            )
        if self._in_line >= IN_LINE:
            raise Overloaded(_RETRY_S, CAPACITY)
        # Looking up filters and weights is the event loop's: their tables have no locks.
        rows, row = engine.encode([query]), engine.snapshot.catalogue.item_row(item)
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._thread, explain, engine, query, rows, row)
        self._in_line += 1
        work.add_done_callback(self._done)
        try:
            async with asyncio.timeout(timeout):
                # Who gives up leaves the thread busy, and so the place in the line taken.
                return await asyncio.shield(work)
        except TimeoutError:
            raise DeadlineExceeded(f"no explanation within {timeout:.3f} s") from None

    async def close(self) -> None:
        """Ends the thread, after what is in line."""
        await asyncio.get_running_loop().run_in_executor(None, self._thread.shutdown)

    def _done(self, work: asyncio.Future[Explanation]) -> None:
        self._in_line -= 1
        if not work.cancelled():
            work.exception()  # nobody may be left to look at it
