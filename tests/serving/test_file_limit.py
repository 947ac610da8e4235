"""Connections end before the files do."""

from __future__ import annotations

import logging
import resource

import pytest

from serving.file_limit import connections_within


@pytest.mark.parametrize(
    ("files", "room"),
    [(resource.RLIM_INFINITY, 16_384), (1 << 20, 16_384), (4_096, 3_584), (256, 128)],
)
def test_files_are_left_for_other_things(
    files: int, room: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert connections_within(files, 16_384) == room
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == (room < 16_384)
    assert all(f"room for {room} connections" in text and "ulimit -Hn" in text for text in said)
