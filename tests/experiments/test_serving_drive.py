"""The open loop counts every request once, and sees answers that are not of their version."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from experiments.serving_drive import Latencies, Load, Outcome, drive, together
from serving.config import ServiceConfig
from serving.engine import Engine
from serving.query import Query
from serving.service import Service

QUERIES = [Query(user=f"u{number}", k=1) for number in range(20)]


def outcome_of(
    engine: Engine,
    load: Load,
    expected: Mapping[str, Sequence[float]] | None = None,
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
    counted = outcome.answered + outcome.refused.total() + outcome.expired + outcome.failed
    assert counted == outcome.sent == len(list(load.arrivals()))
    assert outcome.sent == pytest.approx(1_000, abs=5 * 1_000**0.5)
    assert outcome.failed == 0
    assert outcome.lost == outcome.sent - outcome.answered
    assert outcome.in_time <= outcome.answered == outcome.versions.total()
    assert outcome.largest_queue <= 30
    assert outcome.goodput == pytest.approx(outcome.in_time / outcome.seconds)


def test_loads_one_after_another_are_counted_as_one(engine: Engine) -> None:
    parts = [
        outcome_of(engine, Load(rate=2_000.0, seconds=seconds, timeout_s=1.0, seed=seed))
        for seed, seconds in enumerate((0.1, 0.3))
    ]
    whole = together(parts)
    for name in ("sent", "answered", "in_time", "lost"):
        assert getattr(whole, name) == sum(getattr(part, name) for part in parts)
    assert whole.versions == parts[0].versions + parts[1].versions
    assert whole.goodput == pytest.approx(whole.in_time / (parts[0].seconds + parts[1].seconds))
    assert sum(whole.cores.values()) == pytest.approx(1.0)
    low, high = sorted(part.latencies.quantile(0.9) for part in parts)
    assert low <= whole.latencies.quantile(0.9) <= high


def test_arrivals_are_a_poisson_process() -> None:
    times = np.array(list(Load(rate=20_000.0, seconds=1.0).arrivals()))
    gaps = np.diff(times)
    assert np.all(gaps >= 0)
    assert times[-1] < 1.0
    assert gaps.std() / gaps.mean() == pytest.approx(1.0, abs=0.05)


def test_quantiles_are_within_a_hundredth() -> None:
    seconds = np.random.default_rng(0).lognormal(-4.0, 1.0, 5_000)
    latencies = Latencies()
    for one in seconds:
        latencies.add(one)
    for share in (0.5, 0.99, 0.999):
        exact = np.quantile(seconds, share, method="inverted_cdf")
        assert exact <= latencies.quantile(share) <= 1.01 * exact * (1 + 1e-9)
    assert latencies.share_within(0.02) == pytest.approx(np.mean(seconds <= 0.02), abs=0.01)
    assert np.isnan(Latencies().quantile(0.5))
    assert np.isnan(Latencies().share_within(0.5))


@pytest.mark.parametrize("error", [0.0, 0.1])
def test_values_of_another_version_are_seen(engine: Engine, error: float) -> None:
    best = [reply.items[0].value + error for reply in engine.recommend(QUERIES)]
    load = Load(rate=200.0, seconds=0.1, timeout_s=30.0)
    outcome = outcome_of(engine, load, {engine.version: best})
    assert outcome.versions[engine.version] == outcome.sent > 0
    assert outcome.mixed == (outcome.sent if error else 0)
