"""`silverjax serve`: what can be asked of it, and its help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro

from silverjax._extras import needs_extra


def serve(
    snapshot: Annotated[Path, tyro.conf.Positional] = Path("snapshots"),
    /,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    grpc_port: int = 8001,
    admin_port: int = 8002,
    api_key_file: Path | None = None,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
    insecure: bool = False,
    target_p99_ms: float = 50.0,
    mode: Literal["online", "fixed"] = "online",
    batch_sizes: tuple[int, ...] = (1, 8, 64),
    k: int | None = None,
    timeout_ms: float = 1000.0,
    watch_s: float = 2.0,
    metrics_compat: Literal["none", "triton"] = "none",
    log_format: Literal["auto", "json", "text"] = "auto",
) -> None:
    """Serve a snapshot over HTTP and gRPC; newer versions are taken up as they are published.

    Try: curl localhost:8000/v1/recommend -d '{"user": "42", "where": "genre:comedy", "k": 5}'

    Args:
        snapshot: The folder of all versions, or one version.
        host: Address to listen on; one that other machines reach needs --api-key-file.
        port: HTTP: the live page, the JSON API, the Open Inference Protocol v2, metrics.
        grpc_port: Open Inference Protocol v2 over gRPC.
        admin_port: Swap and rollback, on this machine alone.
        api_key_file: One key a line, then its rights: infer, metrics, admin.
        tls_cert: Certificate chain (PEM).
        tls_key: Private key (PEM).
        insecure: Listen to a network without keys.
        target_p99_ms: Time within which 99 of 100 requests are to be answered.
        mode: online moves the batch size to what carries most within the target; fixed keeps
            the first one, which is what silverjax tune-serving found, or else the largest.
        batch_sizes: Batch sizes to compile.
        k: Most items a request may ask for; the default is the snapshot's.
        timeout_ms: Time of a request that names none.
        watch_s: How often to look for a newer version; 0 leaves it to the admin port.
        metrics_compat: triton shows the metrics under Triton's names too.
        log_format: auto is text on a terminal and JSON elsewhere.
    """
    with needs_extra("serve", "serving"):
        from serving.launch import launch
    from serving.config import ServiceConfig
    from serving.server import ServerConfig

    launch(
        snapshot,
        ServerConfig(
            host=host,
            port=port,
            grpc_port=grpc_port,
            admin_port=admin_port,
            api_key_file=api_key_file,
            tls_cert=tls_cert,
            tls_key=tls_key,
            insecure=insecure,
            triton_metrics=metrics_compat == "triton",
        ),
        ServiceConfig(timeout_s=timeout_ms / 1e3, watch_s=watch_s),
        target_s=target_p99_ms / 1e3,
        mode=mode,
        batch_sizes=batch_sizes,
        k=k,
        log_format=log_format,
    )
