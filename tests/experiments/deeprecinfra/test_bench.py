from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from experiments.deeprecinfra.bench import Bench, allowed, carries, ceiling, check_target, sustained
from experiments.deeprecinfra.plans import Batching, Fixed, Matching
from experiments.deeprecinfra.profiles import Machine, Profile
from experiments.deeprecinfra.simulator import Setting
from experiments.deeprecinfra.workload import queries
from experiments.policies import Triton
from serving.load.workload import Schedule

# A core takes 1 ms + 10 us an item; the accelerator 1 ms + 1 us an item.
CORE = Profile("ncf", "core", "measured", "made up", (1, 1024), (1.01e-3, 11.24e-3))
CHIP = Profile("ncf", "chip", "measured", "made up", (1, 1024), (1.001e-3, 2.024e-3))
CORES, BOTH = Machine("cores", 4, CORE), Machine("both", 4, CORE, CHIP)


def test_few_enough_are_late_that_chance_is_no_excuse() -> None:
    assert allowed(1000) == 50
    most = allowed(1000, certain=True)
    assert binom.cdf(most, 1000, 0.05) < 0.05 <= binom.cdf(most + 1, 1000, 0.05)
    assert allowed(10, certain=True) == -1  # ten queries prove nothing


def test_a_measurement_is_paid_in_queries_and_ends_when_it_is_decided() -> None:
    bench = Bench(CORES, 0.02, seed=1)
    assert bench.spent == 0
    assert bench.late(Fixed(Setting(256, 4)), 100.0, 2000) < 100
    assert bench.spent == 2000
    assert bench.late(Fixed(Setting(256, 4)), 5000.0, 20_000, most=50) > 50
    assert bench.spent < 4000


def test_measurements_are_fresh_and_a_seed_repeats_them() -> None:
    def twice(seed: int) -> list[int]:
        bench = Bench(CORES, 0.006, seed=seed)
        return [bench.late(Fixed(Setting(256, 4)), 700.0, 1000) for _ in range(3)]

    assert twice(1) == twice(1)
    assert len(set(twice(1))) > 1


def test_what_is_sustained_is_carried_and_more_is_not() -> None:
    plan, target = Fixed(Setting(128, 4)), 0.01
    rate = sustained(CORES, plan, target, seed=5)
    assert carries(CORES, plan, 0.99 * rate, target, workload="mlperf", seed=5)
    assert not carries(CORES, plan, 1.01 * rate, target, workload="mlperf", seed=5)
    load = queries(rate, 50_000, seed=9)  # other queries
    latencies = plan.start(CORES, 3).run(load)
    assert np.mean(latencies > target) == pytest.approx(0.05, abs=0.02)


def test_a_target_below_the_time_of_a_batch_is_never_met() -> None:
    assert sustained(CORES, Fixed(Setting(256, 4)), 0.001) == 0.0
    assert sustained(CORES, Matching(0.001), 0.001) == 0.0


def test_rules_take_from_one_queue_with_cores_and_accelerator() -> None:
    alone = sustained(CORES, Batching("t", lambda: Triton(256)), 0.02)
    both = sustained(BOTH, Batching("t", lambda: Triton(256)), 0.02)
    assert both > 1.5 * alone > 0


def test_the_ceiling_is_all_devices_at_their_best() -> None:
    # Best at 1,024 items: 11.24 ms on each of four cores, 2.024 ms on the accelerator.
    assert ceiling(CORES, 256.0) == pytest.approx(4 * 4 / 11.24e-3)
    assert ceiling(BOTH, 256.0) == pytest.approx(4 * 4 / 11.24e-3 + 4 / 2.024e-3)


def small(times: list[float], sizes: list[int]) -> Schedule:
    return Schedule(np.array(times), np.array(sizes), 1.0)


def test_matching_gives_the_large_query_to_the_accelerator() -> None:
    machine = Machine("pair", 1, CORE, CHIP)
    got = Matching(1.0).start(machine, 0).run(small([0.0, 0.0], [1000, 10]))
    assert got == pytest.approx([2e-3, 1.1e-3], rel=1e-3)


def test_matching_lets_a_query_wait_for_the_accelerator_if_that_is_sooner() -> None:
    machine = Machine("pair", 1, CORE, CHIP)
    got = Matching(1.0).start(machine, 0).run(small([0.0, 1e-3], [1000, 1000]))
    assert got == pytest.approx([2e-3, 3e-3], rel=1e-3)  # and not 11 ms on the core


def test_a_target_that_no_setting_meets_says_what_was_seen() -> None:
    # 256 items are four batches of 64 on four cores, 1.64 ms; as one batch 3.56 ms.
    ways = [(CORES, Setting(batch, 4)) for batch in (64, 256)]
    sizes = np.full(300, 256)
    check_target("ncf", 0.0017, ways, sizes)
    with pytest.raises(ValueError, match=r"ncf meets .* of 1\.5 ms.* is 1\.64 ms, with batch=64"):
        check_target("ncf", 0.0015, ways, sizes)
