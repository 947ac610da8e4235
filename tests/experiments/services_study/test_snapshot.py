"""The study's catalogue as a snapshot that serves."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.services_study.snapshot import Options, main
from serving.engine import Engine
from serving.query import Query
from silverjax.snapshot import load_snapshot


def test_snapshot_answers_filtered_requests_of_its_users(tmp_path: Path) -> None:
    version = main(Options(folder=tmp_path, items=10_000, users=8))
    snapshot = load_snapshot(version)
    assert len(snapshot.catalogue.item_ids) == 10_000
    (reply,) = Engine(snapshot, buckets=(1,)).recommend([Query("3", "language:1", k=5)])
    assert len(reply.items) == 5
    seen = snapshot.catalogue.seen[3]
    for item in reply.items:
        row = snapshot.catalogue.item_row(item.item)
        assert [str(value) for value in snapshot.catalogue.attributes["language"][row]] == ["1"]
        assert row not in seen


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"users": 0}, "users=0 must be at least 1"),
        ({"probes": -1}, "probes=-1 must be at least 1"),
        ({"items": 10}, "items=10 must be at least 10000"),
    ],
)
def test_what_no_snapshot_can_be_made_of_is_refused_at_once(
    changes: dict[str, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Options(**changes)  # type: ignore[arg-type]
