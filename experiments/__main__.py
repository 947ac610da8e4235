"""`python -m experiments`: the benchmarks of this machine, one after the other.

    python -m experiments                         # all; some hours on two cores
    python -m experiments --only index_scale      # some of them, by part of their command

At the end one table says what all results are, and the README's table is written from them. The
studies of quality take longer and are run by name: `python -m experiments.quality`.
"""

from __future__ import annotations

import dataclasses
import shlex
import subprocess
import sys
import time

import tyro
from rich.console import Console
from rich.table import Table

from experiments import readme

BENCHMARKS = (
    "experiments.index_scale",
    "experiments.int8_recall",
    "experiments.filter_probe_bench",
    "experiments.search_bench --data glove --threads 1",
    "experiments.search_bench --data glove --threads 2",
    "experiments.search_bench --data mixture --threads 1",
    "experiments.search_bench --data mixture --threads 2",
    "experiments.filter_bench --data glove --threads 1",
    "experiments.filter_bench --data glove --threads 2",
    "experiments.filter_bench --data mixture --clusters 2048 --threads 2",
    "experiments.services_study",
    "experiments.climb_study",
    "experiments.climb_live",
    "experiments.serving_study --soak-minutes 5",
    "experiments.serving_front",
    "experiments.serving_kill",
    "experiments.serving_loadgen",
    "experiments.deeprecinfra",
    "experiments.deeprecinfra.real",
    "experiments.deeprecinfra.processor",
    "experiments.deeprecinfra.figures",
)


@dataclasses.dataclass(frozen=True)
class Choice:
    """What to run.

    Attributes:
        only: Parts of commands; a benchmark runs if its command holds one of them.
    """

    only: tuple[str, ...] = ()


def main(choice: Choice) -> int:
    """Runs each in a process of its own, so that peak memory is its own; stops at a failure."""
    console = Console()
    chosen = [
        command
        for command in BENCHMARKS
        if not choice.only or any(part in command for part in choice.only)
    ]
    if not chosen:
        raise SystemExit(f"no benchmark holds {choice.only}; there are: {', '.join(BENCHMARKS)}")
    for number, command in enumerate(chosen, 1):
        console.rule(f"{number} of {len(chosen)}: {command}")
        start = time.perf_counter()
        status = subprocess.call([sys.executable, "-m", *shlex.split(command)])
        if status:
            console.print(f"{command} failed; the README is as it was")
            return status
        console.print(f"done in {time.perf_counter() - start:.0f} s")
    table = Table("what", "figure", title="Results of this machine")
    for row in readme.write():
        table.add_row(row.what, row.figure)
    console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Choice, description=__doc__)))
