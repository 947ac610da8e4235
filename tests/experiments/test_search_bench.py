"""The arithmetic of the search benchmark, on systems made up for it, and its own side of it."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

from experiments import search_bench
from experiments.search_bench import Run, Study, cheapest, nearest, rates, recall

RNG = np.random.default_rng(0)
ITEMS = RNG.normal(size=(500, 64)).astype(np.float32)
QUERIES = RNG.normal(size=(8, 64)).astype(np.float32)


def test_recall_counts_what_was_wanted_and_found() -> None:
    found = np.array([[1, 2, -1, -1], [7, 8, 9, 10]])
    wanted = np.array([[2, 3, 4, 1], [10, 9, 8, 7]])
    assert recall(found, wanted) == pytest.approx(0.75)


def test_nearest_takes_admitted_items_only() -> None:
    mask = np.arange(500) % 7 == 0
    rows = nearest(ITEMS, QUERIES, mask, 5)
    scores = np.where(mask, QUERIES @ ITEMS.T, -np.inf)
    assert [set(row) for row in rows] == [set(row) for row in np.argsort(-scores, 1)[:, :5]]
    assert nearest(ITEMS, QUERIES, np.arange(500) < 3, 5).shape == (8, 3)


class Half:
    """Finds one in a hundred of what is wanted per cluster it visits."""

    def __init__(self, wanted: np.ndarray) -> None:
        self.wanted = wanted

    def run(self, probes: int, share: float) -> Run:
        return lambda queries: np.where(np.arange(100) < probes, self.wanted, -1)


def test_cheapest_stops_where_the_target_is_reached_or_nothing_is_left() -> None:
    wanted = np.tile(np.arange(100), (8, 1))
    system: Any = Half(wanted)
    _, probes, reached = cheapest(system, 0.0, 0.30, QUERIES, wanted, 64)
    assert 30 <= probes <= 34
    assert reached == pytest.approx(probes / 100)
    _, probes, reached = cheapest(system, 0.0, 0.90, QUERIES, wanted, 64)
    assert probes == 64
    assert reached == pytest.approx(0.64)


def test_rates_take_turns() -> None:
    calls: list[str] = []

    def run(part: np.ndarray, *, name: str) -> np.ndarray:
        if calls[-1:] != [name]:
            calls.append(name)
        return part

    runs: dict[str, Run] = {name: functools.partial(run, name=name) for name in ("a", "b")}
    figures = rates(runs, QUERIES, 4, 0.0)
    assert calls == ["a", "b"] * 3
    assert min(figures.values()) > 0


def test_silverjax_is_searched_with_and_without_a_filter() -> None:
    mask = np.arange(500) % 2 == 0
    study = Study(clusters=8, k=10)
    silver = search_bench.Silver(study, ITEMS, {0.5: mask})
    for share, admitted in ((0.0, mask | True), (0.5, mask)):
        rows = silver.run(8, share)(QUERIES)
        assert recall(rows, nearest(ITEMS, QUERIES, admitted, 10)) > 0.9
        assert admitted[rows].all()
