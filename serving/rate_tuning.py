"""Finds the batch limit that carries most within a target, with the engine that will serve.

The service runs in this process, without HTTP, under open-loop Poisson load (`serving/load`);
`serving/rate_search.py` says what to measure next.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from serving.errors import DeadlineExceeded, Overloaded
from serving.load.driver import drive
from serving.load.workload import constant, schedule
from serving.query import Query
from serving.rate_search import Proposal, RateSearch, Tuned
from serving.service import Service
from serving.warm_up import WarmUp

PERCENTILE = 0.99
_LONGEST = 10  # times `seconds`, if a measurement of a low rate is to have enough requests
_LATE = 4  # targets' time after which a request is given up: it is late by far
_USERS = 4096


@dataclasses.dataclass(frozen=True)
class Measuring:
    """What is sent, and for how long.

    Attributes:
        target_s: Latency that 99 of 100 requests are to meet, seconds.
        sizes: Rows of a request; see `serving.load.workload`.
        where: Filter of every row.
        k: Items asked for.
        seconds: Length of a measurement.
        requests: That it has at least, if ten times its length is enough for them.
        resolution: Rates are told apart down to this ratio.
        seed: Of users and arrivals.
    """

    target_s: float
    sizes: str = "fixed:1"
    where: str = ""
    k: int = 10
    seconds: float = 3.0
    requests: int = 500
    resolution: float = 1.05
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.target_s < 10:
            raise ValueError(f"target_s={self.target_s} must be a positive number, below 10 s")
        if not self.seconds > 0:
            raise ValueError(f"seconds={self.seconds} must be a positive number")
        if self.requests < 100:
            raise ValueError(
                f"requests={self.requests} must be at least 100, of which one may be late"
            )


@dataclasses.dataclass(frozen=True)
class Measured:
    """One measurement: what was asked, how many requests were sent, and how many were late."""

    proposal: Proposal
    requests: int
    late: int

    @property
    def met(self) -> bool:
        """Whether the target was."""
        return self.late <= (1 - PERCENTILE) * self.requests


def promising(measured: WarmUp, target_s: float) -> tuple[int, ...]:
    """Sizes of which a batch that need not wait is within the target.

    Raises:
        ValueError: There is none.
    """
    times = measured.typical()
    if fits := tuple(size for size, seconds in times.items() if seconds < target_s):
        return fits
    raise ValueError(
        f"a target of {1e3 * target_s:g} ms cannot be met: the fastest batch alone takes "
        f"{1e3 * min(times.values()):.3g} ms. Raise --target-p99-ms, or search less far "
        "(silverjax tune)."
    )


async def find_limit(
    service: Service,
    options: Measuring,
    told: Callable[[Measured], None],
) -> Tuned:
    """Searches, limit by limit.

    Args:
        service: Started, without a climber.
        told: Gets every measurement.

    Raises:
        ValueError: No limit can meet the target; an option that cannot be used.
    """
    measured = service.warmed_up
    ladder, times = promising(measured, options.target_s), measured.typical()
    rows = schedule(constant(1e3, 1.0), sizes=options.sizes, seed=options.seed).sizes.mean()
    first = max(size / times[size] for size in ladder) / (2 * float(rows))
    search = RateSearch(
        ladder, first, percentile=PERCENTILE, resolution=options.resolution, give_up=1 / 64
    )
    queries, seed = _queries(service, options), options.seed
    while (proposal := search.proposal) is not None:
        seed += 1
        one = await _measure(service, proposal, options, queries, seed)
        search.tell(requests=one.requests, late=one.late)
        told(one)
    if not search.result.rate:
        raise ValueError(
            f"no batch limit of {ladder} met {1e3 * options.target_s:g} ms, even at "
            f"{first / 64:.3g} requests/s of {options.sizes}. Raise --target-p99-ms, or ask for "
            "smaller requests with --sizes."
        )
    return search.result


async def _measure(
    service: Service, proposal: Proposal, options: Measuring, queries: list[Query], seed: int
) -> Measured:
    seconds = max(options.seconds, options.requests / proposal.rate)
    seconds = min(seconds, _LONGEST * options.seconds)
    made = schedule(constant(proposal.rate, seconds), sizes=options.sizes, seed=seed)
    service.limit_batches(proposal.batch_limit)

    async def send(number: int, rows: int) -> tuple[int, int]:
        asked = [queries[(7 * number + row) % len(queries)] for row in range(rows)]
        try:
            answered = await service.answer(asked, timeout=_LATE * options.target_s)
        except Overloaded:
            return 429, 0
        except DeadlineExceeded:
            return 504, 0
        return 200, answered.batch

    outcomes = await drive(made, send, drain_s=2 * _LATE * options.target_s)
    good = (outcomes.statuses == 200) & (outcomes.latencies <= options.target_s)
    return Measured(proposal, len(made), int((~good).sum()))


def _queries(service: Service, options: Measuring) -> list[Query]:
    users = service.versions.engine.snapshot.catalogue.user_ids
    if not users:
        return [Query(where=options.where, k=options.k)]
    chosen = np.random.default_rng(options.seed).integers(0, len(users), _USERS).tolist()
    return [Query(users[row], options.where, k=options.k) for row in chosen]
