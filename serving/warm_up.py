"""How long a batch of each size takes, measured before the first request.

The hill climber believes the time of a size only once it has seen some batches of it. A service
runs every program before it opens the door all the same; a few runs more, and it knows from the
first request on which limit carries most, rather than to find out at the requests' expense. The
simulator (`experiments/`) warms up with this very function, so a study begins where a service does.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Int

RUNS = 8  # of each size
FEWEST = 3  # of each size: a median that one hiccup does not move
BUDGET_S = 1.0
_HICCUP = 2.0  # medians beyond which a time says more about the machine than about the program


@dataclasses.dataclass(frozen=True, eq=False)
class WarmUp:
    """Times of batches on a device that has nothing else to do.

    Attributes:
        rows: Size of each batch, with padding.
        seconds: How long it took.
        took_s: All of it, seconds, with the runs that were not counted.
    """

    rows: Int[np.ndarray, " runs"]
    seconds: Float[np.ndarray, " runs"]
    took_s: float

    def typical(self) -> dict[int, float]:
        """Median seconds by size."""
        sizes = np.unique(self.rows).tolist()
        return {size: float(np.median(self.seconds[self.rows == size])) for size in sizes}

    def __str__(self) -> str:
        times = ", ".join(f"{size} in {1e3 * s:.3g} ms" for size, s in self.typical().items())
        return f"{len(self.rows)} timed batches in {self.took_s:.2f} s; rows: {times}"


def warm_up(
    run: Callable[[int], object],
    sizes: Sequence[int],
    *,
    runs: int = RUNS,
    budget_s: float = BUDGET_S,
    clock: Callable[[], float] = time.perf_counter,
) -> WarmUp:
    """Times `runs` batches of every size, or as many as there is time for, but `FEWEST` at least.

    The first batch of a size may still allocate and is not counted. Sizes take turns, so that a
    moment in which the machine is busy falls upon all of them, and what a hiccup adds to a single
    batch is cut off at twice the median.

    Args:
        run: Runs one batch of so many rows and waits for its end.
        sizes: Rows.
        budget_s: Seconds in all, which only the fewest batches may exceed.
        clock: Seconds.
    """
    start = clock()
    times: dict[int, list[float]] = {size: [] for size in sizes}
    for size in sizes:
        run(size)
    for _ in range(runs):
        for size, known in times.items():
            began = clock()
            if len(known) >= FEWEST and began - start + min(known) > budget_s:
                continue
            run(size)
            known.append(clock() - began)
    cut = {size: np.minimum(known, _HICCUP * np.median(known)) for size, known in times.items()}
    return WarmUp(
        rows=np.repeat(list(cut), [len(known) for known in cut.values()]),
        seconds=np.concatenate(list(cut.values())),
        took_s=clock() - start,
    )
