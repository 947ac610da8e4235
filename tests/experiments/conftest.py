"""One small service for all studies that drive one; compiled once."""

from __future__ import annotations

import pytest

from serving.engine import Engine
from silverjax.snapshot import load_snapshot
from tests.serving.versions import publish_version


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """Of batches of 1 and 8."""
    folder = tmp_path_factory.mktemp("snapshots")
    return Engine(load_snapshot(publish_version(folder, 1)), buckets=(1, 8))
