"""Real workers, with a small model on one core."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest

from experiments.deeprecinfra.executors import Executors, Layout, layouts
from experiments.deeprecinfra.model_config import model_config
from experiments.deeprecinfra.models import init, predict, random_inputs
from experiments.deeprecinfra.simulator import Setting
from experiments.deeprecinfra.workload import queries
from serving.load.workload import LARGEST, Schedule

CONFIG = model_config("ncf", table_scale=0.001)


@pytest.fixture(scope="module")
def running() -> Iterator[Executors]:
    with Executors(CONFIG, Layout(1, 1), ladder=(64, 512, 1024)) as executors:
        yield executors


def test_cores_are_divided_in_all_even_ways() -> None:
    assert layouts(1) == (Layout(1, 1),)
    assert layouts(6) == (Layout(6, 1), Layout(3, 2), Layout(2, 3), Layout(1, 6))


def test_a_worker_answers_with_the_probabilities_of_its_items(running: Executors) -> None:
    (pipe,) = running._pipes
    found = []
    for rows in (30, 70):  # padded to 64 and 512; the second begins where the first ended
        pipe.send(rows)
        found.append(np.frombuffer(pipe.recv_bytes(), np.float32))
    assert [len(one) for one in found] == [30, 70]
    got = np.concatenate(found)
    every = np.asarray(predict(CONFIG, init(CONFIG), random_inputs(CONFIG, 5 * LARGEST))).ravel()
    starts = np.flatnonzero(np.isclose(every[:-99], got[0], rtol=1e-5))
    assert any(np.allclose(every[at : at + 100], got, rtol=1e-5) for at in starts)


def test_latencies_count_from_when_a_query_was_due(running: Executors) -> None:
    sizes = np.full(50, 512)
    found = running.run(Schedule(np.zeros(50), sizes, 1.0), Setting(512, 1))
    assert (np.diff(found) > 0).all()  # in order; the last has waited for all others
    one = Schedule(np.zeros(1), sizes[:1], 1.0)
    alone = min(running.run(one, Setting(512, 1))[0] for _ in range(5))  # should one be held up
    assert found[-1] > 5 * alone


def test_a_run_ends_once_too_many_queries_are_late(running: Executors) -> None:
    load = Schedule(np.zeros(200), np.full(200, 512), 1.0)
    alone = running.run(Schedule(np.zeros(1), load.sizes[:1], 1.0), Setting(512, 1))[0]
    found = running.run(load, Setting(512, 1), target=alone / 10, most=5)
    assert len(found) == 200
    assert np.isfinite(found).sum() == 6  # all of them late, and nobody waits for the others
    again = running.run(Schedule(np.zeros(1), load.sizes[:1], 1.0), Setting(512, 1))
    assert again[0] < 20 * alone  # nothing is left over from the run that ended


def test_all_queries_are_answered_whatever_is_cut_or_joined(running: Executors) -> None:
    load = queries(2_000.0, 100, seed=1)
    for setting in (Setting(64, 1, even=True), Setting(64, 1, fill=500, even=True)):
        found = running.run(load, setting)
        assert len(found) == 100
        assert (found > 0).all()


def test_a_profile_has_a_time_for_every_program(running: Executors) -> None:
    profile = running.profile(seconds=0.01)
    assert (profile.batches, profile.padded, profile.kind) == ((64, 512, 1024), True, "measured")
    assert profile.by_rows()[65] == profile.seconds[1]


def test_settings_and_layouts_that_do_not_fit_are_rejected(running: Executors) -> None:
    load = queries(1.0, 1)
    for setting in (Setting(64, 2), Setting(64, 1, threshold=100)):
        with pytest.raises(ValueError, match="does not fit 1 x 1 executors"):
            running.run(load, setting)
    with pytest.raises(ValueError, match="512 x 2 cores exceed the [0-9]+ that this process"):
        Executors(CONFIG, Layout(512, 2))


def test_a_worker_that_cannot_start_says_why() -> None:
    huge = dataclasses.replace(CONFIG.tables[0], rows=10**10)
    config = dataclasses.replace(CONFIG, tables=(huge, *CONFIG.tables[1:]))
    with pytest.raises(RuntimeError, match="ncf did not start: MemoryError: .* GB are free"):
        Executors(config, Layout(1, 1), ladder=(1024,)).__enter__()
