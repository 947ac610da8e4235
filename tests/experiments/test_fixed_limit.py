"""The short cut of the exhaustive search against the simulator."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.climb_curves import random_curve, random_target
from experiments.fixed_limit import late_share
from experiments.policies import fixed
from experiments.serving_sim import simulate
from serving.load.workload import constant, schedule

LATE = 0.0101


def test_late_share_is_the_simulators() -> None:
    shares = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        curve = random_curve(rng)
        target = random_target(curve, rng)
        for limit in (1, 8, 256):
            rate = limit / curve.seconds[curve.buckets.index(limit)] * rng.uniform(0.5, 1.2)
            made = schedule(constant(rate, 3_000 / rate), sizes="fixed:1", seed=seed)
            run = simulate(made, curve, fixed(limit, curve), seed=seed)
            shares.append(1 - run.within(target).mean())
            assert late_share(made, curve, limit, target, seed=seed) == pytest.approx(shares[-1])
            seen = late_share(made, curve, limit, target, enough=LATE, seed=seed)
            assert (seen > LATE) == (shares[-1] > LATE)
    assert 5 < np.count_nonzero(np.array(shares) > LATE) < 31  # both answers were asked for
