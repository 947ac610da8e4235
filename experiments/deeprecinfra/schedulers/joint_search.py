"""Ours: batch, workers, and all ways to share with an accelerator at once; and the oracle.

A model of the queues ranks all settings without a query. The best of it are raced on the machine:
each is measured at a rate a little above what the best so far carries, and a measurement ends as
soon as too many queries were late, so that most of them are dropped after a few hundred. The
winner's rate is then confirmed by fresh queries and a binomial bound, and lowered until it is.

The model: the work that waits before the cores, and before the accelerator, is exponential with
the mean of Pollaczek and Khinchine, as if each were one fast server (see `serving.capacity`). A
query is late if either makes it so.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int

from experiments.deeprecinfra.bench import RESOLUTION, Bench, allowed, carries, sustained
from experiments.deeprecinfra.plans import Fixed
from experiments.deeprecinfra.profiles import Machine
from experiments.deeprecinfra.simulator import Setting, parts
from experiments.deeprecinfra.workload import PERCENTILE
from serving.load.workload import LARGEST

_BATCHES = tuple(sorted({round(2 ** (power / 3)) for power in range(12, 31)}))
_SHARES = (1.0, 0.6, 0.2)
_JOINED = (0, 512, LARGEST)
_PULLS = (1, 256)  # items that wait before the accelerator takes from the queue
_FILLS = (0, 160, 256, 384, 512, 768, LARGEST)
_WORKERS = (1.0, 0.75, 0.5)  # of the cores, where more of them slow each other down
_RACERS = 8
_QUERIES, _CONFIRM = 2_048, 4_096
_STEP = 1.02
_FAR = 0.7  # of the best rate


def settings(machine: Machine, sizes: Int[np.ndarray, " n"]) -> Iterator[Setting]:
    """The space that is searched."""
    slow = machine.cpu.slowdown[-1] > 1
    workers = {max(1, int(part * machine.cores)) for part in (_WORKERS if slow else (1.0,))}
    for batch, count in itertools.product(_BATCHES, sorted(workers, reverse=True)):
        fills = [fill for fill in _FILLS if not fill or fill > batch]
        for fill in fills:
            yield Setting(batch, count, fill=fill, even=True)
        if machine.accelerator is None:
            continue
        quantiles = np.quantile(sizes, np.linspace(0, 1, 13)[:-1], method="lower")
        thresholds = sorted({int(size) - 1 for size in quantiles} | {int(quantiles[-1])})
        for threshold, share, joined in itertools.product(thresholds, _SHARES, _JOINED):
            yield Setting(batch, count, threshold, share, joined, even=True)
        for fill, pulls, joined in itertools.product(fills, _PULLS, _JOINED[1:]):
            if batch <= joined:
                yield Setting(batch, count, joined=joined, pulls=pulls, fill=fill, even=True)


def estimates(
    machine: Machine,
    candidates: list[Setting],
    sizes: Int[np.ndarray, " n"],
    target: float,
) -> Float[np.ndarray, " candidates"]:
    """Queries per second that the model says each setting carries."""
    rows, counts = np.unique(sizes, return_counts=True)
    shares = counts / counts.sum()
    if len(rows) > 64:
        rows = np.quantile(sizes, (np.arange(64) + 0.5) / 64).astype(int)
        shares = np.full(64, 1 / 64)
    columns = [_times(machine, one, rows) for one in candidates]
    work, own, launch, away = (np.array(column) for column in zip(*columns))
    low, high = np.zeros(len(candidates)), np.full(len(candidates), np.inf)
    for busy in (work, launch):
        mean = busy @ shares
        high = np.minimum(high, np.divide(1, mean, out=np.full_like(mean, np.inf), where=mean > 0))
    for _ in range(12):
        rate = (low + high) / 2
        late = 1 - (1 - _late(work, own, shares, rate, target)) * (
            1 - _late(launch, away, shares, rate, target)
        )
        met = late @ shares <= 1 - PERCENTILE
        low, high = np.where(met, rate, low), np.where(met, high, rate)
    return low


def _times(machine: Machine, setting: Setting, rows: Int[np.ndarray, " n"]) -> list[np.ndarray]:
    """By size of query: the cores' work and the time of the longest batch, and both of the
    accelerator. Work on the cores counts as if all shared it."""
    there = np.zeros_like(rows)
    if setting.threshold is not None:
        there = np.where(rows > setting.threshold, np.ceil(setting.share * rows), 0).astype(int)
    core = machine.cpu.by_rows(setting.workers)
    cut = [core[parts(one, setting.batch, even=True)] if one else core[:0] for one in rows - there]
    work = np.array([one.sum() for one in cut]) / setting.workers
    own = np.array([one.max(initial=0.0) for one in cut])
    if setting.fill:  # near capacity every batch is full, and lasts as long
        work = np.minimum(work, rows * core[setting.fill] / setting.fill / setting.workers)
        own = np.full_like(own, core[setting.fill])
    if setting.pulls and machine.accelerator is not None:
        # One more server, worth as many cores as its full launches; any query may be in one.
        full = machine.accelerator.by_rows()[setting.joined]
        worth = (setting.joined / full) * (work.sum() / rows.sum())
        work = work / (1 + worth)
        return [work, np.maximum(own, full), np.zeros_like(own), np.zeros_like(own)]
    if setting.threshold is None or machine.accelerator is None:
        return [work, np.maximum(own, work), np.zeros_like(own), np.zeros_like(own)]
    launch = machine.accelerator.by_rows()
    alone = np.where(there > 0, launch[there], 0.0)
    if setting.joined <= there.max():
        return [work, np.maximum(own, work), alone, alone]
    together = launch[setting.joined] / setting.joined * there
    # With room for others, a query finds a launch half done and then shares one.
    return [work, np.maximum(own, work), together, np.where(there > 0, 1.5 * alone, 0.0)]


def _late(
    busy: Float[np.ndarray, "settings n"],
    own: Float[np.ndarray, "settings n"],
    shares: Float[np.ndarray, " n"],
    rate: Float[np.ndarray, " settings"],
    target: float,
) -> Float[np.ndarray, "settings n"]:
    """Chance that a query of each size is late at this device."""
    used = np.minimum(rate * (busy @ shares), 0.9999)
    wait = rate * (busy**2 @ shares) / (2 * (1 - used)) + 1e-12  # mean, P(wait > 0) = used
    left = target - own
    waits = used[:, None] * np.exp(-np.maximum(left, 0) * (used / wait)[:, None])
    return np.where(own == 0, 0.0, np.where(left < 0, 1.0, waits))


def joint(bench: Bench) -> Fixed:
    """Ranks by the model, races on the machine, confirms."""
    candidates = list(settings(bench.machine, bench.sizes))
    guess = estimates(bench.machine, candidates, bench.sizes, bench.target)
    ranked = [candidates[one] for one in np.argsort(-guess, kind="stable")]
    best, *racers = _varied(ranked, [s for s in ranked if s.threshold is None and not s.pulls])
    rate = _lower(bench, best, float(guess.max()), _QUERIES, certain=False)
    for racer in racers:
        while bench.capacity(racer) > _STEP * rate and _meets(bench, racer, _STEP * rate):
            best, rate = racer, _STEP * rate
    return Fixed(best, _lower(bench, best, rate, _CONFIRM, certain=True))


def _lower(bench: Bench, setting: Setting, rate: float, count: int, *, certain: bool) -> float:
    """The first rate, going down, at which fresh queries meet the target.

    One that is missed long before the end of a measurement is missed by far.
    """
    most, least = allowed(count, certain=certain), 1e-3 * rate
    while rate > least:
        before = bench.spent
        if bench.late(Fixed(setting), rate, count, most=most) <= most:
            return rate
        rate /= _STEP**4 if bench.spent - before < count / 3 else _STEP**2
    return rate


def _varied(ranked: list[Setting], alone: list[Setting]) -> list[Setting]:
    """The first of the ranking, without near copies, and the best that use the cores alone."""
    chosen = list[Setting]()
    for setting in ranked:
        near = [s for s in chosen if _way(s) == _way(setting)]
        if len(near) < 2:
            chosen.append(setting)
        if len(chosen) == _RACERS:
            break
    return list(dict.fromkeys([*chosen, *alone[:3]]))


def _way(setting: Setting) -> tuple[object, ...]:
    return setting.threshold, setting.share, setting.joined, setting.pulls, setting.fill


def _meets(bench: Bench, setting: Setting, rate: float) -> bool:
    most = allowed(_QUERIES)
    return bench.late(Fixed(setting), rate, _QUERIES, most=most) <= most


def oracle(bench: Bench) -> Fixed:
    """All settings, by the measure that all plans are compared by; it costs no queries.

    Those that the model likes come first, so that most others are dropped by one run: what does
    not carry more than the best so far is not the best. What the model says to carry less than
    70 % of the best is left out.
    """
    candidates = list(settings(bench.machine, bench.sizes))
    guess = estimates(bench.machine, candidates, bench.sizes, bench.target)
    best, rate = candidates[0], 0.0
    for one in np.argsort(-guess, kind="stable"):
        setting = candidates[one]
        if bench.capacity(setting) <= rate or guess[one] < _FAR * rate:
            continue
        plan, more = Fixed(setting), (1 + RESOLUTION) * rate
        if rate and not carries(bench.machine, plan, more, bench.target, workload=bench.workload):
            continue
        found = sustained(bench.machine, plan, bench.target, workload=bench.workload, least=rate)
        if found > rate:
            best, rate = setting, found
    return Fixed(best, rate)
