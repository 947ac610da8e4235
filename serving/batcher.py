"""Which rows go into the next batch: joins small requests, splits large ones, lets none starve.

A plain data structure: no clock, no threads. The caller says what time it is and whether the
device is free, and gets a batch or is told to wait.

A batch leaves when it is full, or when the device has nothing else to do. Waiting longer would
gain rows for a machine that stands still; leaving earlier, such as when a deadline comes near,
would put the request behind what runs all the same, in a batch that is smaller than it need be.
One that is not full need not take all that waits: the caller knows which sizes are compiled, and
how much of a batch would be padding (`ServiceTimes.best_rows`).

Requests wait in order of arrival. A request that a batch cannot hold whole gets what room there
is, then goes behind all that have arrived meanwhile: round robin, with one batch as the turn
(Nagle, RFC 970). So a request of a thousand rows delays one of a single row by one batch, and
still moves on by one turn whenever those that came before its last turn have had theirs.
"""

from __future__ import annotations

import dataclasses
import heapq
import itertools
from collections import Counter
from collections.abc import Hashable
from typing import Generic, TypeVar

Item = TypeVar("Item")

FULL, AHEAD, IDLE = "full", "ahead", "idle"
REASONS = (FULL, AHEAD, IDLE)


@dataclasses.dataclass(eq=False)
class Ticket(Generic[Item]):
    """A request's place in the queue.

    Attributes:
        item: What the caller queued.
        rows: Rows it has in all.
        priority: Level; see `Batcher`.
        group: Only requests of one group share a batch.
        taken: Rows that batches have taken so far.
        cancelled: It was withdrawn.
    """

    item: Item
    rows: int
    priority: int
    group: Hashable
    taken: int = 0
    cancelled: bool = False

    @property
    def left(self) -> int:
        """Rows that still wait."""
        return 0 if self.cancelled else self.rows - self.taken


@dataclasses.dataclass(frozen=True)
class Piece(Generic[Item]):
    """Rows `start` to `stop` of a request."""

    item: Item
    start: int
    stop: int


@dataclasses.dataclass(frozen=True)
class Batch(Generic[Item]):
    """What to run next.

    Attributes:
        pieces: In the order of the batch's rows; all of one `group`.
        rows: Their sum.
        group: As given to `Batcher.add`.
        reason: Why now: the batch is "full"; the device is "idle"; or it will be in a moment, and
            the batch is made ready "ahead".
    """

    pieces: tuple[Piece[Item], ...]
    rows: int
    group: Hashable
    reason: str


class Batcher(Generic[Item]):
    """Rows that wait, and the rule by which they leave.

    Args:
        limit: Most rows of a batch; may be changed at any time.
        head_start_s: A request of priority p is served as if it had arrived p times so much
            earlier. Within a priority the order is that of arrival, and as the head start is
            bounded, no priority starves another.

    Attributes:
        rows: Rows that wait.
    """

    def __init__(self, limit: int, *, head_start_s: float = 0.05) -> None:
        if limit < 1:
            raise ValueError(f"{limit=} must be at least 1 row")
        self.limit = limit
        self.rows = 0
        self._head_start_s = head_start_s
        self._order: list[tuple[float, int, Ticket[Item]]] = []
        self._by_priority: Counter[int] = Counter()
        self._numbers = itertools.count()

    def add(
        self,
        item: Item,
        rows: int,
        *,
        arrival: float,
        priority: int = 0,
        group: Hashable = None,
    ) -> Ticket[Item]:
        """Queues a request of `rows` rows that arrives now.

        Raises:
            ValueError: It has no rows.
        """
        if rows < 1:
            raise ValueError(f"a request needs at least 1 row, not {rows}")
        ticket = Ticket(item, rows, priority, group)
        self._queue(ticket, arrival)
        self.rows += rows
        self._by_priority[priority] += rows
        return ticket

    def cancel(self, ticket: Ticket[Item]) -> None:
        """Withdraws what has not been taken yet; a second call does nothing."""
        self._leave(ticket, ticket.left)
        ticket.cancelled = True

    def rows_ahead(self, priority: int) -> int:
        """Rows that a request of this priority would find before it, as if head starts were
        infinite: an estimate from below for the priorities above the lowest."""
        ahead = 0
        for level, rows in self._by_priority.items():
            if level >= priority:
                ahead += rows
        return ahead

    @property
    def first(self) -> Ticket[Item] | None:
        """Whose turn is next."""
        while self._order and not self._order[0][2].left:
            heapq.heappop(self._order)  # withdrawn ones leave when they come to the front
        return self._order[0][2] if self._order else None

    def next(self, now: float, *, free: str | None, most: int | None = None) -> Batch[Item] | None:
        """The batch to run now; it leaves the queue. `None` if it is better to wait.

        Args:
            now: In the clock of the arrivals; never goes back.
            free: `IDLE` or `AHEAD` if the device has nothing else to do; `None` if it has, so
                that only a full batch leaves.
            most: Rows of a batch that is not full, at least 1; `None` for all that wait.
        """
        if self.rows >= self.limit:
            return self._take(now, FULL, self.limit)
        if not (self.rows and free):
            return None
        return self._take(now, free, self.limit if most is None else min(most, self.limit))

    def _take(self, now: float, reason: str, most: int) -> Batch[Item]:
        first = self.first
        assert first is not None
        group = first.group
        room, pieces, others = most, [], []
        while room and self._order:
            entry = heapq.heappop(self._order)
            ticket = entry[2]
            if not ticket.left:
                continue
            if ticket.group != group:
                others.append(entry)
                continue
            rows = min(room, ticket.left)
            pieces.append(Piece(ticket.item, ticket.taken, ticket.taken + rows))
            room -= rows
            self._leave(ticket, rows)
            ticket.taken += rows
            if ticket.left:
                self._queue(ticket, now)
        for entry in others:
            heapq.heappush(self._order, entry)
        return Batch(tuple(pieces), most - room, group, reason)

    def _queue(self, ticket: Ticket[Item], since: float) -> None:
        place = since - ticket.priority * self._head_start_s
        heapq.heappush(self._order, (place, next(self._numbers), ticket))

    def _leave(self, ticket: Ticket[Item], rows: int) -> None:
        self.rows -= rows
        self._by_priority[ticket.priority] -= rows
