"""Whose the cores' time was."""

from __future__ import annotations

import sys
import time

import pytest

from experiments.cpu_time import CpuTime

BEFORE = CpuTime(own=1.0, others=5.0, stolen=0.25, idle=10.0)


def test_shares_are_of_the_time_since_then() -> None:
    after = CpuTime(own=2.0, others=5.5, stolen=0.5, idle=10.25)
    shares = after.shares_since(BEFORE)
    assert shares == {"own": 0.5, "others": 0.25, "stolen": 0.125, "idle": 0.125}
    assert set(BEFORE.shares_since(BEFORE).values()) == {0.0}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc/stat")
def test_work_of_this_process_is_its_own() -> None:
    before, until = CpuTime.now(), time.thread_time() + 0.2
    while time.thread_time() < until:
        pass
    after = CpuTime.now()
    assert after.own - before.own >= 0.1  # counted in ticks of 0.01 s, and not to the tick
    assert 0.0 < after.shares_since(before)["own"] <= 1.0
