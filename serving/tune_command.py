"""`silverjax tune-serving`: what can be asked of it, and its help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from silverjax._extras import needs_extra


def tune_serving(
    snapshot: Annotated[Path, tyro.conf.Positional] = Path("snapshots"),
    /,
    *,
    target_p99_ms: float = 50.0,
    batch_sizes: tuple[int, ...] = (1, 8, 64),
    k: int | None = None,
    sizes: str = "fixed:1",
    where: str = "",
    items: int = 10,
    seconds: float = 3.0,
    requests: int = 500,
    resolution: float = 1.05,
    seed: int = 0,
) -> None:
    """Find the batch size that carries most requests within a latency target on this machine.

    The service runs in this process under open-loop Poisson load; for each batch size, the
    highest rate that meets the target is searched for. The choice is written beside the
    snapshots, and `silverjax serve` with the same target and batch sizes starts from it. Takes
    a few minutes; keep the machine free of other work.

    Args:
        snapshot: The folder of all versions, or one version.
        target_p99_ms: Time within which 99 of 100 requests are to be answered.
        batch_sizes: Batch sizes to compile and choose from.
        k: Most items a request may ask for, as for silverjax serve.
        sizes: Rows of a request: mlperf, kairos, lognormal or fixed:N.
        where: Filter of every request.
        items: Items that a request asks for.
        seconds: Length of a measurement.
        requests: Requests that a measurement has at least, in up to ten times its length.
        resolution: Rates are told apart down to this ratio.
        seed: Of users and arrivals.
    """
    with needs_extra("serve", "tuning a service"):
        from serving.rate_tuning import Measuring
        from serving.tune_launch import launch_tuning
    options = Measuring(
        target_s=target_p99_ms / 1e3,
        sizes=sizes,
        where=where,
        k=items,
        seconds=seconds,
        requests=requests,
        resolution=resolution,
        seed=seed,
    )
    launch_tuning(snapshot, options, batch_sizes=batch_sizes, k=k)
