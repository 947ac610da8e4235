"""The load of DeepRecSys: when queries come, how many items each has, and how soon it must end.

Arrivals are a Poisson process and sizes come from `serving.load.workload`, by default MLPerf's
quantiles, which were published as a stand-in for the paper's production trace. The 95th
percentile of latency is held to the target of Table II: `medium` there, half of it `low`, one and
a half `high`.
"""

from __future__ import annotations

import numpy as np

from experiments.deeprecinfra.model_config import MODELS
from serving.load.workload import Schedule, draw_sizes

PERCENTILE = 0.95
TARGETS_MS = {
    "ncf": 5.0,
    "wnd": 25.0,
    "mt-wnd": 25.0,
    "rmc1": 100.0,
    "rmc2": 400.0,
    "rmc3": 100.0,
    "din": 100.0,
    "dien": 35.0,
}
LEVELS = {"low": 0.5, "medium": 1.0, "high": 1.5}
ARRIVALS = ("poisson", "reference")


def latency_target(model: str, level: str) -> float:
    """Seconds that 95 % of queries may take at most.

    Raises:
        ValueError: Unknown model or level.
    """
    if model not in TARGETS_MS:
        raise ValueError(f"model {model!r} has no target; there are {', '.join(MODELS)}")
    if level not in LEVELS:
        raise ValueError(f"{level=} must be one of {', '.join(LEVELS)}")
    return LEVELS[level] * TARGETS_MS[model] / 1e3


def queries(
    rate: float, count: int, *, sizes: str = "mlperf", arrivals: str = "poisson", seed: int = 0
) -> Schedule:
    """A number of queries at a rate.

    `poisson`: exponential gaps. The same seed gives the same queries, faster or slower.
    `reference`: whole milliseconds drawn from a Poisson distribution, as the reference code has
    them. Such gaps vary less, by 1/sqrt(mean gap in ms), so a machine looks faster than it is: for
    comparison with the reference only.

    Args:
        rate: Queries per second.
        count: Queries.
        sizes: As of `serving.load.workload.draw_sizes`.
        arrivals: One of `ARRIVALS`.
        seed: Same seed, same queries.

    Raises:
        ValueError: A rate or count that is not positive; unknown sizes or arrivals.
    """
    if not 0 < rate < np.inf or count < 1:
        raise ValueError(f"{rate=} and {count=} must be positive")
    if arrivals not in ARRIVALS:
        raise ValueError(f"{arrivals=} must be one of {', '.join(ARRIVALS)}")
    gaps, rows = np.random.default_rng(seed).spawn(2)
    if arrivals == "poisson":
        times = np.cumsum(gaps.exponential(size=count)) / rate
    else:
        times = np.cumsum(gaps.poisson(1e3 / rate, count)) / 1e3
    return Schedule(times, draw_sizes(sizes, count, rows), float(times[-1]))
