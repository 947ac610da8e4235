"""What the host of the machine spoiled is measured again, and only that."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from experiments.undisturbed import undisturbed


@dataclasses.dataclass(frozen=True)
class Measured:
    stolen: float
    number: int


@pytest.mark.parametrize(
    ("stolen", "chosen", "attempts"),
    [
        ([0.01, 0.0, 0.0], 0, 1),
        ([0.5, 0.02, 0.0], 1, 2),
        ([0.5, 0.3, 0.4], 1, 3),
        ([0.03, 0.03, 0.03], 0, 3),
    ],
)
def test_takes_the_first_below_the_limit_or_the_least(
    stolen: list[float], chosen: int, attempts: int
) -> None:
    made = iter([Measured(share, number) for number, share in enumerate(stolen)])

    async def measure() -> Measured:
        return next(made)

    one, tried = asyncio.run(undisturbed(measure, limit=0.02, attempts=3))
    assert (one.number, tried) == (chosen, attempts)
