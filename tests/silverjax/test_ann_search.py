"""The search against brute force over the same items."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from silverjax.ann_search import search
from silverjax.filter_plan import compile_filters
from silverjax.index_builder import build_index
from silverjax.index_config import IndexConfig
from silverjax.item_index import ItemIndex
from silverjax.quantize import quantize
from tests.silverjax.oracle import top_k

ITEMS, DIM, CLUSTERS = 1_200, 20, 16


@pytest.fixture(scope="module")
def corpus() -> tuple[np.ndarray, dict[str, list[int]]]:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(ITEMS, DIM)).astype(np.float32)
    points[700:720] = points[700]  # duplicates: ties
    return points, {
        "tag": rng.integers(0, 200, ITEMS).tolist(),
        "half": [i % 2 for i in range(ITEMS)],
    }


@pytest.fixture(scope="module")
def index(corpus: tuple[np.ndarray, dict[str, list[int]]]) -> ItemIndex:
    points, attributes = corpus
    config = IndexConfig(clusters=CLUSTERS, columns=4, keep_embeddings=True)
    return build_index(points, attributes, config)


@pytest.fixture(scope="module")
def queries() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(6, DIM)).astype(np.float32)


def int8_scores(index: ItemIndex, queries: np.ndarray) -> np.ndarray:
    """Scores of all rows, from the codes, by NumPy."""
    padded = np.pad(queries, ((0, 0), (0, index.codes.shape[2] - DIM)))
    code, scale = (np.asarray(part) for part in quantize(jax.numpy.asarray(padded)))
    slots = np.asarray(index.slots)
    codes = np.asarray(index.codes).reshape(-1, padded.shape[1])[slots]
    dots = code.astype(np.int64) @ codes.T.astype(np.int64)
    return (dots.astype(np.float32) * np.asarray(index.scales).reshape(-1)[slots]) * scale[:, None]


def test_all_clusters_probed_equals_brute_force(index: ItemIndex, queries: np.ndarray) -> None:
    found = search(index, queries, k=50, probes=CLUSTERS)
    scores = int8_scores(index, queries)
    for row in range(len(queries)):
        expected = np.sort(scores[row])[::-1][:50]
        np.testing.assert_array_equal(found.scores[row], expected)
        np.testing.assert_array_equal(scores[row][np.asarray(found.rows[row])], expected)
        assert len(set(np.asarray(found.rows[row]).tolist())) == 50
    assert np.asarray(found.coverage).tolist() == [1.0] * len(queries)


def test_probing_equals_brute_force_over_the_probed_items(
    index: ItemIndex, queries: np.ndarray
) -> None:
    found = search(index, queries, k=20, probes=3)
    scores = int8_scores(index, queries)
    cluster = np.asarray(index.slots) // index.slots_per_cluster
    for row, query in enumerate(queries):
        centroids = np.asarray(index.centroids) * np.asarray(index.centroid_scales)[:, None]
        mean = centroids[:, :DIM] @ query
        along = np.sqrt(np.square(query) @ np.asarray(index.profile)[:DIM])
        near = np.argsort(-(mean + 2 * along * np.asarray(index.radii)))[:3]
        probed = np.isin(cluster, near)
        assert int(found.probed[row]) == probed.sum()
        expected = top_k(scores[row], probed, 20)
        np.testing.assert_array_equal(found.scores[row], scores[row][expected])
    np.testing.assert_allclose(found.coverage, np.asarray(found.probed) / ITEMS, rtol=1e-6)


FILTERS = [
    "half:1",
    "tag:7",
    "NOT tag:7",
    "tag:7 OR (half:0 AND NOT tag IN (1, 2, 3))",
    "",
    "tag:x",
]


@pytest.mark.parametrize("probes", [1, 5, CLUSTERS])
def test_filtered_search_loses_nothing(
    index: ItemIndex,
    corpus: tuple[np.ndarray, dict[str, list[int]]],
    queries: np.ndarray,
    probes: int,
) -> None:
    tag, half = np.array(corpus[1]["tag"]), np.array(corpus[1]["half"])
    admitted = np.stack(
        [
            half == 1,
            tag == 7,
            tag != 7,
            (tag == 7) | ((half == 0) & ~np.isin(tag, [1, 2, 3])),
            np.ones(ITEMS, bool),
            np.zeros(ITEMS, bool),
        ]
    )
    found = search(index, queries, compile_filters(index, FILTERS), k=30, probes=probes)
    scores = int8_scores(index, queries)
    for row in range(len(FILTERS)):
        rows = np.asarray(found.rows[row])
        rows = rows[rows >= 0]
        assert admitted[row][rows].all()
        # Too few in the first clusters: the search goes on until it has 30, or has seen all.
        assert len(rows) == min(30, admitted[row].sum())
        if probes == CLUSTERS:
            best = scores[row][top_k(scores[row], admitted[row], 30)]
            np.testing.assert_array_equal(scores[row][rows], best)
    assert float(found.coverage[1]) == 1.0  # about six items: all clusters were needed


def test_budget_bounds_the_search(index: ItemIndex, queries: np.ndarray) -> None:
    plan = compile_filters(index, ["half:1"] * len(queries))
    found = search(index, queries, plan, k=30, probes=2, max_probes=4, filtered_recall=1.0)
    assert (np.asarray(found.coverage) < 0.5).all()
    # Whatever the budget: clusters that hold nothing eligible count as searched.
    rare = search(
        index, queries, compile_filters(index, ["tag:7"] * 6), k=30, probes=2, max_probes=4
    )
    assert (np.asarray(rare.coverage) > 0.5).all()
    assert (np.asarray(rare.coverage) < 1.0).all()


def test_excluded_items_do_not_return_and_others_take_their_place(
    index: ItemIndex, queries: np.ndarray
) -> None:
    first = np.asarray(search(index, queries, k=40, probes=CLUSTERS).rows)
    # Repeats, rows that do not exist and padding are harmless.
    seen = np.concatenate(
        [first[:, :10], first[:, :3], np.full((6, 2), -1), np.full((6, 1), 10**6)], 1
    )
    second = np.asarray(search(index, queries, k=30, probes=CLUSTERS, exclude=seen).rows)
    np.testing.assert_array_equal(second, first[:, 10:])


def test_rescoring_gives_the_float_order(
    index: ItemIndex, corpus: tuple[np.ndarray, dict[str, list[int]]], queries: np.ndarray
) -> None:
    found = search(index, queries, k=50, probes=CLUSTERS, rescore=1.5)
    exact = queries @ corpus[0].T
    best = np.sort(exact, axis=1)[:, ::-1][:, :50]
    np.testing.assert_allclose(found.scores, best, rtol=1e-5, atol=1e-5)


def test_works_under_jit_with_the_index_as_argument(index: ItemIndex, queries: np.ndarray) -> None:
    plan = compile_filters(index, FILTERS)
    under_jit = jax.jit(lambda i, q, p: search(i, q, p, k=5, probes=2))(index, queries, plan)
    eager = search(index, queries, plan, k=5, probes=2)
    np.testing.assert_array_equal(under_jit.rows, eager.rows)


def test_nan_query_finds_nothing_and_harms_no_other(index: ItemIndex, queries: np.ndarray) -> None:
    spoilt = queries.copy()
    spoilt[2, 3] = np.nan
    found, clean = search(index, spoilt, k=5, probes=2), search(index, queries, k=5, probes=2)
    assert (np.asarray(found.rows[2]) == -1).all()
    keep = [0, 1, 3, 4, 5]
    np.testing.assert_array_equal(np.asarray(found.rows)[keep], np.asarray(clean.rows)[keep])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 0}, "k=0 must be from 1"),
        ({"k": 10_000}, "k=10000 must be from 1 to the capacity of the probed clusters"),
        ({"probes": 0}, "probes=0 must be from 1 to the index's 16 clusters"),
        ({"probes": 17}, "probes=17 must be from 1"),
        ({"max_probes": 1}, "max_probes=1 must be from probes=2"),
        ({"queries": np.zeros((6, 3), np.float32)}, r"queries have shape \(6, 3\).*\[batch, 20\]"),
        ({"plan": ["half:1"]}, "the plan has 1 filters for 6 queries"),
        ({"exclude": np.zeros((2, 4), np.int32)}, "exclude has shape"),
        ({"rescore": 0.5}, "rescore=0.5 must be at least 1"),
    ],
)
def test_rejects_bad_input(
    index: ItemIndex, queries: np.ndarray, change: dict, message: str
) -> None:
    given = {"queries": queries, "plan": None, "k": 5, "probes": 2, **change}
    if given["plan"]:
        given["plan"] = compile_filters(index, given["plan"])
    with pytest.raises(ValueError, match=message):
        search(index, given.pop("queries"), given.pop("plan"), **given)


def test_rescoring_without_embeddings_says_how_to_keep_them(queries: np.ndarray) -> None:
    bare = build_index(np.eye(DIM, dtype=np.float32))
    with pytest.raises(ValueError, match="keep_embeddings=True"):
        search(bare, queries, k=5, probes=1, rescore=1.5)
