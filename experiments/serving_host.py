"""What a request costs the host: everything but the model, whose answers are taken from before.

    python -m experiments.serving_host --snapshots runs/demo/snapshots

Queries are checked, encoded, let in, queued, put together, and their answers handed out, as always.
The bar: well under 100 us of processor time a row, and 2,500 requests a second of one row.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from experiments.command import run_command
from experiments.results import report_result
from serving.engine import Engine, Piece
from serving.query import Query
from serving.service import Service
from silverjax.retriever import Answer
from silverjax.snapshot import load_snapshot


@dataclasses.dataclass(frozen=True)
class Study:
    """What to measure.

    Attributes:
        snapshots: A published version, or the folder of all.
        where: Filter of all queries.
        seconds: Length of each measurement.
    """

    snapshots: Path = Path("runs/demo/snapshots")
    where: str = ""
    seconds: float = 5.0


class Instant(Engine):
    """Puts every batch together, and gives the answer to the first one of its size."""

    def run(self, pieces: Sequence[Piece]) -> Answer:
        size = self.bucket_for(sum(stop - start for _, start, stop in pieces))
        self._encoder.assemble(pieces, size)
        known: dict[int, Answer] = self.__dict__.setdefault("known", {})
        if size not in known:
            known[size] = self.fetch(super().run(pieces))
        return known[size]


async def host_cost(engine: Engine, study: Study, *, rows: int, clients: int) -> dict[str, Any]:
    """Requests of `rows` rows a second, and processor time each, with clients that never pause."""
    users = engine.snapshot.catalogue.user_ids
    queries = [Query(users[n % len(users)], study.where) for n in range(clients + rows)]
    service = Service(engine)
    await service.start()
    done, stop = 0, time.perf_counter() + study.seconds
    start, used = time.perf_counter(), time.process_time()

    async def client(number: int) -> None:
        nonlocal done
        while time.perf_counter() < stop:
            await service.answer(queries[number : number + rows], timeout=30.0)
            done += 1

    await asyncio.gather(*map(client, range(clients)))
    seconds, used = time.perf_counter() - start, time.process_time() - used
    await service.stop()
    return {
        "rows": rows,
        "clients": clients,
        "requests_per_s": done / seconds,
        "rows_per_s": rows * done / seconds,
        "cpu_us_per_request": 1e6 * used / done,
        "cpu_us_per_row": 1e6 * used / done / rows,
        "batches": dict(service.stats.batches),
    }


def main(study: Study) -> None:
    console = Console()
    engine = Instant(load_snapshot(study.snapshots), buckets=(1, 4, 16, 64))
    figures = []
    for rows, clients in ((1, 16), (1, 256), (64, 16)):
        figures.append(asyncio.run(host_cost(engine, study, rows=rows, clients=clients)))
        console.print(figures[-1])
    report_result("experiments.serving_host", study, figures, console=console)


if __name__ == "__main__":
    run_command(main, Study, __doc__)
