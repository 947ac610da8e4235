"""What a serving process does once, in a process of its own, since it changes all of it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SETTLED = """
import gc, json, os, sys
from pathlib import Path
from serving.process import settle, start_devices
start_devices()
settle()
tasks = [int(task.name) for task in Path("/proc/self/task").iterdir()]
others = [os.getpriority(os.PRIO_PROCESS, task) for task in tasks if task != os.getpid()]
own = os.getpriority(os.PRIO_PROCESS, 0)
print(json.dumps([own, others, gc.get_freeze_count(), sys.getswitchinterval()]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="threads have priorities on Linux alone")
def test_devices_compute_below_the_loop_and_what_is_loaded_is_collected_no_more() -> None:
    said = subprocess.run([sys.executable, "-c", SETTLED], capture_output=True, check=True)
    own, others, frozen, switch_s = json.loads(said.stdout)
    assert others
    assert min(others) > own or own == 19
    assert frozen > 10_000
    assert switch_s < 0.005
