"""The static scheduler of production, and DeepRecSched: as the paper has it, and as its code does.

Both start from the same knowledge as the others, and measure on the same bench.
"""

from __future__ import annotations

import numpy as np

from experiments.deeprecinfra.bench import Bench, allowed
from experiments.deeprecinfra.plans import Fixed
from experiments.deeprecinfra.simulator import Setting
from experiments.deeprecinfra.workload import PERCENTILE
from serving.load.workload import LARGEST

LARGEST_QUERY = 1_000  # of production, by which the static batch is set
_MEASUREMENTS, _QUERIES = 8, 1_024  # 8,192 queries per setting, as many as the code takes
_NOISE = 0.02  # a fall in queries per second below this is none


def static(bench: Bench) -> Fixed:
    """A fixed batch: the largest query over the cores, 25 on 40; no accelerator."""
    cores = bench.machine.cores
    return Fixed(Setting(max(1, LARGEST_QUERY // cores), cores))


def achievable(bench: Bench, setting: Setting) -> float:
    """Queries per second at the target, found by halving, in 8,192 queries."""
    low, high = 0.0, bench.capacity(setting)
    for _ in range(_MEASUREMENTS):
        middle = (low + high) / 2
        if bench.late(Fixed(setting), middle, _QUERIES) <= allowed(_QUERIES):
            low = middle
        else:
            high = middle
    return low


def as_published(bench: Bench) -> Fixed:
    """First the batch, from 1 up until queries per second fall; then the threshold likewise.

    (ISCA 2020, section 4: one knob after the other.) Batches double. Thresholds start at 1, all
    queries on the accelerator, and grow in steps of 64, finer than those of its code.
    """
    cores = bench.machine.cores
    batches = [Setting(2**power, cores) for power in range(11)]
    best, rate = _climb(bench, batches)
    if bench.machine.accelerator is not None:
        thresholds = (1, *range(64, LARGEST, 64))
        offloading = [Setting(best.batch, cores, threshold=one) for one in thresholds]
        offloaded, higher = _climb(bench, offloading)
        if higher > rate:
            best, rate = offloaded, higher
    return Fixed(best, rate)


def _climb(bench: Bench, settings: list[Setting]) -> tuple[Setting, float]:
    best, highest = settings[0], 0.0
    for setting in settings:
        rate = achievable(bench, setting)
        if rate < (1 - _NOISE) * highest:
            break
        if rate >= highest:
            best, highest = setting, rate
    return best, highest


_STEPS, _SLOWEST = 50, 20.0  # rates are tried at 50 steps over a factor of 20
_WINDOWS, _PER_WINDOW = 128, 64
_BATCHES = (512, 384, 256, 192, 128, 96, 64, 48, 32)
_THRESHOLDS = (96, 128, 192, 256, 384, 512)


def walk(bench: Bench, setting: Setting) -> float:
    """Score of a setting: the median rate of a walk, steered by a percentile of 64 queries.

    The code's rates go from 50 to 1,000 queries per second; these are moved to where the
    machine's capacity is, since otherwise every setting would score 1,000 here.
    """
    cores = bench.machine.cores
    fastest = 1.2 * max(bench.capacity(Setting(batch, cores)) for batch in _BATCHES)
    gaps = np.geomspace(1 / fastest, _SLOWEST / fastest, _STEPS)
    servers = Fixed(setting).start(bench.machine, 0)
    at, now, tried = _STEPS // 2, 0.0, list[float]()
    for _ in range(_WINDOWS):
        load = bench.window(servers, 1 / gaps[at], _PER_WINDOW, now)
        now = float(load.times[-1])
        tail = float(np.percentile(servers.run(load), 100 * PERCENTILE))
        if tail > bench.target:
            at = min(at + 1, _STEPS - 1)
        elif tail < bench.target / 1.1:
            at = max(at - 1, 0)
        tried.append(float(gaps[at]))
    return 1 / float(np.median(tried[-_STEPS:]))


def as_coded(bench: Bench) -> Fixed:
    """The script: large batches first, stop at the first score below the one before.

    With its defect: while the first threshold is scored, 1,024 is in force.
    """
    cores = bench.machine.cores

    def first_fall(settings: list[Setting], scored: list[Setting]) -> Setting:
        scores = list[float]()
        for in_force in scored:
            scores.append(walk(bench, in_force))
            if len(scores) > 1 and scores[-1] < scores[-2]:
                return settings[len(scores) - 2]
        return settings[int(np.argmax(scores))]

    batches = [Setting(batch, cores) for batch in _BATCHES]
    best = first_fall(batches, batches)
    if bench.machine.accelerator is None:
        return Fixed(best)
    # "At least", where `Setting` says "more than".
    offloading = [Setting(best.batch, cores, threshold=one - 1) for one in _THRESHOLDS]
    unset = Setting(best.batch, cores, threshold=LARGEST - 1)
    return Fixed(first_fall(offloading, [unset, *offloading[1:]]))
