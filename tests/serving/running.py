"""Real servers on free ports: the command as a process, and its HTTP part as a thread."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import uvloop

from serving.config import ServiceConfig
from serving.engine import Engine
from serving.hill_climb import HillClimber
from serving.server import Server, ServerConfig
from serving.service import Service

GENEROUS = ServiceConfig(timeout_s=30.0, drain_s=5.0)
FREE_PORTS = ("--port=0", "--grpc-port=0", "--admin-port=0")


@contextlib.contextmanager
def command(
    snapshots: Path, *options: str
) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """`silverjax serve`, and its log line "ready", which says where it listens."""
    arguments = [str(snapshots), *FREE_PORTS, "--batch-sizes", "4", *options]
    process = subprocess.Popen(
        [sys.executable, "-m", "silverjax.cli", "serve", *arguments],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    assert process.stderr is not None
    # Somebody must read on after that line, or a full pipe would stop the server.
    rest = threading.Thread(target=process.stderr.read)
    try:
        ready = _ready_line(process.stderr)
        rest.start()
        yield process, ready
    finally:
        process.kill()
        process.wait()
        if rest.ident is not None:
            rest.join()
        process.stderr.close()


def _ready_line(log: IO[str]) -> dict[str, Any]:
    lines = []
    for line in log:
        lines.append(line)
        if line.startswith("{") and (entry := json.loads(line))["message"] == "ready":
            return entry
    raise RuntimeError(f"the server did not start:\n{''.join(lines)}")


@contextlib.contextmanager
def running(
    engine: Engine,
    service: ServiceConfig = GENEROUS,
    climber: HillClimber | None = None,
    **config: Any,
) -> Iterator[Server]:
    """A server without gRPC (whose loop outlives ours) in this process, stopped at the end."""
    ports = {"port": 0, "grpc_port": None, "admin_port": 0}
    server = Server(Service(engine, service, climber), ServerConfig(**ports | config))
    loop, started = uvloop.new_event_loop(), threading.Event()
    stopping = asyncio.Event()
    failed: list[BaseException] = []

    async def serve() -> None:
        await server.start()
        started.set()
        await stopping.wait()
        await server.stop()

    def run() -> None:
        try:
            loop.run_until_complete(serve())
        except BaseException as error:
            failed.append(error)
        started.set()
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    started.wait()
    if failed:
        raise failed[0]
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join(30)
    if failed:
        raise failed[0]
