"""Measuring: what schedulers may ask of a machine, and what a plan carries in truth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int
from scipy.special import bdtr

from experiments.deeprecinfra.plans import Fixed, Plan, Running
from experiments.deeprecinfra.profiles import Machine
from experiments.deeprecinfra.simulator import Servers, Setting
from experiments.deeprecinfra.workload import PERCENTILE, queries
from serving.load.workload import LARGEST, Schedule

SEED = 12_345  # of the load that all plans are compared under
_WARM, _COUNTED = 2_048, 10_240
_RISK = 0.05  # chance of calling a target met that is missed
RESOLUTION = 0.005
_RESOLUTION_RULE = 0.01


def allowed(count: int, *, certain: bool = False) -> int:
    """Most queries of `count` that may be late.

    Args:
        count: Queries.
        certain: Few enough that the percentile is met with confidence (binomial, 95 %);
            otherwise the percentile of the sample is met.
    """
    expected = int((1 - PERCENTILE) * count)
    if not certain:
        return expected
    most = np.arange(expected + 1)
    met = bdtr(most.astype(float), count, 1 - PERCENTILE) < _RISK
    return int(most[met].max(initial=-1))


class Bench:
    """A machine under load, as a scheduler sees it: it can measure, and pays in queries.

    Times of batches and sizes of queries are known to all schedulers without cost.

    Attributes:
        machine: Executors and their profiles.
        target: Seconds, of the 95th percentile.
        sizes: A sample of query sizes.
        spent: Queries measured so far.
    """

    def __init__(
        self, machine: Machine, target: float, *, workload: str = "mlperf", seed: int = 0
    ) -> None:
        self.machine, self.target, self.workload = machine, target, workload
        self.spent = 0
        self._seeds = iter(np.random.SeedSequence(seed).generate_state(100_000).tolist())
        self.sizes = queries(1.0, 4_096, sizes=workload, seed=next(self._seeds)).sizes

    def late(self, plan: Plan, rate: float, count: int, *, most: int | None = None) -> int:
        """How many of `count` fresh queries at `rate` per second were late.

        Args:
            most: The measurement ends once more are late; absent, it goes on.
        """
        found = plan.start(self.machine, next(self._seeds)).run(
            self._queries(rate, count), target=self.target, late=-1 if most is None else most
        )
        self.spent += len(found)
        return int((found > self.target).sum())

    def window(self, running: Running, rate: float, count: int, after: float) -> Schedule:
        """Queries that follow others: the next ones begin at `after` seconds."""
        self.spent += count
        fresh = self._queries(rate, count)
        return Schedule(fresh.times + after, fresh.sizes, fresh.duration)

    def capacity(self, setting: Setting) -> float:
        """Queries per second that keep a device busy all the time."""
        return Servers(self.machine, setting).capacity(self.sizes)

    def _queries(self, rate: float, count: int) -> Schedule:
        return queries(rate, count, sizes=self.workload, seed=next(self._seeds))


def carries(
    machine: Machine,
    plan: Plan,
    rate: float,
    target: float,
    *,
    workload: str = "mlperf",
    seed: int = SEED,
) -> bool:
    """Whether a plan meets the target at a rate, with confidence; all plans get one load."""
    load = queries(rate, _WARM + _COUNTED, sizes=workload, seed=seed)
    most = allowed(_COUNTED, certain=True)
    running = plan.start(machine, seed)
    if not isinstance(plan, Fixed):  # rules that decide batch by batch run once
        found = running.run(load, target=target, late=_WARM + most)
        return len(found) == len(load) and int((found[_WARM:] > target).sum()) <= most
    running.run(Schedule(load.times[:_WARM], load.sizes[:_WARM], load.duration))
    rest = Schedule(load.times[_WARM:], load.sizes[_WARM:], load.duration)
    return int((running.run(rest, target=target, late=most) > target).sum()) <= most


def sustained(
    machine: Machine,
    plan: Plan,
    target: float,
    *,
    workload: str = "mlperf",
    seed: int = SEED,
    least: float = 0.0,
) -> float:
    """Highest rate that a plan carries within the target, to 0.5 % (1 % for rules).

    Args:
        least: A rate that is known to be carried.
    """
    sizes = queries(1.0, 4_096, sizes=workload, seed=seed).sizes
    if isinstance(plan, Fixed):
        high = Servers(machine, plan.setting, seed=seed).capacity(sizes)
    else:
        high = ceiling(machine, float(sizes.mean()))
    low, floor = least, 0.01 * high  # less counts as nothing
    resolution = RESOLUTION if isinstance(plan, Fixed) else _RESOLUTION_RULE
    while high - low > resolution * high and high > floor:
        middle = (low + high) / 2
        if carries(machine, plan, middle, target, workload=workload, seed=seed):
            low = middle
        else:
            high = middle
    return low


def ceiling(machine: Machine, size: float) -> float:
    """Queries per second of `size` items with every device always busy with its best batches.

    No scheduler carries more.
    """
    executors = [machine.cpu] * machine.cores
    executors += [machine.accelerator] if machine.accelerator else []
    rows = np.arange(1, LARGEST + 1)
    return float(sum(1 / (one.by_rows()[1:] / rows).min() for one in executors) / size)


class TargetError(ValueError):
    """No setting meets a target, even without load."""


def check_target(
    what: str,
    target: float,
    ways: Sequence[tuple[Machine, Setting]],
    sizes: Int[np.ndarray, " n"],
) -> None:
    """Refuses a target that no setting meets even without load.

    Args:
        what: To name in the message.
        target: Seconds.
        ways: Machines with the settings that may be chosen.
        sizes: A sample of query sizes.

    Raises:
        TargetError: Says the lowest latency seen, and of which setting.
    """
    few = sizes[:256]
    apart = Schedule(np.arange(len(few)) * 1e6, few, 1e6 * len(few))
    seen = {
        (way.batch, way.workers): float(
            np.percentile(Servers(machine, way).run(apart), 100 * PERCENTILE)
        )
        for machine, way in ways
    }
    (batch, workers), least = min(seen.items(), key=lambda one: one[1])
    if least > target:
        raise TargetError(
            f"no setting of {what} meets its target of {1e3 * target:.4g} ms: without any load the "
            f"lowest 95th percentile is {1e3 * least:.4g} ms, with {batch=} on {workers} workers; "
            "choose a higher target, other models, or a machine with more or faster cores"
        )
