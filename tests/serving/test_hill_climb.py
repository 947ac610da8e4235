"""The climber, driven by the simulator: real queues, no clock.

All that waits goes into a batch here, padded or not, so that a limit that is too large costs most.
"""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from experiments.policies import Climbing, Greedy
from experiments.serving_sim import LatencyCurve, Run, simulate
from serving.hill_climb import HillClimbConfig, HillClimber, Window
from serving.load.workload import Schedule, constant, schedule, steps

LADDER = (1, 4, 16, 64, 256)
# The rate that a full batch carries: 400, 1143, 2462, 1882 and 1600 rows/s.
CURVE = LatencyCurve(LADDER, (2.5e-3, 3.5e-3, 6.5e-3, 34e-3, 160e-3), noise=0.1)
TARGET = 0.05
CONFIG = HillClimbConfig(LADDER, TARGET)


def climb(
    made: Schedule, config: HillClimbConfig = CONFIG, **options: object
) -> tuple[Run, Climbing]:
    policy = Climbing(HillClimber(config))
    return simulate(made, CURVE, policy, deadline=TARGET, **options), policy  # type: ignore[arg-type]


def in_time(run: Run, start: float, end: float) -> float:
    chosen = (run.arrivals >= start) & (run.arrivals < end)
    return float(run.within(TARGET)[chosen].mean())


@pytest.mark.parametrize("start", [1, 256])
def test_finds_the_limit_that_carries_the_load(start: int) -> None:
    made = schedule(constant(2000.0, 20.0), sizes="fixed:1", seed=1)
    run, policy = climb(made, dataclasses.replace(CONFIG, start=start))
    assert policy.limit == 16
    assert in_time(run, 10.0, 20.0) > 0.99
    fixed = simulate(made, CURVE, Greedy(256, splits=True), deadline=TARGET)
    assert in_time(fixed, 10.0, 20.0) < 0.9  # where it does not climb


def test_same_seed_same_decisions() -> None:
    made = schedule(constant(2000.0, 10.0), sizes="fixed:1", seed=2)
    assert climb(made)[1].trace == climb(made)[1].trace


def test_every_decision_says_why() -> None:
    made = schedule(constant(2000.0, 10.0), sizes="fixed:1", seed=2)
    trace = climb(made)[1].trace
    assert len(trace) == 20
    moves = [b for (_, a), (_, b) in itertools.pairwise(trace) if a.batch_limit != b.batch_limit]
    assert moves
    assert all(
        "rung" in d.reason or "over target" in d.reason or "carries" in d.reason for d in moves
    )
    assert trace[-1][1].settled
    assert not trace[0][1].settled


def test_light_load_stays_within_the_target_and_moves_little() -> None:
    made = schedule(constant(40.0, 60.0), sizes="fixed:1", seed=3)
    run, policy = climb(made)
    limits = [decision.batch_limit for _, decision in policy.trace]
    assert in_time(run, 0.0, 60.0) == 1.0
    assert (np.diff(limits) != 0).sum() <= 4
    assert policy.trace[-1][1].settled


def test_four_times_the_load_is_met_again_within_ten_seconds() -> None:
    made = schedule(steps([(20.0, 500.0), (30.0, 2000.0)]), sizes="fixed:1", seed=4)
    run, policy = climb(made)
    assert in_time(run, 10.0, 20.0) > 0.99
    assert in_time(run, 30.0, 50.0) > 0.99
    assert any("load went from" in decision.reason for _, decision in policy.trace)


def test_slower_batches_are_noticed_and_climbed_again() -> None:
    """Time per row that turns from flat to steep: the best limit goes from 64 to 4."""
    flat = LatencyCurve(LADDER, (8e-3, 8e-3, 8.5e-3, 10e-3, 60e-3), noise=0.05)
    steep = LatencyCurve(LADDER, (4e-3, 6e-3, 24e-3, 96e-3, 400e-3), noise=0.05)
    climber = HillClimber(CONFIG)
    first = schedule(constant(3000.0, 10.0), sizes="fixed:1", seed=5)
    simulate(first, flat, Climbing(climber), deadline=TARGET)
    assert climber.decision.batch_limit == 64
    policy = Climbing(climber)
    second = schedule(constant(500.0, 20.0), sizes="fixed:1", seed=6)
    run = simulate(second, steep, policy, deadline=TARGET)
    assert policy.limit in (4, 16)  # nearly the same time per row
    assert in_time(run, 10.0, 20.0) > 0.98
    assert any("ms instead of" in decision.reason for _, decision in policy.trace)


def test_steps_back_at_once_where_the_next_rung_fails() -> None:
    """All that waited in the last window was late, and it had not been before."""
    climber = HillClimber(dataclasses.replace(CONFIG, start=16))
    good = _window(16, [(16, 6.5e-3)] * 60, latencies=np.full(900, 0.02))
    assert climber.step(good).batch_limit == 64  # promising: at worst 26 ms
    bad = _window(
        64,
        [(64, 12e-3)] * 40,  # which looks better on paper
        latencies=np.full(900, 0.09),
    )
    climber.step(bad)  # may be what was queued before
    decision = climber.step(bad)
    assert decision.batch_limit == 16
    assert decision.reason.startswith("100.0 % over target at 1800 requests/s")


def test_begins_with_the_best_limit_of_the_warm_up() -> None:
    climber = HillClimber(CONFIG)
    climber.learn(np.repeat(LADDER, 3), np.repeat(CURVE.seconds, 3))
    assert climber.decision.batch_limit == 16
    assert climber.decision.reason.startswith("start: should carry ")


def test_begins_with_the_smaller_of_two_that_are_nearly_as_good() -> None:
    climber = HillClimber(CONFIG)
    seconds = np.array([2.5e-3, 3.5e-3, 6.5e-3, 22e-3, 160e-3])  # 16 and 64 carry within 10 %
    climber.learn(np.repeat(LADDER, 3), np.repeat(seconds, 3))
    rates = {s: climber._headroom.rate(s, slope=1.0, residual=1.0) for s in [(2, 0), (3, 0)]}
    assert rates[2, 0] < rates[3, 0] < 1.1 * rates[2, 0]
    assert climber.decision.batch_limit == 16


def test_a_start_that_was_named_is_kept_until_requests_come() -> None:
    climber = HillClimber(dataclasses.replace(CONFIG, start=1))
    climber.learn(np.repeat(LADDER, 3), np.repeat(CURVE.seconds, 3))
    assert climber.decision.batch_limit == 1
    decision = climber.step(
        _window(1, [(1, 2.5e-3)] * 190, latencies=np.full(190, 0.2), arrivals=900)
    )
    assert decision.batch_limit == 16


def test_begins_with_the_smallest_where_the_warm_up_meets_no_target() -> None:
    climber = HillClimber(CONFIG)
    climber.learn(np.repeat(LADDER, 3), np.repeat(CONFIG.target_s, 3 * len(LADDER)))
    assert climber.decision.batch_limit == LADDER[0]


def test_fixed_mode_never_moves() -> None:
    made = schedule(constant(2000.0, 5.0), sizes="fixed:1", seed=1)
    _, policy = climb(made, dataclasses.replace(CONFIG, mode="fixed", start=4))
    assert {decision.batch_limit for _, decision in policy.trace} == {4}
    assert {decision.reason for _, decision in policy.trace} == {"fixed"}


def test_windows_of_another_setting_are_not_judged() -> None:
    climber = HillClimber(dataclasses.replace(CONFIG, start=16))
    late = _window(64, [(16, 6.5e-3)] * 60, latencies=np.full(900, 1.0))
    for _ in range(3):
        assert climber.step(late).batch_limit == 16


def test_offload_threshold_is_climbed_together_with_the_limit() -> None:
    """Sizes of MLPerf, a slow processor, an accelerator: near the best pair found by sweep."""
    ladder, thresholds = (32, 128, 512), (100, 200, 400, 700)
    cpu = LatencyCurve(ladder, (8e-3, 26e-3, 110e-3), noise=0.05)
    fast_buckets = (64, 128, 256, 512, 1024)
    fast = LatencyCurve(fast_buckets, (12e-3, 13e-3, 15e-3, 19e-3, 27e-3), noise=0.05)
    made = schedule(constant(42.0, 120.0), seed=7)

    def share(policy: Greedy | Climbing) -> float:
        run = simulate(made, cpu, policy, deadline=0.2, accelerator=fast)
        return float(run.within(0.2)[made.times > 60].mean())

    swept = {}
    for limit in ladder:
        for threshold in thresholds:
            fixed = Greedy(limit, splits=True)
            fixed.threshold = threshold
            swept[limit, threshold] = share(fixed)
    config = HillClimbConfig(ladder, 0.2, thresholds=thresholds, accelerator_buckets=fast_buckets)
    assert share(Climbing(HillClimber(config))) > 0.95 * max(swept.values())
    assert swept[512, 700] < 0.7  # where it starts from: nothing offloaded


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ladder": ()}, "ladder is empty"),
        ({"ladder": (4, 1)}, r"ladder=\(4, 1\) must be ascending"),
        ({"start": 3}, r"start=3 is not on the ladder"),
        ({"target_s": 0.0}, "target_s=0.0 must be a positive"),
        ({"percentile": 99.0}, "percentile=99.0 must be a share"),
        ({"thresholds": (5,)}, "come together"),
        ({"mode": "auto"}, "mode='auto' must be online or fixed"),
    ],
)
def test_rejects_settings(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(CONFIG, **changes)  # type: ignore[arg-type]


def test_rejects_batches_beyond_the_ladder() -> None:
    with pytest.raises(ValueError, match="512 rows exceeds ladder, up to 256"):
        HillClimber(CONFIG).learn(np.array([512]), np.array([1.0]))


def _window(
    limit: int,
    batches: list[tuple[int, float]],
    *,
    latencies: np.ndarray,
    arrivals: int | None = None,
) -> Window:
    rows, seconds = zip(*batches)
    return Window(
        duration=0.5,
        arrivals=len(latencies) if arrivals is None else arrivals,
        shed=0,
        latencies=latencies,
        rows=np.ones(len(latencies), int),
        batch_rows=np.array(rows),
        batch_seconds=np.array(seconds),
        batch_limit=limit,
    )
