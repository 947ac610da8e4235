"""The service under load, in one process: capacity, overload, swaps, soak.

    python -m experiments.serving_study --snapshots runs/demo/snapshots
    python -m experiments.serving_study --swaps 5 --seconds 3          # a quick look

The bars: at three times the capacity at least 80 % of the peak goodput, the queue bounded, every
refused request told so; 100 swaps at 70 % of the capacity without a lost or a mixed answer,
p99 at most 1.5 times that without swaps, and memory for one more snapshot; nothing recompiled.

Goodput is judged by a tight deadline, `--timeout-s`; whether swaps or the soak lose requests, by
one that the same load meets otherwise, `--patience-s`: by the tight one, every pause of a shared
machine loses some, with and without swaps, and some last over a second. What share came within the
tight one is told all the same, and whose the cores were meanwhile. Swaps take turns with as long
without, and what the machine's host spoiled is measured again. On a virtual machine:

    python -m experiments.awake python -m experiments.serving_study --soak-minutes 5
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import math
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import uvloop
from rich.console import Console
from rich.progress import track
from rich.table import Table

from experiments.command import run_command
from experiments.results import report_result
from experiments.serving_drive import Load, Outcome, drive, name_of, resident_mib
from experiments.serving_pair import best_values, size_mib, two_versions
from experiments.serving_swaps import Swapping, swap_under_load
from experiments.undisturbed import undisturbed
from serving.config import ServiceConfig
from serving.process import settle, start_devices
from serving.query import Query
from serving.service import Service


@dataclasses.dataclass(frozen=True)
class Study:
    """What to measure.

    Attributes:
        snapshots: A published version, or the folder of all.
        buckets: Compiled batch sizes.
        rows: Rows of a request.
        k: Items asked for.
        timeout_s: Deadline of a request; goodput counts answers within it.
        patience_s: Deadline of a request in swaps and the soak: longer than a machine stands still.
        seconds: Length of each measurement.
        swaps: Swaps under load.
        swap_every_s: Pause between two swaps.
        soak_minutes: Length of the soak; 0 leaves it out.
        stolen: A load during which the host takes more than this share of the cores is sent again.
        attempts: At most; the one of which least was stolen counts.
        seed: Of the arrivals.
    """

    snapshots: Path = Path("runs/demo/snapshots")
    buckets: tuple[int, ...] = (1, 4, 16, 64)
    rows: int = 1
    k: int = 10
    timeout_s: float = 0.1
    patience_s: float = 5.0
    seconds: float = 20.0
    swaps: int = 100
    swap_every_s: float = 1.0
    soak_minutes: float = 0.0
    stolen: float = 0.02
    attempts: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("rows", "swaps", "attempts"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        if not (0 < self.seconds < math.inf and 0 <= self.soak_minutes < math.inf):
            lengths = f"seconds={self.seconds}, soak_minutes={self.soak_minutes}"
            raise ValueError(f"{lengths} must be finite; seconds above 0, the other 0 or more")
        for name in ("timeout_s", "patience_s"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name}={getattr(self, name)} must be finite and above 0")
        if not 0 <= self.swap_every_s < math.inf:
            raise ValueError(f"swap_every_s={self.swap_every_s} must be finite, 0 or more")


async def capacity(service: Service, queries: list[Query], study: Study) -> tuple[float, float]:
    """Requests a second with 256 clients that never pause, and the peak goodput of open loops."""
    stop, done = time.perf_counter() + study.seconds, 0

    async def client(number: int) -> None:
        nonlocal done
        while time.perf_counter() < stop:
            at = [(number + row) % len(queries) for row in range(study.rows)]
            await service.answer([queries[i] for i in at], timeout=30.0)
            done += 1

    start = time.perf_counter()
    await asyncio.gather(*(client(97 * number) for number in range(256)))
    closed = done / (time.perf_counter() - start)
    peak = 0.0
    for share in track((0.6, 0.8, 0.9, 1.0), "peak goodput"):
        outcome = await drive(service, queries, _load(study, closed * share))
        peak = max(peak, outcome.goodput)
    return closed, peak


async def swaps(
    service: Service, queries: list[Query], study: Study, rate: float, expected: dict[str, Any]
) -> dict[str, Any]:
    """The same load without and with swaps between two versions."""
    load = dataclasses.replace(_load(study, rate), timeout_s=study.patience_s)
    how = Swapping(study.swaps, study.swap_every_s, study.stolen, study.attempts)
    found = await swap_under_load(service, queries, load, how, expected)
    whole = found.all_turns
    return {
        "rate": rate,
        "swaps": study.swaps,
        "swap_s_median": float(np.median(found.took_s)),
        "timeout_s": load.timeout_s,
        "attempts": found.attempts,
        "steady": _patient_figures(whole.steady, study),
        "under_swaps": _patient_figures(whole.under, study),
        "p99_ratio": whole.p99_ratio,
        "p99_ratio_of_median_turn": float(np.median([one.p99_ratio for one in found.turns])),
        "turns": [one.figures() for one in found.turns],
        "memory_mib": found.memory_mib,
        "memory_growth_mib": found.growth_mib,
        "snapshot_mib": size_mib(service.versions.engine.snapshot.path),
    }


async def soak(service: Service, queries: list[Query], study: Study, rate: float) -> dict[str, Any]:
    """Memory over time at a steady load; the slope is of the second half."""
    load = dataclasses.replace(
        _load(study, rate), seconds=60 * study.soak_minutes, timeout_s=study.patience_s
    )

    async def watched() -> _Watched:
        task, memory = asyncio.create_task(drive(service, queries, load)), list[float]()
        while not task.done():
            memory.append(resident_mib())
            await asyncio.sleep(1.0)
        return _Watched(await task, memory)

    one, attempts = await undisturbed(watched, limit=study.stolen, attempts=study.attempts)
    late = np.asarray(one.memory_mib[len(one.memory_mib) // 2 :])
    slope = float(np.polyfit(np.arange(len(late)) / 60, late, 1)[0])
    return {
        "mib_per_minute": slope,
        "load": _patient_figures(one.outcome, study),
        "rate": rate,
        "attempts": attempts,
        "memory_mib": one.memory_mib,
    }


class _Watched(NamedTuple):
    """A load, and the memory of the process at every second of it."""

    outcome: Outcome
    memory_mib: list[float]

    @property
    def stolen(self) -> float:
        return self.outcome.stolen


async def measure(study: Study, console: Console) -> dict[str, Any]:
    """All figures of a study."""
    with contextlib.ExitStack() as stack:
        root = stack.enter_context(two_versions(study.snapshots))
        service = Service.open(root, ServiceConfig(), buckets=study.buckets)
        users = service.versions.engine.snapshot.catalogue.user_ids[:512]
        queries = [Query(user=user, k=study.k) for user in users]
        expected = best_values(root, service.versions.engine, queries)
        await service.start()
        settle()
        closed, peak = await capacity(service, queries, study)
        console.print(f"{closed:,.0f} requests/s; peak goodput {peak:,.0f}/s")
        over = await drive(service, queries, _load(study, 3 * closed))
        figures = {
            "capacity_per_s": closed,
            "peak_goodput_per_s": peak,
            "overload": over.figures(),
            "overload_goodput_share": over.goodput / peak,
            "swap": await swaps(service, queries, study, 0.7 * peak, expected),
        }
        if study.soak_minutes:
            figures["soak"] = await soak(service, queries, study, 0.5 * peak)
        figures["batches"] = dict(service.stats.batches)
        figures["dispatches"] = dict(service.stats.dispatches)
        figures["recompiles"] = service.recompiles
        await service.stop()
    return figures


def main(study: Study) -> None:
    console = Console()
    start_devices()
    figures = uvloop.run(measure(study, console))
    swap, over = figures["swap"], figures["overload"]
    table = Table("figure", "value", "bar", title=f"A service of {study.rows}-row requests")
    table.add_row("capacity, closed loop", f"{figures['capacity_per_s']:,.0f} requests/s", "")
    table.add_row("goodput at 3x, of its peak", f"{figures['overload_goodput_share']:.1%}", "80 %")
    table.add_row("largest queue at 3x", f"{over['largest_queue_rows']} rows", "4,096")
    under, steady = swap["under_swaps"], swap["steady"]
    lost = f"lost, mixed under swaps ({study.patience_s:g} s)"
    table.add_row(lost, f"{under['lost']}, {under['mixed']}", "0, 0")
    table.add_row("the same without swaps", f"{steady['lost']}, {steady['mixed']}", "")
    table.add_row("p99 under swaps / steady", f"{swap['p99_ratio']:.2f}", "1.5")
    table.add_row("the same, median turn", f"{swap['p99_ratio_of_median_turn']:.2f}", "")
    within = [f"{figures['within_timeout_share']:.3%}" for figures in (under, steady)]
    table.add_row(f"within {study.timeout_s:g} s, with and without", ", ".join(within), "")
    growth = f"{swap['memory_growth_mib']:.1f} MiB"
    table.add_row(
        "memory growth after ten swaps", growth, f"{swap['snapshot_mib']:.1f} MiB, one snapshot"
    )
    table.add_row("recompiles", str(figures["recompiles"]), "0")
    if "soak" in figures:
        soaked = figures["soak"]
        soak = f"soak of {study.soak_minutes:g} minutes"
        table.add_row(f"memory, {soak}", f"{soaked['mib_per_minute']:.2f} MiB/min", "1")
        table.add_row(f"lost, {soak}", str(soaked["load"]["lost"]), "0")
    console.print(table)
    name = name_of(study.snapshots)
    report_result(
        "experiments.serving_study",
        study,
        figures,
        console=console,
        headline=headline(name, figures),
        of=name,
    )


def headline(name: str, figures: dict[str, Any]) -> dict[str, str]:
    """For the README's table."""
    swap, over = figures["swap"], figures["overload_goodput_share"]
    under, wait = swap["under_swaps"], f"{swap['timeout_s']:g} s"
    said = {
        f"service of {name} at 3x its capacity": f"goodput {over:.0%} of its peak",
        f"service of {name}: {swap['swaps']} swaps at 70 % load": (
            f"{under['lost']:,} of {under['sent']:,} requests unanswered after {wait}, "
            f"{under['mixed']} answers mixed, p99 {swap['p99_ratio']:.2f} of that without"
        ),
    }
    if "soak" in figures:
        soak = figures["soak"]
        said[f"service of {name}: soak of {len(soak['memory_mib']) / 60:.0f} minutes"] = (
            f"{soak['load']['lost']} of {soak['load']['sent']:,} requests lost, "
            f"memory {soak['mib_per_minute']:+.2f} MiB a minute"
        )
    return said


def _patient_figures(outcome: Outcome, study: Study) -> dict[str, Any]:
    within = outcome.latencies.share_within(study.timeout_s) * outcome.answered / outcome.sent
    return outcome.figures() | {"lost": outcome.lost, "within_timeout_share": within}


def _load(study: Study, rate: float) -> Load:
    return Load(rate, study.seconds, study.rows, study.timeout_s, study.seed)


if __name__ == "__main__":
    run_command(main, Study, __doc__)
