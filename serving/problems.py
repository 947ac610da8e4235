"""What went wrong, as a status and one sentence. Tells callers nothing of paths, code or keys."""

from __future__ import annotations

import dataclasses
import logging

import msgspec

from serving.errors import DeadlineExceeded, Overloaded
from serving.security import Denied

LONGEST_MESSAGE = 500  # a message may quote what was sent, which may be long

log = logging.getLogger(__name__)


class Refused(Exception):
    """A request that is refused with this status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclasses.dataclass(frozen=True)
class Problem:
    """An answer that is an error.

    Attributes:
        status: As HTTP counts.
        message: What is wrong and how to put it right.
        reason: For metrics, one of a few words.
        retry_after: Seconds; where trying again helps.
    """

    status: int
    message: str
    reason: str
    retry_after: float | None = None


def problem_of(error: Exception) -> Problem:
    """Turns what was raised while a request was answered into what its sender is told."""
    match error:
        case Refused():
            return _problem(error.status, str(error), "refused")
        case Denied(known=True):
            return _problem(403, str(error), "denied")
        case Denied():
            return _problem(401, str(error), "denied")
        case Overloaded():
            return Problem(503, str(error), "overloaded", error.retry_after)
        case DeadlineExceeded():
            return _problem(504, "the time ran out before the answer was there", "deadline")
        case RecursionError():
            return _problem(400, "the JSON is nested too deeply", "invalid")
        case msgspec.ValidationError():
            return _problem(400, str(error), "invalid")
        case msgspec.DecodeError() | UnicodeError():
            return _problem(400, f"the body is not valid JSON: {error}", "invalid")
        case KeyError():
            return _problem(400, str(error.args[0] if error.args else error), "invalid")
        case ValueError():
            return _problem(400, str(error), "invalid")
    log.error("a request failed", exc_info=error)
    return _problem(500, "the server failed; its log says why", "internal")


def _problem(status: int, message: str, reason: str) -> Problem:
    if len(message) > LONGEST_MESSAGE:
        message = message[: LONGEST_MESSAGE - 1] + "…"
    # What was sent may hold halves of surrogate pairs, which UTF-8 cannot.
    return Problem(status, message.encode("utf-8", "replace").decode(), reason)
