from __future__ import annotations

import math

import hypothesis.strategies as st
import jax
import numpy as np
import pytest
from hypothesis import given

from silverjax.metrics import (
    catalogue_coverage,
    index_loss,
    mean_and_interval,
    ndcg_at_k,
    recall_at_k,
)

RANKED = np.array([[3, 1, 4, 0], [2, 5, -1, -1], [0, 1, 2, 3], [9, 8, 7, 6]], np.int32)
HELD_OUT = np.array([[1, 0, 7], [5, -1, -1], [-1, -1, -1], [1, 2, 3]], np.int32)


def test_recall_divides_by_the_number_of_held_out_items() -> None:
    got = np.asarray(recall_at_k(RANKED, HELD_OUT, k=3))
    np.testing.assert_allclose(got, [1 / 3, 1.0, math.nan, 0.0], rtol=1e-6)
    # Three are held out and one place counts: the textbook's recall cannot reach 1.
    assert recall_at_k(RANKED[:1], np.array([[3, 1, 4]]), k=1)[0] == pytest.approx(1 / 3)


def test_ndcg_is_what_a_hand_calculation_gives() -> None:
    # Row 0: hits in second and fourth place, of three; the best ranking has three in front.
    best = 1 + 1 / math.log2(3) + 1 / 2
    want = [(1 / math.log2(3) + 1 / math.log2(5)) / best, 1 / math.log2(3), math.nan, 0.0]
    np.testing.assert_allclose(np.asarray(ndcg_at_k(RANKED, HELD_OUT, k=4)), want, rtol=1e-6)


def test_ndcg_of_more_held_out_items_than_places_can_be_one() -> None:
    assert ndcg_at_k(np.array([[4, 2]]), np.array([[1, 2, 3, 4]]), k=2)[0] == pytest.approx(1.0)


def test_repeated_items_gain_nothing() -> None:
    ranked = np.array([[5, 5, 5, 1]])
    assert recall_at_k(ranked, np.array([[5, 6]]), k=4)[0] == pytest.approx(0.5)
    once = ndcg_at_k(np.array([[5, 2, 3, 1]]), np.array([[5, 6]]), k=4)[0]
    assert ndcg_at_k(ranked, np.array([[5, 6]]), k=4)[0] == pytest.approx(float(once))


def test_padding_never_counts_as_a_hit() -> None:
    nothing = np.full((1, 3), -1)
    assert recall_at_k(nothing, np.array([[2, -1, -1]]), k=3)[0] == 0
    assert ndcg_at_k(nothing, np.array([[2, -1, -1]]), k=3)[0] == 0


# Compiled once per k: the property below calls them hundreds of times.
recall = jax.jit(recall_at_k, static_argnames="k")
ndcg = jax.jit(ndcg_at_k, static_argnames="k")
loss = jax.jit(index_loss)


@st.composite
def rankings(draw: st.DrawFn) -> tuple[list[int], list[int], int]:
    ranked = draw(st.lists(st.integers(0, 15), max_size=8, unique=True))
    held_out = draw(st.lists(st.integers(0, 15), min_size=1, max_size=8, unique=True))
    return ranked, held_out, draw(st.sampled_from([1, 3, 8]))


@given(rankings())
def test_metrics_match_plain_python(case: tuple[list[int], list[int], int]) -> None:
    ranked, held_out, k = case
    hits = [place for place, item in enumerate(ranked[:k]) if item in held_out]
    ideal = sum(1 / math.log2(place + 2) for place in range(min(k, len(held_out))))
    rows = np.array([ranked + [-1] * (8 - len(ranked))], np.int32)
    held = np.array([held_out + [-1] * (8 - len(held_out))], np.int32)
    assert recall(rows, held, k=k)[0] == pytest.approx(len(hits) / len(held_out), abs=1e-6)
    assert ndcg(rows, held, k=k)[0] == pytest.approx(
        sum(1 / math.log2(p + 2) for p in hits) / ideal, abs=1e-6
    )
    exact_kept = len(set(ranked) & set(held_out)) / len(held_out)
    assert loss(rows, held)[0] == pytest.approx(1 - exact_kept, abs=1e-6)


def test_metrics_work_under_jit() -> None:
    np.testing.assert_array_equal(
        np.asarray(recall(RANKED, HELD_OUT, k=2)), np.asarray(recall_at_k(RANKED, HELD_OUT, k=2))
    )


@pytest.mark.parametrize("k", [0, 5])
def test_metrics_reject_cut_offs_outside_the_ranking(k: int) -> None:
    with pytest.raises(ValueError, match=f"k={k} must be from 1 to .* 4"):
        recall_at_k(RANKED, HELD_OUT, k=k)


def test_metrics_reject_different_numbers_of_rows() -> None:
    with pytest.raises(ValueError, match="4 rankings for 2 held-out sets"):
        ndcg_at_k(RANKED, HELD_OUT[:2], k=2)


def test_coverage_counts_each_item_once_and_no_padding() -> None:
    assert catalogue_coverage(np.array([[0, 1], [1, -1]]), items=8) == pytest.approx(2 / 8)
    assert catalogue_coverage(np.array([[-1, -1]]), items=8) == 0
    with pytest.raises(ValueError, match="items=0 must be at least 1"):
        catalogue_coverage(np.array([[0]]), items=0)


def test_index_loss_counts_only_what_could_be_found() -> None:
    exact = np.array([[4, 2, 7], [4, -1, -1], [-1, -1, -1], [1, 2, 3]])
    found = np.array([[7, 4, 9, 2], [5, 4, -1, -1], [3, -1, -1, -1], [-1, -1, -1, -1]])
    np.testing.assert_allclose(np.asarray(index_loss(found, exact)), [0, 0, 0, 1])
    assert index_loss(found[:1, :2], exact[:1])[0] == pytest.approx(1 / 3)


def test_interval_is_students() -> None:
    # t of 4 degrees of freedom at 0.975 is 2.776 (any table of the distribution).
    estimate = mean_and_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert estimate.mean == 3
    assert estimate.half_width == pytest.approx(2.776445 * math.sqrt(2.5 / 5), rel=1e-5)
    assert (estimate.low, estimate.high) == (3 - estimate.half_width, 3 + estimate.half_width)
    assert str(estimate) == "3.0000 ± 1.9632"
    # 0.95 one-sided: 2.132.
    narrow = mean_and_interval([1.0, 2.0, 3.0, 4.0, 5.0], confidence=0.9)
    assert narrow.half_width == pytest.approx(2.131847 * math.sqrt(0.5), rel=1e-5)


def test_interval_of_one_value_is_unknown() -> None:
    assert mean_and_interval([0.5]).half_width == math.inf


@pytest.mark.parametrize(
    ("values", "complaint"),
    [([], "at least one|one or more"), ([0.1, math.nan], "must be finite"), ([[1.0]], "one dim")],
)
def test_interval_rejects_what_has_no_mean(values: list[float], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        mean_and_interval(np.array(values))


def test_interval_rejects_a_confidence_of_a_hundred() -> None:
    with pytest.raises(ValueError, match="confidence=95.0 must lie between 0 and 1"):
        mean_and_interval([1.0, 2.0], confidence=95.0)
