"""An open loop of requests to a service in this process, and what became of them."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import itertools
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from experiments.cpu_time import CpuTime
from serving.answered import Answered
from serving.errors import DeadlineExceeded, Overloaded
from serving.query import Query
from serving.service import Service

_CHUNK = 4_096  # arrivals drawn at a time
_BURST = 32  # requests sent without a look at the answers, when the loop lags


@dataclasses.dataclass(frozen=True)
class Load:
    """Poisson arrivals.

    Attributes:
        rate: Requests a second.
        seconds: How long they come.
        rows: Rows of each.
        timeout_s: Deadline of each.
        seed: Of the arrivals.
    """

    rate: float
    seconds: float
    rows: int = 1
    timeout_s: float = 0.1
    seed: int = 0

    def arrivals(self) -> Iterator[float]:
        """Seconds from the start."""
        rng, last = np.random.default_rng(self.seed), 0.0
        while True:
            times = last + np.cumsum(rng.exponential(1 / self.rate, _CHUNK))
            last = float(times[-1])
            if last >= self.seconds:
                yield from times[times < self.seconds].tolist()
                return
            yield from times.tolist()


@dataclasses.dataclass(frozen=True)
class Scheduled(Load):
    """Arrivals at given times, seconds from the start; `rate` and `seconds` only describe them."""

    times: Sequence[float] = ()

    def arrivals(self) -> Iterator[float]:
        yield from self.times


class Latencies:
    """A histogram of fixed size, whose buckets are 1 % wide: a soak must not grow by what it
    measures (the idea of Tene's HdrHistogram)."""

    _LOWEST, _WIDTH, _BUCKETS = 1e-5, math.log(1.01), 1_800  # 10 us to 10 minutes

    def __init__(self) -> None:
        self._counts = np.zeros(self._BUCKETS, np.int64)
        self._new: list[float] = []

    def add(self, seconds: float) -> None:
        """Takes in one."""
        self._new.append(seconds)
        if len(self._new) == _CHUNK:
            self._count()

    def quantile(self, share: float) -> float:
        """Seconds that this share does not exceed, up to 1 % more; NaN of nothing."""
        self._count()
        total = np.cumsum(self._counts)
        if not total[-1]:
            return math.nan
        at = int(np.searchsorted(total, share * total[-1]))
        return self._LOWEST * math.exp(self._WIDTH * (at + 1))

    def share_within(self, seconds: float) -> float:
        """Of those taken in, up to 1 % of `seconds`; NaN of nothing."""
        self._count()
        total = int(self._counts.sum())
        return float(self._counts[: self._place(seconds) + 1].sum()) / total if total else math.nan

    def include(self, other: Latencies) -> None:
        """Takes in all of another."""
        other._count()
        self._counts += other._counts

    def _count(self) -> None:
        """Many at a time: what one costs is lost to the service that is measured."""
        self._counts += np.bincount(self._place(self._new), minlength=self._BUCKETS)
        self._new.clear()

    def _place(self, seconds: npt.ArrayLike) -> np.ndarray:
        logs = np.log(np.maximum(seconds, self._LOWEST) / self._LOWEST)
        return np.minimum((logs / self._WIDTH).astype(int), self._BUCKETS - 1)


@dataclasses.dataclass
class Outcome:
    """What became of the requests; each is counted once.

    Attributes:
        sent: Requests.
        answered: Before their time ran out on the service's clock.
        in_time: Of those, within the deadline from the scheduled arrival.
        latencies: Of those answered, from the scheduled arrival.
        refused: By reason.
        expired: Let in, but not answered in time.
        failed: Anything else.
        mixed: Answers with a value that is not of the version they name.
        versions: Answers by version.
        largest_queue: Most rows that waited.
        sent_late: How long after their time requests were sent.
        seconds: From the start to the last answer.
        cores: Of the time of all cores, by whose it was; see `CpuTime`.
    """

    sent: int = 0
    answered: int = 0
    in_time: int = 0
    latencies: Latencies = dataclasses.field(default_factory=Latencies)
    refused: Counter[str] = dataclasses.field(default_factory=Counter)
    expired: int = 0
    failed: int = 0
    mixed: int = 0
    versions: Counter[str] = dataclasses.field(default_factory=Counter)
    largest_queue: int = 0
    sent_late: Latencies = dataclasses.field(default_factory=Latencies)
    seconds: float = 0.0
    cores: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @property
    def lost(self) -> int:
        """Requests without an answer, for whatever reason."""
        return self.sent - self.answered

    @property
    def stolen(self) -> float:
        """Share of the cores' time that the host of a virtual machine took."""
        return self.cores["stolen"]

    @property
    def goodput(self) -> float:
        """Requests a second answered within the deadline from their scheduled arrival."""
        return self.in_time / self.seconds

    def figures(self) -> dict[str, object]:
        """For a result."""
        return {
            "sent": self.sent,
            "answered": self.answered,
            "refused": dict(self.refused),
            "expired": self.expired,
            "failed": self.failed,
            "mixed": self.mixed,
            "versions": dict(self.versions),
            "largest_queue_rows": self.largest_queue,
            "goodput_per_s": self.goodput,
            "p50_ms": 1e3 * self.latencies.quantile(0.5),
            "p99_ms": 1e3 * self.latencies.quantile(0.99),
            "sent_late_p99_ms": 1e3 * self.sent_late.quantile(0.99),
            "cores": dict(self.cores),
        }


def together(parts: Sequence[Outcome]) -> Outcome:
    """Loads that were sent one after another, as one."""
    whole = Outcome()
    for part in parts:
        whole.latencies.include(part.latencies)
        whole.sent_late.include(part.sent_late)
        whole.largest_queue = max(whole.largest_queue, part.largest_queue)
        for name in ("sent", "answered", "in_time", "expired", "failed", "mixed", "seconds"):
            setattr(whole, name, getattr(whole, name) + getattr(part, name))
        whole.refused.update(part.refused)
        whole.versions.update(part.versions)
    whole.cores = {
        who: sum(part.cores[who] * part.seconds for part in parts) / whole.seconds
        for who in parts[0].cores
    }
    return whole


async def drive(
    service: Service,
    queries: Sequence[Query],
    load: Load,
    expected: Mapping[str, Sequence[float]] | None = None,
    *,
    ended: Callable[[], bool] = lambda: False,
    told: Callable[[int, float], None] = lambda number, latency: None,
) -> Outcome:
    """Sends queries whether or not earlier ones are answered, and waits for the last.

    Shares the event loop with the service, so that what it costs is lost to the service: a few
    microseconds a request, without a task for each.

    Args:
        queries: Taken in turn.
        expected: By version, the best value of each query; answers are held against it.
        ended: Asked at every arrival; ends the load before its time.
        told: Gets the number of every request that is answered, from 0, and its latency in seconds.
    """
    outcome, running = Outcome(), set[asyncio.Future[Answered]]()
    around = list(itertools.islice(itertools.cycle(queries), len(queries) + load.rows))
    start, cores = time.perf_counter(), CpuTime.now()

    def done(number: int, scheduled: float, future: asyncio.Future[Answered]) -> None:
        running.discard(future)
        if (error := future.exception()) is not None:
            outcome.expired += isinstance(error, DeadlineExceeded)
            outcome.failed += not isinstance(error, DeadlineExceeded)
            return
        answered, latency = future.result(), time.perf_counter() - start - scheduled
        told(number, latency)
        outcome.answered += 1
        outcome.in_time += latency <= load.timeout_s
        outcome.latencies.add(latency)
        outcome.versions[answered.version] += 1
        outcome.mixed += expected is not None and not _of_one_version(
            answered, number * load.rows, expected
        )

    def send(scheduled: float) -> None:
        number = outcome.sent
        first = number * load.rows % len(queries)
        outcome.sent += 1
        try:
            future = service.ask(around[first : first + load.rows], timeout=load.timeout_s)
        except Overloaded as refusal:
            outcome.refused[refusal.reason] += 1
        else:
            running.add(future)
            future.add_done_callback(functools.partial(done, number, scheduled))
            outcome.largest_queue = max(outcome.largest_queue, service.queue_rows)

    for scheduled in load.arrivals():
        late = time.perf_counter() - start - scheduled
        if late < 0 or outcome.sent % _BURST == 0:
            await asyncio.sleep(max(0.0, -late))
            late = time.perf_counter() - start - scheduled
        if ended():
            break
        outcome.sent_late.add(late)
        send(scheduled)
    if running:
        await asyncio.wait(running)
    await asyncio.sleep(0)  # the callbacks of the last ones
    outcome.seconds = time.perf_counter() - start
    outcome.cores = CpuTime.now().shares_since(cores)
    return outcome


def _of_one_version(
    answered: Answered, first: int, expected: Mapping[str, Sequence[float]]
) -> bool:
    best, wanted = answered.arrays.scores[:, 0].tolist(), expected[answered.version]
    return all(
        math.isclose(value, wanted[(first + row) % len(wanted)], rel_tol=1e-3, abs_tol=1e-5)
        for row, value in enumerate(best)
    )


def resident_mib() -> float:
    """Memory of this process now."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise OSError("/proc/self/status says nothing of VmRSS; this study needs Linux")


def name_of(snapshots: Path) -> str:
    """Of what is served, for the results: the folder in which the snapshots lie."""
    return snapshots.resolve().parent.name
