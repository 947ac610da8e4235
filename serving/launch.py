"""`silverjax serve`: from a folder of snapshots to a server that runs until it is told to stop."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import uvloop

from serving import logs
from serving.config import ServiceConfig
from serving.engine import Engine
from serving.file_limit import connections_within, raise_file_limit
from serving.hill_climb import HillClimber
from serving.hill_climb_config import HillClimbConfig
from serving.process import settle, start_devices
from serving.server import Server, ServerConfig
from serving.service import Service
from serving.tuned_limit import path_of, read_limit
from serving.versions import open_newest

log = logging.getLogger(__name__)


def launch(
    snapshot: Path,
    server_config: ServerConfig,
    service_config: ServiceConfig,
    *,
    target_s: float,
    mode: Literal["online", "fixed"],
    batch_sizes: Sequence[int],
    k: int | None,
    log_format: str,
) -> None:
    """Serves until SIGTERM or SIGINT.

    Args:
        target_s: Within which 99 of 100 requests are to be answered.
        mode: "online" climbs to the batch limit that carries most within the target, "fixed"
            keeps the first one. That is what `silverjax tune-serving` found for this machine;
            where it found nothing, the best by the times of the warm-up, or the largest if fixed.
        batch_sizes: To compile.
        k: Most items a request may ask for; `None` is the snapshot's own.
        log_format: See `logs.configure`.
    Raises:
        SnapshotError: No version can serve; the file of `silverjax tune-serving` is damaged.
        ValueError, OSError: A setting that cannot be used; a port that is taken.
    """
    climb = HillClimbConfig(tuple(sorted(set(batch_sizes))), target_s, mode=mode)
    logs.configure(log_format)
    limits = server_config.limits
    connections = connections_within(raise_file_limit(), limits.connections)
    server_config = dataclasses.replace(
        server_config, limits=dataclasses.replace(limits, connections=connections)
    )
    log.info("loading %s and compiling for batches of %s", snapshot, list(batch_sizes))
    start_devices()
    engine, degraded = open_newest(snapshot, buckets=batch_sizes, k=k, traces=True)
    start = tuned_start(engine, 1e3 * target_s)
    if start is None and mode == "fixed":
        start = engine.buckets[-1]
    climber = HillClimber(dataclasses.replace(climb, start=start))
    service = Service(engine, service_config, climber, degraded=degraded)
    server = Server(service, server_config)
    settle()
    uvloop.run(_run(server))


def tuned_start(engine: Engine, target_ms: float) -> int | None:
    """The batch limit that was tuned for this very service; None if there is none, or for another.

    Raises:
        SnapshotError: The file is damaged.
    """
    tuned = read_limit(engine)
    if tuned is None:
        return None
    if why := tuned.unfit(engine, target_ms):
        log.warning(
            "%s is ignored: %s; run silverjax tune-serving again", path_of(engine).name, why
        )
        return None
    log.info(
        "starting from the batch limit %d, tuned to carry %.0f requests/s",
        tuned.batch_limit,
        tuned.requests_per_s,
    )
    return tuned.batch_limit


async def _run(server: Server) -> None:
    await server.run(told=lambda: print(where_to_look(server), flush=True))


def where_to_look(server: Server) -> str:
    """What a person who has just started the server wants to know."""
    urls = server.urls
    lines = [
        f"serving snapshot {server.service.version} (process {os.getpid()})",
        f"  live page   {urls['http']}/",
        f'  recommend   curl {urls["http"]}/v1/recommend -d \'{{"user": "1", "k": 5}}\'',
        f"  protocol    {urls['http']}/v2" + (f"   gRPC {urls['grpc']}" if "grpc" in urls else ""),
        f"  schema      {urls['http']}/openapi.json",
        f"  metrics     {urls['http']}/metrics",
    ]
    if "admin" in urls:
        lines.append(f"  admin       curl -X POST {urls['admin']}/v1/swap")
    return "\n".join(lines)
