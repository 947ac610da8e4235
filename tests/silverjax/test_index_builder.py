"""Layout, balance, determinism and errors of the index."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from silverjax.ann_search import search
from silverjax.filter_plan import compile_filters
from silverjax.index_builder import build_index
from silverjax.index_config import IndexConfig, default_clusters, slots_per_cluster
from silverjax.item_index import LIVE_ROW, ItemIndex
from silverjax.kmeans import balanced_kmeans


def mixture(items: int, dim: int = 24, seed: int = 0) -> np.ndarray:
    """Clumps of very different sizes: what balance is hard on."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(12, dim))
    weights = 1.0 / np.arange(1, 13) ** 1.5
    clump = rng.choice(12, items, p=weights / weights.sum())
    return (centres[clump] + 0.2 * rng.normal(size=(items, dim))).astype(np.float32)


@pytest.fixture(scope="module")
def index() -> ItemIndex:
    return build_index(
        mixture(3_000),
        {"tag": [[i % 7, i % 300] for i in range(3_000)]},
        IndexConfig(clusters=24, columns=20, keep_embeddings=True),
    )


def test_every_item_has_one_slot_and_back(index: ItemIndex) -> None:
    rows = np.asarray(index.rows).reshape(-1)
    assert sorted(rows[rows >= 0]) == list(range(3_000))
    assert (rows[np.asarray(index.slots)] == np.arange(3_000)).all()


def test_clusters_are_balanced_and_none_is_empty(index: ItemIndex) -> None:
    sizes = (np.asarray(index.rows) >= 0).sum(axis=1)
    assert sizes.min() >= 1
    assert sizes.sum() == 3_000
    assert index.padding() < 0.2
    live = np.unpackbits(np.asarray(index.words[LIVE_ROW]).view(np.uint8), bitorder="little")
    assert live.sum() == 3_000
    assert int(index.live_items) == 3_000


def test_spread_is_that_of_the_scores_about_their_mean(index: ItemIndex) -> None:
    """Over all clusters; single ones may have a shape of their own, which is not kept."""
    assert index.cache is not None
    queries = np.random.default_rng(3).normal(size=(200, index.dim)).astype(np.float32)
    padded = np.pad(queries, ((0, 0), (0, index.codes.shape[2] - index.dim)))
    spread = np.asarray(index.along(jnp.asarray(padded)))[:, None] * np.asarray(index.radii)
    items = np.asarray(index.cache.embeddings)
    squares = []
    for cluster in range(index.clusters):
        rows = np.asarray(index.rows)[cluster]
        apart = items[rows[rows >= 0]] - items[rows[rows >= 0]].mean(axis=0)
        radius = np.sqrt(np.square(apart).sum(axis=1).mean())
        np.testing.assert_allclose(index.radii[cluster], radius, rtol=1e-4)
        squares.append(np.square(queries @ apart.T).mean())
    assert 0.95 < np.sqrt(np.square(spread).mean() / np.mean(squares)) < 1.05


@pytest.mark.parametrize("items", [1_682, 5_000, 20_000, 123_456, 1_000_000])
@pytest.mark.parametrize("clusters", [None, 16, 32])
def test_padding_stays_under_a_fifth(items: int, clusters: int | None) -> None:
    clusters = clusters or default_clusters(items)
    slots = slots_per_cluster(items, clusters, IndexConfig().slack)
    assert slots % 8 == 0
    assert 1 - items / (clusters * slots) < 0.2


def test_codes_are_within_half_a_step(index: ItemIndex) -> None:
    codes, scales = np.asarray(index.codes, np.float32), np.asarray(index.scales)
    held = (codes * scales[..., None]).reshape(-1, codes.shape[-1])[np.asarray(index.slots)]
    step = scales.reshape(-1)[np.asarray(index.slots)]
    assert (np.abs(held[:, :24] - mixture(3_000)) <= 0.5001 * step[:, None]).all()
    assert (held[:, 24:] == 0).all()


def test_centroids_are_the_means_of_their_items(index: ItemIndex) -> None:
    points, rows = mixture(3_000), np.asarray(index.rows)
    for cluster in range(index.clusters):
        held = rows[cluster][rows[cluster] >= 0]
        mean = points[held].mean(axis=0)
        step = float(index.centroid_scales[cluster])
        found = np.asarray(index.centroids)[cluster, :24] * step
        np.testing.assert_allclose(found, mean, atol=0.5001 * step)


def test_same_seed_gives_the_same_index_and_another_seed_another() -> None:
    points = mixture(600)
    config = IndexConfig(clusters=8, seed=3)
    one, two = build_index(points, config=config), build_index(points, config=config)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_array_equal(a, b)
    other = build_index(points, config=dataclasses.replace(config, seed=4))
    assert not np.array_equal(one.centroids, other.centroids)


def test_same_capacity_gives_the_same_shapes() -> None:
    config = IndexConfig(clusters=8, capacity=1_000)
    one = build_index(mixture(600), {"tag": [1] * 600}, config)
    two = build_index(mixture(999, seed=5), {"tag": [[i, -i] for i in range(999)]}, config)
    assert str(jax.tree.structure(one)) == str(jax.tree.structure(two))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype


def test_kmeans_finds_clumps_far_apart() -> None:
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(8), 50)
    points = (10 * np.eye(8)[truth] + 0.1 * rng.normal(size=(400, 8))).astype(np.float32)
    _, cluster = balanced_kmeans(points, clusters=8, largest=60, iterations=20, seed=1)
    for clump in range(8):
        assert len(set(cluster[truth == clump])) == 1


@pytest.mark.parametrize("clusters", [1, 7, 64])
def test_kmeans_of_identical_points_stays_balanced(clusters: int) -> None:
    points = np.ones((64, 4), np.float32)
    largest = -(-64 // clusters)
    _, cluster = balanced_kmeans(points, clusters=clusters, largest=largest)
    sizes = np.bincount(cluster, minlength=clusters)
    assert sizes.min() >= 1
    assert sizes.max() <= largest


def test_kmeans_is_close_to_unbalanced_lloyd() -> None:
    """Without clumps, the bound on the size costs under 5 % of the distortion."""
    points = np.random.default_rng(0).normal(size=(4_000, 8)).astype(np.float32)

    def distortion(largest: int) -> float:
        centroids, cluster = balanced_kmeans(points, clusters=32, largest=largest, iterations=15)
        return float(np.sum((points - centroids[cluster]) ** 2))

    assert distortion(138) < 1.05 * distortion(4_000)


def test_fewer_columns_than_terms_leaves_the_rest_to_bloom(index: ItemIndex) -> None:
    columns = np.asarray(index.column_of_term)
    assert (columns > 0).sum() == 20
    # The seven values that a seventh of all items share are the most frequent terms.
    assert int(index.vocabulary_size) == 300


BAD = {
    "no matrix": (np.zeros(3, np.float32), None, None, "embeddings have shape"),
    "empty": (np.zeros((0, 4), np.float32), None, None, "the corpus is empty"),
    "integers": (np.zeros((2, 4), np.int32), None, None, "convert them to float32"),
    "nan": (np.array([[1.0], [np.nan]], np.float32), None, None, "1 items are NaN.*row 1"),
    "too large": (np.array([[1e300], [1.0]]), None, None, "infinite in float32.*row 0"),
    "short": (np.eye(3), {"tag": [1, 2]}, None, "'tag' has 2 entries for 3 items"),
    "a string": (np.eye(3), {"tag": "abc"}, None, "'tag' has 3 entries for 3 items"),
    "nameless": (np.eye(3), {"": [1, 2, 3]}, None, "non-empty string"),
    "clusters": (np.eye(3), None, {"clusters": 4}, "clusters=4 exceeds the 3 items"),
    "capacity": (np.eye(3), None, {"capacity": 2}, "3 items exceed IndexConfig.capacity=2"),
    "terms": (np.eye(3), {"t": [[1, 2]] * 3}, {"terms": 5}, "6 .* exceed IndexConfig.terms=5"),
    "vocabulary": (np.eye(3), {"t": [1, 2, 3]}, {"vocabulary": 2}, "3 terms exceed"),
    "bloom bits": (np.eye(3), None, {"bloom_bits": 40}, "multiple of 32, for example 64"),
    "hashes": (np.eye(3), None, {"hashes": 0}, "hashes=0 must be from 1 to 16"),
}


@pytest.mark.parametrize(("points", "attributes", "config", "message"), BAD.values(), ids=BAD)
def test_rejects_bad_input(points, attributes, config, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        build_index(points, attributes, IndexConfig(**(config or {})))


@pytest.mark.parametrize("value", [1.5, True, b"x", {"a": 1}])
def test_rejects_values_of_other_types(value: object) -> None:
    with pytest.raises(TypeError, match="strings or integers"):
        build_index(np.eye(2, dtype=np.float32), {"tag": [["a", value], "b"]})  # type: ignore[list-item]


def test_index_without_features_has_no_room_for_filters() -> None:
    points = np.random.default_rng(0).normal(size=(4_096, 64)).astype(np.float32)
    index = build_index(points, None, IndexConfig(clusters=16, columns=7, bloom_bits=96))
    assert index.words.shape[0] == 1  # the live slots
    assert (index.columns, index.bloom_bits, index.features) == (0, 0, ())
    # An inverted file of 8-bit codes has 72 bytes an item: 64 of code and 8 of id.
    assert sum(index.nbytes().values()) < 1.35 * 72 * len(points)
    found = search(index, points[:1], compile_filters(index, [""]), k=5, probes=16)
    assert int(found.eligible[0]) == len(points)
