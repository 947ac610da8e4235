"""What `silverjax load` can be told; apart, so that the command line starts quickly."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Literal


@dataclasses.dataclass(frozen=True)
class Load:
    """How much of what to send.

    Attributes:
        rate: Requests per second; of a sine the mean, otherwise where it begins.
        seconds: How long.
        profile: "constant"; "step" (to `factor` times the rate after a third); "ramp" (to
            `factor` times the rate); "sine" (one and a half periods, up to `factor` times it).
        factor: See there.
        sizes: Rows of a request: mlperf, kairos, lognormal or fixed:N.
        users: User ids are drawn from 1 to this.
        k: Items asked for, per row.
        where: Filter of every row.
        target_ms: Latency within which an answer counts as good.
        seed: Same seed, same load.
        api_key_file: File that holds the service's API key.
        out: Folder for load.json and load.png; none are written where it is absent.
    """

    rate: float = 100.0
    seconds: float = 30.0
    profile: Literal["constant", "step", "ramp", "sine"] = "constant"
    factor: float = 4.0
    sizes: str = "fixed:1"
    users: int = 943
    k: int = 10
    where: str = ""
    target_ms: float = 100.0
    seed: int = 0
    api_key_file: pathlib.Path | None = None
    out: pathlib.Path | None = None
