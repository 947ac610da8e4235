"""What a serving process does once, in a process of its own, since it changes all of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from serving.process import Pace

ROOT = Path(__file__).parents[2]

HEAPS = """
import ctypes, os, re, sys, threading
from serving.process import start_devices

def heaps():
    with open("heaps.xml", "wb") as file:
        libc.malloc_info(0, ctypes.c_void_p(stream := libc.fdopen(os.dup(file.fileno()), b"w")))
        libc.fclose(ctypes.c_void_p(stream))
    return len(re.findall("<heap nr", open("heaps.xml").read()))

libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p
if sys.argv[1] == "few":
    start_devices()
before, ready, over = heaps(), threading.Barrier(9), threading.Event()

def allocate():
    kept = bytearray(60_000)
    ready.wait()
    over.wait()

for _ in range(8):
    threading.Thread(target=allocate).start()
ready.wait()
print(heaps() - before)
over.set()
"""

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


@pytest.mark.skipif(sys.platform != "linux", reason="heaps are counted with the GNU C library")
def test_threads_share_heaps(tmp_path: Path) -> None:
    def added(how: str) -> int:
        command = [sys.executable, "-c", HEAPS, how]
        path = os.environ | {"PYTHONPATH": str(ROOT)}
        said = subprocess.run(command, cwd=tmp_path, env=path, capture_output=True, check=True)
        return int(said.stdout)

    assert added("many") > 1
    assert added("few") <= 1


def test_work_in_the_background_rests_in_proportion() -> None:
    worked, rests = 0.0, list[float]()
    pace = Pace(0.1, 0.5, clock=lambda: worked, sleep=rests.append)
    for step in (0.25, 0.125, 0.25, 0.125, 2.0):
        worked += step
        pace()
    assert rests == pytest.approx([9 * 0.625, 9 * 2.125])  # after turns of 0.5 s and longer
