"""`silverjax profile`; imports nothing heavy before it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro


def profile(
    models: Annotated[tuple[str, ...], tyro.conf.Positional] = (),
    /,
    *,
    preset: str = "repo",
    table_scale: float = 1.0,
    cores: int = 1,
    seconds: float = 1.0,
    path: Path = Path("deeprecinfra-profiles.json"),
) -> None:
    """Measure how long batches of DeepRecInfra's models take here, for its simulator.

    Args:
        models: Of the eight; none: all.
        preset: Sizes of the `paper` or of its authors' `repo`.
        table_scale: Share of the rows of tables that is kept.
        cores: Workers at a time, to measure how they slow each other down.
        seconds: Spent on each size of batch.
        path: Of the file that is written; `python -m experiments.deeprecinfra --profiles` reads it.
    """
    from experiments.deeprecinfra.profile import MODELS, Measuring, main

    main(Measuring(models or MODELS, preset, table_scale, cores, seconds, path))
