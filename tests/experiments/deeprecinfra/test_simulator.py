"""The simulator, by hand on small cases and against queueing theory on large ones."""

from __future__ import annotations

import math

import numpy as np
import pytest

from experiments.deeprecinfra.profiles import Machine, Profile
from experiments.deeprecinfra.simulator import Servers, Setting, parts
from experiments.deeprecinfra.workload import queries
from serving.load.workload import Schedule

# A batch of n items takes 1 + n / 100 s on a core, 1 s + n / 1000 on the accelerator.
CORE = Profile("ncf", "core", "measured", "made up", (1, 1024), (1.01, 11.24))
CHIP = Profile("ncf", "chip", "measured", "made up", (1, 1024), (1.001, 2.024))
MACHINE = Machine("made up", 2, CORE, CHIP)


def run(times: list[float], sizes: list[int], setting: Setting) -> list[float]:
    schedule = Schedule(np.array(times), np.array(sizes), 100.0)
    found: list[float] = Servers(MACHINE, setting).run(schedule).tolist()
    return found


@pytest.mark.parametrize("rows", [1, 99, 100, 270, 1024])
@pytest.mark.parametrize("batch", [1, 100, 256, 1024])
def test_parts_are_the_whole_in_as_few_batches(rows: int, batch: int) -> None:
    for even in (False, True):
        cut = parts(rows, batch, even=even)
        assert sum(cut) == rows
        assert len(cut) == math.ceil(rows / batch)
        assert max(cut) <= batch
        assert max(cut) - min(cut) <= 1 or not even


def test_batches_run_in_order_on_the_core_that_is_free_first() -> None:
    # 200 items are two batches of 2 s; the third query waits for both of the second.
    got = run([0.0, 0.5, 0.6], [200, 200, 100], Setting(100, 2))
    assert got == pytest.approx([2.0, 3.5, 5.4])
    assert run([0.0], [200], Setting(100, 1)) == pytest.approx([4.0])


def test_even_batches_end_sooner_than_a_full_one_and_a_rest() -> None:
    assert run([0.0], [300], Setting(200, 2)) == pytest.approx([3.0])
    assert run([0.0], [300], Setting(200, 2, even=True)) == pytest.approx([2.5])


def test_large_queries_go_to_the_accelerator_whole_one_by_one() -> None:
    got = run([0.0, 0.0, 0.0], [100, 500, 600], Setting(1000, 2, threshold=100))
    assert got == pytest.approx([2.0, 1.5, 3.1])


def test_a_share_of_a_query_stays_on_the_cores() -> None:
    # 750 items there take 1.75 s, 250 here as one batch 3.5 s, as two on two cores 2.25 s.
    assert run([0.0], [1000], Setting(250, 2, 100, share=0.75)) == pytest.approx([3.5])
    assert run([0.0], [1000], Setting(125, 2, 100, share=0.75)) == pytest.approx([2.25])


def test_a_launch_joins_those_who_wait_while_they_fit() -> None:
    times, sizes = [0.0, 0.1, 0.2, 0.3, 9.0], [200, 300, 300, 600, 200]
    alone = run(times, sizes, Setting(1000, 2, threshold=0))
    assert alone == pytest.approx([1.2, 2.4, 3.6, 5.1, 1.2])
    joined = run(times, sizes, Setting(1000, 2, threshold=0, joined=700))
    assert joined == pytest.approx([1.2, 2.7, 2.6, 4.1, 1.2])


def test_runs_go_on_where_the_last_one_ended() -> None:
    schedule = queries(0.2, 2000, seed=1)
    setting = Setting(256, 2, 400)
    whole = Servers(MACHINE, setting).run(schedule)
    servers = Servers(MACHINE, setting)
    halves = [
        servers.run(Schedule(schedule.times[part], schedule.sizes[part], 1.0))
        for part in (slice(0, 700), slice(700, 2000))
    ]
    np.testing.assert_allclose(np.concatenate(halves), whole)


def test_a_run_that_is_late_ends_early_and_says_the_same_so_far() -> None:
    schedule = queries(5.0, 5000, seed=1)
    whole = Servers(MACHINE, Setting(256, 2)).run(schedule)
    part = Servers(MACHINE, Setting(256, 2)).run(schedule, target=10.0, late=20)
    assert len(part) < 1000
    assert (part > 10.0).sum() > 20
    np.testing.assert_array_equal(part, whole[: len(part)])


def test_waits_are_those_of_pollaczek_and_khinchine() -> None:
    rate, cores = 0.36, 1
    schedule = queries(rate, 200_000, sizes="fixed:100", seed=3)
    latencies = Servers(Machine("one", cores, CORE), Setting(100, cores)).run(schedule)
    busy = 2.0 * rate
    wait = busy / (1 - busy) * 2.0 / 2  # service is always 2 s
    assert latencies.mean() == pytest.approx(2.0 + wait, rel=0.03)


def test_capacity_is_where_the_queue_starts_to_grow() -> None:
    setting = Setting(256, 2, 450)
    schedule = queries(1.0, 20_000, seed=2)
    capacity = Servers(MACHINE, setting).capacity(schedule.sizes)
    below = Servers(MACHINE, setting).run(schedule.faster(0.9 * capacity))
    above = Servers(MACHINE, setting).run(schedule.faster(1.1 * capacity))
    assert below[-2000:].mean() < 10 * below[:2000].mean()
    assert above[-2000:].mean() > 10 * above[:2000].mean()


def test_settings_that_cannot_be_are_rejected() -> None:
    with pytest.raises(ValueError, match="batch=0 must be from 1 to 1024"):
        Setting(0, 1)
    with pytest.raises(ValueError, match="share=1.5 must be positive"):
        Setting(1, 1, share=1.5)
    with pytest.raises(ValueError, match="workers=3 exceed the 2 cores"):
        Servers(MACHINE, Setting(1, 3))
    with pytest.raises(ValueError, match="threshold=5, pulls=0 need an accelerator; bare has none"):
        Servers(Machine("bare", 2, CORE), Setting(1, 1, threshold=5))


def test_an_accelerator_that_pulls_takes_what_waits_in_order() -> None:
    # Two batches are on the cores until 2 s; at 0.2 s enough waits, and 300 items take 1.3 s.
    times, sizes = [0.0, 0.0, 0.1, 0.2, 0.3], [100, 100, 100, 200, 100]
    got = run(times, sizes, Setting(100, 2, joined=1000, pulls=300))
    assert got == pytest.approx([2.0, 2.0, 1.4, 1.3, 3.7])
    greedy = run(times, sizes, Setting(100, 2, joined=1000, pulls=1))
    # At 0.1 s one batch until 1.2 s, then the other three until 2.5 s.
    assert greedy == pytest.approx([2.0, 2.0, 1.1, 2.3, 2.2])


def test_an_accelerator_that_never_pulls_is_not_there() -> None:
    schedule = queries(0.3, 3000, seed=4)
    pulling = Servers(MACHINE, Setting(128, 2, joined=1024, pulls=10**9)).run(schedule)
    np.testing.assert_allclose(pulling, Servers(MACHINE, Setting(128, 2)).run(schedule))


def test_the_last_free_core_fills_its_batch_with_what_waits() -> None:
    # Both cores end at 2 s: one takes a batch, then the other two and a half.
    times, sizes = [0.0, 0.0, 0.1, 0.2, 0.3, 0.4], [100] * 6
    got = run(times, sizes, Setting(100, 2, fill=250))
    assert got == pytest.approx([2.0, 2.0, 3.9, 5.3, 5.2, 5.1])
    # What has not come yet cannot be taken.
    late = run([0.0, 0.1, 2.5], [100] * 3, Setting(100, 1, fill=250))
    assert late == pytest.approx([2.0, 3.9, 3.5])


def test_settings_that_contradict_themselves_are_rejected() -> None:
    with pytest.raises(ValueError, match="fill=250 are of one queue; they need no threshold"):
        Setting(100, 2, threshold=5, fill=250)
    with pytest.raises(ValueError, match="joined=50 must be from 100 to 1024"):
        Setting(100, 2, pulls=1, joined=50)
    with pytest.raises(ValueError, match="fill=2000 must be from 0 to 1024"):
        Setting(100, 2, fill=2000)
