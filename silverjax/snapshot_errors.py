"""What can be wrong with a snapshot; every message names the file and the way out."""

from __future__ import annotations

from pathlib import Path

_WAY_OUT = "Load another version, copy this one anew from where it came, or publish again."


class SnapshotError(Exception):
    """A snapshot cannot be published or loaded."""


class NoSnapshotError(SnapshotError):
    """There is no snapshot at the given path."""


class UnknownFormatError(SnapshotError):
    """The snapshot was written in a format that this version of the library cannot read."""

    def __init__(self, version: Path, found: object, known: int) -> None:
        super().__init__(
            f"{version} has snapshot format {found!r}; this version of silverjax reads {known}. "
            "Install the version that wrote it, or publish again with this one."
        )


class MissingFileError(SnapshotError):
    """A file of the snapshot is not there."""

    def __init__(self, version: Path, name: str) -> None:
        super().__init__(f"{version / name} is missing. {_WAY_OUT}")


class AlteredFileError(SnapshotError):
    """A file of the snapshot is not as it was published."""

    def __init__(self, version: Path, name: str, how: str) -> None:
        super().__init__(f"{version / name} was altered: {how}. {_WAY_OUT}")


class ExtraFileError(SnapshotError):
    """The snapshot holds a file that was not published with it."""

    def __init__(self, version: Path, name: str, kind: str = "file") -> None:
        super().__init__(
            f"{version / name} is no part of the snapshot: a {kind} that its manifest does not "
            "list. Remove it, after a look at how it came there, and load again."
        )


class DiskFullError(SnapshotError):
    """There is no room to publish; nothing was left behind."""
