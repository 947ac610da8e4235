"""`silverjax serve` as a process on free ports, for studies and tests of the whole service."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

_FREE_PORTS = ("--port=0", "--grpc-port=0", "--admin-port=0")


@contextlib.contextmanager
def serving_process(
    snapshots: Path, *options: str, program: Sequence[str] = ("-m", "silverjax.cli", "serve")
) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """The process, and its log line "ready", which says where it listens; killed at the end.

    Args:
        snapshots: A published version, or the folder of all.
        options: Of `silverjax serve`, beside the ports.
        program: What Python runs; another one that takes the same and writes the same line.

    Raises:
        RuntimeError: It did not start; holds what it wrote.
    """
    process = subprocess.Popen(
        [sys.executable, *program, str(snapshots), *_FREE_PORTS, *options],
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
    raise RuntimeError(f"the service did not start:\n{''.join(lines)}")
