"""The filtered benchmark: that all sides search under the same filters, and its arithmetic."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import silverjax
from experiments import filter_bench
from experiments.filter_bench import Study, cheapest, groups, headline, lead
from experiments.search.filtered import (
    KINDS,
    SHARES,
    Exact,
    Faiss,
    Filters,
    Run,
    Silver,
    Terms,
    Threaded,
    draw_filters,
    faiss_index,
    recall,
    wanted,
)

RNG = np.random.default_rng(0)
ITEMS = RNG.normal(size=(20_000, 64)).astype(np.float32)
QUERIES = RNG.normal(size=(6, 64)).astype(np.float32)
K = 10


@pytest.fixture(scope="module")
def terms() -> Terms:
    return Terms.draw(ITEMS, np.random.default_rng(1))


@pytest.fixture(scope="module")
def silver(terms: Terms) -> Silver:
    columns = sum(map(len, terms.has.values()))
    config = silverjax.IndexConfig(clusters=32, columns=columns)
    index = silverjax.build_index(ITEMS, terms.attributes(), config)
    return Silver(index, k=K, probes=2, filtered_recall=0.97)


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("kind", KINDS)
def test_filters_admit_the_share_and_differ(terms: Terms, kind: str, share: float) -> None:
    filters = draw_filters(terms, kind, share, 20, np.random.default_rng(2))
    assert 0.6 * share < filters.share < 1.6 * share
    assert len(set(filters.texts)) >= 18


@pytest.mark.parametrize("kind", KINDS)
def test_every_side_searches_what_the_filter_of_the_query_admits(
    terms: Terms, silver: Silver, kind: str
) -> None:
    filters = draw_filters(terms, kind, 0.1, 4, np.random.default_rng(3))
    asked = QUERIES[:4]
    truth = wanted(ITEMS, asked, filters, K)
    for row, mask in zip(truth, filters.masks, strict=True):
        assert mask[row].all()
    flat = faiss_index(ITEMS, 32, codes=False)
    peers = [
        silver.run(filters),
        Exact(ITEMS, k=K, threads=2).run(filters, 1.0),
        Faiss("flat", flat, k=K, clusters=32, threads=2).run(filters, 32),
    ]
    for run, least in zip(peers, (0.9, 1.0, 1.0), strict=True):
        assert recall(run(asked, 0), truth) >= least
        # Calls of one query, and those that start elsewhere, find the filter of their query.
        for first in range(4):
            alone = run(asked[first : first + 1], first)
            assert recall(alone, truth[first : first + 1]) >= least - 0.3
            assert filters.masks[first][alone].all()
        # Past the last filter they start again.
        assert filters.masks[0][run(QUERIES[4:5], 4)].all()


def test_threads_keep_the_order() -> None:
    threads = Threaded(3, lambda: None)
    for count in (1, 2, 3, 8):
        rows = threads.rows(lambda i: np.array([i, i]), count)
        assert rows[:, 0].tolist() == list(range(count))


class Half:
    """Finds the share of what is wanted that is its effort."""

    name = "half"

    def __init__(self, truth: list[np.ndarray]) -> None:
        self.truth = truth

    def efforts(self) -> Iterator[float]:
        yield from (0.2, 0.5, 0.8)

    def run(self, filters: Filters, effort: float) -> Run:
        rows = np.stack(self.truth)
        return lambda queries, first: np.where(np.arange(K) < effort * K, rows, -1)


def test_cheapest_is_the_least_effort_that_reaches_the_target() -> None:
    truth = [np.arange(K), np.arange(K) + K]
    none = Filters([], np.zeros((0, 0), bool))
    found = cheapest(Half(truth), none, QUERIES[:2], truth, 0.45)
    assert found is not None
    assert found[1] == pytest.approx(0.5)
    assert cheapest(Half(truth), none, QUERIES[:2], truth, 0.9) is None


def test_headline_compares_with_the_best_peer_of_the_same_filters() -> None:
    def figure(method: str, speed: int) -> dict[str, object]:
        own = {"method": method, "kind": "random", "share": 0.1, "recall": 0.96}
        return own | {"queries_per_second": {"1": speed}}

    figures = [figure(Silver.name, 60), figure("a", 20), figure("b", 30)]
    figures += [figure(Silver.name, 10), figure("a", 40)]
    assert [lead(group, 1) for group in groups(figures)] == [2.0, 0.25]
    lines = headline(Study(batches=(1,)), figures[:3], "corpus")
    assert list(lines.values()) == ["recall@100 0.960; 2.0x at batch 1 of the best peer"]


def test_speed_gives_each_query_its_own_filter() -> None:
    seen: list[tuple[int, float]] = []

    def run(queries: np.ndarray, first: int) -> np.ndarray:
        seen.extend((first + i, float(query[0])) for i, query in enumerate(queries))
        return np.zeros((len(queries), K))

    study = Study(rounds=5, turn=0.0)
    queries = np.arange(6.0)[:, None] * np.ones(3)
    speeds = filter_bench.speed(study, queries, {"one": (run, 1.0)}, 2)
    assert speeds["one"] > 0
    assert {query for query, _ in seen} == set(range(6))
    assert all(query == value for query, value in seen)
