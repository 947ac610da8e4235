"""What a serving process does once, in a process of its own, since it changes all of it."""

from __future__ import annotations

import json
import platform
import resource
import subprocess
import sys

import pytest

from serving.process import Pace

SETTLED = """
import gc, json, os, sys
from pathlib import Path
from serving.process import settle, start_devices
threads = lambda: {int(task.name) for task in Path("/proc/self/task").iterdir()}
libraries = threads()  # NumPy's OpenBLAS starts its own when it is imported
start_devices()
settle()
devices = [os.getpriority(os.PRIO_PROCESS, task) for task in threads() - libraries]
own = os.getpriority(os.PRIO_PROCESS, 0)
print(json.dumps([own, devices, gc.get_freeze_count(), sys.getswitchinterval()]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="threads have priorities on Linux alone")
def test_devices_compute_below_the_loop_and_what_is_loaded_is_collected_no_more() -> None:
    said = subprocess.run([sys.executable, "-c", SETTLED], capture_output=True, check=True)
    own, devices, frozen, switch_s = json.loads(said.stdout)
    assert devices
    assert min(devices) > own or own == 19
    assert frozen > 10_000
    assert switch_s < 0.005


LEFT = """
import json, threading
from pathlib import Path
from serving.process import give_back_memory
kept = []
def load():
    blocks = [b"x" * 60_000 for _ in range(1000)]
    kept.extend(blocks[::50])
def resident_pages():
    return int(Path("/proc/self/statm").read_text().split()[1])
loader = threading.Thread(target=load)
loader.start(); loader.join()
before = resident_pages()
give_back_memory()
print(json.dumps([before, resident_pages()]))
"""


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="other C libraries keep less, and cannot be told"
)
def test_what_a_thread_has_freed_goes_back_to_the_system() -> None:
    said = subprocess.run([sys.executable, "-c", LEFT], capture_output=True, check=True)
    before, after = json.loads(said.stdout)
    assert (before - after) * resource.getpagesize() > 20e6  # of 59 MB


def test_work_in_the_background_rests_in_proportion() -> None:
    worked, rests = 0.0, list[float]()
    pace = Pace(0.1, 0.25, 0.5, clock=lambda: worked, sleep=rests.append)
    for step in (0.25, 0.125, 0.25, 0.125, 2.0):
        worked += step
        pace()
    assert rests == pytest.approx([9 * 0.625, 9 * 2.125])  # after turns of 0.5 s and longer
    for unlocked in (0.25, 0.375):  # by another thread
        pace(unlocked)
    assert rests[2:] == pytest.approx([3 * 0.625])
    worked += 1.0
    pace(0.75)  # by its own, which worked a quarter of a second with the lock besides
    assert rests[3:] == pytest.approx([9 * 0.25 + 3 * 0.75])
