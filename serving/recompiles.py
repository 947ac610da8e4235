"""Counts what is compiled where nothing may be: on the threads that answer requests."""

from __future__ import annotations

import threading

import jax

_COMPILED = "/jax/core/compile/backend_compile_duration"  # JAX reports one for each program

_watched: dict[int, RecompileCounter] = {}


class RecompileCounter:
    """Programs that JAX compiled on the threads it was told to watch.

    Attributes:
        count: So far. A thread of the background may compile; it is not watched.
    """

    def __init__(self) -> None:
        self.count = 0

    def watch_this_thread(self) -> None:
        """Counts what this thread compiles, until `leave_this_thread`."""
        _watched[threading.get_ident()] = self

    def leave_this_thread(self) -> None:
        _watched.pop(threading.get_ident(), None)


def _heard(event: str, duration_secs: float, **_: str | int) -> None:
    if event == _COMPILED and (counter := _watched.get(threading.get_ident())):
        counter.count += 1


jax.monitoring.register_event_duration_secs_listener(_heard)
