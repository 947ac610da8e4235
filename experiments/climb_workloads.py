"""The hill climber against fixed limits and the rules of other servers, as the load changes.

Each system is a latency curve, a target for the 99th percentile and a distribution of sizes.
Load is given as a share of the highest rate that any fixed limit carries within the target. All
policies meet the same arrivals and shed what has already waited beyond the target.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator

import numpy as np
from scipy.special import bdtrc

from experiments.policies import Climbing, Greedy, fixed, other_rules
from experiments.serving_lane import Policy
from experiments.serving_sim import LatencyCurve, Run, simulate
from serving.hill_climb import HillClimbConfig, HillClimber
from serving.load.workload import Profile, constant, schedule, sine, steps

OURS = "hill climber"
PERCENTILE = 0.99
_STEP_AT = 1 / 3  # of the duration


@dataclasses.dataclass(frozen=True)
class System:
    """A machine, its traffic, and what is asked of it.

    Attributes:
        curve: Time of a batch.
        target: Seconds, of the 99th percentile.
        sizes: Of requests; see `serving.load.workload`.
    """

    curve: LatencyCurve
    target: float
    sizes: str


# Shapes: overhead and nearly linear time; flat until full; efficient only while in the cache.
_SINGLE = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_MANY = (16, 32, 64, 128, 256, 512, 1024)
SYSTEMS = {
    "processor": System(
        LatencyCurve(
            _SINGLE, (1.2e-3, 1.4e-3, 1.9e-3, 2.8e-3, 4.6e-3, 8.2e-3, 16e-3, 31e-3, 62e-3), 0.1
        ),
        0.05,
        "fixed:1",
    ),
    "accelerator": System(
        LatencyCurve(
            _SINGLE, (12e-3, 12e-3, 12e-3, 12.3e-3, 12.8e-3, 14e-3, 17.6e-3, 26e-3, 44e-3), 0.05
        ),
        0.08,
        "fixed:1",
    ),
    "cache cliff": System(
        LatencyCurve(
            _SINGLE, (0.8e-3, 0.9e-3, 1.1e-3, 1.6e-3, 2.6e-3, 10e-3, 22e-3, 46e-3, 95e-3), 0.15
        ),
        0.03,
        "fixed:1",
    ),
    # Medians of Wide&Deep on a c5n.2xlarge that Kairos (HPDC 2023) publishes, with DeepRecSys's
    # target; between them, straight lines. Sizes are Kairos's lognormal ones: MLPerf's requests of
    # 700 rows take longer than the target on this machine even if nobody waits.
    "wide and deep": System(
        LatencyCurve(_MANY, (2.1e-3, 2.5e-3, 3.3e-3, 4.9e-3, 8.8e-3, 17e-3, 33.4e-3), 0.05),
        0.025,
        "lognormal",
    ),
}


def workloads(peak: float, seconds: float) -> dict[str, Profile]:
    """Requests per second over time; `peak` is the most that is asked for."""
    before, after = _STEP_AT * seconds, (1 - _STEP_AT) * seconds
    return {
        "steady": constant(peak, seconds),
        "x4 step": steps([(before, peak / 4), (after, peak)]),
        "slow sine": sine(peak / 1.6, 0.6, seconds / 2, seconds),
    }


def step_at(workload: str, seconds: float) -> float | None:
    """When the load of a workload of this length steps up; None: it does not."""
    return _STEP_AT * seconds if workload == "x4 step" else None


def policies(system: System, seed: int) -> dict[str, Callable[[], Policy]]:
    """Ours, and others as they come.

    Ours starts as `silverjax serve` does: with a few timed batches of every size. Beside it stand
    one whose warm-up ran 1.5 times too fast, since a service under load is busy with more
    than its batches, and one without a warm-up.
    """
    ladder, target = system.curve.buckets, system.target
    config = HillClimbConfig(ladder, target, percentile=PERCENTILE, seed=seed)

    ours: dict[str, Callable[[], Policy]] = {
        OURS: lambda: Climbing.warmed(config, system.curve, seed=seed),
        "hill climber, 1.5x slower when busy": lambda: Climbing.warmed(
            config, system.curve, seed=seed, haste=1.5
        ),
        "hill climber, no warm-up": lambda: Climbing(HillClimber(config), system.curve.best_rows),
        "batch 1": lambda: Greedy(ladder[0]),
    }
    return ours | other_rules(ladder, target, preferred=(ladder[-5], ladder[-3]))


@dataclasses.dataclass(frozen=True)
class Outcome:
    """One policy under one workload.

    Attributes:
        goodput: Requests per second that were answered within the target.
        in_time: Their share of all requests.
        p99_ms: Of those answered.
        recovery_s: After the step, until the share over target is what the percentile allows and
            stays so; None where there is no step or it never does.
    """

    goodput: float
    in_time: float
    p99_ms: float
    recovery_s: float | None


def outcome(run: Run, target: float, *, step_at: float | None) -> Outcome:
    """Figures of a run."""
    good = run.within(target)
    answered = run.latencies[~np.isnan(run.latencies)]
    return Outcome(
        run.goodput(target),
        float(good.mean()),
        float(1e3 * np.quantile(answered, PERCENTILE)) if len(answered) else float("nan"),
        None if step_at is None else recovery(run, target, step_at),
    )


def recovery(run: Run, target: float, step_at: float) -> float | None:
    """Seconds from the step to the end of the last second that misses the target for certain.

    A second misses it where so many late requests had a chance below 0.1 % if the percentile
    were met. None if that is so in the last tenth of the run.
    """
    late = ~run.within(target)
    seconds = np.floor(run.arrivals).astype(int)
    total = np.bincount(seconds)
    missed = np.bincount(seconds, late, minlength=len(total))
    chance = np.where(missed > 0, bdtrc(missed - 1, total, 1 - PERCENTILE), 1.0)
    bad = np.flatnonzero((chance < 1e-3) & (np.arange(len(total)) >= step_at))
    if not len(bad):
        return 0.0
    end = float(bad[-1] + 1)
    return None if end > step_at + 0.9 * (run.duration - step_at) else end - step_at


def peak_rate(system: System, seed: int) -> tuple[int, float]:
    """The fixed limit that carries most within the target, and requests per second."""
    unit = schedule(constant(1.0, 6_000.0), sizes=system.sizes, seed=seed)
    curve, best, rate = system.curve, 0, 0.0
    for limit in curve.buckets:
        low, high = rate, 3.0 * max(b / s for b, s in zip(curve.buckets, curve.seconds))
        while high - low > 0.01 * high and high > 1e-3:
            middle = (low + high) / 2
            run = simulate(unit.faster(middle), curve, fixed(limit, curve), seed=seed)
            if run.within(system.target).mean() >= PERCENTILE:
                low, best, rate = middle, limit, middle
            else:
                high = middle
    if not rate:
        raise ValueError(f"no limit meets a target of {system.target} s, however few requests come")
    return best, rate


def compare(
    system: System, *, seconds: float, load: float, seed: int
) -> Iterator[tuple[str, str, Outcome, Policy, Run]]:
    """Every policy and every fixed limit (named `fixed N`) under every workload."""
    peak = load * peak_rate(system, seed)[1]
    made_by = policies(system, seed) | {
        f"fixed {limit}": functools.partial(fixed, limit, system.curve)
        for limit in system.curve.buckets
    }
    for workload, profile in workloads(peak, seconds).items():
        made = schedule(profile, sizes=system.sizes, seed=seed)
        at = step_at(workload, seconds)
        for name, make in made_by.items():
            policy = make()
            run = simulate(made, system.curve, policy, deadline=system.target, seed=seed)
            yield workload, name, outcome(run, system.target, step_at=at), policy, run
