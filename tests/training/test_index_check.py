from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from silverjax import IndexConfig, build_index
from silverjax import filter_language as language
from training.index_check import (
    FilterQuery,
    exact_top,
    index_searcher,
    measure_index_loss,
    representative_filters,
)

ITEMS = 400


@pytest.fixture(scope="module")
def attributes() -> dict[str, list[list[str]]]:
    rng = np.random.default_rng(0)
    genres = ["drama", "film noir", 'a "b" \\ c', "not", "war"]
    return {
        "language": [[f"l{min(9, rng.geometric(0.4))}"] for _ in range(ITEMS)],
        "genre": [
            list(rng.choice(genres, rng.integers(0, 3), replace=False)) for _ in range(ITEMS)
        ],
        "year": [[str(1990 + rng.integers(0, 25))] for _ in range(ITEMS)],
    }


def admitted(tree: language.Expression, values: dict[str, list[str]]) -> bool:
    match tree:
        case language.Term(feature, value):
            return value in values[feature]
        case language.Not(part):
            return not admitted(part, values)
        case language.And(parts):
            return all(admitted(part, values) for part in parts)
        case language.Or(parts):
            return any(admitted(part, values) for part in parts)
    return True


def test_filters_admit_what_they_say_and_hit_their_shares(
    attributes: dict[str, list[list[str]]],
) -> None:
    found = representative_filters(attributes, per_share=12, seed=3)
    assert list(found) == [0.5, 0.1, 0.01]
    for share, filters in found.items():
        assert len({one.text for one in filters}) == 12
        for one in filters:
            tree = language.parse(one.text)
            want = [admitted(tree, {f: v[i] for f, v in attributes.items()}) for i in range(ITEMS)]
            np.testing.assert_array_equal(one.eligible, want, err_msg=one.text)
            assert share / 1.31 < one.share < share * 1.31, one.text
    texts = " ".join(one.text for filters in found.values() for one in filters)
    assert all(word in texts for word in ("AND", "OR", "NOT"))


def test_filters_are_the_same_for_the_same_seed(attributes: dict[str, list[list[str]]]) -> None:
    def texts(seed: int) -> list[str]:
        return [one.text for one in representative_filters(attributes, seed=seed)[0.1]]

    assert texts(1) == texts(1)
    assert texts(1) != texts(2)


def test_nearest_filters_stand_in_where_a_share_cannot_be_had() -> None:
    found = representative_filters({"kind": [["a"]] * 90 + [["b"]] * 10}, shares=[0.3], per_share=2)
    assert {round(one.share, 2) for one in found[0.3]} <= {0.1, 0.9}
    assert found[0.3]


def test_filters_reject_a_catalogue_without_attributes() -> None:
    with pytest.raises(ValueError, match="hold no values"):
        representative_filters({"genre": [[], []]})
    with pytest.raises(ValueError, match="share of 1.5 .* not between 0 and 1"):
        representative_filters({"genre": [["a"]]}, shares=[1.5])


def test_exact_top_is_a_sort() -> None:
    rng = np.random.default_rng(0)
    queries, items = rng.normal(size=(5, 8)), rng.normal(size=(50, 8))
    eligible = rng.random((5, 50)) < 0.15
    got = np.asarray(exact_top(*(x.astype(np.float32) for x in (queries, items)), eligible, k=10))
    for query, mask, rows in zip(queries, eligible, got):
        order = [i for i in np.argsort(-(items @ query)) if mask[i]][:10]
        assert rows.tolist() == order + [-1] * (10 - len(order))


def test_loss_counts_what_a_search_withholds() -> None:
    """A search that never finds the best item loses exactly one in k, or one in fewer eligible."""
    rng = np.random.default_rng(0)
    items = rng.normal(size=(40, 4)).astype(np.float32)
    queries = rng.normal(size=(7, 4)).astype(np.float32)
    few = np.arange(40) < 2
    filters = {0.05: [FilterQuery("few", few)]}
    shapes = set()

    def searcher(given: np.ndarray, texts: Sequence[str]) -> np.ndarray:
        shapes.add((given.shape, len(texts)))
        eligible = np.stack([few if text else np.ones(40, bool) for text in texts])
        return np.asarray(exact_top(given, items, eligible, k=6))[:, 1:]

    losses = measure_index_loss(searcher, items, queries, filters, k=5, batch=4)
    assert list(losses) == ["plain", "5 %"]
    assert losses["plain"].loss == pytest.approx(0.2)
    assert losses["5 %"].loss == pytest.approx(0.5)
    assert (losses["5 %"].short, losses["5 %"].queries, losses["plain"].short) == (7, 7, 0)
    assert losses["5 %"].eligible == pytest.approx(0.05)
    assert shapes == {((4, 4), 4)}


def test_index_searched_whole_loses_next_to_nothing(attributes: dict[str, list[list[str]]]) -> None:
    rng = np.random.default_rng(1)
    items = rng.normal(size=(ITEMS, 16)).astype(np.float32)
    index = build_index(items, attributes, IndexConfig(clusters=4, keep_embeddings=True))
    filters = representative_filters(attributes, per_share=4)
    queries = rng.normal(size=(32, 16)).astype(np.float32)
    searcher = index_searcher(index, k=10, probes=4, rescore=2.0)
    losses = measure_index_loss(searcher, items, queries, filters, k=10, batch=32)
    # Float32 scores of twice the candidates: int8 alone decides nothing near the tenth place.
    assert all(loss.loss < 0.002 for loss in losses.values()), losses


def test_loss_rejects_k_past_the_catalogue() -> None:
    with pytest.raises(ValueError, match="k=5 must be from 1 to the 4 items"):
        measure_index_loss(
            lambda *_: np.zeros((1, 5), int), np.zeros((4, 2), np.float32),
            np.zeros((1, 2), np.float32), {}, k=5,
        )  # fmt: skip
