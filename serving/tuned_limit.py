"""What `silverjax tune-serving` found, in a file beside the snapshots it was found with.

One file for a folder of versions, `root/serving.tuned.json`: how long a batch takes depends on
the model's shapes and on the machine, not on the values that a new version brings. So it names the
programs it was measured with (`Engine.programs`), the machine and the target, and a service that
differs in one of them ignores it, saying in which.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import msgspec

from serving.engine import Engine
from silverjax.machine import machine
from silverjax.replace_file import replace_text
from silverjax.snapshot_errors import SnapshotError

NAME = "serving.tuned.json"
_SAME_MACHINE = ("processor", "cores", "devices")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TunedLimit:
    """The best batch limit, and what it was measured to carry.

    Attributes:
        batch_limit: Most rows of a batch.
        requests_per_s: Open-loop load that it carries within the target.
        by_limit: The same of other limits, as far as they were looked at.
        target_ms: Latency that 99 of 100 requests met.
        batch_sizes: That were compiled.
        sizes: Rows of the requests; see `serving.load.workload`.
        where: Their filter.
        programs: See `Engine.programs`.
        snapshot: Version that answered.
        date: When, UTC.
        machine: On which.
        versions: With which libraries.
    """

    batch_limit: int
    requests_per_s: float
    by_limit: dict[int, float]
    target_ms: float
    batch_sizes: tuple[int, ...]
    sizes: str
    where: str
    programs: str
    snapshot: str
    date: str
    machine: dict[str, Any]
    versions: dict[str, str]

    def unfit(self, engine: Engine, target_ms: float) -> str | None:
        """Why a service of this engine should not start from it; None if it should."""
        here = machine()
        differs = [name for name in _SAME_MACHINE if self.machine.get(name) != here[name]]
        if differs:
            found = ", ".join(f"{name} {self.machine.get(name)!r}" for name in differs)
            return f"it was measured on another machine ({found})"
        if self.programs != engine.programs:
            return "it was measured with another model, index size or k"
        if self.batch_limit not in engine.buckets:
            return f"its limit {self.batch_limit} is none of the batch sizes {engine.buckets}"
        if self.target_ms != target_ms:
            return f"it was measured for a target of {self.target_ms:g} ms, not {target_ms:g}"
        return None


def path_of(engine: Engine) -> Path:
    """Where the choice for an engine's snapshots lies."""
    return engine.snapshot.path.parent / NAME


def write_limit(engine: Engine, tuned: TunedLimit) -> Path:
    """Puts the choice beside the snapshots; a reader sees the old one or the new one, whole."""
    text = msgspec.json.format(msgspec.json.encode(tuned), indent=1)
    path = path_of(engine)
    replace_text(path, text.decode() + "\n")
    return path


def read_limit(engine: Engine) -> TunedLimit | None:
    """The choice that lies beside an engine's snapshot, for whatever it was made.

    Raises:
        SnapshotError: The file is not what `write_limit` writes.
    """
    path = path_of(engine)
    try:
        return msgspec.json.decode(path.read_bytes(), type=TunedLimit)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise SnapshotError(
            f"{path} is no choice of silverjax tune-serving ({error}); delete it, or tune again"
        ) from error
