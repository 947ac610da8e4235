"""Measurements that the host of a virtual machine spoiled are made again.

The kernel counts the time in which the host ran something else although this machine had work
(`stolen`, see `CpuTime`). Whatever is measured meanwhile is the neighbours' doing. A measurement is
chosen by that share alone, never by its own figures.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar


class Watched(Protocol):
    """A measurement that knows whose the cores were; `Outcome` is one."""

    @property
    def stolen(self) -> float:
        """Share of the cores' time that the host took."""


T = TypeVar("T", bound=Watched)


async def undisturbed(
    measure: Callable[[], Awaitable[T]], *, limit: float, attempts: int
) -> tuple[T, int]:
    """The first measurement in which the host took at most `limit` of the cores.

    Returns:
        It, or where there is none among `attempts` the one of which it took least; and how many
        were made.
    """
    made = [await measure()]
    while made[-1].stolen > limit and len(made) < attempts:
        made.append(await measure())
    return min(made, key=lambda one: one.stolen), len(made)
