"""Which rows go into the next batch: joins small requests, splits large ones, lets none starve.

A plain data structure: no clock, no threads. The caller says what time it is and whether the
engine is idle, and gets a batch or the moment at which to ask again.

Requests wait in order of arrival. A request that a batch cannot hold whole gets what room there
is, then goes behind all that have arrived meanwhile: round robin, with one batch as the turn
(Nagle, RFC 970). So a request of a thousand rows delays one of a single row by one batch, and
still moves on by one turn whenever those that came before its last turn have had theirs.
"""

from __future__ import annotations

import dataclasses
import heapq
import itertools
import math
from collections import Counter
from collections.abc import Hashable
from typing import Generic, TypeVar

Item = TypeVar("Item")

FULL, DEADLINE, IDLE = "full", "deadline", "idle"
REASONS = (FULL, DEADLINE, IDLE)


@dataclasses.dataclass(eq=False)
class Ticket(Generic[Item]):
    """A request's place in the queue.

    Attributes:
        item: What the caller queued.
        rows: Rows it has in all.
        deadline: When it must be answered, in the caller's clock (seconds).
        priority: Level; see `Batcher`.
        group: Only requests of one group share a batch.
        taken: Rows that batches have taken so far.
        cancelled: It was withdrawn.
    """

    item: Item
    rows: int
    deadline: float
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
        reason: Why now: the batch is "full", a "deadline" comes near, or the engine is "idle".
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
        self._deadlines: list[tuple[float, int, Ticket[Item]]] = []
        self._by_priority: Counter[int] = Counter()
        self._numbers = itertools.count()

    def add(
        self,
        item: Item,
        rows: int,
        *,
        arrival: float,
        deadline: float = math.inf,
        priority: int = 0,
        group: Hashable = None,
    ) -> Ticket[Item]:
        """Queues a request of `rows` rows that arrives now.

        Raises:
            ValueError: It has no rows.
        """
        if rows < 1:
            raise ValueError(f"a request needs at least 1 row, not {rows}")
        ticket = Ticket(item, rows, deadline, priority, group)
        self._queue(ticket, arrival)
        if deadline < math.inf:
            heapq.heappush(self._deadlines, (deadline, next(self._numbers), ticket))
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
        return sum(rows for level, rows in self._by_priority.items() if level >= priority)

    def next(self, now: float, *, idle: bool, lead_s: float = 0.0) -> Batch[Item] | float:
        """The batch to run now, or until when there is none unless something changes.

        Args:
            now: In the clock of the arrivals; never goes back.
            idle: Nothing runs: waiting would gain no rows that the machine has time for.
            lead_s: How long before its deadline a request must leave to be answered in time.

        Returns:
            A batch, which leaves the queue; or the time at which a deadline comes near
            (infinite if there is none).
        """
        _drop_done(self._deadlines)
        near = self._deadlines[0][0] - lead_s if self._deadlines else math.inf
        if self.rows >= self.limit:
            return self._take(now, FULL)
        if self.rows and idle:
            return self._take(now, IDLE)
        return self._take(now, DEADLINE) if now >= near else near

    def _take(self, now: float, reason: str) -> Batch[Item]:
        _drop_done(self._order)
        group = self._order[0][2].group
        room, pieces, others = self.limit, [], []
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
        return Batch(tuple(pieces), self.limit - room, group, reason)

    def _queue(self, ticket: Ticket[Item], since: float) -> None:
        place = since - ticket.priority * self._head_start_s
        heapq.heappush(self._order, (place, next(self._numbers), ticket))

    def _leave(self, ticket: Ticket[Item], rows: int) -> None:
        self.rows -= rows
        self._by_priority[ticket.priority] -= rows


def _drop_done(heap: list[tuple[float, int, Ticket[Item]]]) -> None:
    """Withdrawn requests are removed when they come to the front, not searched for."""
    while heap and not heap[0][2].left:
        heapq.heappop(heap)
