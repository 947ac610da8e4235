"""Runs the study and writes its tables; see the package.

    python -m experiments.deeprecinfra --table main     # all of it; about 20 minutes on a core
    python -m experiments.deeprecinfra --quick          # two models, one target, under 3 minutes
    python -m experiments.deeprecinfra --cpu broadwell
    python -m experiments.deeprecinfra --profiles experiments/results/deeprecinfra-profiles.json

A run that was stopped goes on where it was.
"""

from __future__ import annotations

import dataclasses
import pathlib
import tempfile
from typing import Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from experiments.command import run_command
from experiments.deeprecinfra import profiles
from experiments.deeprecinfra.bench import check_target
from experiments.deeprecinfra.model_config import MODELS
from experiments.deeprecinfra.report import headline, markdown, plot, summary
from experiments.deeprecinfra.schedulers import SCHEDULERS
from experiments.deeprecinfra.schedulers.joint_search import settings
from experiments.deeprecinfra.study import Cell, run, situations
from experiments.deeprecinfra.workload import LEVELS, queries
from experiments.results import FOLDER, Cache, write_result
from silverjax.replace_file import replace_text


@dataclasses.dataclass(frozen=True)
class Study:
    """What to run.

    Attributes:
        table: `main`: every scheduler, with and without an accelerator.
        quick: Two models, the medium target.
        models: Of the eight.
        levels: Of the targets.
        schedulers: By name; "static" is what the others are compared with.
        cpu: Published processor: `skylake` or `broadwell`.
        accelerator: Published accelerator: `1080ti` or `t4` (of five models); empty: none.
        profiles: Measured profiles instead of published ones, of cores alone.
        cores: Of the machine that was measured.
        workload: Sizes of queries, as `silverjax load --sizes`.
        seed: Of everything random.
        fresh: Forget what earlier runs found.
        folder: Where results are written.
    """

    table: Literal["main"] = "main"
    quick: bool = False
    models: tuple[str, ...] = MODELS
    levels: tuple[str, ...] = tuple(LEVELS)
    schedulers: tuple[str, ...] = tuple(SCHEDULERS)
    cpu: str = "skylake"
    accelerator: str = "1080ti"
    profiles: pathlib.Path | None = None
    cores: int = 1
    workload: str = "mlperf"
    seed: int = 1
    fresh: bool = False
    folder: pathlib.Path = FOLDER


def check(study: Study) -> Study:
    """The study with its quick sizes.

    Raises:
        ValueError: A scheduler that does not exist, or none to compare with.
    """
    unknown = set(study.schedulers) - set(SCHEDULERS)
    if unknown:
        raise ValueError(
            f"schedulers {sorted(unknown)} do not exist; there are {', '.join(SCHEDULERS)}"
        )
    if "static" not in study.schedulers:
        raise ValueError("schedulers must include 'static', which the others are compared with")
    if not study.quick:
        return study
    models = tuple(dict.fromkeys(m for m in ("wnd", "rmc1") if m in study.models)) or study.models
    return dataclasses.replace(study, models=models[:2], levels=("medium",))


def main(study: Study) -> list[Cell]:
    """Runs what is left to run, prints, and writes JSON, a chart and a report."""
    study, console = check(study), Console()
    measured = profiles.load(study.profiles) if study.profiles else None
    cases = list(
        situations(
            study.models,
            study.levels,
            cpu=study.cpu,
            accelerator=study.accelerator,
            measured=measured,
            cores=study.cores,
        )
    )
    if measured:  # published machines meet all targets
        for case in cases:
            sizes = queries(1.0, 4_096, sizes=study.workload, seed=study.seed).sizes
            ways = [(case.machine, one) for one in settings(case.machine, sizes)]
            check_target(f"{case.model} on {case.machine.name}", case.target, ways, sizes)
    machine = "measured" if measured else study.cpu
    name = f"deeprecinfra-{study.table}-{machine}" + ("-quick" if study.quick else "")
    cache = Cache(pathlib.Path(tempfile.gettempdir()) / f"{name}.cache.json", fresh=study.fresh)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        cells = run(
            cases, study.schedulers, cache, workload=study.workload, seed=study.seed,
            progress=progress,
        )  # fmt: skip
    found = summary(cells)
    sources = {
        f"{case.model} on {profile.device}": f"{profile.kind}: {profile.source}"
        for case in cases
        for profile in (case.machine.cpu, case.machine.accelerator)
        if profile is not None
    }
    text = markdown(cells, sources, title=f"Schedulers on {cases[0].machine.name}")
    console.print(text, markup=False)
    write_result(
        study.folder / f"{name}.json",
        study="experiments.deeprecinfra",
        settings=dataclasses.asdict(study),
        figures={"summary": found, "cells": cells, "profiles": sources},
        headline=None if study.quick else headline(found, machine),
    )
    plot(study.folder / f"{name}.png", found, title=f"Queries per second over static, {machine}")
    replace_text(study.folder / f"{name}.md", text)
    console.print(f"written to {study.folder}/{name}.json, .md and .png")
    return cells


if __name__ == "__main__":
    run_command(main, Study, __doc__)
