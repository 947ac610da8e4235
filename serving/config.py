"""How a service treats its requests."""

from __future__ import annotations

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class ServiceConfig:
    """Bounds and defaults.

    Attributes:
        timeout_s: Time that a request has if it names none.
        longest_timeout_s: Most that a request may ask for.
        capacity_rows: Rows that may wait; see `Admission`.
        reserved_share: Of that, kept for priorities above 0.
        head_start_s: What one level of priority is worth; see `Batcher`.
        priorities: Lowest and highest level.
        depth: Batches on their way at a time: one runs, one is ready to follow it, and one is put
            together. With two, the device stands still between batches whenever the event loop
            is slow to say what comes next, which under overload it is.
        drain_s: Time that requests have to be answered when the service stops.
        watch_s: How often to look for a newer snapshot; 0 leaves it to `Service.swap`.
    """

    timeout_s: float = 1.0
    longest_timeout_s: float = 60.0
    capacity_rows: int = 4_096
    reserved_share: float = 0.1
    head_start_s: float = 0.05
    priorities: tuple[int, int] = (-2, 2)
    depth: int = 3
    drain_s: float = 10.0
    watch_s: float = 0.0

    def __post_init__(self) -> None:
        for name in ("timeout_s", "longest_timeout_s"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"ServiceConfig.{name}={getattr(self, name)} must be above 0")
        for name in ("head_start_s", "drain_s", "watch_s"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"ServiceConfig.{name}={getattr(self, name)} must be at least 0")
        if self.depth < 1:
            raise ValueError(f"ServiceConfig.depth={self.depth} must be at least 1")
        if self.priorities[0] > self.priorities[1]:
            raise ValueError(
                f"ServiceConfig.priorities={self.priorities} must be (lowest, highest)"
            )
