"""The front end over real HTTP: how much it carries, the lag of its loop, 10,000 idle connections.

    python -m experiments.serving_front                     # the snapshots of `make demo`
    python -m experiments.serving_front --seconds 2 --idle 500      # a quick look

The server is a process, and so is this load generator; both share the machine. What is measured:

1. *The front end alone.* Its engine puts every batch together, but answers with what the first
   batch of its size was answered, so that HTTP, JSON, tensors, queue and encoding are what is left.
   Bars, on two cores: 2,500 single-row JSON requests a second, 20,000 rows a second in binary
   batches of 64, and an event loop that is less than 10 ms late 99 times of 100.
2. *The service*, `silverjax serve`, with its model.
3. *Overload*: three times the rows that the service carries, as an open loop of batches with a
   deadline. Bar: at least 80 % of the peak is answered in time, and all the rest is told so.
4. *Idle connections*: 10,000 that have asked once and stay. Bar: none is lost, and requests are
   answered meanwhile.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import struct
import sys
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import uvloop
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.table import Table

from experiments.command import run_command
from experiments.results import report_result
from experiments.serving_host import Instant
from experiments.serving_process import serving_process
from serving import logs
from serving.file_limit import raise_file_limit
from serving.load.driver import drive
from serving.load.http_client import HttpClient
from serving.load.report import summary
from serving.load.workload import constant, schedule
from serving.process import settle, start_devices
from serving.server import Server, ServerConfig
from serving.service import Service
from silverjax.snapshot import load_snapshot

_FRONT_ALONE = ("-c", "from experiments.serving_front import serve_front; serve_front()")
_BODIES = 256  # different ones
_AT_ONCE = 200
_LAG = "silverjax_event_loop_lag_seconds_bucket"
_LAG_S = "0.01"


@dataclasses.dataclass(frozen=True)
class Study:
    """What to measure.

    Attributes:
        snapshots: A published version, or the folder of all.
        seconds: Length of each measurement.
        rows: Rows of a binary batch.
        clients: Connections of the closed loops of single rows; an eighth of it for batches.
        timeout_ms: Deadline of a batch under overload.
        idle: Connections that stay.
        users: Ids are drawn from 1 to this.
        seed: Of users and arrivals.
    """

    snapshots: Path = Path("runs/demo/snapshots")
    seconds: float = 10.0
    rows: int = 64
    clients: int = 64
    timeout_ms: float = 200.0
    idle: int = 10_000
    users: int = 943
    seed: int = 0


def serve_front() -> None:
    """The process of the front end alone; `sys.argv[1]` are the snapshots."""
    logs.configure("json")
    raise_file_limit()
    start_devices()
    engine = Instant(load_snapshot(sys.argv[1]), buckets=(1, 8, 64))
    server = Server(Service(engine), ServerConfig(port=0, grpc_port=None, admin_port=None))
    settle()
    uvloop.run(server.run(told=lambda: None))


@dataclasses.dataclass(frozen=True)
class Requests:
    """Bodies of one kind, and where they go."""

    path: str
    headers: dict[str, str]
    bodies: list[bytes]


def json_rows(study: Study) -> Requests:
    """Single rows for the JSON API."""
    drawn = np.random.default_rng(study.seed).integers(1, study.users + 1, _BODIES).tolist()
    bodies = [json.dumps({"user": str(user), "timeout_ms": 1e4}).encode() for user in drawn]
    return Requests("/v1/recommend", {}, bodies)


def binary_batches(study: Study, timeout_ms: float) -> Requests:
    """Batches for the Open Inference Protocol, tensors in binary both ways."""
    rng, bodies = np.random.default_rng(study.seed), []
    for _ in range(_BODIES):
        users = [str(u).encode() for u in rng.integers(1, study.users + 1, study.rows).tolist()]
        data = b"".join(struct.pack("<I", len(user)) + user for user in users)
        parameters = {"binary_data_size": len(data)}
        tensor = {"name": "user", "shape": [study.rows], "datatype": "BYTES"}
        asked = {
            "inputs": [tensor | {"parameters": parameters}],
            "parameters": {"binary_data_output": True, "timeout": round(1e3 * timeout_ms)},
        }
        bodies.append(json.dumps(asked).encode().ljust(512) + data)  # JSON of one length
    headers = {"Inference-Header-Content-Length": "512"}
    return Requests("/v2/models/recommend/infer", headers, bodies)


async def closed_loop(
    url: str, requests: Requests, *, rows: int, clients: int, seconds: float
) -> dict[str, Any]:
    """What clients that never pause get answered."""
    client = HttpClient(url + requests.path, headers=requests.headers, connections=clients)
    statuses: Counter[int] = Counter()
    latencies: list[float] = []
    lag = await asyncio.to_thread(_lag, url)
    start = time.perf_counter()

    async def ask(number: int) -> None:
        while (sent := time.perf_counter()) < start + seconds:
            answer = await client.post(requests.bodies[number % _BODIES])
            statuses[answer.status] += 1
            latencies.append(time.perf_counter() - sent)
            number += clients

    await asyncio.gather(*map(ask, range(clients)))
    took = time.perf_counter() - start
    lag = await asyncio.to_thread(_lag, url) - lag
    await client.close()
    return {
        "requests_per_s": statuses[200] / took,
        "rows_per_s": rows * statuses[200] / took,
        "p50_ms": 1e3 * float(np.quantile(latencies, 0.5)),
        "p99_ms": 1e3 * float(np.quantile(latencies, 0.99)),
        "not_answered": statuses.total() - statuses[200],
        "loop_lag_under_10_ms": float(lag[0] / lag[1]),
    }


async def open_loop(url: str, requests: Requests, study: Study, rate: float) -> dict[str, Any]:
    """What is answered in time of a Poisson process of `rate` batches a second."""
    client = HttpClient(url + requests.path, headers=requests.headers, connections=4096)
    arrivals = schedule(constant(rate, study.seconds), sizes=f"fixed:{study.rows}", seed=study.seed)

    async def send(number: int, rows: int) -> tuple[int, int]:
        answer = await client.post(requests.bodies[number % _BODIES])
        return answer.status, answer.batch

    outcomes = await drive(arrivals, send)
    await client.close()
    return summary(outcomes, study.timeout_ms / 1e3)


async def overload(url: str, study: Study) -> dict[str, Any]:
    """Goodput of an open loop below, at and three times above what a closed loop carries."""
    patient, urgent = binary_batches(study, 1e4), binary_batches(study, study.timeout_ms)
    clients = max(1, study.clients // 8)
    closed = await closed_loop(
        url, patient, rows=study.rows, clients=clients, seconds=study.seconds
    )
    rate = closed["requests_per_s"]
    loops = {
        str(share): await open_loop(url, urgent, study, share * rate)
        for share in (0.7, 0.8, 0.9, 1.0, 3.0)
    }
    peak = max(loop["goodput_per_s"] for loop in loops.values())
    share = loops["3.0"]["goodput_per_s"] / peak
    return {"closed_per_s": rate, "open": loops, "peak_goodput_per_s": peak, "goodput_share": share}


async def idle_connections(url: str, study: Study) -> dict[str, Any]:
    """Opens connections that ask once, load beside them, and then all of them ask again."""
    parts = urlsplit(url)
    opened: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    start = time.perf_counter()
    try:
        while len(opened) < study.idle:
            count = min(_AT_ONCE, study.idle - len(opened))
            opening = (asyncio.open_connection(parts.hostname, parts.port) for _ in range(count))
            opened += await asyncio.gather(*opening)
            await asyncio.gather(*(is_alive(*one) for one in opened[-count:]))
        took = time.perf_counter() - start
        beside = await closed_loop(
            url, json_rows(study), rows=1, clients=study.clients, seconds=study.seconds
        )
        alive = 0
        for at in range(0, len(opened), _AT_ONCE):
            asked = [is_alive(*one) for one in opened[at : at + _AT_ONCE]]
            alive += sum(await asyncio.gather(*asked))
    finally:
        for _, writer in opened:
            writer.close()
        await asyncio.gather(*(w.wait_closed() for _, w in opened), return_exceptions=True)
    return {"opened": len(opened), "opened_in_s": took, "alive_after": alive, "beside": beside}


async def measure(study: Study, console: Console) -> dict[str, Any]:
    """All figures of a study."""
    single, batches = json_rows(study), binary_batches(study, 1e4)
    few = max(1, study.clients // 8)
    figures: dict[str, Any] = {}
    for name, program in (("front", _FRONT_ALONE), ("service", None)):
        options = {"program": program} if program else {}
        with serving_process(study.snapshots, **options) as (_, ready):  # type: ignore[arg-type]
            url = ready["http"]
            figures[name] = {
                "json": await closed_loop(
                    url, single, rows=1, clients=study.clients, seconds=study.seconds
                ),
                "binary": await closed_loop(
                    url, batches, rows=study.rows, clients=few, seconds=study.seconds
                ),
            }
            console.print(name, figures[name])
            if name == "service":
                figures["overload"] = await overload(url, study)
                figures["idle"] = await idle_connections(url, study)
    return figures


def main(study: Study) -> None:
    console = Console()
    load_snapshot(study.snapshots)  # what is wrong with it is told here, not by a process that ends
    study = dataclasses.replace(study, idle=min(study.idle, raise_file_limit() - 512))
    figures = uvloop.run(measure(study, console))
    table = Table("figure", "value", "bar", title="The front end over HTTP")
    for name, what in (("front", "front end alone"), ("service", "with its model")):
        row, batch = figures[name]["json"], figures[name]["binary"]
        bars = ("2,500", "20,000", "99 %") if name == "front" else ("", "", "")
        table.add_row(f"JSON requests/s, {what}", f"{row['requests_per_s']:,.0f}", bars[0])
        table.add_row(f"binary rows/s, {what}", f"{batch['rows_per_s']:,.0f}", bars[1])
        lag = min(row["loop_lag_under_10_ms"], batch["loop_lag_under_10_ms"])
        table.add_row(f"loop less than 10 ms late, {what}", f"{lag:.2%}", bars[2])
    table.add_row(
        "goodput at 3x, of its peak", f"{figures['overload']['goodput_share']:.1%}", "80 %"
    )
    idle = figures["idle"]
    table.add_row("idle connections alive", f"{idle['alive_after']:,}", f"{idle['opened']:,}")
    beside = idle["beside"]
    table.add_row(
        "requests/s beside them",
        f"{beside['requests_per_s']:,.0f}, {beside['not_answered']} lost",
        "",
    )
    console.print(table)
    report_result("experiments.serving_front", study, figures, console=console)


async def is_alive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Whether a connection still gets an answer."""
    try:
        writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readuntil(b"}")
    except (OSError, asyncio.IncompleteReadError):
        return False
    return head.startswith(b"HTTP/1.1 200")


def _lag(url: str) -> np.ndarray:
    """How often the server's loop was less than 10 ms late so far, and how often it looked."""
    with urllib.request.urlopen(url + "/metrics") as response:
        families = text_string_to_metric_families(response.read().decode())
    by_bound = {s.labels["le"]: s.value for f in families for s in f.samples if s.name == _LAG}
    return np.array([by_bound[_LAG_S], by_bound["+Inf"]])


if __name__ == "__main__":
    run_command(main, Study, __doc__)
