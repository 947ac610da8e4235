from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest

from experiments.search.systems import Run
from experiments.search.tuning import Tuner, fastest
from tests.experiments.search.toys import CORPUS, QUERIES, toy


@pytest.mark.parametrize(("per_hit", "target"), [(1, 0.3), (7, 0.5), (7, 0.9), (1, 1.0)])
def test_cheapest_is_the_lowest_value_that_reaches_the_target(per_hit: int, target: float) -> None:
    found = Tuner(CORPUS).cheapest(toy("a", per_hit=per_hit, most=90), target)
    assert found is not None
    assert found.value == round(10 * target) * per_hit
    assert found.recall == pytest.approx(target)


def test_cheapest_goes_on_from_what_it_knows() -> None:
    asked: list[int] = []
    plain = toy("a", per_hit=7, most=90)

    def run(value: int) -> Run:
        asked.append(value)
        return plain.run(value)

    variant, tuner = dataclasses.replace(plain, run=run), Tuner(CORPUS)
    for target in (0.9, 0.3, 0.9):
        found = tuner.cheapest(variant, target)
        assert found is not None
        assert found.value == round(70 * target)
    assert len(asked) == len(set(asked))


def test_cheapest_is_none_where_the_target_is_out_of_reach() -> None:
    tuner, variant = Tuner(CORPUS), toy("a", per_hit=7, most=30)
    assert tuner.cheapest(variant, 0.9) is None
    assert tuner.best_recall([variant]) == pytest.approx(0.4)


def test_cheapest_starts_at_the_least_value() -> None:
    found = Tuner(CORPUS).cheapest(toy("a", per_hit=1, most=90, least=8), 0.3)
    assert found is not None
    assert found.value == 8
    assert found.recall == pytest.approx(0.8)


def test_fastest_keeps_one_setting_of_each_method() -> None:
    tuner = Tuner(CORPUS)
    quick = tuner.at(toy("a", per_hit=1, most=90), 3)

    def delayed(queries: np.ndarray) -> np.ndarray:
        time.sleep(0.01)
        return quick.run(queries)

    slow = dataclasses.replace(quick, run=delayed)
    other = tuner.at(toy("b", per_hit=7, most=90), 7)
    best = fastest([slow, quick, other], QUERIES[:16], 4, rounds=3, turn=0.0)
    assert best == {"a": quick, "b": other}
