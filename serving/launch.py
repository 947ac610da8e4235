"""`silverjax serve`: from a folder of snapshots to a server that runs until it is told to stop."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import uvloop

from serving import logs
from serving.config import ServiceConfig
from serving.hill_climb import HillClimber
from serving.hill_climb_config import HillClimbConfig
from serving.server import Server, ServerConfig, raise_file_limit
from serving.service import Service

log = logging.getLogger(__name__)


def launch(
    snapshot: Path,
    server_config: ServerConfig,
    service_config: ServiceConfig,
    *,
    target_s: float | None,
    batch_sizes: Sequence[int],
    k: int | None,
    log_format: str,
) -> None:
    """Serves until SIGTERM or SIGINT.

    Args:
        target_s: Within which 99 of 100 requests are to be answered; the batch limit is climbed
            to carry most within it. `None` leaves the limit at the largest size.
        batch_sizes: To compile.
        k: Most items a request may ask for; `None` is the snapshot's own.
        log_format: See `logs.configure`.
    Raises:
        SnapshotError: No version can serve.
        ValueError, OSError: A setting that cannot be used; a port that is taken.
    """
    logs.configure(log_format)
    raise_file_limit()
    log.info("loading %s and compiling for batches of %s", snapshot, list(batch_sizes))
    climber = None
    if target_s is not None:
        ladder = tuple(sorted(set(batch_sizes)))
        climber = HillClimber(HillClimbConfig(ladder, target_s))
    service = Service.open(snapshot, service_config, climber, buckets=batch_sizes, k=k, traces=True)
    server = Server(service, server_config)
    uvloop.run(_run(server))


async def _run(server: Server) -> None:
    await server.run(told=lambda: print(where_to_look(server), flush=True))


def where_to_look(server: Server) -> str:
    """What a person who has just started the server wants to know."""
    urls = server.urls
    lines = [
        f"serving snapshot {server.service.version} (process {os.getpid()})",
        f'  recommend   curl {urls["http"]}/v1/recommend -d \'{{"user": "1", "k": 5}}\'',
        f"  protocol    {urls['http']}/v2" + (f"   gRPC {urls['grpc']}" if "grpc" in urls else ""),
        f"  schema      {urls['http']}/openapi.json",
        f"  metrics     {urls['http']}/metrics",
    ]
    if "admin" in urls:
        lines.append(f"  admin       curl -X POST {urls['admin']}/v1/swap")
    return "\n".join(lines)
