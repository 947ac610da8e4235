"""Runs `silverjax tune-serving`: loads, measures with a live table, and writes the choice."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

import uvloop
from rich.console import Console
from rich.live import Live
from rich.table import Table

from serving import logs
from serving.config import ServiceConfig
from serving.engine import Engine
from serving.rate_search import Tuned
from serving.rate_tuning import Measured, Measuring, find_limit
from serving.service import Service
from serving.tuned_limit import TunedLimit, write_limit
from serving.versions import open_newest
from silverjax.machine import machine, versions

_LIBRARIES = ("silverjax", "jax", "jaxlib", "numpy")


def launch_tuning(
    snapshot: Path, options: Measuring, *, batch_sizes: Sequence[int], k: int | None
) -> None:
    """Measures and writes.

    Raises:
        SnapshotError: No version can serve.
        ValueError: A setting that cannot be used, or a target that no batch size meets.
    """
    logs.configure("text")
    console = Console()
    with console.status(f"loading {snapshot} and compiling for batches of {list(batch_sizes)}"):
        engine, _ = open_newest(snapshot, buckets=batch_sizes, k=k)
    found = uvloop.run(_search(engine, options, console))
    path = write_limit(engine, _choice(engine, options, found))
    console.print(
        f"batches of up to {found.batch_limit} rows carry {found.rate:,.0f} requests/s within "
        f"{1e3 * options.target_s:g} ms (p99); written to {path}"
    )


async def _search(engine: Engine, options: Measuring, console: Console) -> Tuned:
    service = Service(engine, ServiceConfig())
    await service.start()
    done: list[Measured] = []
    try:
        with Live(shown(done, options), console=console, auto_refresh=False) as live:

            def told(one: Measured) -> None:
                done.append(one)
                live.update(shown(done, options), refresh=True)

            found = await find_limit(service, options, told)
        if not console.is_terminal:
            console.line()  # which `Live` writes to terminals only
        return found
    finally:
        await service.stop()


def shown(done: Sequence[Measured], options: Measuring) -> Table:
    """What was measured so far, by limit."""
    table = Table(
        "batch limit",
        "met, requests/s",
        "missed from",
        "measurements",
        title=f"Poisson load of {options.sizes} rows, p99 within {1e3 * options.target_s:g} ms",
        caption=f"last: {_last(done[-1])}" if done else "measuring",
    )
    for column in table.columns:
        column.justify = "right"
    for limit in sorted({one.proposal.batch_limit for one in done}):
        here = [one for one in done if one.proposal.batch_limit == limit]
        met = max((one.proposal.rate for one in here if one.met), default=None)
        missed = min((one.proposal.rate for one in here if not one.met), default=None)
        rates = ["-" if rate is None else f"{rate:,.0f}" for rate in (met, missed)]
        table.add_row(str(limit), *rates, str(len(here)))
    return table


def _last(one: Measured) -> str:
    return (
        f"{one.proposal.rate:,.0f}/s at limit {one.proposal.batch_limit}: "
        f"{one.late / one.requests:.1%} of {one.requests:,} late"
    )


def _choice(engine: Engine, options: Measuring, found: Tuned) -> TunedLimit:
    return TunedLimit(
        batch_limit=found.batch_limit,
        requests_per_s=found.rate,
        by_limit=found.rates,
        target_ms=1e3 * options.target_s,
        batch_sizes=engine.buckets,
        sizes=options.sizes,
        where=options.where,
        programs=engine.programs,
        snapshot=engine.version,
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        machine=machine(),
        versions=versions(_LIBRARIES),
    )
