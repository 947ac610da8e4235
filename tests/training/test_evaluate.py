from __future__ import annotations

import numpy as np
import pytest

from training.datasets.dataset import sorted_interactions
from training.evaluate import Batch, compare, evaluate, rank_by_scores
from training.splits import Cases, leave_last_out

ITEMS = 12


@pytest.fixture(scope="module")
def cases() -> Cases:
    rng = np.random.default_rng(0)
    rows = [(u, i, t) for u in range(7) for t, i in enumerate(rng.permutation(ITEMS)[: u + 3])]
    user, item, time = (np.array(column) for column in zip(*rows))
    ones = np.ones((len(rows), 1))
    return leave_last_out(sorted_interactions(user, item, time, ones, ones[:, 0])).test


def scores(batch: Batch) -> np.ndarray:
    """Different for every user, so that a mix-up of rows would show."""
    table = np.random.default_rng(1).normal(size=(7, ITEMS)).astype(np.float32)
    return table[np.maximum(batch.user, 0)]


@pytest.mark.parametrize("batch", [1, 3, 7, 50])
def test_evaluate_matches_plain_python(cases: Cases, batch: int) -> None:
    result = evaluate(
        rank_by_scores(scores), cases, items=ITEMS, batch=batch, recall_at=(3,), ndcg_at=(2, 5)
    )
    recall, ndcg, shown = [], [], set()
    for at, user in enumerate(cases.user):
        mine = scores(Batch(np.array([user]), *[np.zeros((1, 1))] * 4))[0]
        seen = set(cases.seen_by(np.array([at]))[0])
        order = [item for item in np.argsort(-mine) if item not in seen]
        place = order.index(cases.targets_of(np.array([at]))[0][0, 0])
        recall.append(place < 3)
        ndcg.append(1 / np.log2(place + 2) if place < 5 else 0)
        shown |= set(order[:3])
    assert result.metrics["recall@3"] == pytest.approx(np.mean(recall))
    assert result.metrics["ndcg@5"] == pytest.approx(np.mean(ndcg))
    assert result.metrics["coverage@3"] == pytest.approx(len(shown) / ITEMS)
    np.testing.assert_allclose(result.per_case["ndcg@5"], ndcg, rtol=1e-6)


def test_evaluate_gives_batches_of_one_shape_without_targets(cases: Cases) -> None:
    shapes = set()
    done: list[int] = []

    def ranker(batch: Batch, k: int) -> np.ndarray:
        shapes.add((batch.user.shape, batch.history.shape, batch.exclude.shape))
        for user, history in zip(batch.user, batch.history):
            assert (user == -1) == (history == -1).all()
        return np.tile(np.arange(k), (len(batch.user), 1))

    evaluate(
        ranker, cases, items=ITEMS, history=4, batch=3, recall_at=(5,), ndcg_at=(5,),
        progress=done.append,
    )  # fmt: skip
    assert shapes == {((3,), (3, 4), (3, 8))}
    assert done == [3, 3, 1]


def test_rank_by_scores_leaves_out_what_cannot_be_shown() -> None:
    batch = Batch(
        np.array([0, 1], np.int32), np.zeros((2, 1), np.int32), np.zeros((2, 1, 1), np.float32),
        np.array([[2, -1], [-1, -1]], np.int32), np.zeros(2, np.int32),
    )  # fmt: skip
    table = np.array([[1, 1, 9, -np.inf], [0, 0, 0, 7]], np.float32)
    got = np.asarray(rank_by_scores(lambda _: table)(batch, 4))
    # Equal scores by row; neither the seen item 2 nor the one scored -inf.
    np.testing.assert_array_equal(got, [[0, 1, -1, -1], [3, 0, 1, 2]])


@pytest.mark.parametrize(
    ("ranked", "complaint"),
    [
        (np.zeros((7, 4), np.int32), r"returned shape \(7, 4\); it was asked for \(7, 5\)"),
        (np.zeros((7, 5), np.float32), "returned float32; item rows are integers"),
        (np.full((7, 5), 12), "rows 12..12; the catalogue's are 0..11"),
        (np.full((7, 5), -2), "rows -2..-2"),
    ],
)
def test_evaluate_rejects_what_is_no_ranking(
    cases: Cases, ranked: np.ndarray, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        evaluate(lambda *_: ranked, cases, items=ITEMS, batch=7, recall_at=(5,), ndcg_at=())


def test_evaluate_rejects_cut_offs_past_the_catalogue(cases: Cases) -> None:
    with pytest.raises(ValueError, match="none past the 12 items"):
        evaluate(rank_by_scores(scores), cases, items=ITEMS)


def test_compare_separates_methods_that_differ_and_no_others(cases: Cases) -> None:
    result = evaluate(rank_by_scores(scores), cases, items=ITEMS, recall_at=(3,), ndcg_at=())
    rng = np.random.default_rng(0)
    noise = rng.normal(size=900)

    def with_mean(mean: float) -> object:
        values = (mean + noise + 0.01 * rng.normal(size=900)).astype(np.float32)
        return type(result)({}, {"recall@3": values})

    gains = compare(
        {"good": with_mean(0.3), "fair": with_mean(0.2), "same": with_mean(0.2)},  # type: ignore[dict-item]
        "recall@3",
    )
    low, high = gains["good"]["fair"]
    # Paired: the noise that both share (0.03 of each mean) does not blur the difference.
    assert 0.098 < low < 0.1 < high < 0.102
    low, high = gains["fair"]["same"]
    assert low < 0.001
    assert high > -0.001
    assert gains["good"]["good"] == (0.0, 0.0)
