"""The study's catalogue as a snapshot that serves."""

from __future__ import annotations

from pathlib import Path

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
