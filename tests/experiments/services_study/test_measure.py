"""How probes are chosen, and what recall means, on searches made up for it."""

from __future__ import annotations

import numpy as np
import pytest
from rich.progress import Progress

from experiments.services_study.corpus import make_catalogue
from experiments.services_study.exact import nearest, recall
from experiments.services_study.measure import fewest_probes, least_asked, rates
from experiments.services_study.publish import summary
from experiments.services_study.requests import make_asks
from experiments.services_study.study import Study

STUDY = Study(items=10_000)
ASKS = make_asks(STUDY, make_catalogue(STUDY), 2)


def test_least_asked_is_the_first_that_reaches_the_target() -> None:
    asked, reached = least_asked(lambda share: share - 0.02, 0.899)
    assert asked == 0.92
    assert reached == pytest.approx(0.9)
    assert least_asked(lambda share: share / 2, 0.9) == (1.0, 0.5)


def test_fewest_probes_stops_where_the_target_is_reached() -> None:
    probes, reached = fewest_probes(lambda p: p / 100, 0.3, most=64)
    assert 30 <= probes <= 34
    assert reached == probes / 100


def test_rejects_a_recall_that_cannot_be_reached() -> None:
    with pytest.raises(ValueError, match="reaches recall 0.640 at most"):
        fewest_probes(lambda p: p / 100, 0.9, most=64)


def test_recall_counts_what_was_wanted_and_found() -> None:
    found = np.array([[1, 2, -1], [7, 8, 9], [4, -1, -1]])
    wanted = [np.array([2, 3]), np.array([7, 8, 9]), np.array([], int)]
    assert recall(found, wanted) == pytest.approx(0.75)


def test_nearest_takes_admitted_items_only_and_all_of_few() -> None:
    rng = np.random.default_rng(0)
    items = rng.normal(size=(500, 8)).astype(np.float32)
    mask = np.arange(500) % 7 == 0
    scores = np.where(mask, items @ items[3], -np.inf)
    assert set(nearest(items, items[3], mask, 5)) == set(np.argsort(-scores)[:5])
    assert nearest(items, items[3], np.arange(500) < 3, 5).tolist() == [0, 1, 2]


def test_rates_take_turns_and_every_run_begins_once_a_round() -> None:
    calls: list[str] = []
    runs = {name: lambda _, name=name: calls.append(name) for name in ("a", "b", "c")}
    with Progress(disable=True) as progress:
        speed = rates(runs, [ASKS], lambda: len(calls) / 8.0, rounds=3, progress=progress)
    assert "".join(calls[3:]) == "abcbcacab"
    assert [len(each) for each in speed.requests_per_second.values()] == [3, 3, 3]
    # An eighth of a CPU second for each run of two requests.
    assert speed.cpu_milliseconds == {name: [62.5] * 3 for name in "abc"}


def test_summary_compares_the_best_of_each_side() -> None:
    speed = {
        "one function, 1 in flight": [10.0, 30.0, 20.0],
        "services, 1 in flight": [1.0, 1.0, 1.0],
        "services, 2 in flight": [4.0, 5.0, 6.0],
    }
    cpu = {"one function, 1 in flight": [1.0, 2.0], "services, 2 in flight": [6.0, 9.0]}
    got = summary(speed, cpu)
    assert got["ratio_of_cpu"] == 5.0
    assert got["best"] == ["one function, 1 in flight", "services, 2 in flight"]
    assert got["ratio"] == 4.0
    assert got["ratio_of_rounds"] == [2.5, 6.0]
