"""How a command ends on bad input: with one message and status 2, not with a traceback."""

from __future__ import annotations

import os
import sys

from silverjax._extras import MissingExtraError
from silverjax.snapshot_errors import SnapshotError

BAD_INPUT = (SnapshotError, MissingExtraError, ValueError, KeyError, TypeError, OSError)


def complain(error: Exception) -> int:
    """Prints what is wrong; the status to exit with. `SILVERJAX_DEBUG=1` raises it instead."""
    if os.environ.get("SILVERJAX_DEBUG"):
        raise error
    text = error.args[0] if isinstance(error, KeyError) and error.args else error
    print(f"error: {text}\n(SILVERJAX_DEBUG=1 shows where)", file=sys.stderr)
    return 2
