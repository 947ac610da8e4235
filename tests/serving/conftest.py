"""Two published versions of a small model, and the engine of the first; compiled once."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.engine import Engine
from silverjax.snapshot import load_snapshot
from tests.serving.versions import publish_version


@pytest.fixture(scope="session")
def snapshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the versions 00000001 and 00000002, which answer differently."""
    root = tmp_path_factory.mktemp("snapshots")
    for seed in (1, 2):
        publish_version(root, seed)
    return root


@pytest.fixture(scope="session")
def engine(snapshots: Path) -> Engine:
    """Answers from version 00000001."""
    return Engine(load_snapshot(snapshots / "00000001"), buckets=(1, 4, 8), traces=True)
