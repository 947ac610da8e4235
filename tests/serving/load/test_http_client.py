"""The client against real sockets: a server that answers, delays, breaks off or talks nonsense."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from serving.load.http_client import Answer, HttpClient


@contextlib.asynccontextmanager
async def server(seen: list[bytes]) -> AsyncIterator[str]:
    """Answers by what the body says; keeps connections, of which it counts the number."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(b"connection")
        task = asyncio.current_task()
        assert task is not None
        serving.append(task)
        with contextlib.closing(writer), contextlib.suppress(EOFError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                body = await reader.readexactly(length)
                seen.append(head + body)
                if body == b"break":
                    break
                if body == b"slow":
                    await asyncio.sleep(5)
                answers = {
                    b"error": b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
                    b"nonsense": b"what?\r\n\r\n",
                    b"close": b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
                    b"Content-Length: 2\r\n\r\nby",
                    b"chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                    b"2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n",
                }
                good = (
                    b"HTTP/1.1 200 OK\r\nServer-Timing: queue;dur=1.2, batch;desc=\"32\"\r\n"
                    b"Content-Length: 4\r\n\r\ngood"
                )  # fmt: skip
                writer.write(answers.get(body, good))

    serving: list[asyncio.Task[None]] = []
    made = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with made:
        yield f"http://127.0.0.1:{made.sockets[0].getsockname()[1]}/v1/recommend"
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        await asyncio.sleep(0.01)  # for the sockets to close


def answers(*bodies: bytes, timeout_s: float = 2.0) -> tuple[list[Answer], list[bytes]]:
    seen: list[bytes] = []

    async def ask() -> list[Answer]:
        async with server(seen) as url:
            client = HttpClient(url, headers={"X-Extra": "yes"}, timeout_s=timeout_s)
            got = [await client.post(body) for body in bodies]
            await client.close()
            return got

    return asyncio.run(ask()), seen


def test_posts_what_it_is_given_over_one_connection() -> None:
    got, seen = answers(b"one", b"two")
    assert got == [Answer(200, 32, b"good")] * 2
    assert seen.count(b"connection") == 1
    assert seen[1].startswith(b"POST /v1/recommend HTTP/1.1\r\nHost: 127.0.0.1:")
    assert seen[1].endswith(b"X-Extra: yes\r\nContent-Length: 3\r\n\r\none")


def test_errors_and_chunks_are_answers() -> None:
    got, _ = answers(b"error", b"chunks")
    assert got == [Answer(503, 0, b""), Answer(200, 0, b"abcde")]


@pytest.mark.parametrize("trouble", [b"break", b"nonsense", b"slow"])
def test_trouble_is_status_0_and_the_next_request_has_a_new_connection(trouble: bytes) -> None:
    got, seen = answers(trouble, b"next", timeout_s=0.3)
    assert [one.status for one in got] == [0, 200]
    assert seen.count(b"connection") == 2


def test_a_connection_that_the_server_closes_is_not_used_again() -> None:
    got, seen = answers(b"close", b"next")
    assert [one.body for one in got] == [b"by", b"good"]
    assert seen.count(b"connection") == 2


def test_nobody_listening_is_status_0() -> None:
    got = asyncio.run(HttpClient("http://127.0.0.1:1/").post(b""))
    assert got.status == 0


@pytest.mark.parametrize(
    ("url", "headers", "message"),
    [
        ("ftp://x/", {}, "must be a URL"),
        ("http:///x", {}, "must be a URL"),
        ("http://x/", {"A": "b\r\nC: d"}, "line break"),
    ],
)
def test_rejects_addresses_and_headers(url: str, headers: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HttpClient(url, headers=headers)
