"""One server for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from serving.engine import Engine
from serving.http.protocol import Limits
from serving.server import Server
from tests.serving.running import running

# Short, so that tests need not wait for the limits of production.
LIMITS = Limits(
    connections=60, header_s=0.3, header_bytes=4096, body_s=0.3, body_bytes=100_000, idle_s=5.0
)


@pytest.fixture(scope="module")
def server(engine: Engine) -> Iterator[Server]:
    with running(engine, limits=LIMITS) as started:
        yield started


@pytest.fixture
def url(server: Server) -> str:
    return server.urls["http"]
