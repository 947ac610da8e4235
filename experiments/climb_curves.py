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
from typing import NamedTuple

import numpy as np

from experiments.fixed_limit import late_share
from experiments.policies import Climbing, fixed
from experiments.serving_sim import LatencyCurve, simulate
from serving.hill_climb_config import HillClimbConfig
from serving.load.workload import Schedule, constant, schedule
from serving.rate_search import RateSearch

LADDER = (1, 2, 4, 8, 16, 32, 64, 128, 256)
PERCENTILE = 0.99


class Length(NamedTuple):
    """How long a rate is measured, at the least.

    Attributes:
        requests: That arrive.
        targets: Latency targets that it lasts: a run that is over before a queue has grown to the
            target does not tell an overload from a load.
    """

    requests: int
    targets: int

    def arrivals(self, rate: float, target: float) -> int:
        """Requests at `rate` a second and a target in seconds."""
        return max(self.requests, math.ceil(self.targets * target * rate))


_SWEPT = Length(20_000, 200)  # the truth: with a fifth of it, the best limit is often another one
_TUNED = Length(8_000, 40)
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
    lowest, highest, allowed = 1e-4 * efficient, 1.1 * efficient, 1 - PERCENTILE
    unit = _arrivals(_SWEPT.arrivals(highest, target), seed)
    rates = {}
    for limit in curve.buckets:
        low, high = lowest, highest
        while high / low > 1.01:
            middle = math.sqrt(low * high)
            made = unit.first(_SWEPT.arrivals(middle, target)).faster(middle)
            if late_share(made, curve, limit, target, enough=allowed, seed=seed) <= allowed:
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
        made = _arrivals(_TUNED.arrivals(ask.rate, target), seed).faster(ask.rate)
        late = late_share(made, curve, ask.batch_limit, target, seed=seed)
        search.tell(requests=len(made), late=round(late * len(made)))
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
            stays = simulate(made, curve, fixed(limit, curve), deadline=target, seed=seed)
            best = max(best, float(stays.within(target)[half].mean()))
    return policy.limit, float(run.within(target)[half].mean()) / best


def _arrivals(count: int, seed: int) -> Schedule:
    """About so many, at a rate of 1."""
    return schedule(constant(1.0, float(count)), sizes="fixed:1", seed=seed)
