"""Who is let in, who is refused, and what they are told."""

from __future__ import annotations

from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest

from serving.admission import CAPACITY, REASONS, TOO_LATE, Admission, Refusal

ROOM = Admission(capacity_rows=100, reserved_share=0.1)


def decide(rows: int = 1, **changes: Any) -> Refusal | None:
    given: dict[str, Any] = {
        "waiting": 0,
        "priority": 0,
        "now": 50.0,
        "deadline": 51.0,
        "estimate_s": 0.2,
        "rows_per_s": 1_000.0,
    }
    return ROOM.decide(rows, **(given | changes))


def test_lets_in_what_can_be_answered_in_time() -> None:
    assert decide() is None
    assert decide(estimate_s=1.0) is None


def test_refuses_what_would_come_too_late_and_says_by_how_much() -> None:
    refusal = decide(estimate_s=1.5)
    assert refusal is not None
    assert refusal.reason == TOO_LATE
    assert refusal.retry_after == pytest.approx(0.5)


def test_refuses_when_full_and_says_when_there_is_room() -> None:
    assert decide(10, waiting=80) is None
    assert decide(10, waiting=90) == Refusal(CAPACITY, 0.01)


def test_urgent_requests_may_use_what_is_reserved() -> None:
    assert decide(10, waiting=90, priority=1) is None
    assert decide(11, waiting=90, priority=1) == Refusal(CAPACITY, 0.001)


@hypothesis.given(
    st.integers(1, 90),
    st.integers(0, 200),
    st.integers(-3, 3),
    st.floats(0.001, 60),
    st.floats(-1, 60),
)
def test_room_is_never_exceeded_and_refusals_say_when(
    rows: int, waiting: int, priority: int, estimate: float, patience: float
) -> None:
    answer = decide(
        rows, waiting=waiting, priority=priority, estimate_s=estimate, deadline=50.0 + patience
    )
    if answer is None:
        assert waiting + rows <= ROOM.room_for(priority)
        assert estimate <= patience + 1e-9
    else:
        assert answer.reason in REASONS
        assert 0 < answer.retry_after <= max(estimate, (waiting + rows) / 1_000)


def test_rejects_more_rows_than_could_ever_wait() -> None:
    with pytest.raises(ValueError, match="91 rows exceeds the 90 that may wait; split it"):
        decide(91)


@pytest.mark.parametrize("bad", [{"capacity_rows": 0}, {"reserved_share": 1.0}])
def test_rejects_settings_that_let_nobody_in(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Admission(**bad)
