"""How a comparison of searches uses the machine."""

from __future__ import annotations

import os

import jax


def use_cores(threads: int) -> None:
    """Leaves this process so many cores, and lets JAX compute on the thread that calls it.

    To be called before JAX starts: its pool has a thread for each core the process may use. By
    default it may hand a call on the CPU to one of them, so that the caller may go on meanwhile;
    who waits for the answer anyway can only wait longer.
    """
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])
    jax.config.update("jax_cpu_enable_async_dispatch", False)
