"""MLPerf's LoadGen, Server scenario, against `silverjax serve` over HTTP: is the result VALID?

    python -m experiments.serving_loadgen                 # the snapshots of `make demo`
    python -m experiments.serving_loadgen --url http://127.0.0.1:8000      # of a running service

LoadGen (MLCommons) sends one query at a time as a Poisson process, takes each latency from the
scheduled time, and calls a run VALID only if its early-stopping test shows, with 99 % confidence,
that the 99th percentile is within the target. Rates are tried from the highest down: first 80 % of
what clients that never pause get answered, then a tenth less each time. A query that the service
refuses or fails is completed only when it is late, so it counts against the percentile. A service
uses its target up, and measures up to its own answer, so it is told four fifths of LoadGen's.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import math
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlperf_loadgen as loadgen
import numpy as np
from rich.console import Console

from experiments.command import run_command
from experiments.results import report_result
from experiments.serving_process import serving_process
from serving.load.http_client import HttpClient

_SAMPLES = 1024  # different bodies
_CLIENTS = 64  # of the closed loop
_TRIES = 12
_OWN_SHARE = 0.8  # of the target that the service is told: the rest is HTTP and the client's


@dataclasses.dataclass(frozen=True)
class Study:
    """What to measure.

    Attributes:
        snapshots: Served by a process that this starts, unless there is a `url`.
        url: Of a service that runs already.
        target_ms: Of the 99th percentile.
        seconds: Shortest run; MLPerf asks for 600.
        rate: Queries a second to begin with; 0 takes 80 % of a closed loop's.
        users: Ids are drawn from 1 to this.
        k: Items asked for.
        seed: Of users and of LoadGen's schedule.
    """

    snapshots: Path = Path("runs/demo/snapshots")
    url: str = ""
    target_ms: float = 50.0
    seconds: float = 60.0
    rate: float = 0.0
    users: int = 943
    k: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("users", 1), ("k", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)} must be at least {least}")
        for name in ("target_ms", "seconds"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name}={getattr(self, name)} must be above 0 and finite")
        if not 0 <= self.rate < math.inf:
            raise ValueError(f"rate={self.rate} must be above 0 and finite, or 0 to measure it")


class Sut:
    """The system under test as LoadGen sees it: an event loop in a thread that posts queries.

    Attributes:
        failed: Queries without an answer of status 200.
    """

    def __init__(self, url: str, study: Study) -> None:
        users = np.random.default_rng(study.seed).integers(1, study.users + 1, _SAMPLES).tolist()
        self._bodies = [json.dumps({"user": str(u), "k": study.k}).encode() for u in users]
        self._client = HttpClient(url.rstrip("/") + "/v1/recommend", connections=1024)
        self._late_s = 2e-3 * study.target_ms
        self._running: set[asyncio.Task[None]] = set()
        self.failed = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="loadgen-client")
        self._thread.start()

    def issue(self, queries: list[Any]) -> None:
        """Called by LoadGen, on its own thread, when queries are due."""
        asked = [(query.id, query.index) for query in queries]
        self._loop.call_soon_threadsafe(self._start, asked)

    def closed_loop(self, seconds: float) -> float:
        """Requests a second that clients which never pause get answered."""
        return asyncio.run_coroutine_threadsafe(self._closed_loop(seconds), self._loop).result()

    def close(self) -> None:
        """Ends the thread."""
        asyncio.run_coroutine_threadsafe(self._client.close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _start(self, asked: list[tuple[int, int]]) -> None:
        for identity, index in asked:
            task = self._loop.create_task(self._answer(identity, index))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _answer(self, identity: int, index: int) -> None:
        answer = await self._client.post(self._bodies[index])
        if answer.status != 200:
            self.failed += 1
            await asyncio.sleep(self._late_s)
        loadgen.QuerySamplesComplete([loadgen.QuerySampleResponse(identity, 0, 0)])

    async def _closed_loop(self, seconds: float) -> float:
        stop, done = time.perf_counter() + seconds, 0

        async def client(number: int) -> None:
            nonlocal done
            while time.perf_counter() < stop:
                number = (number + 1) % _SAMPLES
                answer = await self._client.post(self._bodies[number])
                done += answer.status == 200

        await asyncio.gather(*(client(number) for number in range(_CLIENTS)))
        return done / seconds


def server_run(sut: Sut, study: Study, rate: float) -> dict[str, Any]:
    """One run of the Server scenario: the figures of LoadGen's summary, and failures."""
    settings = loadgen.TestSettings()
    settings.scenario = loadgen.TestScenario.Server
    settings.mode = loadgen.TestMode.PerformanceOnly
    settings.server_target_qps = rate
    settings.server_target_latency_ns = round(1e6 * study.target_ms)
    settings.server_target_latency_percentile = 0.99
    settings.min_duration_ms = round(1e3 * study.seconds)
    settings.min_query_count = 100
    settings.schedule_rng_seed = settings.sample_index_rng_seed = study.seed + 1
    sut.failed = 0
    library = loadgen.ConstructQSL(_SAMPLES, _SAMPLES, lambda _: None, lambda _: None)
    system = loadgen.ConstructSUT(sut.issue, lambda: None)
    try:
        with tempfile.TemporaryDirectory(prefix="loadgen-") as folder:
            logs = loadgen.LogSettings()
            logs.log_output.outdir = folder
            logs.log_output.copy_summary_to_stdout = False
            loadgen.StartTestWithLogSettings(system, library, settings, logs)
            summary = (Path(folder) / "mlperf_log_summary.txt").read_text()
    finally:
        loadgen.DestroySUT(system)
        loadgen.DestroyQSL(library)
    return {"rate": rate, "failed": sut.failed, **parse_summary(summary)}


def parse_summary(text: str) -> dict[str, Any]:
    """What LoadGen's summary says of a Server run.

    Raises:
        ValueError: It says nothing of the result.
    """
    lines = (line.partition(":") for line in text.splitlines())
    said = {name.strip(): value.strip() for name, _, value in lines}
    if "Result is" not in said:
        raise ValueError(f"LoadGen's summary does not say whether the result is valid:\n{text}")
    return {
        "valid": said["Result is"] == "VALID",
        "completed_per_s": float(said["Completed samples per second"]),
        "p50_ms": float(said["50.00 percentile latency (ns)"]) / 1e6,
        "p99_ms": float(said["99.00 percentile latency (ns)"]) / 1e6,
        "early_stopping": said.get(
            "Early Stopping Satisfied", said.get("Early stopping satisfied")
        ),
    }


def search(sut: Sut, study: Study, console: Console) -> list[dict[str, Any]]:
    """Runs at lower and lower rates, up to the first VALID one."""
    rate = study.rate or 0.8 * sut.closed_loop(min(5.0, study.seconds))
    if not rate:
        raise ValueError("the service answers nothing; look into its log")
    runs: list[dict[str, Any]] = []
    while len(runs) < _TRIES and not (runs and runs[-1]["valid"]):
        with console.status(f"LoadGen, Server scenario, {rate:.0f} queries/s"):
            runs.append(server_run(sut, study, rate))
        console.print(runs[-1])
        rate *= 0.9
    return runs


@contextlib.contextmanager
def served(study: Study) -> Iterator[str]:
    """The URL of the service: the one that runs, or one that is started and ended here."""
    if study.url:
        yield study.url
        return
    options = ("--log-format=json", f"--target-p99-ms={_OWN_SHARE * study.target_ms}")
    with serving_process(study.snapshots, *options) as (_, ready):
        yield ready["http"]


def main(study: Study) -> None:
    console = Console()
    if not study.url and not study.snapshots.exists():
        console.print(f"left out: no snapshots at {study.snapshots}; `make demo` makes them")
        return
    with served(study) as url:
        sut = Sut(url, study)
        try:
            runs = search(sut, study, console)
        finally:
            sut.close()
    last = runs[-1]
    verdict = "VALID" if last["valid"] else "INVALID"
    report_result(
        "experiments.serving_loadgen",
        study,
        runs,
        console=console,
        headline={
            f"LoadGen Server over HTTP, p99 within {study.target_ms:g} ms, {study.seconds:g} s": (
                f"{verdict} at {last['rate']:,.0f} queries/s (p99 {last['p99_ms']:.1f} ms)"
            )
        },
    )


if __name__ == "__main__":
    run_command(main, Study, __doc__)
