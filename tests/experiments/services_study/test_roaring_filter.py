"""The filter service against brute force over the columns."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.services_study.corpus import make_catalogue
from experiments.services_study.exact import admitted
from experiments.services_study.requests import make_asks
from experiments.services_study.roaring_filter import InvertedIndex, dense
from experiments.services_study.study import Study

STUDY = Study(items=10_000)
CATALOGUE = make_catalogue(STUDY)
FILTERS = InvertedIndex(CATALOGUE.columns)
ASKS = make_asks(STUDY, CATALOGUE, 40)


@pytest.mark.parametrize("ask", ASKS, ids=lambda ask: ask.kind)
def test_admits_what_brute_force_admits(ask: object) -> None:
    rows = set(FILTERS.admitted(ask.where)) - set(ask.history)  # type: ignore[attr-defined]
    assert rows == set(np.flatnonzero(admitted(CATALOGUE, ask)))  # type: ignore[arg-type]


def test_the_requests_ask_for_every_kind_of_filter_and_all_differ() -> None:
    assert {ask.kind for ask in ASKS} == {"language", "topics", "market", "following"}
    assert len({ask.where for ask in ASKS}) > 35


@pytest.mark.parametrize(
    ("where", "count"),
    [("", 10_000), ("language:no_such", 0), ("NOT language:no_such", 10_000)],
)
def test_filters_at_the_ends(where: str, count: int) -> None:
    assert len(FILTERS.admitted(where)) == count


def test_a_complement_alone_admits_the_rest() -> None:
    both = FILTERS.admitted("language:0"), FILTERS.admitted("NOT language:0 AND NOT creator:1")
    assert len(both[0] & both[1]) == 0
    assert len(both[0] | both[1]) >= 10_000 - 100


def test_dense_has_a_bit_for_each_row() -> None:
    bits = dense(np.array([0, 9, 19]), 20)
    assert bits.tolist() == [1, 2, 8]
