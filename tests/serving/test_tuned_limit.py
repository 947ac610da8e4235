"""The tuned batch limit: written beside the snapshots, used only where it was measured."""

from __future__ import annotations

import dataclasses
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest

from serving.engine import Engine
from serving.launch import tuned_start
from serving.tuned_limit import NAME, TunedLimit, path_of, read_limit, write_limit
from silverjax.machine import machine
from silverjax.snapshot import load_snapshot, versions
from silverjax.snapshot_errors import SnapshotError


@pytest.fixture
def beside(engine: Engine, snapshots: Path, tmp_path: Path) -> Engine:
    """The engine of a copy, beside which a test may write."""
    shutil.copytree(snapshots / "00000001", tmp_path / "00000001")
    snapshot = load_snapshot(tmp_path)
    return Engine(snapshot, buckets=engine.buckets, like=engine)


def choice(engine: Engine, **changes: Any) -> TunedLimit:
    made = TunedLimit(
        batch_limit=4,
        requests_per_s=120.5,
        by_limit={1: 30.0, 4: 120.5},
        target_ms=50.0,
        batch_sizes=engine.buckets,
        sizes="fixed:1",
        where="",
        programs=engine.programs,
        snapshot=engine.version,
        date="2026-01-01T00:00:00+00:00",
        machine=machine(),
        versions={"jax": "1"},
    )
    return dataclasses.replace(made, **changes)


def test_a_choice_comes_back_and_lies_beside_the_versions(beside: Engine) -> None:
    assert read_limit(beside) is None
    before = versions(path_of(beside).parent)
    path = write_limit(beside, choice(beside))
    assert path.name == NAME
    assert read_limit(beside) == choice(beside)
    assert versions(path.parent) == before
    load_snapshot(path.parent)  # a choice changes no version
    assert tuned_start(beside, 50.0) == 4


def test_the_next_version_of_the_same_shapes_uses_it(engine: Engine, snapshots: Path) -> None:
    other = Engine(load_snapshot(snapshots / "00000002"), buckets=engine.buckets, like=engine)
    assert other.version != engine.version
    assert choice(engine).unfit(other, 50.0) is None


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"programs": "another"}, "another model, index size or k"),
        ({"batch_limit": 16}, r"its limit 16 is none of the batch sizes \(1, 4, 8\)"),
        ({"target_ms": 20.0}, "for a target of 20 ms, not 50"),
        ({"machine": {"processor": "Z80"}}, "on another machine .*processor 'Z80', cores None"),
    ],
)
def test_a_choice_for_something_else_is_ignored_and_said_so(
    beside: Engine, changes: dict[str, Any], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    write_limit(beside, choice(beside, **changes))
    with caplog.at_level(logging.WARNING):
        assert tuned_start(beside, 50.0) is None
    (record,) = caplog.records
    with pytest.raises(AssertionError, match=why):
        raise AssertionError(record.getMessage())


@pytest.mark.parametrize("content", [b"", b"{}", b'{"batch_limit": "4"}', b"\xff"])
def test_a_damaged_file_is_named(beside: Engine, content: bytes) -> None:
    path_of(beside).write_bytes(content)
    with pytest.raises(SnapshotError, match=r"serving\.tuned\.json is no choice.*delete it"):
        tuned_start(beside, 50.0)
