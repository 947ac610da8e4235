"""Whether a request is let in: refused at once rather than queued and answered too late.

Under overload a queue without a bound answers everything late and so nothing usefully. Here the
wait is estimated at the door; who could not be answered in time is told so, and when to come
back, at the cost of a few microseconds (load shedding).
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

CAPACITY, TOO_LATE, STOPPING = "queue_full", "deadline", "stopping"
REASONS = (CAPACITY, TOO_LATE, STOPPING)


class Refusal(NamedTuple):
    """Why a request is not let in.

    Attributes:
        reason: One of `REASONS`.
        retry_after: Seconds after which the same request would be let in, if nobody else came.
    """

    reason: str
    retry_after: float


@dataclasses.dataclass(frozen=True)
class Admission:
    """The rule at the door.

    Attributes:
        capacity_rows: Rows that may wait. Bounds the memory of the queue.
        reserved_share: Share of the room that only priorities above 0 may use, so that a flood
            of ordinary requests cannot lock out urgent ones.
    """

    capacity_rows: int = 4_096
    reserved_share: float = 0.1

    def __post_init__(self) -> None:
        if self.capacity_rows < 1:
            raise ValueError(f"capacity_rows={self.capacity_rows} must be at least 1")
        if not 0 <= self.reserved_share < 1:
            raise ValueError(f"reserved_share={self.reserved_share} must be in [0, 1)")

    def room_for(self, priority: int) -> int:
        """Rows that may wait before a request of this priority is refused."""
        reserved = 0 if priority > 0 else int(self.capacity_rows * self.reserved_share)
        return self.capacity_rows - reserved

    def decide(
        self,
        rows: int,
        *,
        waiting: int,
        priority: int,
        now: float,
        deadline: float,
        estimate_s: float,
        rows_per_s: float,
    ) -> Refusal | None:
        """`None` lets the request in.

        Args:
            rows: Of the request.
            waiting: Rows in the queue now.
            priority: Of the request; above 0 is urgent.
            now: Time, seconds.
            deadline: When the answer must be there, in the same clock.
            estimate_s: Seconds from now until the answer, if it were let in.
            rows_per_s: How fast the queue empties, above 0.

        Raises:
            ValueError: More rows than could ever wait.
        """
        room = self.room_for(priority)
        if rows > room:
            raise ValueError(
                f"a request of {rows} rows exceeds the {room} that may wait; split it, or raise "
                f"capacity_rows={self.capacity_rows}"
            )
        if (over := waiting + rows - room) > 0:
            return Refusal(CAPACITY, over / rows_per_s)
        if (late := now + estimate_s - deadline) > 0:
            return Refusal(TOO_LATE, min(late, estimate_s))
        return None
