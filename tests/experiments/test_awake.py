"""A command whose cores are kept awake."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from experiments.awake import PROCESSES, keep_awake, main, spun_s
from experiments.cpu_time import CpuTime
from silverjax.machine import usable_cores

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has SCHED_IDLE")

AWAKE = [sys.executable, "-m", "experiments.awake"]


def runs(process: int | str) -> bool:
    """Whether it is there, and not only waits for somebody to take its status."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.fixture
def spinners() -> Iterator[list[int]]:
    processes = keep_awake()
    yield [process.pid for process in processes]
    for process in processes:
        process.kill()
        process.wait()


def test_a_process_of_the_lowest_class_spins_on_each_core_and_counts_as_idle(
    monkeypatch: pytest.MonkeyPatch, spinners: list[int]
) -> None:
    monkeypatch.setenv(PROCESSES, " ".join(map(str, spinners)))
    assert [os.sched_getaffinity(process) for process in spinners] == [{c} for c in usable_cores()]
    assert {os.sched_getscheduler(process) for process in spinners} == {os.SCHED_IDLE}
    # Another session would be another share of the cores; another group gets none of the signals.
    assert {os.getsid(process) for process in spinners} == {os.getsid(0)}
    assert os.getpgrp() not in {os.getpgid(process) for process in spinners}
    before, spun = CpuTime.now(), spun_s()
    while spun_s() < spun + 0.3:
        time.sleep(0.05)
    assert CpuTime.now().idle - before.idle >= 0.2  # clock ticks and rounding take a little


def test_they_end_with_a_command_that_is_killed() -> None:
    code = f"import os; print(os.environ[{PROCESSES!r}], flush=True); input()"
    with subprocess.Popen(
        [*AWAKE, sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        ids = process.stdout.readline().split()
        assert len(ids) == len(usable_cores())
        assert all(map(runs, ids))
        process.kill()
    deadline = time.monotonic() + 20
    while any(map(runs, ids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(runs, ids))


def test_the_command_is_told_and_its_status_handed_on() -> None:
    code = "from experiments.results import *; print(provenance()['command']); exit(3)"
    ended = subprocess.run(
        [*AWAKE, sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=False
    )
    assert ended.returncode == 3
    assert ended.stdout.startswith("python -m experiments.awake python ")


def test_without_a_command_or_with_none_that_exists_it_says_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([]) == 2
    assert "python -m experiments.awake" in capsys.readouterr().out
    assert main(["no-such-command"]) == 2
    assert "there is no command 'no-such-command'" in capsys.readouterr().err
