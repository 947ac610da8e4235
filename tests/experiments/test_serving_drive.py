"""The open loop counts every request once, and sees answers that are not of their version."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import numpy as np
import pytest

from experiments.serving_drive import Load, Outcome, drive
from serving.config import ServiceConfig
from serving.engine import Engine
from serving.query import Query
from serving.service import Service
from silverjax.snapshot import load_snapshot
from tests.serving.versions import publish_version

QUERIES = [Query(user=f"u{number}", k=1) for number in range(20)]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    folder = tmp_path_factory.mktemp("snapshots")
    return Engine(load_snapshot(publish_version(folder, 1)), buckets=(1, 8))


def outcome_of(
    engine: Engine,
    load: Load,
    expected: Mapping[str, np.ndarray] | None = None,
    capacity: int = 4_096,
) -> Outcome:
    async def run() -> Outcome:
        service = Service(engine, ServiceConfig(capacity_rows=capacity))
        await service.start()
        outcome = await drive(service, QUERIES, load, expected)
        await service.stop()
        return outcome

    return asyncio.run(run())


def test_every_request_is_counted_once(engine: Engine) -> None:
    load = Load(rate=4_000.0, seconds=0.25, rows=3, timeout_s=0.02)
    outcome = outcome_of(engine, load, capacity=30)
    counted = len(outcome.latencies_s) + outcome.refused.total() + outcome.expired + outcome.failed
    assert counted == outcome.sent == 1_000
    assert outcome.failed == 0
    assert outcome.largest_queue <= 30
    assert outcome.goodput(1e9) == pytest.approx(len(outcome.latencies_s) / outcome.seconds)


@pytest.mark.parametrize(("error", "mixed"), [(0.0, 0), (0.1, 20)])
def test_values_of_another_version_are_seen(engine: Engine, error: float, mixed: int) -> None:
    best = np.array([reply.items[0].value for reply in engine.recommend(QUERIES)])
    load = Load(rate=200.0, seconds=0.1, timeout_s=30.0)
    outcome = outcome_of(engine, load, {engine.version: best + error})
    assert (outcome.mixed, outcome.versions[engine.version]) == (mixed, 20)
