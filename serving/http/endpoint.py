"""One operation over HTTP: rights, body within limits, handler, answer or problem, metrics.

Every route is one of these, so none can be without its rights or its limits.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from serving.http.protocol import EXCHANGE, Exchange, Limits
from serving.problems import Problem, Refused, problem_of
from serving.security import Keys, Operation, check_local_caller

Headers = Mapping[bytes, bytes]
Observe = Callable[[str, int, float], None]

log = logging.getLogger(__name__)

JSON = "application/json"
# W3C Trace Context: version, trace, parent, flags.
_TRACEPARENT = re.compile(
    rb"[0-9a-f]{2}-(?P<trace>[0-9a-f]{32})-[0-9a-f]{16}-(?P<flags>[0-9a-f]{2})"
)
_BODILESS = {"GET", "HEAD"}


class Call:
    """What a handler is given.

    Attributes:
        headers: By lower-case name; the last one of a name counts.
        path: Values of the route's parameters.
        body: Empty for GET.
        scope: ASGI's own description of the request.
    """

    __slots__ = ("body", "headers", "scope")

    def __init__(self, scope: Scope, headers: Headers, body: bytes) -> None:
        self.scope, self.headers, self.body = scope, headers, body

    @property
    def path(self) -> Mapping[str, str]:
        return self.scope.get("path_params", {})


Handler = Callable[[Call], Awaitable[Response]]


class Guard:
    """What every endpoint of one port checks and reports.

    Args:
        keys: Who may do what; `None` lets local callers do everything.
        trusted: Also callers from elsewhere may do everything: something else guards the port.
        limits: On bodies.
        observe: Called with route, status and seconds of every answer.
    """

    def __init__(
        self, *, keys: Keys | None, trusted: bool = False, limits: Limits, observe: Observe
    ) -> None:
        self.limits, self.observe = limits, observe
        self._keys, self._trusted = keys, trusted

    def check(self, headers: Headers, operation: Operation) -> None:
        """Raises `Denied` where the sender may not do this."""
        if self._keys is not None:
            self._keys.check(_text(headers.get(b"authorization")), operation)
        elif not self._trusted:
            check_local_caller(_text(headers.get(b"host")), _text(headers.get(b"origin")))


class Endpoint:
    """An ASGI application that does one operation.

    Args:
        route: For metrics.
        operation: The right that it needs.
        handler: Turns a call into an answer; what it raises becomes a problem.
        guard: Of the port.
    """

    def __init__(self, route: str, operation: Operation, handler: Handler, guard: Guard) -> None:
        self._route, self._operation, self._handler = route, operation, handler
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        headers: Headers = dict(scope["headers"])
        exchange: Exchange = scope.get(EXCHANGE) or Exchange()
        exchange.task = asyncio.current_task()
        try:
            response = await self._answer(scope, headers, receive)
        except asyncio.CancelledError:
            if not exchange.gone:  # the server stops
                raise
            self._guard.observe(self._route, 499, time.perf_counter() - started)
            return
        finally:
            exchange.task = None
        seconds = time.perf_counter() - started
        trace = headers.get(b"traceparent")
        if trace is not None and (found := _TRACEPARENT.fullmatch(trace)):
            response.headers["traceparent"] = trace.decode()
            if int(found["flags"], 16) & 1:  # the caller keeps this trace
                self._log_traced(found["trace"].decode(), response, seconds)
        self._guard.observe(self._route, response.status_code, seconds)
        await response(scope, receive, send)

    def _log_traced(self, trace: str, response: Response, seconds: float) -> None:
        log.info(
            "request",
            extra={
                "trace_id": trace,
                "route": self._route,
                "status": response.status_code,
                "ms": round(1e3 * seconds, 3),
                "server_timing": response.headers.get("server-timing"),
            },
        )

    async def _answer(self, scope: Scope, headers: Headers, receive: Receive) -> Response:
        try:
            self._guard.check(headers, self._operation)
            body = b""
            if scope["method"] not in _BODILESS:
                body = await read_body(headers, receive, self._guard.limits)
            return await self._handler(Call(scope, headers, body))
        except Exception as error:
            return problem_response(problem_of(error))


async def read_body(headers: Headers, receive: Receive, limits: Limits) -> bytes:
    """The whole body of a request.

    Raises:
        Refused: Too long (413), too slow (408), or compressed (415).
    """
    if headers.get(b"content-encoding", b"identity") != b"identity":
        raise Refused(415, "compressed bodies are not read; send without Content-Encoding")
    too_long = f"the body is longer than {limits.body_bytes} bytes; send fewer rows at a time"
    declared = headers.get(b"content-length", b"0")
    if not declared.isdigit() or int(declared) > limits.body_bytes:
        raise Refused(413, too_long)
    message: Message = await _receive_in(receive, limits.body_s)
    parts = [message.get("body", b"")]
    size = len(parts[0])
    until = time.monotonic() + limits.body_s
    while size <= limits.body_bytes and message.get("more_body", False):
        message = await _receive_in(receive, until - time.monotonic())
        if message["type"] == "http.disconnect":
            raise Refused(400, "the connection closed before the body was there")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
    if size > limits.body_bytes:
        raise Refused(413, too_long)
    return b"".join(parts)


async def _receive_in(receive: Receive, seconds: float) -> Message:
    try:
        async with asyncio.timeout(seconds):
            return await receive()
    except TimeoutError:
        raise Refused(408, "the body did not come in time") from None


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A value that msgspec can encode."""
    return Response(msgspec.json.encode(value), status, headers, media_type=JSON)


def problem_response(problem: Problem) -> Response:
    """An error as every client of the protocol reads it: `{"error": "..."}`."""
    headers = {}
    if problem.retry_after is not None:
        headers["retry-after"] = str(max(1, round(problem.retry_after)))
    if problem.status == 401:
        headers["www-authenticate"] = "Bearer"
    if problem.status in (408, 413):
        headers["connection"] = "close"  # the rest of the body is not waited for
    return json_response({"error": problem.message}, problem.status, headers)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")
