"""Schedulers on a small machine; what each is for, and what the reference does wrong."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.deeprecinfra import bench
from experiments.deeprecinfra.bench import Bench, sustained
from experiments.deeprecinfra.plans import Fixed
from experiments.deeprecinfra.profiles import Machine
from experiments.deeprecinfra.published import published_machine
from experiments.deeprecinfra.schedulers import SCHEDULERS, joint_search, reference
from experiments.deeprecinfra.simulator import Setting
from tests.experiments.deeprecinfra.test_bench import BOTH, CORES

TARGET = 0.012


@pytest.fixture
def fewer_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each kind some, and shorter runs: the oracle tries all."""
    monkeypatch.setattr(bench, "_WARM", 512)
    monkeypatch.setattr(bench, "_COUNTED", 3_584)
    every = joint_search.settings
    monkeypatch.setattr(joint_search, "settings", lambda *given: list(every(*given))[1::9])


def chosen(name: str, machine: Machine, seed: int = 1) -> tuple[Setting, int]:
    given = Bench(machine, TARGET, seed=seed)
    plan = SCHEDULERS[name](given)
    assert isinstance(plan, Fixed)
    return plan.setting, given.spent


def test_static_is_the_largest_query_over_the_cores() -> None:
    given = Bench(published_machine("wnd"), 0.025)
    assert SCHEDULERS["static"](given) == Fixed(Setting(25, 40))
    assert given.spent == 0


@pytest.mark.parametrize("machine", [CORES, BOTH], ids=["cores", "both"])
def test_ours_is_near_the_oracle_and_costs_half_of_the_queries(
    machine: Machine, fewer_settings: None
) -> None:
    ours, spent = chosen("ours", machine)
    best, nothing = chosen("oracle", machine)
    published, theirs = chosen("DeepRecSched, published", machine)
    rates = {
        name: sustained(machine, Fixed(setting), TARGET)
        for name, setting in (("ours", ours), ("oracle", best), ("published", published))
    }
    assert rates["ours"] >= 0.95 * rates["oracle"]
    assert rates["ours"] >= 0.98 * rates["published"]
    assert 2 * spent <= theirs
    assert nothing == 0


def test_the_oracle_is_the_best_of_all_settings(fewer_settings: None) -> None:
    best, _ = chosen("oracle", CORES)
    rate = sustained(CORES, Fixed(best), TARGET)
    sizes = Bench(CORES, TARGET).sizes
    for setting in list(joint_search.settings(CORES, sizes)):
        assert sustained(CORES, Fixed(setting), TARGET) <= 1.01 * rate


def test_the_model_of_queues_is_near_the_simulator() -> None:
    sizes = Bench(BOTH, TARGET).sizes
    candidates = [
        Setting(203, 4, even=True),
        Setting(512, 4, even=True),
        Setting(512, 4, 399, even=True),
        Setting(512, 4, joined=1024, pulls=1, even=True),
        Setting(64, 4, fill=512, even=True),
    ]
    guess = joint_search.estimates(BOTH, candidates, sizes, TARGET)
    for setting, rate in zip(candidates, guess):
        assert rate == pytest.approx(sustained(BOTH, Fixed(setting), TARGET), rel=0.35)


def test_workers_are_searched_only_where_they_slow_each_other_down() -> None:
    slow = published_machine("ncf")
    sizes = np.array([200, 300])
    assert {one.workers for one in joint_search.settings(slow, sizes)} == {40}


def test_published_climbs_until_the_rate_falls() -> None:
    rates = {1: 1.0, 2: 5.0, 4: 4.95, 8: 6.0, 16: 3.0, 32: 100.0}
    seen = []

    def known(_: Bench, setting: Setting) -> float:
        seen.append(setting.batch)
        return rates[setting.batch]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference, "achievable", known)
        best, rate = reference._climb(Bench(CORES, TARGET), [Setting(n, 4) for n in rates])
    assert (best.batch, rate) == (8, 6.0)
    assert seen == [1, 2, 4, 8, 16]  # 4 is within the noise of 2; 32 is never seen


def test_published_takes_as_many_queries_per_setting_as_the_reference() -> None:
    given = Bench(CORES, TARGET)
    reference.achievable(given, Setting(256, 4))
    assert given.spent == 8_192
    reference.walk(given, Setting(256, 4))
    assert given.spent == 2 * 8_192


def test_the_code_scores_its_first_threshold_while_another_is_in_force() -> None:
    seen = []

    def score(_: Bench, setting: Setting) -> float:
        seen.append(setting.threshold)
        return 9.0 if setting.threshold == 1023 else 1.0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference, "walk", score)
        plan = reference.as_coded(Bench(BOTH, TARGET))
    assert 95 not in seen
    assert isinstance(plan, Fixed)
    assert plan.setting.threshold == 95  # "96 or more": never tried, and returned


@pytest.mark.parametrize("name", ["Triton-like", "BentoML-like", "Clipper (AIMD)", "Kairos-like"])
def test_rules_carry_something(name: str) -> None:
    given = Bench(CORES, 0.05, seed=1)
    assert sustained(CORES, SCHEDULERS[name](given), 0.05) > 100


def test_hercules_ends_where_no_neighbour_is_better() -> None:
    setting, _ = chosen("Hercules-like", BOTH)
    static = Fixed(Setting(250, 4))
    assert sustained(BOTH, Fixed(setting), TARGET) >= 0.98 * sustained(BOTH, static, TARGET)


def test_what_ours_claims_was_met_by_fresh_queries() -> None:
    given = Bench(CORES, TARGET, seed=2)
    plan = SCHEDULERS["ours"](given)
    assert isinstance(plan, Fixed)
    assert plan.claimed
    assert sustained(CORES, plan, TARGET) >= 0.97 * plan.claimed
