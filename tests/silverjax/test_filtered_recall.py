"""Recall of filtered searches against brute force, whatever share of the items a filter admits."""

from __future__ import annotations

import numpy as np
import pytest

from silverjax.ann_search import search
from silverjax.filter_plan import compile_filters
from silverjax.index_builder import build_index
from silverjax.index_config import IndexConfig
from silverjax.item_index import ItemIndex

ITEMS, DIM, QUERIES, K, PROBES = 40_000, 24, 32, 50, 4
SHARES = (0.5, 0.1, 0.01, 0.001)
KINDS = ("random", "correlated")


@pytest.fixture(scope="module")
def points() -> np.ndarray:
    """Clumps that overlap, so that neighbours lie in many clusters."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(300, DIM))
    clump = rng.integers(0, len(centres), ITEMS)
    return (centres[clump] + rng.normal(size=(ITEMS, DIM))).astype(np.float32)


@pytest.fixture(scope="module")
def masks(points: np.ndarray) -> dict[tuple[str, float], np.ndarray]:
    """bool [QUERIES, ITEMS] by kind and share: a filter of its own for each query."""
    rng = np.random.default_rng(1)
    out = {}
    for share in SHARES:
        out["random", share] = rng.random((QUERIES, ITEMS)) < share
        # One side of the space, with a blurred border.
        side = rng.normal(size=(QUERIES, DIM)) @ points.T + rng.normal(size=(QUERIES, ITEMS))
        out["correlated", share] = side >= np.quantile(side, 1 - share, axis=1)[:, None]
    return out


@pytest.fixture(scope="module")
def index(points: np.ndarray, masks: dict[tuple[str, float], np.ndarray]) -> ItemIndex:
    """The filters of query b are the values b of the features."""
    attributes = {
        feature(kind, share): [np.flatnonzero(column).tolist() for column in mask.T]
        for (kind, share), mask in masks.items()
    }
    columns = QUERIES * len(masks)  # frequent or not: every term is decided by the bit rows
    return build_index(points, attributes, IndexConfig(clusters=128, columns=columns))


@pytest.fixture(scope="module")
def queries(points: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(2)
    near = points[rng.choice(ITEMS, QUERIES, replace=False)]
    return (near + 0.3 * rng.normal(size=near.shape)).astype(np.float32)


def feature(kind: str, share: float) -> str:
    return f"{kind}_{round(1000 * share)}"


def recall(
    index: ItemIndex, queries: np.ndarray, points: np.ndarray, mask: np.ndarray, name: str,
    **options: float,
) -> float:  # fmt: skip
    plan = compile_filters(index, [f"{name}:{b}" for b in range(QUERIES)])
    found = np.asarray(search(index, queries, plan, k=K, probes=PROBES, **options).rows)  # type: ignore[arg-type]
    scores = np.where(mask, queries @ points.T, -np.inf)
    hits = wanted = 0
    for b in range(QUERIES):
        best = np.argsort(-scores[b])[: min(K, mask[b].sum())]
        assert mask[b][found[b][found[b] >= 0]].all()
        hits += len(np.intersect1d(best, found[b]))
        wanted += len(best)
    return hits / wanted


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("kind", KINDS)
def test_filtered_search_reaches_the_recall_that_was_asked_for(
    index: ItemIndex,
    queries: np.ndarray,
    points: np.ndarray,
    masks: dict[tuple[str, float], np.ndarray],
    kind: str,
    share: float,
) -> None:
    arguments = (index, queries, points, masks[kind, share], feature(kind, share))
    # Of 32 x 50 neighbours; int8 alone loses 1 %.
    assert recall(*arguments) > 0.95
    assert recall(*arguments, filtered_recall=0.8) > 0.75
    assert recall(*arguments, filtered_recall=1.0) > 0.985


def test_asking_for_less_finds_less(
    index: ItemIndex, queries: np.ndarray, points: np.ndarray,
    masks: dict[tuple[str, float], np.ndarray],
) -> None:  # fmt: skip
    """What was asked for is what limits the search: the test above can fail."""
    name, mask = feature("random", 0.5), masks["random", 0.5]
    assert recall(index, queries, points, mask, name, filtered_recall=0.3) < 0.85


def test_empty_filter_searches_as_no_filter_does(index: ItemIndex, queries: np.ndarray) -> None:
    """Beside rows that have one."""
    name = feature("random", 0.1)
    filters = ["" if b % 2 else f"{name}:{b}" for b in range(QUERIES)]
    mixed = search(index, queries, compile_filters(index, filters), k=K, probes=PROBES)
    plain = search(index, queries, k=K, probes=PROBES)
    np.testing.assert_array_equal(mixed.rows[1::2], plain.rows[1::2])
    np.testing.assert_array_equal(mixed.probed[1::2], plain.probed[1::2])
    assert (np.asarray(mixed.probed[::2]) > np.asarray(plain.probed[::2])).all()


def test_rare_filter_covers_everything(index: ItemIndex, queries: np.ndarray) -> None:
    """40 of 40,000 items pass, fewer than k: all are found, and coverage says so."""
    name = feature("random", 0.001)
    plan = compile_filters(index, [f"{name}:{b}" for b in range(QUERIES)])
    found = search(index, queries, plan, k=K, probes=PROBES)
    returned = (np.asarray(found.rows) >= 0).sum(1)
    np.testing.assert_array_equal(returned, np.minimum(K, np.asarray(found.eligible)))
    assert (np.asarray(found.coverage)[returned < K] == 1.0).all()
