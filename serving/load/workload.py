"""When requests arrive and how many rows each has: arrays made from a seed, and nothing else.

Arrivals are a Poisson process, as MLPerf's LoadGen makes them: gaps are exponential, so the
coefficient of variation of the gaps is 1. (The reference code of DeepRecSys draws whole
milliseconds from a Poisson distribution instead, whose coefficient is 1/sqrt(mean gap in ms): a
calmer load that lets a server look faster than it is.) Where the rate changes over time the
process is made by time rescaling: if E1 < E2 < ... is a Poisson process of rate 1 and L(t) the
integral of the rate, then L^-1(E1), L^-1(E2), ... is one of that rate, exactly (Cinlar,
"Introduction to Stochastic Processes", 4.7).

Sizes follow the stand-ins that were published for DeepRecSys's production distribution.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

# MLPerf inference rules, DLRM, `dist_quantile.txt`: 20 equiprobable quantiles, mean 270.
MLPERF_QUANTILES = (100,) * 2 + (200,) * 12 + (300,) * 2 + (400, 500, 600, 700)
SIZES = ("mlperf", "kairos", "lognormal", "fixed:N")
LARGEST = 1024  # `max_mini_batch_size` of DeepRecSys
_KNOTS_PER_PERIOD = 512


@dataclasses.dataclass(frozen=True, eq=False)
class Schedule:
    """What is sent, and when.

    Attributes:
        times: Seconds from the start, ascending.
        sizes: Rows of each request, at least 1.
        duration: Seconds; all times lie before it.
    """

    times: Float[np.ndarray, " requests"]
    sizes: Int[np.ndarray, " requests"]
    duration: float

    def __len__(self) -> int:
        return len(self.times)

    def faster(self, factor: float) -> Schedule:
        """The same requests at `factor` times the rate: common random numbers for a search."""
        return Schedule(self.times / factor, self.sizes, self.duration / factor)

    def first(self, count: int) -> Schedule:
        """Its first requests, or all if there are fewer."""
        if count >= len(self):
            return self
        return Schedule(self.times[:count], self.sizes[:count], float(self.times[count]))


@dataclasses.dataclass(frozen=True)
class Profile:
    """Requests per second over time, as the integral of the rate at some knots.

    Attributes:
        seconds: Knots, ascending from 0; the last is the duration.
        requests: Requests expected until each; straight lines between.
    """

    seconds: tuple[float, ...]
    requests: tuple[float, ...]

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.seconds[-1]


def constant(rate: float, duration: float) -> Profile:
    """`rate` requests per second throughout."""
    return steps([(duration, rate)])


def steps(parts: Sequence[tuple[float, float]]) -> Profile:
    """One rate after the other: pairs of (seconds, requests per second)."""
    if not parts:
        raise ValueError("a profile needs at least one (seconds, rate)")
    for seconds, rate in parts:
        _positive(duration=seconds)
        _positive(rate=rate)
    lengths, rates = np.asarray(parts, np.float64).T
    return _profile(np.append(0, np.cumsum(lengths)), np.append(0, np.cumsum(lengths * rates)))


def ramp(first: float, last: float, duration: float) -> Profile:
    """From one rate to another in a straight line."""
    _positive(first=first, last=last, duration=duration)
    t = np.linspace(0, duration, _KNOTS_PER_PERIOD + 1)
    return _profile(t, first * t + (last - first) * t**2 / (2 * duration))


def sine(mean: float, amplitude: float, period: float, duration: float) -> Profile:
    """A wave around `mean`; `amplitude` is a share of it, below 1."""
    _positive(mean=mean, period=period, duration=duration)
    if not 0 <= amplitude < 1:
        raise ValueError(f"{amplitude=} must be a share of the mean, from 0 to below 1")
    knots = math.ceil(duration / period * _KNOTS_PER_PERIOD)
    t = np.linspace(0, duration, knots + 1)
    angle = 2 * math.pi / period
    return _profile(t, mean * (t + amplitude * (1 - np.cos(angle * t)) / angle))


def schedule(profile: Profile, *, sizes: str = "mlperf", seed: int = 0) -> Schedule:
    """Draws arrivals and sizes.

    Args:
        profile: Rate over time.
        sizes: One of `SIZES`.
        seed: Same seed, same schedule.

    Raises:
        ValueError: Unknown sizes.
    """
    arrivals, rows = np.random.default_rng(seed).spawn(2)
    expected = profile.requests[-1]
    # Beyond the expected number by 6 standard deviations; the rest is drawn if ever needed.
    unit = np.cumsum(arrivals.exponential(size=int(expected + 6 * math.sqrt(expected) + 16)))
    while unit[-1] <= expected:
        unit = np.append(unit, unit[-1] + np.cumsum(arrivals.exponential(size=1024)))
    times = np.interp(unit[unit < expected], profile.requests, profile.seconds)
    return Schedule(times, draw_sizes(sizes, len(times), rows), profile.duration)


def draw_sizes(name: str, count: int, rng: np.random.Generator) -> Int[np.ndarray, " count"]:
    """Rows of `count` requests.

    `mlperf`: the 20 quantiles of MLPerf's DLRM, drawn with equal chance.
    `kairos`: the trace that Kairos (HPDC 2023) made after DeepRecSys: 8.1 % uniform 1 to 99,
    22.2 % uniform 200 to 599, 5.1 % uniform 600 to 999, the rest lognormal(5.1, 0.2) within 100
    to 200, where what falls outside is drawn again, uniform 190 to 199.
    `lognormal`: lognormal(5.1, 0.2), as in DeepRecSys's `run_Scheduler.sh`, within 1 to 1024.
    `fixed:N`: N rows each.
    """
    if name == "mlperf":
        return rng.choice(np.asarray(MLPERF_QUANTILES), count)
    if name == "lognormal":
        return np.clip(rng.lognormal(5.1, 0.2, count).astype(int), 1, LARGEST)
    if name == "kairos":
        body = rng.lognormal(5.1, 0.2, count).astype(int)
        body = np.where((body >= 100) & (body <= 200), body, rng.integers(190, 200, count))
        part = rng.choice(4, count, p=[0.081, 0.222, 0.051, 0.646])
        return np.choose(
            part,
            [
                rng.integers(1, 100, count),
                rng.integers(200, 600, count),
                rng.integers(600, 1000, count),
                body,
            ],
        )
    if name.startswith("fixed:") and name[6:].isascii() and name[6:].isdigit() and int(name[6:]):
        return np.full(count, int(name[6:]))
    raise ValueError(f"sizes {name!r} must be one of {', '.join(SIZES)}, with N at least 1")


def _profile(seconds: np.ndarray, requests: np.ndarray) -> Profile:
    return Profile(tuple(seconds.tolist()), tuple(requests.tolist()))


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise ValueError(f"{name}={value} must be a positive number")
