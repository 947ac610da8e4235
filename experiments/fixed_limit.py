"""A fixed batch limit under requests of one row: what the simulator says, several times as fast.

An exhaustive search asks this of every limit and many rates, a hundred times for one latency
curve. With one executor, one row a request and nobody shed, batches follow from arrivals, limit
and noise alone; a test holds the answers against those of `serving_sim`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

import numpy as np

from experiments.serving_lane import LatencyCurve, noise_factors
from serving.load.workload import Schedule


def late_share(
    made: Schedule,
    curve: LatencyCurve,
    limit: int,
    target: float,
    *,
    enough: float = 1.0,
    seed: int = 0,
) -> float:
    """The share of requests whose answer takes longer than `target` seconds.

    Args:
        made: Requests of a single row each.
        curve: Of the executor.
        limit: Most rows of a batch; of fewer that wait, as many go as the service would take.
        enough: Once a larger share of all is late, what is left is not looked at.
        seed: Of the noise; as in `simulate`.
    """
    arrived, seconds, best = made.times.tolist(), curve.by_rows(), curve.best_rows
    factors = noise_factors(curve.noise, np.random.default_rng(seed).spawn(2)[0])
    requests, most = len(arrived), enough * len(arrived)
    head = batch = late = 0
    free = 0.0
    while head < requests and late <= most:
        first = arrived[head]
        now = first if first > free else free
        stop = bisect_right(arrived, now, head, min(head + limit, requests))
        if stop - head < limit:
            stop = head + best[stop - head]
        free = now + seconds[stop - head] * factors[batch % len(factors)]
        batch += 1
        if free - first > target:
            late += (
                bisect_left(arrived, True, head, stop, key=lambda at: free - at <= target) - head
            )
        head = stop
    return late / requests
