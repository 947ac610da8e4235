"""A small HTTP/1.1 client for load: one request at a time per connection, connections kept.

General clients spend most of a millisecond of Python on a request; a generator that should not
be the bottleneck cannot. This one writes a request as one piece of bytes and lets httptools (the
parser of Node.js) read the answer.
"""

from __future__ import annotations

import asyncio
import dataclasses
import re
import ssl
from collections import deque
from typing import cast
from urllib.parse import urlsplit

import httptools

# Server-Timing: batch;desc="32", as `silverjax serve` sends it.
_BATCH = re.compile(rb'\bbatch;desc="?(\d+)')


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came back.

    Attributes:
        status: HTTP status; 0 where there was no answer at all.
        batch: Rows of the batch that it ran in, if the server says so; otherwise 0.
        body: Bytes.
    """

    status: int
    batch: int
    body: bytes


class HttpClient:
    """Posts to one URL over as many connections as are needed at a time.

    Args:
        url: `http://host:port/path` or https.
        headers: Sent with every request.
        connections: Most at a time; a request beyond waits for one to be free.
        timeout_s: Seconds until a request counts as failed and its connection is closed.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: dict[str, str] | None = None,
        connections: int = 512,
        timeout_s: float = 10.0,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} must be a URL such as http://127.0.0.1:8000/v1/recommend")
        self._host, self._tls = parts.hostname, parts.scheme == "https"
        self._port = parts.port or (443 if self._tls else 80)
        lines = {"Host": parts.netloc, "Content-Type": "application/json", **(headers or {})}
        for name, value in lines.items():
            if any(c in f"{name}{value}" for c in "\r\n"):
                raise ValueError(f"header {name!r} holds a line break")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        head = f"POST {path} HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in lines.items())
        self._head = head.encode() + b"Content-Length: "
        self._timeout = timeout_s
        self._idle: deque[_Connection] = deque()
        self._room = asyncio.Semaphore(connections)

    async def post(self, body: bytes) -> Answer:
        """Sends one body; never raises for what the network does."""
        async with self._room:
            try:
                async with asyncio.timeout(self._timeout):
                    connection = await self._connection()
                    try:
                        answer = await connection.post(
                            b"%b%d\r\n\r\n%b" % (self._head, len(body), body)
                        )
                    except BaseException:
                        connection.close()
                        raise
            except (OSError, TimeoutError, httptools.HttpParserError):
                return Answer(0, 0, b"")
            if connection.usable:
                self._idle.append(connection)
            return answer

    async def close(self) -> None:
        """Closes the connections that are idle."""
        while self._idle:
            self._idle.pop().close()
        await asyncio.sleep(0)  # sockets close when the loop next runs

    async def _connection(self) -> _Connection:
        while self._idle:  # the last one used first, so that those not needed stay idle
            if (kept := self._idle.pop()).usable:
                return kept
        loop = asyncio.get_running_loop()
        context = ssl.create_default_context() if self._tls else None
        _, made = await loop.create_connection(_Connection, self._host, self._port, ssl=context)
        return made


class _Connection(asyncio.Protocol):
    """A socket, and the answer that is being read from it."""

    def __init__(self) -> None:
        self.usable = False
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[Answer] | None = None

    async def post(self, request: bytes) -> Answer:
        assert self._transport is not None
        self._waiter = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self._batch = 0
        self._transport.write(request)
        return await self._waiter

    def close(self) -> None:
        self.usable = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self.usable = cast(asyncio.Transport, transport), True

    def connection_lost(self, exc: Exception | None) -> None:
        self.usable = False
        self._fail(exc or ConnectionResetError("the server closed the connection"))

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, AttributeError) as error:  # or nobody asked
            self._fail(
                error if isinstance(error, httptools.HttpParserError) else OSError(str(error))
            )
            self.close()

    # What httptools calls as it reads.
    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"server-timing" and (found := _BATCH.search(value)):
            self._batch = int(found[1])

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        self.usable = self.usable and self._parser.should_keep_alive()
        if self._waiter is not None and not self._waiter.done():
            status = self._parser.get_status_code()
            self._waiter.set_result(Answer(status, self._batch, b"".join(self._body)))

    def _fail(self, error: Exception) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)
