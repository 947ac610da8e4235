"""The OpenAPI document is true: schemathesis finds nothing, and every address is in it."""

from __future__ import annotations

from typing import Any

import hypothesis
import pytest
import schemathesis
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from serving.http.app import data_app
from serving.http.endpoint import Guard
from serving.http.front import Front
from serving.http.page import Page
from serving.metrics import Metrics
from serving.server import Server
from tests.serving.http.client import call
from tests.serving.http.conftest import LIMITS

CHECKS: list[Any] = [
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


# The server's thread samples its figures meanwhile, and beartype, which checks that, draws from
# the global `random`; Hypothesis takes it for the strategy's doing.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
def test_nothing_that_the_document_allows_breaks_the_server(url: str) -> None:
    document: Any = schemathesis.openapi.from_url(f"{url}/openapi.json")
    for result in document.get_all_operations():

        @hypothesis.settings(max_examples=25)
        @hypothesis.given(case=result.ok().as_strategy())
        def run(case: Any) -> None:
            case.call_and_validate(checks=CHECKS)

        run()


def test_every_address_is_in_the_document(server: Server, url: str) -> None:
    metrics = Metrics(server.service)
    guard = Guard(keys=None, limits=LIMITS, observe=metrics.observe)
    front = Front(server.service, metrics)
    routes: list[Any] = list(data_app(front, server.live, Page(), guard).routes)
    # With a version in it, an address does the same as without; Triton's list of all models' too.
    there = {
        (route.path, method.lower())
        for route in routes
        for method in route.methods - {"HEAD"}
        if "{version}" not in route.path and route.path != "/v2/models/stats"
    }
    document = call(url, "/openapi.json").json
    methods = {"get", "post"}
    told = {(p, method) for p, item in document["paths"].items() for method in methods & set(item)}
    assert told == there


def test_limits_are_those_of_the_server(url: str) -> None:
    schemas = call(url, "/openapi.json").json["components"]["schemas"]
    for name in ("Row", "RecommendRequest"):
        assert schemas[name]["properties"]["k"]["anyOf"][0]["maximum"] == 7
    assert call(url, "/v1/recommend", {"k": 7}).status == 200
    assert call(url, "/v1/recommend", {"k": 8}).status == 400
