"""An open loop of requests to a service in this process, and what became of them."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from serving.answered import Answered
from serving.errors import DeadlineExceeded, Overloaded
from serving.query import Query
from serving.service import Service


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


@dataclasses.dataclass
class Outcome:
    """What became of the requests; each is counted once.

    Attributes:
        sent: Requests.
        latencies_s: Of those answered, from the scheduled arrival.
        refused: By reason.
        expired: Let in, but not answered in time.
        failed: Anything else.
        mixed: Answers with a value that is not of the version they name.
        versions: Answers by version.
        largest_queue: Most rows that waited.
        seconds: From the first arrival to the last answer.
    """

    sent: int = 0
    latencies_s: list[float] = dataclasses.field(default_factory=list)
    refused: Counter[str] = dataclasses.field(default_factory=Counter)
    expired: int = 0
    failed: int = 0
    mixed: int = 0
    versions: Counter[str] = dataclasses.field(default_factory=Counter)
    largest_queue: int = 0
    seconds: float = 0.0

    def goodput(self, within_s: float) -> float:
        """Requests a second answered within so many seconds of their scheduled arrival."""
        return sum(one <= within_s for one in self.latencies_s) / self.seconds

    def quantile_ms(self, share: float) -> float:
        """Latency that this share of the answers does not exceed."""
        if not self.latencies_s:
            return float("nan")
        return 1e3 * float(np.quantile(self.latencies_s, share, method="inverted_cdf"))

    def figures(self, within_s: float) -> dict[str, object]:
        """For a result."""
        return {
            "sent": self.sent,
            "answered": len(self.latencies_s),
            "refused": dict(self.refused),
            "expired": self.expired,
            "failed": self.failed,
            "mixed": self.mixed,
            "versions": dict(self.versions),
            "largest_queue_rows": self.largest_queue,
            "goodput_per_s": self.goodput(within_s),
            "p50_ms": self.quantile_ms(0.5),
            "p99_ms": self.quantile_ms(0.99),
        }


async def drive(
    service: Service,
    queries: Sequence[Query],
    load: Load,
    expected: Mapping[str, np.ndarray] | None = None,
) -> Outcome:
    """Sends queries whether or not earlier ones are answered, and waits for the last.

    Args:
        queries: Taken in turn.
        expected: By version, the best value of each query; answers are held against it.
    """
    rng = np.random.default_rng(load.seed)
    count = max(1, int(load.rate * load.seconds))
    times = np.cumsum(rng.exponential(1 / load.rate, count)).tolist()
    outcome, tasks = Outcome(sent=count), set()
    start = time.perf_counter()

    async def ask(number: int, scheduled: float) -> None:
        at = (np.arange(load.rows) + number * load.rows) % len(queries)
        try:
            answered = await service.answer([queries[int(i)] for i in at], timeout=load.timeout_s)
        except Overloaded as refusal:
            outcome.refused[refusal.reason] += 1
        except DeadlineExceeded:
            outcome.expired += 1
        except Exception:
            outcome.failed += 1
        else:
            outcome.latencies_s.append(time.perf_counter() - start - scheduled)
            outcome.versions[answered.version] += 1
            outcome.mixed += expected is not None and not _of_one_version(answered, at, expected)

    for number, scheduled in enumerate(times):
        if (wait := start + scheduled - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        task = asyncio.create_task(ask(number, scheduled))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        outcome.largest_queue = max(outcome.largest_queue, service.queue_rows)
    while tasks:
        await asyncio.wait(tasks)
    outcome.seconds = time.perf_counter() - start
    return outcome


def _of_one_version(answered: Answered, at: np.ndarray, expected: Mapping[str, np.ndarray]) -> bool:
    best = np.asarray(answered.arrays.scores)[:, 0]
    return bool(np.allclose(best, expected[answered.version][at], rtol=1e-3, atol=1e-5))


def resident_mib() -> float:
    """Memory of this process now."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise OSError("/proc/self/status says nothing of VmRSS; this study needs Linux")
