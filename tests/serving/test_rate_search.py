"""The offline search, on systems whose highest rates are known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.rate_search import RateSearch, Tuned

LADDER = (1, 2, 4, 8, 16)


def search(capacity: dict[int, float], first: float = 100.0, **options: float) -> tuple[Tuned, int]:
    """Runs against limits that meet the target up to a capacity, and never beyond."""
    found, asked = RateSearch(tuple(capacity), first, **options), 0  # type: ignore[arg-type]
    while (proposal := found.proposal) is not None:
        late = 0 if proposal.rate <= capacity[proposal.batch_limit] else 500
        found.tell(requests=1000, late=late)
        asked += 1
    return found.result, asked


@given(
    st.lists(st.floats(1.0, 1e5), min_size=5, max_size=5),
    st.floats(0.1, 1e6),
)
def test_finds_the_best_limit_when_it_looks_at_all(rates: list[float], first: float) -> None:
    capacity = dict(zip(LADDER, rates))
    found, _ = search(capacity, first, patience=5)
    assert found.rate <= capacity[found.batch_limit]  # it was measured to be met
    assert found.rate >= max(rates) / 1.03**2  # resolution, and what a rung must gain


def test_stops_after_limits_that_carry_less() -> None:
    falling = {1: 100.0, 2: 200.0, 4: 150.0, 8: 140.0, 16: 1000.0}
    assert search(falling, patience=2)[0].batch_limit == 2
    assert search(falling, patience=3)[0].batch_limit == 16


def test_a_limit_that_carries_less_costs_one_measurement() -> None:
    alone = search({1: 1000.0})[1]
    assert search({1: 1000.0, 2: 500.0, 4: 400.0})[1] == alone + 2  # one each


def test_an_unlucky_measurement_is_made_again() -> None:
    """The second limit carries twice as much, but one measurement says otherwise, nearly."""
    found, unlucky = RateSearch((1, 2), 100.0), True
    while (proposal := found.proposal) is not None:
        meets = proposal.rate <= {1: 200.0, 2: 400.0}[proposal.batch_limit]
        late = 0 if meets else 500
        if proposal.batch_limit == 2 and unlucky:
            late, unlucky = 15, False
        found.tell(requests=1000, late=late)
    assert found.result.batch_limit == 2
    assert 400 / 1.03 <= found.result.rate <= 400


def test_a_lucky_measurement_is_found_out() -> None:
    """The second limit carries half as much, but the first two measurements say otherwise."""
    found, lucky = RateSearch((1, 2), 100.0), 2
    while (proposal := found.proposal) is not None:
        meets = proposal.rate <= {1: 200.0, 2: 100.0}[proposal.batch_limit]
        if not meets and proposal.batch_limit == 2 and lucky:
            meets, lucky = True, lucky - 1
        found.tell(requests=1000, late=0 if meets else 500)
    assert found.result.batch_limit == 1
    assert 200 / 1.03 <= found.result.rate <= 200


def test_nothing_meets_the_target() -> None:
    assert search(dict.fromkeys(LADDER, 0.0))[0] == Tuned(1, 0.0, {})


def test_late_requests_count_up_to_the_percentile() -> None:
    found = RateSearch((1,), 10.0, percentile=0.95)
    found.tell(requests=100, late=5)
    assert found.result.rate == 10.0
    found.tell(requests=100, late=6)
    assert found.proposal is not None
    assert 10.0 < found.proposal.rate < 15.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((), 1.0), "must be ascending and not empty"),
        (((2, 1), 1.0), "must be ascending"),
        (((1,), 0.0), "first_rate=0.0 must be a positive number"),
    ],
)
def test_rejects_settings(arguments: tuple[tuple[int, ...], float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RateSearch(*arguments)
