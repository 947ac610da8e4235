"""The live figures from known counts: rates, means, moves, and that all of it is bounded."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import numpy as np
import pytest

from serving.admission import TOO_LATE
from serving.batcher import Batcher
from serving.engine import Engine
from serving.hill_climb import HillClimber
from serving.hill_climb_config import HillClimbConfig
from serving.live import FRAMES, Live
from serving.query import Query
from serving.service import Service
from serving.warm_up import WarmUp


@pytest.fixture
def service(engine: Engine) -> Service:
    """Never started: the tests count by hand what would have happened."""
    return Service(engine, climber=HillClimber(HillClimbConfig((1, 4, 8), 0.05)))


def batch_of(engine: Engine, rows: int) -> Any:
    return engine.fetch(engine.run([(engine.encode([Query(k=1)] * rows), 0, rows)]))


def test_rates_and_quantiles_are_those_of_the_second(service: Service) -> None:
    live = Live(service, now=100.0)
    for number in range(100):
        service.stats.arrived(2)
        service.stats.request_done(2, 100.5, 0.001, number / 1e3)
    service.stats.refused(TOO_LATE)
    service.stats.ran_out()
    frame = live.sample(now=102.0, at=1.5).frame
    assert (frame.at, frame.answered_per_s, frame.rows_per_s) == (1.5, 50.0, 100.0)
    assert (frame.refused_per_s, frame.late_per_s) == (0.5, 0.5)
    assert frame.p50_ms == pytest.approx(1 + 49)
    assert frame.p99_ms == pytest.approx(1 + 98)
    quiet = live.sample(now=103.0).frame
    assert (quiet.answered_per_s, quiet.refused_per_s) == (0.0, 0.0)
    assert live.sample(now=111.0).frame.p99_ms is None, "ten seconds later nothing counts"
    assert live.state().refused == {TOO_LATE: 1}


def test_batches_and_funnel_are_means_a_row(service: Service, engine: Engine) -> None:
    live = Live(service, now=0.0)
    assert live.state().funnel is None
    answer = batch_of(engine, 3)
    service.stats.batch_done(answer, 3, 4, "full", 0.25)
    service.stats.batch_done(batch_of(engine, 1), 1, 1, "idle", 0.25)
    update = live.sample(now=1.0)
    assert update.frame.rows_per_batch == 2.0
    assert update.frame.busy_share == 0.5
    funnel = update.state.funnel
    assert funnel is not None
    assert funnel["live"] == 300
    # All four rows ask the same.
    assert funnel["probed"] == np.asarray(answer.funnel.probed)[0]
    assert update.state.coverage == pytest.approx(np.asarray(answer.coverage)[0])
    assert live.sample(now=2.0).frame.rows_per_batch is None
    for second in range(3, 14):
        live.sample(now=float(second))
    assert live.state().funnel is None, "ten samples later nothing counts"


def test_moves_are_told_once_and_kept_for_who_comes_later(service: Service) -> None:
    live, climbing = Live(service), service.climbing
    assert climbing is not None
    queue = Batcher[Any](1)
    rows = np.repeat([1, 4, 8], 8)
    climbing.begin(queue, WarmUp(rows, np.full(len(rows), 0.001), took_s=0.03))
    assert [move.batch_limit for move in live.sample().moves] == [8]
    assert live.sample().moves == ()
    climbing._put(queue)
    assert len(live.sample().moves) == 1
    assert len(live.history().moves) == 2
    state = live.state()
    assert (state.target_ms, state.percentile, state.batch_sizes) == (50.0, 0.99, (1, 4, 8))
    assert state.climb == climbing.decision.reason


def test_history_is_bounded_and_json(service: Service) -> None:
    live = Live(service, now=0.0)
    for second in range(FRAMES + 50):
        live.sample(now=float(second + 1), at=float(second))
    history = live.history()
    assert [frame.at for frame in history.frames] == [float(s) for s in range(50, FRAMES + 50)]
    text = msgspec.json.encode(history)
    assert json.loads(text)["frames"][0]["p99_ms"] is None
    assert len(text) < 150_000


def test_a_service_that_does_not_climb_has_no_target(engine: Engine) -> None:
    state = Live(Service(engine)).state()
    assert (state.target_ms, state.climb, state.ready) == (None, "fixed", False)
