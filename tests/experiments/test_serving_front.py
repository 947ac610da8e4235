"""The study of the front end, for a moment, against a real server on a small model."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from experiments.serving_front import (
    Study,
    binary_batches,
    closed_loop,
    idle_connections,
    is_alive,
    json_rows,
    open_loop,
)
from serving.engine import Engine
from serving.http.protocol import Limits
from tests.serving.running import running

STUDY = Study(seconds=0.3, rows=5, clients=4, idle=40, users=19)


def test_rows_and_batches_are_answered_and_the_loop_is_watched(engine: Engine) -> None:
    with running(engine) as server:
        for requests, rows in ((json_rows(STUDY), 1), (binary_batches(STUDY, 1e4), 5)):
            answered = server.service.stats.answered_rows
            found = asyncio.run(
                closed_loop(server.urls["http"], requests, rows=rows, clients=4, seconds=0.3)
            )
            assert found["not_answered"] == 0
            assert found["rows_per_s"] == pytest.approx(rows * found["requests_per_s"])
            # All that the study counts, the service has answered.
            assert found["rows_per_s"] * 0.3 <= server.service.stats.answered_rows - answered
            assert 0 <= found["loop_lag_under_10_ms"] <= 1


def test_open_loop_counts_what_is_refused(engine: Engine) -> None:
    with running(engine) as server:
        url, requests = server.urls["http"], binary_batches(STUDY, 1e4)
        good: dict[str, Any] = asyncio.run(open_loop(url, requests, STUDY, rate=50.0))
        server.service._door = type(server.service._door)(capacity_rows=5, reserved_share=0.5)
        bad: dict[str, Any] = asyncio.run(open_loop(url, requests, STUDY, rate=50.0))
    assert good["statuses"] == {"200": good["requests"]}
    assert bad["statuses"] == {"400": bad["requests"]}  # 5 rows, room for 2
    assert bad["goodput_per_s"] == 0


def test_idle_connections_stay_and_requests_are_answered_beside_them(engine: Engine) -> None:
    with running(engine) as server:
        found = asyncio.run(idle_connections(server.urls["http"], STUDY))
    assert found["opened"] == found["alive_after"] == 40
    assert found["beside"]["not_answered"] == 0
    assert np.isfinite(found["beside"]["p99_ms"])


def test_connection_that_the_server_has_closed_is_not_alive(engine: Engine) -> None:
    async def two(port: int) -> list[bool]:
        opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        found = [await is_alive(*one) for one in opened]
        for _, writer in opened:
            writer.close()
        await asyncio.gather(*(w.wait_closed() for _, w in opened), return_exceptions=True)
        return found

    with running(engine, limits=Limits(connections=1)) as server:
        port = int(server.urls["http"].rpartition(":")[2])
        assert asyncio.run(two(port)) == [True, False]
