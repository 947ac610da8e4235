"""What the services share: a gRPC server in a process of its own that ends with its parent."""

from __future__ import annotations

import asyncio
import concurrent.futures
import sys
import time
from collections.abc import Callable, Mapping, Sequence

import grpc
import numpy as np

from experiments.services_study.messages import pack, unpack

Handler = Callable[[dict[str, np.ndarray], list[str]], Mapping[str, np.ndarray]]
NAME = "silverjax.study"
# Messages are as large as a batch makes them.
OPTIONS = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))


def serve(handlers: Mapping[str, Handler]) -> None:
    """Serves until standard input ends; prints the port when ready.

    Standard input is a pipe from the parent, so a parent that dies, however it dies, takes its
    services with it.
    """
    asyncio.run(_serve(handlers))


async def _serve(handlers: Mapping[str, Handler]) -> None:
    loop = asyncio.get_running_loop()
    # One at a time: each handler uses all cores by itself.
    worker = concurrent.futures.ThreadPoolExecutor(1)

    def method(handler: Handler) -> grpc.RpcMethodHandler:
        async def answer(message: bytes, context: grpc.aio.ServicerContext) -> bytes:
            return await loop.run_in_executor(worker, lambda: pack(handler(*unpack(message))))

        return grpc.unary_unary_rpc_method_handler(answer)

    methods = {name: method(handler) for name, handler in {**handlers, "cpu": _cpu}.items()}
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(NAME, methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    await server.stop(grace=1.0)


def _cpu(arrays: dict[str, np.ndarray], texts: list[str]) -> dict[str, np.ndarray]:
    """Seconds of all cores that this process has used."""
    return {"seconds": np.array(time.process_time())}


async def call(
    channel: grpc.aio.Channel,
    method: str,
    arrays: Mapping[str, np.ndarray],
    texts: Sequence[str] = (),
) -> dict[str, np.ndarray]:
    """The answer of one service."""
    answer = await channel.unary_unary(f"/{NAME}/{method}")(pack(arrays, texts))
    return unpack(answer)[0]
