"""uvicorn's HTTP protocol with the limits it lacks: on connections, on slow and on long headers.

Also cancels the work of a request whose client has gone away, so that its place is free at once.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

EXCHANGE = "silverjax.exchange"


@dataclasses.dataclass(frozen=True)
class Limits:
    """What one client may cost.

    Attributes:
        connections: Open at a time; what comes beyond is closed unread.
        header_s: Seconds in which a request's headers must be there, from the first byte, and
            in which a new connection must send one.
        header_bytes: Their size.
        body_s: Seconds in which a body must be there.
        body_bytes: Its size.
        idle_s: Seconds that a connection may wait for its next request.
    """

    connections: int = 16_384
    header_s: float = 10.0
    header_bytes: int = 32 * 1024
    body_s: float = 10.0
    body_bytes: int = 8 * 2**20
    idle_s: float = 75.0


class Exchange:
    """What a connection works on: one request at a time, cancelled when the client is gone.

    Attributes:
        task: Of the request that is being answered; set by who answers it.
        gone: The client closed the connection.
        abort: Closes it from this side, with whatever is still to be sent.
    """

    task: asyncio.Task[Any] | None = None
    gone = False

    def __init__(self, abort: Callable[[], None] = lambda: None) -> None:
        self.abort = abort


def limited_protocol(limits: Limits) -> type[HttpToolsProtocol]:
    """The protocol class for `uvicorn.Config(http=...)`."""

    class LimitedProtocol(HttpToolsProtocol):
        _header_timer: asyncio.TimerHandle | None = None
        _header_left = limits.header_bytes

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._exchange = Exchange(transport.abort)
            if len(self.connections) > limits.connections:
                transport.abort()
                return
            self._expect_headers()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_timer()
            super().connection_lost(exc)
            self._exchange.gone = True
            if self._exchange.task is not None:
                self._exchange.task.cancel()

        def data_received(self, data: bytes) -> None:
            if self._header_timer is not None:
                self._header_left -= len(data)
            super().data_received(data)
            if self._header_timer is not None and self._header_left < 0:
                self._refuse(b"431 Request Header Fields Too Large", "headers are too long")

        def on_message_begin(self) -> None:
            super().on_message_begin()
            if self._header_timer is None:
                self._expect_headers()

        def on_headers_complete(self) -> None:
            self._stop_timer()
            self.scope[EXCHANGE] = self._exchange  # type: ignore[literal-required]
            super().on_headers_complete()

        def _expect_headers(self) -> None:
            self._header_left = limits.header_bytes
            self._header_timer = self.loop.call_later(limits.header_s, self._headers_late)

        def _stop_timer(self) -> None:
            if self._header_timer is not None:
                self._header_timer.cancel()
                self._header_timer = None

        def _headers_late(self) -> None:
            self._header_timer = None
            if not self.transport.is_closing():
                self._refuse(b"408 Request Timeout", "no request came in time")

        def _refuse(self, status: bytes, why: str) -> None:
            body = b'{"error":"%s"}' % why.encode()
            self.transport.write(
                b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
                b"connection: close\r\n\r\n%s" % (status, len(body), body)
            )
            self.transport.close()

    return LimitedProtocol
