"""The server's life: bind, load, listen, warm up, serve, drain, stop. HTTP and gRPC on one loop."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import uvicorn

from serving.grpc_front import GrpcFront
from serving.http.admin import Admin
from serving.http.app import admin_app, data_app
from serving.http.endpoint import Guard
from serving.http.front import Front
from serving.http.live_stream import LiveStream
from serving.http.page import Page
from serving.http.protocol import Limits, limited_protocol
from serving.live import Live
from serving.loop_lag import watch_lag
from serving.metrics import Metrics
from serving.security import Keys, check_bind, check_tls
from serving.service import Service

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class ServerConfig:
    """Where a server listens, and whom it lets in.

    Attributes:
        host: Address of the data ports (HTTP and gRPC).
        port: HTTP; 0 picks a free one, here and below.
        grpc_port: gRPC; `None` for none.
        admin_port: Swap and rollback, over HTTP; `None` for none.
        admin_host: Address of the admin port.
        api_key_file: Keys and their rights; see `Keys.read`.
        tls_cert: Certificate chain (PEM) for all ports, with `tls_key`.
        tls_key: Its private key.
        insecure: Listen to a network without keys: something else guards the ports.
        triton_metrics: Show metrics under Triton's names too.
        limits: What one client may cost.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    grpc_port: int | None = 8001
    admin_port: int | None = 8002
    admin_host: str = "127.0.0.1"
    api_key_file: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    insecure: bool = False
    triton_metrics: bool = False
    limits: Limits = dataclasses.field(default_factory=Limits)

    def __post_init__(self) -> None:
        # Files too are looked at here: nobody should wait for programs to compile to be told.
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("TLS needs both --tls-cert and --tls-key; one of them is missing")
        for name in ("port", "grpc_port", "admin_port"):
            port = getattr(self, name)
            if port is not None and not 0 <= port <= 65_535:
                raise ValueError(f"{name}={port} must be from 1 to 65535, or 0 for a free one")
        if self.tls_cert is not None and self.tls_key is not None:
            check_tls(self.tls_cert, self.tls_key)
        if self.api_key_file is not None:
            Keys.read(self.api_key_file)
        for host in (self.host, self.admin_host):
            keyed = self.api_key_file is not None
            check_bind(host, keyed=keyed, insecure=self.insecure)


class Server:
    """One service on its ports.

    Args:
        service: Not started yet.
        config: See there.

    Attributes:
        urls: Where it listens, by kind: "http", "grpc", "admin"; known after `start`.
        live: Its figures, for whoever listens.
    """

    def __init__(self, service: Service, config: ServerConfig) -> None:
        self.service, self.config = service, config
        self.urls: dict[str, str] = {}
        self._http: list[tuple[_Uvicorn, asyncio.Task[None]]] = []
        self._grpc: grpc.aio.Server | None = None
        self._lag: asyncio.Task[None] | None = None
        self.live = LiveStream(Live(service))

    async def start(self) -> None:
        """Listens, then warms the service up; until that is done, it answers "not ready".

        Raises:
            OSError: A port is taken.
        """
        config = self.config
        keys = Keys.read(config.api_key_file) if config.api_key_file else None
        metrics = Metrics(self.service, triton=config.triton_metrics)
        guard = Guard(
            keys=keys,
            trusted=config.insecure,
            limits=config.limits,
            observe=metrics.observe,
        )
        front = Front(self.service, metrics)
        app = data_app(front, self.live, Page(), guard)
        self._listen("http", config.host, config.port, app)
        if config.admin_port is not None:
            app = admin_app(Admin(self.service), guard)
            self._listen("admin", config.admin_host, config.admin_port, app)
        if config.grpc_port is not None:
            await self._listen_grpc(config.grpc_port, GrpcFront(front.model, metrics, guard))
        await asyncio.gather(*(server.listening.wait() for server, _ in self._http))
        try:
            await self.service.start()
        except BaseException:
            await self._close()
            raise
        self.live.start()
        self._lag = asyncio.create_task(watch_lag(metrics.loop_lag.observe))
        log.info("ready", extra={"snapshot_version": self.service.version, **self.urls})

    async def run(self, told: Callable[[], None]) -> None:
        """Starts, serves until SIGTERM or SIGINT, then stops; a second signal ends it at once.

        Args:
            told: Called when all is ready.
        """
        loop, stopping = asyncio.get_running_loop(), asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, number, stopping)
        await self.start()
        told()
        await stopping.wait()
        await self.stop()

    async def stop(self) -> None:
        """Takes no new requests, answers those that are there, and ends."""
        log.info("stopping", extra={"queue_rows": self.service.queue_rows})
        await self._close()
        await self.service.stop()
        log.info("stopped")

    async def _close(self) -> None:
        """Closes the ports; what came through them is answered first."""
        self.live.close()  # streams would go on for ever
        if self._lag is not None:
            self._lag.cancel()
        for server, _ in self._http:
            server.should_exit = True
        if self._grpc is not None:
            await self._grpc.stop(self.service.config.drain_s)
        await asyncio.gather(*(task for _, task in self._http))

    def _on_signal(self, number: int, stopping: asyncio.Event) -> None:
        if stopping.is_set():
            raise SystemExit(128 + number)
        stopping.set()

    def _listen(self, kind: str, host: str, port: int, app: Any) -> None:
        config = self.config
        bound = _bound(host, port)
        server = _Uvicorn(
            uvicorn.Config(
                app,
                http=limited_protocol(config.limits),
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                backlog=4096,
                timeout_keep_alive=round(config.limits.idle_s),
                timeout_graceful_shutdown=round(self.service.config.drain_s),
                ssl_certfile=config.tls_cert,
                ssl_keyfile=config.tls_key,
            )
        )
        self._http.append((server, asyncio.create_task(server.serve(sockets=[bound]))))
        scheme = "https" if config.tls_cert else "http"
        self.urls[kind] = f"{scheme}://{_authority(host, bound.getsockname()[1])}"

    async def _listen_grpc(self, port: int, front: GrpcFront) -> None:
        config = self.config
        # Without SO_REUSEPORT a port that is taken is an error; with it, two servers share it.
        server = grpc.aio.server(
            options=[
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", config.limits.body_bytes),
                ("grpc.max_metadata_size", config.limits.header_bytes),
            ],
            maximum_concurrent_rpcs=config.limits.connections,
        )
        server.add_generic_rpc_handlers(front.handlers())
        address = _authority(config.host, port)
        try:
            if config.tls_cert and config.tls_key:
                pair = (config.tls_key.read_bytes(), config.tls_cert.read_bytes())
                port = server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
            else:
                port = server.add_insecure_port(address)
        except RuntimeError:
            raise OSError(_taken(config.host, port)) from None
        await server.start()
        self._grpc = server
        self.urls["grpc"] = _authority(config.host, port)


class _Uvicorn(uvicorn.Server):
    """uvicorn's server, stopped by us instead of by signals."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _bound(host: str, port: int) -> socket.socket:
    """A socket on a port of its own.

    Raises:
        OSError: The port is taken, or the address is not one of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise OSError(f"{_taken(host, port)}: {error.strerror}") from None
    return bound


def _taken(host: str, port: int) -> str:
    return f"cannot listen on {_authority(host, port)}; choose another port"


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
