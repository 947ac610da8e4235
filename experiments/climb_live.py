"""The hill climber in a running service against every fixed limit and the rules of other servers.

    python -m experiments.climb_live                                 # the snapshots of `make demo`
    python -m experiments.climb_live --snapshots runs/synthetic/snapshots
    python -m experiments.climb_live --seconds 8 --rounds 1    # a quick look

It takes 40 minutes. The second one is of a million items; `services_study.snapshot` makes it.
On a virtual machine put `python -m experiments.awake` before it.

What `climb_study` does in the simulator, with the real engine: steady load, a step to four times
the load, and a slow sine, at most `--load` of what the best fixed limit carries within the target.
Every rule meets the same arrivals and stands behind the same door. Service and generator share
process and machine; a run that the machine's host spoiled is made again.

Bars: goodput within the target at least 0.95 of the best fixed limit's, and above that of every
rule of the others; the target met again at most 10 s after the step.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import uvloop
from rich.console import Console
from rich.progress import Progress

from experiments.climb_plot import plot_climb
from experiments.climb_study import relative, table
from experiments.climb_workloads import OURS, Outcome, outcome, step_at, workloads
from experiments.command import run_command
from experiments.live_policies import PolicyScheduler
from experiments.policies import other_rules
from experiments.results import FOLDER, report_result
from experiments.serving_drive import Scheduled, drive, name_of
from experiments.serving_lane import Policy
from experiments.serving_sim import Run
from experiments.undisturbed import undisturbed
from serving.config import ServiceConfig
from serving.engine import Engine
from serving.hill_climb import HillClimber
from serving.hill_climb_config import Decision, HillClimbConfig
from serving.load.workload import Schedule, schedule
from serving.process import settle, start_devices
from serving.query import Query
from serving.rate_tuning import Measured, Measuring, find_limit
from serving.service import Service
from serving.versions import open_newest

_USERS = 512


@dataclasses.dataclass(frozen=True)
class Study:
    """What to measure.

    Attributes:
        snapshots: A published version, or the folder of all.
        buckets: Compiled batch sizes; all of them are tried as fixed limits.
        target_ms: Of the 99th percentile.
        seconds: Length of each workload.
        rounds: In which all take turns, each with other arrivals; of each rule the median counts.
        load: Peak of the workloads, as a share of the rate that the best fixed limit carries.
        rate: That rate, requests a second; 0 measures it.
        stolen: A run in which the host takes more than this share of the cores is made again.
        attempts: At most; the one of which least was stolen counts.
        seed: Of the arrivals.
    """

    snapshots: Path = Path("runs/demo/snapshots")
    buckets: tuple[int, ...] = (1, 4, 16, 64, 256)
    target_ms: float = 50.0
    seconds: float = 20.0
    rounds: int = 3
    load: float = 0.9
    rate: float = 0.0
    stolen: float = 0.03
    attempts: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.load <= 1:
            raise ValueError(f"load={self.load} must be a share above 0 and at most 1")
        for name in ("rounds", "attempts"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        if not 3 <= self.seconds < math.inf:
            raise ValueError(
                f"seconds={self.seconds} must be at least 3, a third before the step, and finite"
            )
        HillClimbConfig(self.buckets, self.target_s)  # before the rate is measured for nothing

    @property
    def target_s(self) -> float:
        """The target in seconds."""
        return 1e-3 * self.target_ms


def rules(study: Study) -> dict[str, Callable[[], Policy]]:
    """How the others choose their batches."""
    middle, largest = study.buckets[len(study.buckets) // 2], study.buckets[-1]
    return other_rules(study.buckets, study.target_s, preferred=(middle, largest))


def services(engine: Engine, study: Study) -> dict[str, Callable[[], Service]]:
    """Makes the services to compare; fixed limits are named `fixed N`."""
    config = ServiceConfig()

    def climbing() -> Service:
        return Service(engine, config, HillClimber(HillClimbConfig(study.buckets, study.target_s)))

    def fixed(limit: int) -> Service:
        climb = HillClimbConfig(study.buckets, study.target_s, mode="fixed", start=limit)
        return Service(engine, config, HillClimber(climb))

    def ruled(policy: Callable[[], Policy]) -> Service:
        return Service(
            engine, config, scheduler=functools.partial(PolicyScheduler, policy=policy())
        )

    return (
        {OURS: climbing}
        | {name: functools.partial(ruled, policy) for name, policy in rules(study).items()}
        | {f"fixed {limit}": functools.partial(fixed, limit) for limit in study.buckets}
    )


async def highest_rate(engine: Engine, study: Study, told: Callable[[Measured], None]) -> float:
    """Requests a second that the best fixed limit carries within the target."""
    service = Service(engine, ServiceConfig())
    await service.start()
    try:
        options = Measuring(study.target_s, seed=study.seed)
        return (await find_limit(service, options, told)).rate
    finally:
        await service.stop()


class Driven(NamedTuple):
    """One service under one workload.

    Attributes:
        service: Stopped.
        run: What became of each request.
        began: `time.time` of its start.
        cores: Whose they were meanwhile; see `CpuTime`.
    """

    service: Service
    run: Run
    began: float
    cores: Mapping[str, float]

    @property
    def stolen(self) -> float:
        return self.cores["stolen"]


class Ran(NamedTuple):
    """What counts of a run, and how often it was made until the machine was its own."""

    workload: str
    rule: str
    outcome: Outcome
    cores: Mapping[str, float]
    attempts: int


async def run_one(
    make: Callable[[], Service], queries: Sequence[Query], made: Schedule, target: float
) -> Driven:
    """One new service under one workload."""
    latencies = np.full(len(made), np.nan)
    load = Scheduled(
        len(made) / made.duration, made.duration, timeout_s=target, times=made.times.tolist()
    )
    service = make()
    await service.start()
    began = time.time()
    try:
        driven = await drive(service, queries, load, told=latencies.__setitem__)
    finally:
        await service.stop()
    run = Run(made.times, latencies, made.duration, np.zeros(0), np.zeros(0, int))
    return Driven(service, run, began, driven.cores)


def trace(service: Service, began: float, duration: float) -> list[tuple[float, Decision]]:
    """The moves of its climber, in seconds from the start, and where it ended."""
    assert service.climbing is not None
    moves = [
        (max(0.0, move.at - began), Decision(move.batch_limit, None, move.reason, True))
        for move in service.climbing.moves
    ]
    return [*moves, (duration, moves[-1][1])]


async def measure(study: Study, console: Console) -> dict[str, Any]:
    """All figures of a study."""
    engine, _ = open_newest(study.snapshots, buckets=study.buckets)
    users = engine.snapshot.catalogue.user_ids[:_USERS]
    queries = [Query(user=user) for user in users] or [Query()]
    settle()
    rate = study.rate
    if not rate:
        with console.status("which rate the best limit carries") as status:
            rate = await highest_rate(engine, study, lambda one: status.update(f"{one.proposal}"))
    console.print(f"{rate:,.0f} requests/s within {study.target_ms:g} ms")
    made_by, ran = services(engine, study), list[Ran]()
    shapes = workloads(study.load * rate, study.seconds)
    turns = list(itertools.product(range(study.rounds), shapes, made_by))
    with Progress(console=console) as progress:
        for number, workload, name in progress.track(turns, description="taking turns"):
            made = schedule(shapes[workload], sizes="fixed:1", seed=study.seed + number)
            driven, attempts = await undisturbed(
                functools.partial(run_one, made_by[name], queries, made, study.target_s),
                limit=study.stolen,
                attempts=study.attempts,
            )
            counts = outcome(driven.run, study.target_s, step_at=step_at(workload, study.seconds))
            ran.append(Ran(workload, name, counts, driven.cores, attempts))
            if (workload, name, number) == ("x4 step", OURS, 0):
                plot_climb(
                    FOLDER / f"climb-live-{name_of(study.snapshots)}.png",
                    driven.run,
                    trace(driven.service, driven.began, study.seconds),
                    target=study.target_s,
                    title="A running service, load x4",
                )
    outcomes = {shape: {name: _median(ran, shape, name) for name in made_by} for shape in shapes}
    return {
        "rate": rate,
        "workloads": outcomes,
        "goodput_relative_to_best_fixed": {w: relative(by) for w, by in outcomes.items()},
        "runs": ran,
    }


def _median(ran: Sequence[Ran], workload: str, rule: str) -> Outcome:
    """Of its runs the one of middling goodput."""
    own = [one.outcome for one in ran if (one.workload, one.rule) == (workload, rule)]
    return sorted(own, key=lambda one: one.goodput)[(len(own) - 1) // 2]


def headline(name: str, outcomes: Mapping[str, Mapping[str, Outcome]]) -> dict[str, str]:
    """For the README's table: the least of the workloads."""
    shares = [relative(by) for by in outcomes.values()]
    ours = min(share[OURS] for share in shares)
    others = [n for n in shares[0] if n != OURS and not n.startswith("fixed ")]
    best = max(others, key=lambda other: min(share[other] for share in shares))
    return {
        f"hill climber in a service of {name}: {len(shares)} workloads": (
            f"goodput at least {ours:.3f} of the best fixed limit; the best of "
            f"{len(others)} other rules ({best}) {min(share[best] for share in shares):.3f}"
        )
    }


def main(study: Study) -> None:
    console = Console()
    start_devices()
    figures = uvloop.run(measure(study, console))
    console.print(table("a running service", figures["workloads"]))
    report_result(
        "experiments.climb_live",
        study,
        figures,
        console=console,
        headline=headline(name_of(study.snapshots), figures["workloads"]),
        of=name_of(study.snapshots),
    )


if __name__ == "__main__":
    run_command(main, Study, __doc__)
