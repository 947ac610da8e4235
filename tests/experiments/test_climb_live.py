"""The rules of other servers in a running service, and what a run of it leaves behind."""

from __future__ import annotations

import asyncio
import dataclasses
import functools

import numpy as np
import pytest

from experiments.climb_live import OURS, Study, rules, run_one, services, trace
from experiments.live_policies import PolicyScheduler
from experiments.policies import Greedy, Triton
from experiments.serving_lane import Policy, Ran
from serving.config import ServiceConfig
from serving.engine import Engine
from serving.load.workload import Schedule
from serving.query import Query
from serving.service import Service

QUERIES = [Query(user=f"u{number}", k=1) for number in range(20)]
STUDY = Study(buckets=(1, 8), target_ms=1_000.0)


class Seen(Greedy):
    """Takes what waits, and remembers what ran."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.batches: list[Ran] = []

    def done(self, batch: Ran) -> None:
        self.batches.append(batch)


def ask_all(engine: Engine, policy: Policy, requests: int) -> list[float]:
    """Milliseconds that each of some requests at a time waited for its batch."""

    async def run() -> list[float]:
        scheduler = functools.partial(PolicyScheduler, policy=policy)
        service = Service(engine, ServiceConfig(), scheduler=scheduler)
        await service.start()
        answered = await asyncio.gather(*(service.answer([QUERIES[0]]) for _ in range(requests)))
        await service.stop()
        return [one.queue_ms for one in answered]

    return asyncio.run(run())


def test_batches_are_as_the_policy_says(engine: Engine) -> None:
    policy = Seen(5)
    ask_all(engine, policy, 13)
    assert [batch.rows for batch in policy.batches] == [5, 5, 3]
    assert all(batch.seconds > 0 for batch in policy.batches)
    assert all(batch.oldest_wait >= batch.newest_wait for batch in policy.batches)


def test_a_policy_may_wait_for_more(engine: Engine) -> None:
    waited = ask_all(engine, Triton(8, delay=0.5), 11)
    assert waited[8] >= 500  # in vain: a full batch goes before them, and nobody else comes
    assert max(waited[:8]) < min(waited[8:])


def test_every_rule_and_every_fixed_limit_is_compared(engine: Engine) -> None:
    made = services(engine, STUDY)
    assert list(made) == [OURS, *rules(STUDY), "fixed 1", "fixed 8"]
    schedule = Schedule(np.linspace(0, 0.3, 40), np.ones(40, int), 0.3)
    for name, make in made.items():
        service, run, began, cores = asyncio.run(run_one(make, QUERIES, schedule, STUDY.target_s))
        assert run.latencies.shape == (40,)
        assert np.nanmin(run.latencies) > 0
        answered = np.count_nonzero(~np.isnan(run.latencies))
        assert answered == service.stats.answered, name
        assert sum(cores.values()) == pytest.approx(1.0)
        if service.climbing is not None:
            times, decisions = zip(*trace(service, began, 0.3))
            assert list(times) == sorted(times)
            assert decisions[0].batch_limit in STUDY.buckets


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"load": 1.2}, "load=1.2 must be a share"),
        ({"seconds": 2.0}, "seconds=2.0 must be at least 3"),
        ({"seconds": float("nan")}, "seconds=nan must be at least 3"),
        ({"seconds": float("inf")}, "seconds=inf must be .* finite"),
        ({"rounds": 0}, "rounds=0 must be at least 1"),
        ({"attempts": 0}, "attempts=0 must be at least 1"),
        ({"buckets": (8, 1)}, r"\(8, 1\) must be ascending"),
    ],
)
def test_rejects_bad_settings(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(STUDY, **settings)  # type: ignore[arg-type]
