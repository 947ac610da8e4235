"""A comparison has the cores it was given, and JAX has no thread of its own in between."""

from __future__ import annotations

import json
import subprocess
import sys

CODE = """
import json, os
import jax
from experiments.search.cores import use_cores
use_cores(1)
print(json.dumps([len(os.sched_getaffinity(0)), jax.config.read("jax_cpu_enable_async_dispatch")]))
"""


def test_has_one_core_and_computes_on_the_thread_that_asks() -> None:
    said = subprocess.run([sys.executable, "-c", CODE], capture_output=True, check=True)
    assert json.loads(said.stdout) == [1, False]
