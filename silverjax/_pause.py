"""How work in the background lets others go first, without knowing who they are."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class Pause(Protocol):
    """Called now and then by who loads, for who answers requests meanwhile."""

    def __call__(self, unlocked: float = 0.0) -> None:
        """Rests, if it is time to.

        Args:
            unlocked: Seconds of work since the last call without the interpreter's lock, which
                others can have meanwhile: in this thread or in one that works for it.
        """


def no_pause(unlocked: float = 0.0) -> None:
    """For who has the process alone."""
