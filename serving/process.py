"""What a process that serves does once, for its tail latency; nothing that answers depends on it.

The event loop shares cores with the threads that compute, and the interpreter with those that
hand batches over and load snapshots. Left as they are, all of them are equals, so that the loop,
which refuses what cannot be answered, lags most when there is most to refuse.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import sys
import threading
import time
from collections.abc import Callable

import jax

_LOWER = 5  # steps, of which each is worth a fifth of a core's share where both want the same core
_SWITCH_S = 0.001  # Python's own is 5 ms, as long as a batch
_YOUNG = 20_000  # containers made and not freed; requests free theirs without the collector


def lower_this_thread() -> None:
    """Lets the event loop go first, where the system has a priority for each thread: on Linux.

    For all that compute or load, and for all of them alike: a thread below the others would wait
    for their cores with the interpreter's lock in hand, and the event loop for the lock.
    """
    if sys.platform == "linux":
        own = os.getpriority(os.PRIO_PROCESS, os.getpid())
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), own + _LOWER)


class Pace:
    """Lets a thread of the background work in short turns, and rest between them.

    While it works it mostly has the interpreter's lock, for up to the switch interval each time,
    and the event loop, the dispatch thread and the reaper wait for it in turn. A swap that is not
    paced so takes a third of what the service can carry, for as long as it lasts. Work without
    the lock costs only its share of a core.

    Args:
        share: Of a core's time, for work with the interpreter's lock.
        unlocked_share: For work without it, such as hashing and copying.
        turn_s: Work between two rests, seconds.
        clock: Seconds that this thread has worked.
        sleep: Rests for so many seconds.
    """

    def __init__(
        self,
        share: float = 0.1,
        unlocked_share: float = 0.25,
        turn_s: float = 0.0005,
        *,
        clock: Callable[[], float] = time.thread_time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rest, self._unlocked_rest = 1 / share - 1, 1 / unlocked_share - 1
        self._turn_s, self._clock, self._sleep = turn_s, clock, sleep
        self._since, self._unlocked = clock(), 0.0

    def __call__(self, unlocked: float = 0.0) -> None:
        """Rests, if this turn is over. To be called often, on the thread that made this.

        Args:
            unlocked: Seconds of work without the interpreter's lock since the last call.
        """
        self._unlocked += unlocked
        locked = max(0.0, self._clock() - self._since - self._unlocked)
        if locked + self._unlocked >= self._turn_s:
            self._sleep(self._rest * locked + self._unlocked_rest * self._unlocked)
            self._since, self._unlocked = self._clock(), 0.0


def start_devices() -> None:
    """Starts JAX's devices, whose threads get a lower priority than whoever calls this.

    To be called before anything else touches a device. Threads inherit the priority of the one
    that makes them, and on Linux each has its own; elsewhere nothing is changed.
    """

    def start() -> None:
        lower_this_thread()
        jax.devices()

    starter = threading.Thread(target=start, name="silverjax-devices")
    starter.start()
    starter.join()


def settle() -> None:
    """Keeps the garbage collector and the interpreter's lock from making requests wait.

    To be called when all is loaded. A full collection stops the process for 0.2 s, most of it to
    look at JAX's modules and at a catalogue that no request changes: what is there now is not
    looked at again. What requests leave behind is freed by reference counts.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, 10, 10)
    sys.setswitchinterval(_SWITCH_S)
    give_back_memory()


def give_back_memory() -> None:
    """Gives the system what the C library has kept of what was freed.

    It keeps it for later, a heap for each thread. The threads of a burst or of a snapshot's
    loading are not those that want it next, so that the process would be larger after each.
    """
    with contextlib.suppress(AttributeError, OSError):  # a C library that cannot be told to
        ctypes.CDLL(None).malloc_trim(0)
