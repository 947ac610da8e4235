"""Engagement: counts and lags as plain Python finds them."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from silverjax.engagement import EngagementConfig, check_engagement, evidence_of, no_engagement
from tests.silverjax.models import BATCH, CONFIG, ITEMS, make_engagement, some_users

ROWS = jnp.asarray(np.random.default_rng(0).integers(0, ITEMS, (BATCH, 5)), jnp.int32)


def evidence(users: Any = None, **position: Any) -> Any:
    windows = CONFIG.engagement.windows
    return evidence_of(make_engagement(), users or some_users(), ROWS, windows=windows, **position)


@pytest.mark.parametrize("day", [99, 100, 101, 105, 109, 10_000])
def test_counts_are_those_of_the_days_before(day: int) -> None:
    known = make_engagement()
    users = dataclasses.replace(some_users(), day=jnp.full(BATCH, day))
    totals, end = np.asarray(known.totals), CONFIG.engagement.days
    at = min(max(day - 100, 0), end)
    want = [totals[at] - totals[max(at - window, 0)] for window in CONFIG.engagement.windows]
    counts = np.stack([*want, totals[at]])[:, np.asarray(ROWS)].swapaxes(0, 1)
    np.testing.assert_allclose(evidence(users).counts[:, 0], np.log1p(counts), rtol=1e-6)


def test_without_a_day_it_is_the_day_after_the_last() -> None:
    users = dataclasses.replace(some_users(), day=jnp.full(BATCH, 109))
    np.testing.assert_array_equal(evidence().counts, evidence(users).counts)


def test_lags_count_back_from_the_position_and_skip_what_is_absent() -> None:
    at = jnp.asarray([[5, 2]] * BATCH)
    lag = np.asarray(evidence(at=at, day=jnp.full((BATCH, 2), 105)).lag)
    np.testing.assert_array_equal(lag[0, 0], [5, 4, 3, 2, 1, 0])
    np.testing.assert_array_equal(lag[0, 1], [2, 1, 0, -1, -1, -1])  # what comes later is unknown
    np.testing.assert_array_equal(lag[1, 0], [-1, -1, -1, -1, 1, 0])  # a short history
    assert (lag[-1] == -1).all()
    np.testing.assert_array_equal(evidence().lag[:, 0], lag[:, 0])


@pytest.mark.parametrize(
    ("column", "message"), [("vectors", "vectors has shape"), ("totals", "totals")]
)
def test_engagement_of_other_items_is_rejected(column: str, message: str) -> None:
    known = make_engagement()
    short = dataclasses.replace(known, **{column: getattr(known, column)[:-1]})
    check_engagement(known, CONFIG.engagement, items=known.vectors.shape[0])
    with pytest.raises(ValueError, match=message):
        check_engagement(short, CONFIG.engagement, items=known.vectors.shape[0])


def test_items_that_nobody_chose_have_zeros() -> None:
    nothing = no_engagement(ITEMS, CONFIG.engagement)
    found = evidence_of(nothing, some_users(), ROWS, windows=CONFIG.engagement.windows)
    assert not np.asarray(found.vectors).any()
    assert not np.asarray(found.scales).any()
    assert not np.asarray(found.counts).any()


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"width": 0}, r"EngagementConfig\.width=0 must be >= 1"),
        ({"windows": (1, 500)}, r"windows=\(1, 500\) must lie from 1 to days=400"),
    ],
)
def test_rejects_sizes_that_make_no_sense(settings: dict, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        EngagementConfig(**settings)
