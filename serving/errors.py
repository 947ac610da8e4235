"""Why a request was not answered, when it is not the caller's fault."""

from __future__ import annotations


class Overloaded(Exception):
    """Refused at the door: the answer could not come in time. Nothing was done for it.

    Attributes:
        retry_after: Seconds after which it is worth trying again.
        reason: One of `serving.admission.REASONS`.
    """

    def __init__(self, retry_after: float, reason: str) -> None:
        super().__init__(retry_after, reason)
        self.retry_after = retry_after
        self.reason = reason

    def __str__(self) -> str:  # made only for who reads it: under overload most are counted alone
        return f"overloaded ({self.reason}); try again in {self.retry_after:.3f} s"


class DeadlineExceeded(TimeoutError):
    """Let in, but its time ran out before the answer was there."""


class BatchFailed(Exception):
    """The device gave an error instead of an answer; the log says which."""
