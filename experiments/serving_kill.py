"""Kill -9 in the middle of a swap, again and again: what comes back must be whole.

    python -m experiments.serving_kill --snapshots runs/demo/snapshots --cycles 50

A process serves and watches a folder; a new version is published there, and at a random moment of
the swap the process is killed. Started again, it must serve the newest version and answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from experiments.command import run_command
from experiments.results import report_result
from experiments.serving_pair import publish_again
from serving.config import ServiceConfig
from serving.query import Query
from serving.service import Service
from silverjax.snapshot import Snapshot, load_snapshot, versions

_START = "from experiments.serving_kill import serve; import sys; serve(sys.argv[1])"


@dataclasses.dataclass(frozen=True)
class Study:
    """How often, and of what.

    Attributes:
        snapshots: A published version, or the folder of all.
        cycles: Kills.
        seed: Of their moments.
    """

    snapshots: Path = Path("runs/demo/snapshots")
    cycles: int = 50
    seed: int = 0


def serve(root: str) -> None:
    """The process that is killed: a line for every version that answers, without end."""

    async def run() -> None:
        service = Service.open(root, ServiceConfig(watch_s=0.01), buckets=(1,))
        await service.start()
        user, said = service.versions.engine.snapshot.catalogue.user_ids[0], ""
        while True:
            answered = await service.answer([Query(user=user, k=1)], timeout=60.0)
            if answered.version != said:
                said = answered.version
                print(said, len(answered.replies[0].items), flush=True)

    asyncio.run(run())


def kill_cycles(snapshot: Snapshot, cycles: int, *, seed: int = 0) -> dict[str, Any]:
    """Publishes, swaps and kills.

    Returns:
        Cycles; kills that came before the swap was done; starts that did not serve the newest
        version with items; and the longest start in seconds.
    """
    rng = random.Random(seed)
    early, wrong, slowest, swap_s = 0, 0, 0.0, 0.5
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "snapshots"
        publish_again(root, snapshot)
        for cycle in track(range(cycles + 1), "killing", console=Console(stderr=True)):
            newest = versions(root)[-1].name
            start = time.perf_counter()
            with _server(root, Path(folder) / "cache") as server:
                wrong += not _serves(server, newest)
                slowest = max(slowest, time.perf_counter() - start)
                publish_again(root, snapshot)
                if cycle == 0:  # how long a swap takes here: the moments are drawn from it
                    start = time.perf_counter()
                    wrong += not _serves(server, versions(root)[-1].name)
                    swap_s = time.perf_counter() - start
                else:
                    time.sleep(rng.uniform(0.0, swap_s))
                    server.kill()  # SIGKILL
                    early += not _line(server)
            for old in versions(root)[:-2]:
                shutil.rmtree(old)
    return {
        "cycles": cycles,
        "killed_before_the_swap_was_done": early,
        "wrong_after_restart": wrong,
        "slowest_start_s": slowest,
        "swap_s": swap_s,
    }


@contextlib.contextmanager
def _server(root: Path, cache: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that serves; killed at the end of the block."""
    # Programs are kept between the starts, which are many and not what is studied.
    settings = {
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    process = subprocess.Popen(
        [sys.executable, "-c", _START, str(root)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | settings,
        cwd=Path(__file__).parents[1],
    )
    with process:  # waits for its end, and closes the pipe
        try:
            yield process
        finally:
            process.kill()


def _serves(server: subprocess.Popen[str], version: str) -> bool:
    name, _, items = _line(server).strip().partition(" ")
    return name == version and int(items or 0) > 0


def _line(server: subprocess.Popen[str]) -> str:
    assert server.stdout is not None
    return server.stdout.readline()


def main(study: Study) -> None:
    figures = kill_cycles(load_snapshot(study.snapshots), study.cycles, seed=study.seed)
    console = Console()
    console.print(figures)
    report_result("experiments.serving_kill", study, figures, console=console)


if __name__ == "__main__":
    run_command(main, Study, __doc__)
