"""The other side: three processes, and what calls them in order."""

from __future__ import annotations

import asyncio
import pathlib
import subprocess
import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import grpc
import numpy as np

from experiments.services_study.neighbours import KINDS
from experiments.services_study.requests import Ask, Batch, form
from experiments.services_study.scorer import STATE
from experiments.services_study.service import OPTIONS, call
from experiments.services_study.study import Study
from silverjax.ann_search import Candidates

SERVICES = ("tower", "neighbours", "scorer")
_GRACE = 10.0  # seconds for a service to end by itself


class Services:
    """Runs the three services while it is entered.

    Args:
        study: Sizes.
        folder: Where `storage.save_all` has put their arrays.
    """

    def __init__(self, study: Study, folder: pathlib.Path) -> None:
        self._study, self._folder = study, folder
        self.processes: list[subprocess.Popen[str]] = []
        self._channels: dict[str, grpc.aio.Channel] = {}
        self.kind, self.probes = KINDS[0], 1  # of the search
        self._seconds: dict[str, list[float]] = {name: [] for name in SERVICES}

    def __enter__(self) -> Self:
        self._runner = asyncio.Runner()
        try:
            for name in SERVICES:
                self.processes.append(self._started(name))
            self._runner.run(self._connect())
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def answers(
        self, batches: Sequence[Sequence[Ask]], *, in_flight: int
    ) -> list[dict[str, np.ndarray]]:
        """Answers in order; up to `in_flight` batches are on their way at a time."""
        return self._runner.run(self._stream(batches, in_flight))

    def candidates(self, asks: Sequence[Ask], queries: np.ndarray) -> np.ndarray:
        """What the search finds for user embeddings."""
        batch = form(asks, self._study)
        return self._runner.run(self._searched(batch, queries))["rows"]

    def cpu_seconds(self) -> float:
        """CPU time that this process and the services have used so far."""

        async def used() -> float:
            answers = [await call(self._channels[name], "cpu", {}) for name in SERVICES]
            return sum(float(answer["seconds"]) for answer in answers)

        return time.process_time() + self._runner.run(used())

    def milliseconds(self, batches: Sequence[Sequence[Ask]]) -> dict[str, float]:
        """Median time that a batch waits for each service, when it is alone."""
        for seconds in self._seconds.values():
            seconds.clear()
        self.answers(batches, in_flight=1)
        return {name: 1e3 * float(np.median(each)) for name, each in self._seconds.items()}

    def scored(
        self, asks: Sequence[Ask], state: object, found: Candidates
    ) -> dict[str, np.ndarray]:
        """What the scorer makes of given candidates."""
        sent = {name: np.asarray(getattr(state, name)) for name in STATE}
        sent |= {"rows": np.asarray(found.rows), "similarity": np.asarray(found.scores)}
        arrays = form(asks, self._study).arrays | sent
        return self._runner.run(call(self._channels["scorer"], "score", arrays))

    async def _stream(
        self, batches: Sequence[Sequence[Ask]], in_flight: int
    ) -> list[dict[str, np.ndarray]]:
        done: dict[int, dict[str, np.ndarray]] = {}
        left = iter(range(len(batches)))

        async def lane() -> None:
            for at in left:
                done[at] = await self._answer(batches[at])

        async with asyncio.TaskGroup() as lanes:
            for _ in range(in_flight):
                lanes.create_task(lane())
        return [done[at] for at in range(len(batches))]

    async def _answer(self, asks: Sequence[Ask]) -> dict[str, np.ndarray]:
        batch = form(asks, self._study)
        times = [time.perf_counter()]
        state = await call(self._channels["tower"], "tower", batch.arrays)
        times.append(time.perf_counter())
        found = await self._searched(batch, state["embedding"])
        times.append(time.perf_counter())
        arrays = batch.arrays | state | {"rows": found["rows"], "similarity": found["scores"]}
        answer = await call(self._channels["scorer"], "score", arrays)
        times.append(time.perf_counter())
        for name, took in zip(SERVICES, np.diff(times).tolist()):
            self._seconds[name].append(took)
        return answer

    async def _searched(self, batch: Batch, queries: np.ndarray) -> dict[str, np.ndarray]:
        setting = np.array([KINDS.index(self.kind), self.probes], np.int32)
        arrays = {"embedding": queries, "history": batch.arrays["history"], "setting": setting}
        return await call(self._channels["neighbours"], "search", arrays, batch.filters)

    def _started(self, name: str) -> subprocess.Popen[str]:
        # A group of its own: Ctrl-C is for the parent, which then ends its services. In sessions of
        # their own Linux would give each the same share of the cores, whatever it has to do.
        return subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.{name}", str(self._folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            process_group=0,
        )

    async def _connect(self) -> None:
        for name, process in zip(SERVICES, self.processes):
            assert process.stdout is not None  # it is a pipe
            line = process.stdout.readline()  # ends, too, when the process does
            if not line.strip().isdigit():
                raise RuntimeError(
                    f"the service {name} did not start (exit status {process.wait(_GRACE)}); "
                    "its own message is above"
                )
            address = f"127.0.0.1:{line.strip()}"
            self._channels[name] = grpc.aio.insecure_channel(address, options=OPTIONS)

    def _stop(self) -> None:
        async def close() -> None:
            for channel in self._channels.values():
                await channel.close()

        try:
            self._runner.run(close())
        finally:
            self._runner.close()
            for process in self.processes:
                assert process.stdin is not None  # both are pipes
                assert process.stdout is not None
                process.stdin.close()  # which ends the service
                process.stdout.close()
            for process in self.processes:
                try:
                    process.wait(_GRACE)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
