"""Server-sent events from a real server: frames, bounds, slow listeners, a clean end."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.engine import Engine
from serving.http import live_stream
from serving.live import Update
from serving.server import Server
from tests.serving.http.client import call, connect, read_all
from tests.serving.running import running

ASK = b"GET /v1/live HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n%s\r\n"


def listen(url: str, headers: bytes = b"") -> socket.socket:
    connection = connect(url)
    connection.sendall(ASK % headers)
    return connection


def events(connection: socket.socket) -> Iterator[tuple[str, Any]]:
    """Events until the server ends the stream; chunk sizes stand on lines of their own."""
    name = ""
    for line in _lines(connection):
        if line.startswith(b"event: "):
            name = line[7:].strip().decode()
        elif line.startswith(b"data: "):
            yield name, json.loads(line[6:])


def ended_well(connection: socket.socket) -> bool:
    """Whether the server ended the stream, rather than the connection."""
    try:
        return read_all(connection).endswith(b"0\r\n\r\n")
    except ConnectionResetError:
        return False


def _lines(connection: socket.socket) -> Iterator[bytes]:
    rest = b""
    while part := connection.recv(65536):
        *lines, rest = (rest + part).split(b"\n")
        yield from lines


def wait_for(server: Server, listeners: int) -> None:
    until = time.monotonic() + 20
    while server.live.listeners != listeners:
        assert time.monotonic() < until, f"{server.live.listeners} listeners, not {listeners}"
        time.sleep(0.01)


def test_figures_are_json_for_who_asks_once(url: str) -> None:
    got = call(url, "/v1/live")
    assert got.headers["content-type"] == "application/json"
    assert got.json["state"]["snapshot_version"] == "00000001"
    assert set(got.json) == {"frames", "state", "moves"}
    head = call(url, "/v1/live", method="HEAD", headers={"Accept": "text/event-stream"})
    assert (head.status, head.headers["content-type"]) == (200, "application/json")


def test_a_stream_begins_with_the_past_and_goes_on(server: Server, url: str) -> None:
    with listen(url) as connection:
        stream = events(connection)
        name, history = next(stream)
        assert (name, set(history)) == ("history", {"frames", "state", "moves"})
        asked = history["state"]["requests"]
        call(url, "/v1/recommend", {"requests": [{}, {}]})
        name, first = next(stream)
        name, second = next(stream)
        assert name == "frame"
        assert second["state"]["requests"] > asked
        assert second["frame"]["at"] > first["frame"]["at"]
        assert first["frame"]["p99_ms"] > 0
        assert server.live.listeners == 1
    wait_for(server, 0)


def test_frames_are_computed_once_for_all(
    server: Server, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = []
    sample = server.live._live.sample

    def counted() -> Update:
        computed.append(sample())
        return computed[-1]

    monkeypatch.setattr(server.live._live, "sample", counted)
    connections = [listen(url) for _ in range(5)]
    got = []
    for connection in connections:
        stream = events(connection)
        assert next(stream)[0] == "history"
        got.append([next(stream)[1]["frame"]["at"] for _ in range(2)])
        connection.close()
    assert len(computed) <= 1 + len({at for ats in got for at in ats}) + 1
    assert all(ats == got[0] for ats in got)
    wait_for(server, 0)


def test_listeners_are_bounded_and_the_rest_served(server: Server, url: str) -> None:
    connections = [listen(url) for _ in range(live_stream.LISTENERS)]
    wait_for(server, live_stream.LISTENERS)
    with listen(url) as one_more:
        one_more.settimeout(10)
        assert b" 503 " in one_more.recv(4096).split(b"\r\n")[0]
    assert call(url, "/v1/recommend", {}).status == 200
    assert call(url, "/v1/live").status == 200
    for connection in connections:
        connection.close()
    wait_for(server, 0)


def test_who_does_not_read_is_cut_off_and_nobody_waits(
    server: Server, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As large as many minutes of frames, so that the buffers of the system are soon full.
    monkeypatch.setattr(live_stream, "_event", lambda name, value: b": %s\n\n" % (b"x" * 4_000_000))
    with listen(url) as slow:
        wait_for(server, 1)
        wait_for(server, 0)
        assert call(url, "/v1/recommend", {}).status == 200
        assert not ended_well(slow)


def test_a_server_that_stops_ends_the_streams(engine: Engine) -> None:
    with running(engine) as server:
        connection = listen(server.urls["http"])
        wait_for(server, 1)
        began = time.monotonic()
    assert time.monotonic() - began < server.service.config.drain_s
    assert ended_well(connection)
    connection.close()


def test_streams_need_the_right_to_metrics(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("infer-0123456789abcdef infer\nmeter-0123456789abcdef metrics\n")
    with running(engine, api_key_file=file) as server:
        url = server.urls["http"]
        assert call(url, "/").status == 200, "the page itself holds nothing"
        for key, status in ((b"", b" 401 "), (b"infer", b" 403 "), (b"meter", b" 200 ")):
            header = b"Authorization: Bearer %s-0123456789abcdef\r\n" % key if key else b""
            with listen(url, header) as connection:
                assert status in connection.recv(4096).split(b"\r\n")[0]
