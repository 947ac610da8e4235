"""How many connections the system lets this process have open."""

from __future__ import annotations

import logging
import resource

log = logging.getLogger(__name__)

_KEPT_FREE = 512  # for snapshots, the admin port, gRPC, and what libraries open


def raise_file_limit() -> int:
    """Raises the limit of open files as far as it goes, and returns it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def connections_within(files: int, wanted: int) -> int:
    """As many connections as wanted, or as `files` open files leave room for.

    A process that runs out of files can neither accept a connection nor open a snapshot, so the
    connections must end before the files do.
    """
    if files == resource.RLIM_INFINITY:
        return wanted
    room = files - min(_KEPT_FREE, files // 2)
    if room < wanted:
        log.warning(
            "room for %d connections rather than %d: this process may open %d files; "
            "raise the hard limit (ulimit -Hn, LimitNOFILE=) to have more",
            room,
            wanted,
            files,
        )
    return min(room, wanted)
