"""The command: what it says where nothing answers."""

from __future__ import annotations

import socket

import pytest

from serving.load.main import load_command
from serving.load.options import Load


def test_load_rejects_a_service_that_is_not_there() -> None:
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConnectionError, match=f"nothing answered at {url}; is the service up"):
            load_command(url, Load(rate=20.0, seconds=0.3))
