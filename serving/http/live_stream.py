"""The live figures as server-sent events (HTML Standard, section 9.2).

A frame is computed and encoded once a second, whoever listens. Nobody waits for a listener: each
has a short line, and who does not empty it is cut off.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serving.http.endpoint import JSON, Call
from serving.http.protocol import EXCHANGE, Exchange
from serving.live import EVERY_S, Live
from serving.problems import Refused

LISTENERS = 32
_LINE = 5  # events that may wait for one listener: seconds, therefore
_RETRY_MS = 2_000
EVENT_STREAM = "text/event-stream"

log = logging.getLogger(__name__)

_encode = msgspec.json.Encoder().encode


class LiveStream:
    """Hands the frames of a service to whoever listens.

    Args:
        live: The figures.
        listeners: At most so many at a time.
    """

    def __init__(self, live: Live, *, listeners: int = LISTENERS) -> None:
        self._live, self._most = live, listeners
        self._lines: dict[asyncio.Queue[bytes | None], Callable[[], None]] = {}
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def listeners(self) -> int:
        """Connected now."""
        return len(self._lines)

    def start(self) -> None:
        """Begins to sample; call on the loop that serves."""
        self._task = asyncio.create_task(self._run())

    def close(self) -> None:
        """Ends the sampling and all streams."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
        self._offer(None)

    async def figures(self, call: Call) -> Response:
        """`GET /v1/live`: the last five minutes; as a stream of events it goes on."""
        wanted = EVENT_STREAM.encode() in call.headers.get(b"accept", b"")
        if not wanted or call.scope["method"] == "HEAD":
            return Response(_encode(self._live.history()), media_type=JSON)
        if self._closed or len(self._lines) >= self._most:
            raise Refused(
                503, f"{self._most} listeners are connected, which is the limit; close a page"
            )
        return _EventStream(self)

    def tick(self) -> None:
        """One frame, to all."""
        self._offer(_event("frame", self._live.sample()))

    def beginning(self) -> bytes:
        """What a new listener gets first."""
        return b"retry: %d\n" % _RETRY_MS + _event("history", self._live.history())

    @contextlib.contextmanager
    def listening(self, cut_off: Callable[[], None]) -> Iterator[asyncio.Queue[bytes | None]]:
        """A line of events; `None` is the end.

        Args:
            cut_off: Called if the line is not emptied.
        """
        line: asyncio.Queue[bytes | None] = asyncio.Queue(_LINE)
        self._lines[line] = cut_off
        try:
            yield line
        finally:
            self._lines.pop(line, None)

    def _offer(self, event: bytes | None) -> None:
        for line, cut_off in list(self._lines.items()):
            try:
                line.put_nowait(event)
            except asyncio.QueueFull:
                del self._lines[line]
                log.info("a listener of the live figures was too slow, and was cut off")
                cut_off()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                self.tick()
            except Exception:  # the figures are never worth a service
                log.exception("the live figures failed")


def _event(name: str, value: Any) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), _encode(value))


class _EventStream(Response):
    """Goes on until the client leaves, falls behind, or the server stops."""

    media_type = EVENT_STREAM

    def __init__(self, stream: LiveStream) -> None:
        super().__init__(headers={"cache-control": "no-store"})
        del self.headers["content-length"]
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange: Exchange = scope.get(EXCHANGE) or Exchange()
        exchange.task = asyncio.current_task()
        try:
            with self._stream.listening(exchange.abort) as line:
                await send(
                    {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
                )
                event: bytes | None = self._stream.beginning()
                while event is not None:
                    await send({"type": "http.response.body", "body": event, "more_body": True})
                    event = await line.get()
            await send({"type": "http.response.body", "body": b""})
        except asyncio.CancelledError:
            if not exchange.gone:
                raise
        finally:
            exchange.task = None
