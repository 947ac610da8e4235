"""A model under load on this machine, with executors whose latencies are given."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from experiments.cpu_time import CpuTime
from experiments.deeprecinfra.executors import Layout
from experiments.deeprecinfra.live import Machines, Way
from experiments.deeprecinfra.profiles import Profile
from experiments.deeprecinfra.simulator import Setting
from serving.load.workload import LARGEST, Schedule

TARGET = 0.010
WAY = Way(Layout(1, 1), Setting(64, 1))


class Given:
    """Executors of which every run takes as long as said, in turn."""

    def __init__(self, *seconds: float) -> None:
        self.seconds = list(seconds)

    def run(self, load: Schedule, *_: object, **__: object) -> np.ndarray:
        return np.full(len(load), self.seconds.pop(0))

    def profile(self) -> Profile:
        return Profile(
            "ncf", "given", "measured", "given", (64, LARGEST), (0.001, 0.01), padded=True
        )


def machines(given: Given, **options: float) -> Machines:
    return Machines({WAY.layout: given}, workload="fixed:1", seconds=0.1, seed=1, **options)  # type: ignore[dict-item, arg-type]


def take(monkeypatch: pytest.MonkeyPatch, *shares: float) -> None:
    """Has the host take these shares of the cores, in the runs to come: a second each."""
    ends = itertools.accumulate(shares, initial=0.0)
    stolen = [at for pair in itertools.pairwise(ends) for at in pair]
    elapsed = [at for number in range(len(shares)) for at in (number, number + 1)]
    times = iter(
        CpuTime(own=t - s, others=0.0, stolen=s, idle=0.0) for t, s in zip(elapsed, stolen)
    )
    monkeypatch.setattr(CpuTime, "now", lambda: next(times))


def test_a_run_that_the_host_spoiled_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    take(monkeypatch, 0.2, 0.01)
    given = Given(5 * TARGET, TARGET / 2, 99.0)
    assert machines(given, stolen=0.03, attempts=3).meets(WAY, 100.0, TARGET)
    assert given.seconds == [99.0]  # the second one counted


def test_of_runs_that_are_all_spoiled_the_least_one_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    take(monkeypatch, 0.2, 0.1, 0.3)
    given = Given(0.001, 0.002, 0.003)
    own = machines(given, stolen=0.03, attempts=3)
    assert own.tail(WAY, own.load(100.0, 1.0), 100.0).p95 == pytest.approx(0.002)


def test_a_target_that_was_missed_on_a_quiet_machine_stays_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    take(monkeypatch, 0.0)
    given = Given(5 * TARGET, TARGET / 2)
    assert not machines(given, stolen=0.03, attempts=3).meets(WAY, 100.0, TARGET)
    assert len(given.seconds) == 1
