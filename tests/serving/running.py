"""Real servers on free ports: the command as a process, and its HTTP part as a thread."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvloop

from experiments.serving_process import serving_process
from serving.config import ServiceConfig
from serving.engine import Engine
from serving.hill_climb import HillClimber
from serving.server import Server, ServerConfig
from serving.service import Service

GENEROUS = ServiceConfig(timeout_s=30.0, drain_s=5.0)


@contextlib.contextmanager
def command(
    snapshots: Path, *options: str
) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """`silverjax serve` with one small program, and its log line "ready"."""
    with serving_process(snapshots, "--batch-sizes", "4", *options) as served:
        yield served


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
