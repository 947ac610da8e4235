"""What an executor can carry within a tail-latency target, from the times of its batches.

A request keeps an executor busy for S seconds, its share of full batches; E[S] and E[S^2] follow
from the rows of requests and the time of a batch. For Poisson arrivals that keep the executor
busy a share u of the time, the mean wait is that of Pollaczek and Khinchine,

    W = u / (1 - u) * E[S^2] / (2 E[S]),

and in heavy traffic the wait is exponential (Kingman 1961; Kleinrock, "Queueing Systems" II,
2.1), so its percentile p is W ln(1 / (1 - p)). Adding the time `own` that a request needs once
its turn has come, and asking that the sum be the target T, gives the share that can be used:

    u = x / (1 + x),   x = 2 (T - own) / (ln(1 / (1 - p)) * E[S^2] / E[S])

and u / E[S] requests per second. The estimate ranks settings; what was measured overrules it
(`serving/hill_climb.py`).
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float, Int


def usable_share(mean: float, mean_square: float, *, own: float, target: float, p: float) -> float:
    """Share of its time that an executor can be busy so that percentile `p` meets the target.

    Args:
        mean: E[S], busy seconds per request.
        mean_square: E[S^2], seconds squared.
        own: Seconds that a request takes once its turn has come.
        target: Seconds.
        p: Percentile as a share, such as 0.99.

    Returns:
        From 0 (the target cannot be met) to below 1.
    """
    if own >= target:
        return 0.0
    x = 2 * (target - own) * mean / (-math.log1p(-p) * mean_square)
    return x / (1 + x)


def joined_rate(
    rows: Float[np.ndarray, " requests"],
    share: float,
    *,
    limit: int,
    seconds: float,
    executors: int,
    residual: float,
    target: float,
    p: float,
) -> float:
    """Requests per second, of all that arrive, that joined and split batches can carry.

    Args:
        rows: A sample of the requests that come here.
        share: Their share of all requests.
        limit: Most rows of a batch.
        seconds: Of a batch of so many rows.
        executors: That run such batches side by side.
        residual: Part of a batch that a request finds still running, from 0 to 1.
        target: Seconds.
        p: Percentile, as a share.
    """
    if not len(rows):
        return math.inf
    busy = rows * (seconds / (limit * executors))
    alone = max(seconds, float(np.quantile(busy, p)))
    own = residual * seconds / executors + alone
    mean = float(busy.mean())
    usable = usable_share(mean, float(np.square(busy).mean()), own=own, target=target, p=p)
    return usable / (mean * share)


def whole_rate(
    busy: Float[np.ndarray, " requests"], share: float, *, target: float, p: float
) -> float:
    """The same of an executor that runs requests whole, one by one, for `busy` seconds each."""
    if not len(busy):
        return math.inf
    mean, own = float(busy.mean()), float(np.quantile(busy, p))
    usable = usable_share(mean, float(np.square(busy).mean()), own=own, target=target, p=p)
    return usable / (mean * share)


class BatchTimes:
    """Mean and spread of the time of a batch by bucket, learned from batches as they run.

    Old batches are forgotten at the rate at which new ones come: a bucket remembers about
    `memory` of them. A change that is both large and significant is a drift: the buckets that it
    was not seen in are scaled alike, but count as unknown until they run again.

    Args:
        buckets: Batch sizes there are programs for, ascending.
        memory: Batches that an estimate remembers.
        drift: Change of a mean, as a share, that counts as drift.
    """

    def __init__(
        self, buckets: tuple[int, ...], *, memory: float = 256.0, drift: float = 0.25
    ) -> None:
        self.buckets = np.asarray(buckets)
        self.mean = np.full(len(buckets), math.nan)
        self.weight = np.zeros(len(buckets))
        self._square = np.zeros(len(buckets))
        self._memory, self._drift = memory, drift

    def learn(
        self, rows: Int[np.ndarray, " batches"], seconds: Float[np.ndarray, " batches"]
    ) -> str | None:
        """Takes in some batches; says what has drifted, if anything has."""
        buckets = np.searchsorted(self.buckets, rows)
        drifts = []
        for bucket in np.unique(buckets).tolist():
            times = seconds[buckets == bucket]
            if note := self._drifted(bucket, times):
                drifts.append(note)
            self._add(bucket, times)
        return "; ".join(drifts) or None

    def spread(self, bucket: int) -> float:
        """Standard deviation of the time of one batch, seconds."""
        return math.sqrt(max(0.0, self._square[bucket] - self.mean[bucket] ** 2))

    def guess(self, bucket: int, slope: float) -> float:
        """The mean, or what the nearest bucket that ran says; nan if none ever did.

        Args:
            slope: Time is taken to grow as rows to this power from there up.
        """
        if self.weight[bucket] > 0:
            return float(self.mean[bucket])
        ran = np.flatnonzero(self.mean > 0)
        if not len(ran):
            return math.nan
        near = ran[np.abs(ran - bucket).argmin()]
        ratio = self.buckets[bucket] / self.buckets[near]
        return float(self.mean[near] * (ratio**slope if ratio > 1 else ratio))

    def _add(self, bucket: int, times: Float[np.ndarray, " n"]) -> None:
        kept = min(self.weight[bucket], max(0.0, self._memory - len(times)))
        total = kept + len(times)
        old = (self.mean[bucket], self._square[bucket]) if kept else (0.0, 0.0)
        self.mean[bucket] = (kept * old[0] + times.sum()) / total
        self._square[bucket] = (kept * old[1] + (times**2).sum()) / total
        self.weight[bucket] = total

    def _drifted(self, bucket: int, times: Float[np.ndarray, " n"]) -> str | None:
        old, new, n = self.mean[bucket], times.mean(), len(times)
        if n < 4 or self.weight[bucket] < 8 or not old > 0:
            return None
        error = max(times.std(ddof=1), self.spread(bucket)) * math.sqrt(
            1 / n + 1 / self.weight[bucket]
        )
        if abs(new - old) <= max(self._drift * old, 4 * error):
            return None
        self.mean *= new / old
        self._square *= (new / old) ** 2
        self.weight = np.minimum(self.weight, 1.0)
        self.weight[bucket] = 0.0  # the new times alone will stand
        return (
            f"a batch of {self.buckets[bucket]} takes {1e3 * new:.3g} ms instead of {1e3 * old:.3g}"
        )
