from __future__ import annotations

import numpy as np
import pytest

from experiments.search import data
from experiments.search.data import load, nearest, recall
from tests.experiments.search.toys import ITEMS, QUERIES


def test_recall_counts_what_was_wanted_and_found() -> None:
    found = np.array([[1, 2, -1, -1], [7, 8, 9, 10]])
    wanted = np.array([[2, 3, 4, 1], [10, 9, 8, 7]])
    assert recall(found, wanted) == pytest.approx(0.75)


def test_nearest_takes_admitted_items_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "_SCORES", 1 << 14)  # several parts
    mask = np.arange(len(ITEMS)) % 7 == 0
    rows = nearest(ITEMS, QUERIES, mask, 5)
    scores = np.where(mask, QUERIES @ ITEMS.T, -np.inf)
    assert [set(row) for row in rows] == [set(row) for row in np.argsort(-scores, 1)[:, :5]]
    assert nearest(ITEMS, QUERIES, np.arange(len(ITEMS)) < 3, 5).shape == (32, 3)


def test_mixture_keeps_queries_apart_from_items() -> None:
    corpus = load("mixture", items=300, queries=40, asked=20, k=10, seed=1)
    assert corpus.items.shape == (300, 64)
    assert corpus.queries.shape == (40, 64)
    assert corpus.wanted.shape == (20, 10)
    assert np.array_equal(corpus.asked, corpus.queries[:20])
    assert not np.isin(corpus.queries[:, 0], corpus.items[:, 0]).any()


def test_load_rejects_data_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="data 'sift' must be 'glove' or 'mixture'"):
        load("sift", items=1, queries=1, asked=1, k=1, seed=0)
