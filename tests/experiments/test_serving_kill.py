"""A server that is killed in the middle of a swap comes back with a whole version."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.serving_kill import kill_cycles
from silverjax.snapshot import load_snapshot
from tests.serving.versions import publish_version


@pytest.mark.slow
def test_killed_servers_come_back_with_the_newest_version(tmp_path: Path) -> None:
    figures = kill_cycles(load_snapshot(publish_version(tmp_path, 1)), 3)
    assert figures["cycles"] == 3
    assert figures["wrong_after_restart"] == 0
