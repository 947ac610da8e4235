"""TLS and API keys on both transports of a real server."""

from __future__ import annotations

import http.client
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest
import tritonclient.grpc as triton_grpc
from tritonclient.utils import InferenceServerException

from serving.server import ServerConfig
from tests.serving.running import command

KEY = "reader-0123456789abcdef"

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="needs the openssl command, to make a certificate"
)


def make_pair(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate for localhost that signs itself, and its key."""
    cert, key = folder / f"{name}.pem", folder / f"{name}-key.pem"
    options = "-x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    files = ["-out", str(cert), "-keyout", str(key)]
    subprocess.run(
        ["openssl", "req", *options.split(), "-addext", names, *files],
        check=True,
        capture_output=True,
    )
    return cert, key


def test_both_transports_speak_tls_and_ask_for_a_key(snapshots: Path, tmp_path: Path) -> None:
    cert, key = make_pair(tmp_path, "server")
    keys = tmp_path / "keys"
    keys.write_text(f"{KEY} infer\n")
    options = ("--tls-cert", str(cert), "--tls-key", str(key), "--api-key-file", str(keys))
    with command(snapshots / "00000001", *options) as (_, ready):
        assert ready["http"].startswith("https://")
        host, _, port = ready["http"].removeprefix("https://").rpartition(":")
        trust = ssl.create_default_context(cafile=str(cert))

        def status(headers: dict[str, str]) -> int:
            connection = http.client.HTTPSConnection(host, int(port), context=trust, timeout=30)
            connection.request("GET", "/v2", headers=headers)
            answer = connection.getresponse()
            answer.read()
            connection.close()
            return answer.status

        assert status({}) == 401
        assert status({"Authorization": f"Bearer {KEY}"}) == 200
        with pytest.raises((http.client.HTTPException, OSError)):
            plain = http.client.HTTPConnection(host, int(port), timeout=30)
            plain.request("GET", "/livez")
            plain.getresponse()
        plain.close()

        client = triton_grpc.InferenceServerClient(
            ready["grpc"], ssl=True, root_certificates=str(cert)
        )
        assert client.is_server_live()  # open to all
        for headers in ({}, {"authorization": "Bearer wrong-0123456789abcdef"}):
            with pytest.raises(InferenceServerException, match="send a valid key"):
                client.get_server_metadata(headers=headers)
        allowed = {"authorization": f"Bearer {KEY}"}
        assert client.get_server_metadata(headers=allowed).name == "silverjax"
        client.close()


def test_rejects_files_that_cannot_be_used_before_anything_is_loaded(tmp_path: Path) -> None:
    cert, key = make_pair(tmp_path, "one")
    _, other = make_pair(tmp_path, "two")
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("not a certificate\n")
    ServerConfig(tls_cert=cert, tls_key=key)
    with pytest.raises(ValueError, match="they do not belong together"):
        ServerConfig(tls_cert=cert, tls_key=other)
    with pytest.raises(ValueError, match="one is no PEM file"):
        ServerConfig(tls_cert=garbage, tls_key=key)
    with pytest.raises(OSError, match="nowhere"):
        ServerConfig(tls_cert=cert, tls_key=tmp_path / "nowhere")
    with pytest.raises(OSError, match="nowhere"):
        ServerConfig(api_key_file=tmp_path / "nowhere")
