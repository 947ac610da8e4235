"""Does the hill climber find the best batch limit on latency curves of any shape?

Every curve is drawn at random: overhead and time per row over two decades each, cliffs (a batch
that no longer fits a cache), plateaus (an accelerator that is not full), ripples that make the
curve non-monotone, and noise from batch to batch. Targets go from barely more than the fastest
batch to four times the slowest. The truth is the exhaustive sweep: the highest rate within the
99th-percentile target of every limit, in the simulator.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from experiments.policies import Climbing, Greedy
from experiments.serving_sim import LatencyCurve, simulate
from serving.hill_climb_config import HillClimbConfig
from serving.load.workload import Schedule, constant, schedule
from serving.rate_search import RateSearch

LADDER = (1, 2, 4, 8, 16, 32, 64, 128, 256)
PERCENTILE = 0.99
_REQUESTS = 4_000  # of one measurement of a rate, at the least
_TARGETS = 40  # that it lasts, at the least
_WINDOWS = 80  # of the climb while serving; its second half is compared
_PER_WINDOW = 200  # requests, at the least


@dataclasses.dataclass(frozen=True)
class Found:
    """One curve.

    Attributes:
        best: Limit that carries the highest rate.
        best_rate: That rate, requests per second.
        tuned: Limit that the offline search found.
        tuned_share: What that carries, as a share of the best rate.
        online: Limit in force at the end of the climb while serving.
        online_share: Goodput of the second half of that climb, from a start as a service's and
            90 % of the best rate, as a share of that of the best fixed limit.
    """

    best: int
    best_rate: float
    tuned: int
    tuned_share: float
    online: int
    online_share: float


def random_curve(rng: np.random.Generator) -> LatencyCurve:
    """Any shape that a machine might have."""
    rows = np.asarray(LADDER, float)
    overhead, per_row = 10 ** rng.uniform(-4, -2.3), 10 ** rng.uniform(-5.3, -3.3)
    seconds = overhead + per_row * rows ** rng.uniform(0.7, 1.05)
    if rng.random() < 0.4:
        seconds[rng.integers(3, len(rows)) :] *= rng.uniform(1.2, 3)
    if rng.random() < 0.4:
        start, length = int(rng.integers(0, len(rows) - 2)), int(rng.integers(2, 4))
        seconds[start : start + length] = seconds[min(start + length, len(rows)) - 1]
    seconds *= rng.lognormal(0, 0.08, len(rows))
    return LatencyCurve(LADDER, tuple(seconds.tolist()), noise=float(rng.uniform(0.02, 0.25)))


def random_target(curve: LatencyCurve, rng: np.random.Generator) -> float:
    """Seconds: between 2.2 of the fastest batches and four of the slowest, log-uniform."""
    low, high = 2.2 * min(curve.seconds), 4 * max(curve.seconds)
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def study_curve(seed: int) -> Found:
    """Draws a curve and a target, sweeps, tunes offline, climbs while serving."""
    rng = np.random.default_rng(seed)
    curve = random_curve(rng)
    target = random_target(curve, rng)
    rates = sweep(curve, target, seed)
    best = max(rates, key=lambda limit: rates[limit])
    tuned = tune(curve, target, seed + 1_000_000)
    online, share = climb(curve, target, 0.9 * rates[best], rates, seed)
    return Found(best, rates[best], tuned, rates[tuned] / rates[best], online, share)


def sweep(curve: LatencyCurve, target: float, seed: int) -> dict[int, float]:
    """Highest rate within the target, by limit, down to 1 %: the same arrivals for all."""
    efficient = max(b / s for b, s in zip(curve.buckets, curve.seconds))
    unit = _arrivals(_REQUESTS, efficient, target, seed)
    rates = {}
    for limit in curve.buckets:
        low, high = 1e-4 * efficient, 1.1 * efficient
        while high / low > 1.01:
            middle = math.sqrt(low * high)
            if _late(unit, curve, limit, middle, target, seed) <= 1 - PERCENTILE:
                low = middle
            else:
                high = middle
        rates[limit] = low
    return rates


def tune(curve: LatencyCurve, target: float, seed: int) -> int:
    """The limit that the offline search ends with; fresh arrivals and noise at every step."""
    search = RateSearch(curve.buckets, 1 / curve.seconds[0], percentile=PERCENTILE)
    while (ask := search.proposal) is not None:
        seed += 1
        unit = _arrivals(2 * _REQUESTS, ask.rate, target, seed)
        late = _late(unit, curve, ask.batch_limit, ask.rate, target, seed)
        search.tell(requests=len(unit), late=round(late * len(unit)))
    return search.result.batch_limit


def climb(
    curve: LatencyCurve, target: float, rate: float, rates: dict[int, float], seed: int
) -> tuple[int, float]:
    """The climb while serving: its last limit, and its goodput against the best fixed limit's."""
    window = max(_PER_WINDOW / rate, 4 * target)
    made = schedule(constant(rate, _WINDOWS * window), sizes="fixed:1", seed=seed)
    half = made.times > made.duration / 2
    config = HillClimbConfig(curve.buckets, target, seed=seed)
    policy = Climbing.warmed(config, curve, seed=seed, window_s=window)
    run = simulate(made, curve, policy, deadline=target, seed=seed)
    best = 0.0
    for limit, alone in rates.items():
        if alone > 0.5 * max(rates.values()):  # the others cannot be the best at this load
            fixed = simulate(made, curve, Greedy(limit, splits=True), deadline=target, seed=seed)
            best = max(best, float(fixed.within(target)[half].mean()))
    return policy.limit, float(run.within(target)[half].mean()) / best


def _arrivals(requests: int, rate: float, target: float, seed: int) -> Schedule:
    """At a rate of 1, so many as last long at `rate`: a run that is over before a queue has grown
    to the target does not tell an overload from a load."""
    count = max(float(requests), _TARGETS * target * rate)
    return schedule(constant(1.0, count), sizes="fixed:1", seed=seed)


def _late(
    unit: Schedule, curve: LatencyCurve, limit: int, rate: float, target: float, seed: int
) -> float:
    run = simulate(unit.faster(rate), curve, Greedy(limit, splits=True), seed=seed)
    return 1 - float(run.within(target).mean())
