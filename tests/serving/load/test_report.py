"""Figures of a load run, against NumPy, and a run from end to end over real sockets."""

from __future__ import annotations

import asyncio
import json
import pathlib

import numpy as np
import pytest

from serving.load.driver import Outcomes
from serving.load.main import body, rate_profile, run_load, show
from serving.load.options import Load
from serving.load.report import summary, timeline, write_report
from serving.load.workload import Schedule

TIMES = np.array([0.1, 0.2, 0.9, 1.5, 1.6, 1.7])
OUTCOMES = Outcomes(
    Schedule(TIMES, np.array([1, 2, 3, 4, 5, 6]), 2.0),
    latencies=np.array([0.01, 0.3, 0.02, 0.04, np.nan, 0.001]),
    statuses=np.array([200, 200, 200, 200, -1, 429]),
    batches=np.array([8, 0, 16, 4, 0, 0]),
    lags=np.array([0.0, 0.001, 0.0, 0.0, 0.0, 0.0]),
)


def test_summary_counts_what_was_answered_in_time() -> None:
    got = summary(OUTCOMES, 0.1)
    assert got["goodput_per_s"] == 1.5
    assert got["offered_per_s"] == 3.0
    assert got["rows_per_s"] == 5.0
    assert got["statuses"] == {"none": 1, "200": 4, "429": 1}
    assert got["latency_ms"]["p50"] == pytest.approx(30)
    assert got["latency_ms"]["p99"] == pytest.approx(
        1e3 * np.quantile([0.01, 0.3, 0.02, 0.04], 0.99)
    )


def test_timeline_has_every_second() -> None:
    first, second = timeline(OUTCOMES, 0.1)
    assert (first["offered"], first["good"], first["failed"], first["batch"]) == (3, 2, 0, 12)
    assert (second["offered"], second["good"], second["failed"], second["batch"]) == (3, 1, 2, 4)


def test_report_is_json_and_a_chart(tmp_path: pathlib.Path) -> None:
    paths = write_report(tmp_path / "run", OUTCOMES, 0.1)
    assert json.loads(paths[0].read_text())["summary"]["requests"] == 6
    assert paths[1].read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"load.json", "load.png"}


def test_bodies_ask_for_one_row_or_several() -> None:
    load = Load(users=5, k=3, where="genre:drama")
    one = json.loads(body(load, 7, 1))
    assert one == json.loads(body(load, 7, 1))
    assert (one["k"], one["where"]) == (3, "genre:drama")
    assert 1 <= int(one["user"]) <= 5
    assert len(json.loads(body(load, 7, 4))["requests"]) == 4


@pytest.mark.parametrize(("profile", "requests"), [("step", 300), ("ramp", 250), ("sine", 100)])
def test_profiles_send_what_they_say(profile: str, requests: float) -> None:
    load = Load(rate=10.0, seconds=10.0, profile=profile, factor=4.0)  # type: ignore[arg-type]
    assert rate_profile(load).requests[-1] == pytest.approx(requests, rel=0.35)


def test_load_over_http_reaches_the_service(tmp_path: pathlib.Path) -> None:
    (tmp_path / "key").write_text("secret\n")
    seen: list[dict[str, object]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
                assert head.startswith(b"POST /v1/recommend ")
                assert b"Authorization: Bearer secret" in head
                seen.append(json.loads(await reader.readexactly(length)))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        except (EOFError, ConnectionError):
            writer.close()

    async def run() -> Outcomes:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            outcomes = await run_load(
                url, Load(rate=200.0, seconds=0.5, api_key_file=tmp_path / "key")
            )
            await asyncio.sleep(0.05)  # for the sockets to close
            return outcomes

    outcomes = asyncio.run(run())
    assert len(seen) == len(outcomes.schedule) > 50
    assert (outcomes.statuses == 200).all()
    assert show(outcomes, 0.1, "load").row_count >= 6


def test_rejects_users() -> None:
    with pytest.raises(ValueError, match="users=0 must be at least 1"):
        asyncio.run(run_load("http://127.0.0.1:1", Load(users=0)))
