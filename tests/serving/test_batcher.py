"""Rows are neither lost nor doubled, batches keep the limit, nobody starves, order is kept."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest

from serving.batcher import AHEAD, FULL, IDLE, REASONS, Batch, Batcher

requests = st.tuples(
    st.integers(1, 40),  # rows
    st.integers(-1, 2),  # priority
    st.sampled_from(["old", "new"]),  # group
)
# What may happen: a request comes, one is withdrawn, the engine asks, time passes.
events = st.lists(
    st.one_of(
        st.tuples(st.just("add"), requests),
        st.tuples(st.just("cancel"), st.integers(0, 50)),
        st.tuples(
            st.just("next"),
            st.tuples(st.sampled_from([None, AHEAD, IDLE]), st.none() | st.integers(1, 20)),
        ),
        st.tuples(st.just("wait"), st.floats(0, 1, allow_nan=False)),
        st.tuples(st.just("limit"), st.integers(1, 20)),
    ),
    max_size=80,
)


class Bookkeeper:
    """Follows a batcher with sets of rows, and complains where the two differ."""

    def __init__(self, limit: int) -> None:
        self.batcher = Batcher[int](limit)
        self.now = 0.0
        self.tickets: dict[int, Any] = {}
        self.waiting: dict[int, set[int]] = {}
        self.took: dict[int, list[int]] = defaultdict(list)

    def run(self, kind: str, value: Any) -> None:
        getattr(self, kind)(value)
        assert self.batcher.rows == sum(map(len, self.waiting.values()))

    def add(self, request: tuple[int, int, str]) -> None:
        rows, priority, group = request
        number = len(self.tickets)
        self.tickets[number] = self.batcher.add(
            number,
            rows,
            arrival=self.now,
            priority=priority,
            group=group,
        )
        self.waiting[number] = set(range(rows))

    def cancel(self, number: int) -> None:
        if number in self.tickets:
            self.batcher.cancel(self.tickets[number])
            self.waiting[number] = set()

    def limit(self, limit: int) -> None:
        self.batcher.limit = limit

    def next(self, asked: tuple[str | None, int | None]) -> Batch[int] | None:
        waited, (free, most) = self.batcher.rows, asked
        batch = self.batcher.next(self.now, free=free, most=most)
        if batch is None:
            assert not waited or not (free or waited >= self.batcher.limit)
            return None
        assert 1 <= batch.rows <= self.batcher.limit
        assert batch.reason == FULL or most is None or batch.rows <= most
        assert batch.reason == (FULL if waited >= self.batcher.limit else free)
        assert batch.reason in REASONS
        assert batch.rows == sum(piece.stop - piece.start for piece in batch.pieces)
        for piece in batch.pieces:
            rows = set(range(piece.start, piece.stop))
            assert rows
            assert rows <= self.waiting[piece.item]
            assert self.tickets[piece.item].group == batch.group
            self.waiting[piece.item] -= rows
            self.took[piece.item] += sorted(rows)
        return batch

    def wait(self, seconds: float) -> None:
        self.now += seconds


@hypothesis.given(events, st.integers(1, 20))
def test_rows_are_neither_lost_nor_doubled(steps: list[Any], limit: int) -> None:
    keeper = Bookkeeper(limit)
    for kind, value in steps:
        keeper.run(kind, value)
    for _ in range(10_000):
        if keeper.next((IDLE, None)) is None:
            break
    assert keeper.batcher.rows == 0
    for number, ticket in keeper.tickets.items():
        if not ticket.cancelled:
            assert keeper.took[number] == list(range(ticket.rows))


@hypothesis.given(st.lists(st.integers(1, 8), min_size=1, max_size=30), st.integers(8, 20))
def test_requests_of_one_turn_are_served_in_order_of_arrival(sizes: list[int], limit: int) -> None:
    batcher = Batcher[int](limit)
    for number, rows in enumerate(sizes):
        batcher.add(number, rows, arrival=float(number))
    firsts: list[int] = []
    while (batch := batcher.next(100.0, free=IDLE)) is not None:
        firsts += [piece.item for piece in batch.pieces if piece.start == 0]
    assert firsts == list(range(len(sizes)))


@hypothesis.given(
    st.integers(1, 16),
    st.lists(st.integers(1, 300), min_size=1, max_size=6),
    st.integers(0, 40),
)
def test_large_requests_delay_a_small_one_by_at_most_a_turn_each(
    limit: int, large: list[int], rounds: int
) -> None:
    batcher = Batcher[str](limit)
    for number, rows in enumerate(large):
        batcher.add(f"large {number}", rows, arrival=0.0)
    for step in range(rounds):
        batcher.next(1.0 + step, free=IDLE)
    batcher.add("small", 1, arrival=100.0)
    for _ in range(len(large) + 1):
        batch = batcher.next(101.0, free=IDLE)
        assert batch is not None
        if any(piece.item == "small" for piece in batch.pieces):
            return
    raise AssertionError("the small request waits for more than one turn of each large one")


def test_large_request_moves_on_among_small_ones() -> None:
    batcher = Batcher[str](4)
    batcher.add("large", 12, arrival=0.0)
    now, batches = 0.0, 0
    while batcher.rows_ahead(0) and batches < 100:
        now += 1.0
        batches += 1
        for _ in range(2):  # half of what a batch holds, for ever
            batcher.add("small", 1, arrival=now)
        batch = batcher.next(now, free=IDLE)
        assert batch is not None
        if any(piece.item == "large" and piece.stop == 12 for piece in batch.pieces):
            break
    assert batches <= 6


def test_higher_priority_goes_first_but_only_by_its_head_start() -> None:
    batcher = Batcher[str](1, head_start_s=0.05)
    batcher.add("early", 1, arrival=0.0)
    batcher.add("urgent", 1, arrival=0.04, priority=1)
    batcher.add("urgent, late", 1, arrival=0.06, priority=1)
    order = [batcher.next(1.0, free=IDLE).pieces[0].item for _ in range(3)]  # type: ignore[union-attr]
    assert order == ["urgent", "early", "urgent, late"]


def test_versions_never_share_a_batch() -> None:
    batcher = Batcher[int](8)
    for number in range(6):
        batcher.add(number, 2, arrival=float(number), group=number % 2)
    first, second = batcher.next(9.0, free=IDLE), batcher.next(9.0, free=IDLE)
    assert first is not None
    assert second is not None
    assert [piece.item for piece in first.pieces] == [0, 2, 4]
    assert [piece.item for piece in second.pieces] == [1, 3, 5]


def test_waits_for_company_until_full_or_free() -> None:
    batcher = Batcher[str](4)
    assert batcher.next(0.0, free=IDLE) is None
    batcher.add("one", 1, arrival=0.0)
    assert batcher.next(0.0, free=None) is None
    for free in (IDLE, AHEAD):
        batcher.add("two", 1, arrival=9.0)
        alone = batcher.next(9.0, free=free)
        assert alone is not None
        assert alone.reason == free
    batcher.add("three", 5, arrival=9.0)
    full = batcher.next(9.0, free=None)
    assert full is not None
    assert (full.reason, full.rows, batcher.rows) == (FULL, 4, 1)


def test_rows_ahead_counts_equal_and_higher_priorities() -> None:
    batcher = Batcher[str](4)
    batcher.add("low", 3, arrival=0.0, priority=-1)
    batcher.add("normal", 5, arrival=0.0)
    high = batcher.add("high", 7, arrival=0.0, priority=1)
    assert [batcher.rows_ahead(level) for level in (-1, 0, 1, 2)] == [15, 12, 7, 0]
    batcher.cancel(high)
    batcher.cancel(high)
    assert [batcher.rows_ahead(level) for level in (-1, 0, 1)] == [8, 5, 0]


def test_rejects_what_has_no_rows() -> None:
    with pytest.raises(ValueError, match="at least 1 row"):
        Batcher[str](0)
    with pytest.raises(ValueError, match="at least 1 row, not 0"):
        Batcher[str](1).add("none", 0, arrival=0.0)
