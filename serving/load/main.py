"""Load over HTTP on the JSON API, with a live view: what `silverjax load` runs."""

from __future__ import annotations

import asyncio
import json

import numpy as np
from rich.console import Console
from rich.live import Live
from rich.table import Table

from serving.load.driver import Outcomes, blank, drive
from serving.load.http_client import HttpClient
from serving.load.options import Load
from serving.load.report import summary, write_report
from serving.load.workload import Profile, constant, ramp, schedule, sine, steps


def rate_profile(load: Load) -> Profile:
    """Requests per second over time."""
    if load.profile == "step":
        third = load.seconds / 3
        return steps([(third, load.rate), (2 * third, load.rate * load.factor)])
    if load.profile == "ramp":
        return ramp(load.rate, load.rate * load.factor, load.seconds)
    if load.profile == "sine":
        return sine(load.rate, min(load.factor - 1, 0.95), load.seconds / 1.5, load.seconds)
    return constant(load.rate, load.seconds)


def body(load: Load, number: int, rows: int) -> bytes:
    """Request number `number` of a load, as JSON."""
    users = np.random.default_rng([load.seed, number]).integers(1, load.users + 1, rows).tolist()
    asked = [{"user": str(user), "k": load.k, "where": load.where} for user in users]
    return json.dumps(asked[0] if rows == 1 else {"requests": asked}).encode()


async def run_load(url: str, load: Load, *, console: Console | None = None) -> Outcomes:
    """Sends the load to `url`; a console shows how it goes, once a second."""
    if load.users < 1:
        raise ValueError(f"users={load.users} must be at least 1")
    made = schedule(rate_profile(load), sizes=load.sizes, seed=load.seed)
    # Encoded beforehand: on the way it would be counted as latency of the service.
    bodies = [body(load, number, rows) for number, rows in enumerate(made.sizes.tolist())]
    key = load.api_key_file.read_text().strip() if load.api_key_file else None
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    client = HttpClient(url.rstrip("/") + "/v1/recommend", headers=headers)
    outcomes = blank(made)

    async def send(number: int, rows: int) -> tuple[int, int]:
        answer = await client.post(bodies[number])
        return answer.status, answer.batch

    watcher = asyncio.create_task(_watch(outcomes, load.target_ms / 1e3, console))
    try:
        return await drive(made, send, outcomes=outcomes)
    finally:
        watcher.cancel()
        await client.close()


def show(outcomes: Outcomes, target_s: float, title: str) -> Table:
    """The summary as a table."""
    figures = summary(outcomes, target_s)
    table = Table("figure", "value", title=title)
    table.add_row("offered", f"{figures['offered_per_s']:.0f} requests/s")
    table.add_row(f"within {figures['target_ms']:.0f} ms", f"{figures['goodput_per_s']:.0f} /s")
    table.add_row("rows", f"{figures['rows_per_s']:.0f} /s")
    for name, value in (figures["latency_ms"] or {}).items():
        table.add_row(name, f"{value:.2f} ms")
    for code, count in figures["statuses"].items():
        table.add_row(f"status {code}", f"{count:,}")
    if figures["send_lag_p99_ms"] is not None:
        table.add_row("sent late, p99", f"{figures['send_lag_p99_ms']:.2f} ms")
    return table


def load_command(url: str, load: Load) -> None:
    """Runs, shows and reports a load.

    Raises:
        ConnectionError: Nothing answered at all.
    """
    console = Console()
    outcomes = asyncio.run(run_load(url, load, console=console))
    console.print(show(outcomes, load.target_ms / 1e3, f"{url}: {load.profile}, {load.sizes}"))
    if not (outcomes.statuses > 0).any():
        raise ConnectionError(f"nothing answered at {url}; is the service up? (silverjax serve)")
    if load.out is not None:
        for path in write_report(load.out, outcomes, load.target_ms / 1e3):
            console.print(f"written to {path}")


async def _watch(outcomes: Outcomes, target_s: float, console: Console | None) -> None:
    """Shows the last second, until it is cancelled."""
    if console is None:
        return
    loop = asyncio.get_running_loop()
    start = loop.time()
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            await asyncio.sleep(1)
            now = loop.time() - start
            times = outcomes.schedule.times
            last = (times >= now - 1) & (times < now)
            good = last & (outcomes.statuses == 200)
            waiting = int(((times < now) & (outcomes.statuses < 0)).sum())
            tail = 1e3 * np.quantile(outcomes.latencies[good], 0.99) if good.any() else np.nan
            batches = outcomes.batches[good & (outcomes.batches > 0)]
            row = Table("second", "offered/s", "in time/s", "p99 ms", "waiting", "mean batch")
            row.add_row(
                f"{now:.0f} of {outcomes.schedule.duration:.0f}",
                str(int(last.sum())),
                str(int((outcomes.latencies[good] <= target_s).sum())),
                f"{tail:.1f}",
                str(waiting),
                f"{batches.mean():.1f}" if len(batches) else "-",
            )
            live.update(row, refresh=True)
