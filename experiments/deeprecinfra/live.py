"""A model on this machine under load: what settings carry, measured and simulated."""

from __future__ import annotations

import asyncio
import dataclasses
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from experiments.cpu_time import CpuTime
from experiments.deeprecinfra.bench import Bench, allowed
from experiments.deeprecinfra.executors import Executors, Layout
from experiments.deeprecinfra.profiles import Machine
from experiments.deeprecinfra.schedulers.joint_search import estimates, joint, settings
from experiments.deeprecinfra.simulator import Servers, Setting, parts
from experiments.deeprecinfra.workload import queries
from experiments.undisturbed import undisturbed
from serving.load.workload import Schedule

_STEP = 1.04  # between two rates that are tried
_FEW = 200  # queries of a measurement
_TARGETS = 10  # that a measurement lasts


@dataclasses.dataclass(frozen=True)
class Way:
    """A division of the cores, and a setting on it."""

    layout: Layout
    setting: Setting

    def __str__(self) -> str:
        fill = f", filled to {self.setting.fill}" if self.setting.fill else ""
        return f"{self.layout}, batch {self.setting.batch}{fill}"


@dataclasses.dataclass(frozen=True)
class Tail:
    """One run under load.

    Attributes:
        way: What ran.
        rate: Queries per second.
        queries: How many.
        p95: Seconds, measured.
        p99: Seconds, measured.
        simulated_p95: Seconds, of the same queries in the simulator.
    """

    way: str
    rate: float
    queries: int
    p95: float
    p99: float
    simulated_p95: float


@dataclasses.dataclass(frozen=True)
class Found:
    """One model on this machine.

    Attributes:
        model: Its name.
        target: Seconds.
        static: Queries per second of the static scheduler.
        ours: Of ours.
        oracle: Of the best setting that was measured.
        ways: What each of the three chose.
        tails: Static and ours, at loads of their own.
        equal: Static, and what ours chooses for that load, under the same queries.
    """

    model: str
    target: float
    static: float
    ours: float
    oracle: float
    ways: dict[str, str]
    tails: list[Tail]
    equal: list[Tail]

    @classmethod
    def of(cls, plain: dict[str, Any]) -> Found:
        """From its JSON form."""
        runs = {name: [Tail(**one) for one in plain[name]] for name in ("tails", "equal")}
        return cls(**(plain | runs))


class _Run(NamedTuple):
    """Latencies, and the share of the cores' time that the machine's host took meanwhile."""

    latencies: Float[np.ndarray, " n"]
    stolen: float


class Machines:
    """All divisions of this machine's cores, with a model loaded and timed on each.

    Args:
        running: Workers of each division.
        workload: Sizes of queries.
        seconds: Of load in one measurement.
        seed: Of everything random.
        stolen: A run during which the host takes more than this share of the cores is made again.
        attempts: At most; the one of which least was stolen counts.

    Attributes:
        machines: As the simulator sees them.
        sizes: A sample of query sizes.
    """

    def __init__(
        self,
        running: Mapping[Layout, Executors],
        *,
        workload: str,
        seconds: float,
        seed: int,
        stolen: float,
        attempts: int,
    ) -> None:
        self._running, self._workload, self._seconds = running, workload, seconds
        self._stolen, self._attempts = stolen, attempts
        self._seeds = iter(np.random.SeedSequence(seed).generate_state(10_000).tolist())
        self.sizes = queries(1.0, 4_096, sizes=workload, seed=next(self._seeds)).sizes
        self.machines = {
            layout: Machine(str(layout), layout.workers, executors.profile())
            for layout, executors in running.items()
        }

    def load(self, rate: float, seconds: float) -> Schedule:
        """Fresh queries."""
        count = int(max(_FEW, rate * seconds))
        return queries(rate, count, sizes=self._workload, seed=next(self._seeds))

    def meets(self, way: Way, rate: float, target: float) -> bool:
        """Whether few enough queries are late, measured."""
        # In less time even too many queries would all be answered soon enough.
        load = self.load(rate, max(self._seconds, _TARGETS * target))
        most = allowed(len(load))
        return int((self._run(way, load, target, most) > target).sum()) <= most

    def carried(self, way: Way, rate: float, target: float) -> float:
        """Queries per second, measured, in steps of 4 % from a first guess; 0: a tenth is missed,
        as on a machine that stands still meanwhile.

        Steps down grow, so that a guess that is far off costs few measurements.
        """
        down = 1
        while not self.meets(way, rate, target):
            if down > 32:
                return 0.0
            rate, down = rate / _STEP**down, 2 * down
        if down != 2:  # otherwise the next rate up was just missed
            while self.meets(way, _STEP * rate, target):
                rate *= _STEP
        return rate

    def tail(self, way: Way, load: Schedule, rate: float) -> Tail:
        """Measured, and simulated."""
        measured = self._run(way, load)
        simulated = Servers(self.machines[way.layout], way.setting, seed=1).run(load)
        p95, p99 = np.percentile(measured, (95, 99)).tolist()
        return Tail(str(way), rate, len(load), p95, p99, float(np.percentile(simulated, 95)))

    def _run(
        self, way: Way, load: Schedule, target: float = math.inf, most: int | None = None
    ) -> Float[np.ndarray, " n"]:
        """Latencies, of a run that the machine's host left alone if there is one."""

        async def once() -> _Run:
            before = CpuTime.now()
            latencies = self._running[way.layout].run(load, way.setting, target=target, most=most)
            return _Run(latencies, CpuTime.now().shares_since(before)["stolen"])

        run, _ = asyncio.run(undisturbed(once, limit=self._stolen, attempts=self._attempts))
        return run.latencies

    def ranked(self, target: float) -> list[Way]:
        """All settings by what the model of queues says, best first; of those that cut queries
        in the same way, one."""
        found = list[tuple[float, Way]]()
        rows = np.unique(self.sizes).tolist()
        for layout, machine in self.machines.items():
            kept = dict[object, Setting]()
            for one in settings(machine, self.sizes):
                cuts = tuple(len(parts(n, one.batch, even=True)) for n in rows)
                kept.setdefault((cuts, one.workers, one.fill), one)
            guess = estimates(machine, [*kept.values()], self.sizes, target)
            found += [(float(g), Way(layout, one)) for g, one in zip(guess, kept.values())]
        return [way for _, way in sorted(found, key=lambda pair: -pair[0])]

    def chosen(self, target: float) -> tuple[Way, float]:
        """Ours: the division whose best setting claims most; measures in the simulator only."""
        plans = {
            layout: joint(Bench(machine, target, workload=self._workload, seed=next(self._seeds)))
            for layout, machine in self.machines.items()
        }
        layout = max(plans, key=lambda one: plans[one].claimed or 0.0)
        return Way(layout, plans[layout].setting), plans[layout].claimed or 0.0

    def quickest(self, rate: float, ways: list[Way]) -> Way:
        """Ours for a load that is given: the least simulated 95th percentile."""
        load = queries(rate, 4_096, sizes=self._workload, seed=next(self._seeds))

        def p95(way: Way) -> float:
            servers = Servers(self.machines[way.layout], way.setting, seed=1)
            return float(np.percentile(servers.run(load), 95))

        return min(ways, key=p95)
