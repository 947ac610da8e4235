"""A small version of the study of the hill climber, and its arithmetic."""

from __future__ import annotations

import pathlib

import numpy as np

from experiments.climb_curves import LADDER, random_curve, study_curve
from experiments.climb_plot import plot_climb
from experiments.climb_study import curve_figures, relative
from experiments.climb_workloads import Outcome, System, compare, recovery
from experiments.policies import Climbing
from experiments.serving_sim import LatencyCurve, Run


def test_climber_and_search_come_near_the_best_limit_on_random_curves() -> None:
    found = [study_curve(seed) for seed in (0, 7)]
    assert all(one.online_share > 0.95 and one.tuned_share > 0.95 for one in found)
    assert len({one.best for one in found}) > 1  # no limit is right for all
    figures = curve_figures(found)
    assert figures["online_within_5_percent"] == 1.0
    assert figures["curves"] == 2


# A slow machine: few events, so quick to simulate.
SLOW = System(
    LatencyCurve((1, 2, 4, 16, 64), (20e-3, 22e-3, 26e-3, 50e-3, 400e-3), noise=0.1), 0.4, "fixed:1"
)


def test_climber_holds_the_target_where_defaults_do_not(tmp_path: pathlib.Path) -> None:
    by_workload: dict[str, dict[str, Outcome]] = {}
    for workload, name, one, policy, run in compare(SLOW, seconds=45.0, load=0.85, seed=1):
        by_workload.setdefault(workload, {})[name] = one
        if (workload, name) == ("x4 step", "hill climber"):
            assert isinstance(policy, Climbing)
            plot = plot_climb(tmp_path / "a.png", run, policy.trace, target=0.4, title="a")
    assert plot.stat().st_size > 10_000
    for outcomes in by_workload.values():
        share = relative(outcomes)
        assert share["hill climber"] > 0.95
        others = ("batch 1", "Triton, default", "BentoML, default", "Clipper (AIMD)")
        assert share["hill climber"] > max(share[name] for name in others)
    recovered = by_workload["x4 step"]["hill climber"].recovery_s
    assert recovered is not None
    assert recovered <= 10


def test_recovery_is_the_end_of_the_last_bad_second() -> None:
    arrivals = np.linspace(0, 20, 20_000, endpoint=False)
    latencies = np.where((arrivals >= 5) & (arrivals < 7.5), 0.2, 0.01)
    run = Run(arrivals, latencies, 20.0, np.zeros(0), np.zeros(0, int))
    assert recovery(run, 0.1, 5.0) == 3.0
    assert recovery(run, 0.3, 5.0) == 0.0
    assert recovery(run, 0.005, 5.0) is None


def test_random_curves_differ_and_cover_the_ladder() -> None:
    curves = [random_curve(np.random.default_rng(seed)) for seed in range(50)]
    assert len({curve.seconds for curve in curves}) == 50
    assert all(curve.buckets == LADDER and min(curve.seconds) > 0 for curve in curves)
    falls = [np.diff(curve.seconds).min() < 0 for curve in curves]
    assert 0 < np.mean(falls) < 1  # some are non-monotone
    assert all(0.02 <= curve.noise <= 0.25 for curve in curves)
