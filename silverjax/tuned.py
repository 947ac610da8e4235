"""What `silverjax tune` chose, in a file beside the snapshot it was chosen for.

A snapshot never changes, so the choice lies next to it: `root/00000007.tuned.json` for the
version `root/00000007`. It names the manifest it was measured on and is used with no other.
"""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

from silverjax import _durable, _plain
from silverjax.replace_file import replace_text
from silverjax.snapshot_errors import SnapshotError


@dataclasses.dataclass(frozen=True)
class Goal:
    """What is asked for, and how to measure it.

    Attributes:
        recall: Share of the exact best candidates that the search must find.
        latency_ms: Most milliseconds that a batch may take (median); None for no limit.
        memory_mib: Memory for the index; None leaves the width of the signature as it is.
        queries: Users to measure with.
        batch: Requests in a batch.
    """

    recall: float = 0.95
    latency_ms: float | None = None
    memory_mib: float | None = None
    queries: int = 512
    batch: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.recall <= 1:
            raise ValueError(f"recall={self.recall} must be above 0 and at most 1")
        for name in ("latency_ms", "memory_mib"):
            limit = getattr(self, name)
            if limit is not None and not 0 < limit < math.inf:
                raise ValueError(f"{name}={limit} must be a positive number; leave it out for none")
        for name in ("queries", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")


@dataclasses.dataclass(frozen=True)
class Tuned:
    """A choice, and what it was measured to give.

    Attributes:
        manifest: SHA-256 of the snapshot's manifest.
        probes: Clusters visited first, in place of the published `SearchConfig.probes`.
        recall: Mean share of the exact best candidates that are found.
        recall_target: What was asked for.
        latency_ms: Median of one batch.
        batch: Requests in that batch.
        bloom_bits: Width of the signature that the next build should take; None keeps it.
    """

    manifest: str
    probes: int
    recall: float
    recall_target: float
    latency_ms: float
    batch: int
    bloom_bits: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.probes, int) or self.probes < 1:
            raise ValueError(f"probes={self.probes!r} must be an integer of at least 1")


def path_of(version: Path, kind: str = "json") -> Path:
    """Where the choice for a version lies, or its chart (`png`)."""
    return version.with_name(f"{version.name}.tuned.{kind}")


def seal_of(version: Path) -> str:
    """SHA-256 of a version's manifest, which covers every file of it."""
    return (version / _durable.SEAL).read_text().split()[0]


def write_tuned(version: Path, tuned: Tuned) -> Path:
    """Puts the choice beside the version; a reader sees the old one or the new one, whole."""
    path = path_of(version)
    replace_text(path, json.dumps(dataclasses.asdict(tuned), indent=1, allow_nan=False) + "\n")
    return path


def read_tuned(version: Path) -> Tuned | None:
    """The choice for this very version; None if there is none, or if it was made for another.

    Raises:
        SnapshotError: The file is not what `write_tuned` writes.
    """
    path = path_of(version)
    try:
        tuned: Tuned = _plain.config_from_json(Tuned, json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (AttributeError, TypeError, ValueError) as error:
        raise SnapshotError(
            f"{path} is no choice of silverjax tune ({error}); delete it, or tune again"
        ) from error
    return tuned if tuned.manifest == seal_of(version) else None
