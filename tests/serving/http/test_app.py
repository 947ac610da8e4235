"""The ports as a client without manners finds them: limits, rights, health, metrics, admin."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from serving.engine import Engine
from serving.http.admin import Admin
from serving.http.app import admin_app, data_app
from serving.http.endpoint import Guard
from serving.http.front import Front
from serving.http.page import Page
from serving.metrics import Metrics
from serving.security import Operation
from serving.server import Server, ServerConfig
from tests.serving.http.client import call, connect, read_all
from tests.serving.http.conftest import LIMITS
from tests.serving.running import running

INFER = b"POST /v1/recommend HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = INFER + b"Transfer-Encoding: chunked\r\n\r\n"
READER, CHIEF = "reader-0123456789abcdef", "chief-0123456789abcdef"


def test_health_says_what_is_so(url: str) -> None:
    for path in ("/livez", "/readyz", "/v2/health/live", "/v2/health/ready"):
        assert call(url, path).status == 200
    assert call(url, "/healthz").json == {
        "status": "ok",
        "ready": True,
        "degraded": None,
        "snapshot_version": "00000001",
    }


def test_metrics_agree_with_what_was_done(url: str) -> None:
    def sample(name: str, **labels: str) -> float:
        families = text_string_to_metric_families(call(url, "/metrics").body.decode())
        samples = [s for family in families for s in family.samples]
        return sum(
            s.value for s in samples if s.name == name and labels.items() <= s.labels.items()
        )

    recommend = {"route": "/v1/recommend"}
    before = {
        "rows": sample("silverjax_answered_rows_total"),
        "bad": sample("silverjax_responses_total", **recommend, status="400"),
        "timed": sample("silverjax_request_duration_seconds_count", **recommend),
    }
    call(url, "/v1/recommend", {"requests": [{}, {}, {}]})
    call(url, "/v1/recommend", {"k": 0})
    assert sample("silverjax_answered_rows_total") == before["rows"] + 3
    assert sample("silverjax_responses_total", **recommend, status="400") == before["bad"] + 1
    assert sample("silverjax_request_duration_seconds_count", **recommend) == before["timed"] + 2
    assert sample("silverjax_snapshot_info", version="00000001") == 1
    assert sample("silverjax_recompiles_total") == 0
    assert sample("silverjax_candidates_total", stage="live") > 0


def test_tritons_names_are_there_on_wish(engine: Engine) -> None:
    with running(engine, triton_metrics=True) as server:
        url = server.urls["http"]
        call(url, "/v1/recommend", {"requests": [{}, {}]})
        call(url, "/v1/recommend", {"k": 0})
        text = call(url, "/metrics").body.decode()
    labels = '{model="recommend",version="00000001"'
    assert f"nv_inference_request_success{labels}}} 1.0" in text
    assert f"nv_inference_count{labels}}} 2.0" in text
    assert f"nv_inference_exec_count{labels}}} 1.0" in text
    assert (
        'nv_inference_request_failure{model="recommend",reason="OTHER",version="00000001"} 1.0'
        in text
    )
    assert f"nv_inference_pending_request_count{labels}}} 0.0" in text


def test_openmetrics_is_spoken_to_who_accepts_it(url: str) -> None:
    got = call(url, "/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert got.headers["content-type"].startswith("application/openmetrics-text")
    assert got.body.endswith(b"# EOF\n")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/v1/recommend/", 404),
        ("GET", "/v2/models/other", 404),
        ("GET", "/v2/models/recommend/versions/9", 404),
        ("GET", "/v2/models/recommend/versions/00000001", 200),
        ("GET", "/v1/recommend", 405),
        ("DELETE", "/v1/recommend", 405),
        ("POST", "/metrics", 405),
        ("GET", "/v1/swap", 404),
        ("GET", "/../../etc/passwd", 404),
        ("GET", "/%00", 404),
    ],
)
def test_addresses_are_what_the_table_says(url: str, method: str, path: str, status: int) -> None:
    got = call(url, path, method=method)
    assert got.status == status
    if status == 404:
        assert set(got.json) == {"error"}


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (INFER + b"Content-Length: 100001\r\n\r\n", 413),
        (INFER + b"Content-Length: 99999999999999999999\r\n\r\n", 400),
        (CHUNKED + (b"3000\r\n" + b"x" * 0x3000 + b"\r\n") * 9, 413),
        (INFER + b"Content-Length: 20\r\n\r\n{", 408),
        (CHUNKED + b"1\r\n{\r\n", 408),
        (INFER + b"Content-Encoding: gzip\r\nConnection: close\r\n\r\n", 415),
        (INFER + b"X: " + b"a" * 9000, 431),
        (INFER, 408),
        (b"", 408),
        (b"nonsense\r\n\r\n", 400),
    ],
)  # fmt: skip
def test_rejects_bodies_and_headers_beyond_the_limits(url: str, sent: bytes, status: int) -> None:
    with connect(url) as connection:
        connection.sendall(sent)
        answer = read_all(connection)  # the server also closes
    assert answer.startswith(b"HTTP/1.1 %d " % status)


def test_connections_beyond_the_limit_are_closed_and_the_others_served(url: str) -> None:
    idle = [connect(url) for _ in range(LIMITS.connections + 20)]
    refused = 0
    for connection in idle[LIMITS.connections :]:
        try:
            refused += connection.recv(1) == b""
        except ConnectionResetError:
            refused += 1
    assert refused == 20
    for connection in idle[: LIMITS.connections]:
        connection.settimeout(5)
        assert connection.recv(12) == b"HTTP/1.1 408", "idle ones are ended, and make room"
        connection.close()
    assert call(url, "/livez").status == 200
    for connection in idle:
        connection.close()


def test_client_that_goes_away_frees_its_place(server: Server) -> None:
    stats = server.service.stats
    before = stats.cancelled
    body = b'{"requests": [' + b",".join([b"{}"] * 2000) + b"]}"
    with connect(server.urls["http"]) as connection:
        connection.sendall(INFER + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        while not server.service.queue_rows and stats.cancelled == before:
            time.sleep(0.001)
    for _ in range(500):
        if stats.cancelled > before:
            break
        time.sleep(0.01)
    assert stats.cancelled == before + 1


def test_no_page_elsewhere_can_use_a_server_without_keys(url: str) -> None:
    for headers in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}):
        got = call(url, "/v1/recommend", {}, headers=headers)
        assert got.status == 403
        assert "--api-key-file" in got.json["error"]


def test_keys_open_what_they_are_good_for(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"{READER}\n{CHIEF} admin\n")
    with running(engine, api_key_file=file) as server:
        data, admin = server.urls["http"], server.urls["admin"]

        def status(url: str, path: str, key: str | None, body: Any = None) -> int:
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            return call(url, path, body, headers=headers).status

        assert status(data, "/livez", None) == 200
        for path, body in (
            ("/v1/recommend", {}),
            ("/v1/explain", {"item": "i1"}),
            ("/v1/examples", None),
            ("/v1/live", None),
            ("/metrics", None),
            ("/v2", None),
        ):
            assert status(data, path, None, body) == 401
            assert status(data, path, "wrong-0123456789abcdef", body) == 401
            assert status(data, path, CHIEF, body) == 403
            assert status(data, path, READER, body) == 200
        assert status(admin, "/v1/snapshots", READER) == 403
        assert status(admin, "/v1/snapshots", CHIEF) == 200
        denied = call(data, "/v1/recommend", {})
        assert denied.headers["www-authenticate"] == "Bearer"
        assert READER not in denied.body.decode()


def test_every_route_needs_a_right_but_health_and_the_empty_page(server: Server) -> None:
    metrics = Metrics(server.service)
    guard = Guard(keys=None, limits=LIMITS, observe=metrics.observe)
    data = data_app(Front(server.service, metrics), server.live, Page(), guard)
    apps = data, admin_app(Admin(server.service), guard)
    routes: list[Any] = [route for app in apps for route in app.routes]
    assert len(routes) > 20
    open_paths = [r.path for r in routes if r.endpoint._operation is Operation.OPEN]
    allowed = (
        r"/(|page/\{name\}|livez|readyz|healthz|v2/health/\w+"
        r"|v2/models/\{model\}(/versions/\{version\})?/ready)"
    )
    assert [path for path in open_paths if not re.fullmatch(allowed, path)] == []


def test_swap_and_rollback_change_what_is_served(snapshots: Path, engine: Engine) -> None:
    with running(engine) as server:
        admin, data = server.urls["admin"], server.urls["http"]
        before = call(admin, "/v1/snapshots").json
        assert before == {
            "versions": ["00000001", "00000002"],
            "serving": "00000001",
            "previous": None,
            "degraded": None,
        }
        assert call(admin, "/v1/rollback", {}).status == 409
        swapped = call(admin, "/v1/swap", {"version": "00000002"})
        assert swapped.json == {"serving": "00000002", "previous": "00000001"}
        assert call(data, "/v1/recommend", {}).json["snapshot_version"] == "00000002"
        assert call(admin, "/v1/rollback", b"").json["serving"] == "00000001"
        assert call(data, "/v1/recommend", {}).json["snapshot_version"] == "00000001"
        for version in ("9", "../../etc", "/", ""):
            got = call(admin, "/v1/swap", {"version": version})
            assert got.status == 404
            assert str(snapshots) not in got.json["error"]
        assert call(data, "/v1/swap", {}).status == 404


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"host": "0.0.0.0"}, "--api-key-file FILE, or --insecure"),
        ({"admin_host": "0.0.0.0"}, "--api-key-file FILE, or --insecure"),
        ({"tls_cert": Path("x")}, "needs both --tls-cert and --tls-key"),
        ({"port": 99_999}, "port=99999 must be from 1 to 65535, or 0"),
        ({"admin_port": -1}, "admin_port=-1 must be from 1 to 65535, or 0"),
    ],
)
def test_rejects_settings_that_cannot_be_served(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ServerConfig(**config)


def test_rejects_a_port_that_is_taken(engine: Engine, server: Server) -> None:
    port = int(server.urls["http"].rpartition(":")[2])
    message = f"127.0.0.1:{port}; choose another port"
    with pytest.raises(OSError, match=message), running(engine, port=port):
        pass
