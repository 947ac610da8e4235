"""`POST /v1/explain` and `GET /v1/examples` against a real server."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import msgspec
import pytest

from serving.engine import Engine
from serving.examples import examples_of
from serving.explain import explain
from serving.query import Query
from tests.serving.http.client import call
from tests.serving.running import running

PATH = "/v1/explain"
ASKED = {"user": "u3", "where": "genre:1", "weights": {"liked": 1, "disliked": -0.5}, "k": 4}


def test_explains_what_recommend_answers(url: str, engine: Engine) -> None:
    answer = call(url, "/v1/recommend", ASKED).json
    query = Query("u3", "genre:1", "liked=1.0,disliked=-0.5", k=4, allow_unknown=True)
    for place, item in enumerate(answer["items"], 1):
        got = call(url, PATH, {**ASKED, "item": item["item"]})
        assert (got.status, got.json["place"], got.json["dropped_by"]) == (200, place, None)
        assert got.json["value"] == pytest.approx(item["value"], rel=1e-5)
    rows = engine.encode([query])
    wanted = explain(engine, query, rows, 7)
    got = call(url, PATH, {**ASKED, "item": "i7", "timeout_ms": 20_000})
    assert got.json == json.loads(msgspec.json.encode(dataclasses.asdict(wanted)))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not valid JSON"),
        ({}, "missing required field `item`"),
        ({"item": 3}, "Expected `str`, got `int`"),
        ({"item": "x"}, "no item 'x' among the 300"),
        ({"item": "i1", "where": "colour:red"}, "no feature `colour`"),
        ({"item": "i1", "weights": {"clicked": 1}}, "unknown task 'clicked'"),
        ({"item": "i1", "k": 8}, "k=8 must be from 1 to 7"),
        ({"item": "i1", "exclude": ["i1"] * 9}, "exceed the limit of 8"),
        ({"item": "i1", "timeout_ms": 1e9}, "at most 60.0 seconds"),
        ({"item": "i1", "priority": 1}, "unknown field `priority`"),
        ({"requests": [{}]}, "unknown field `requests`"),
    ],
)
def test_rejects_with_one_sentence(url: str, body: Any, message: str) -> None:
    got = call(url, PATH, body)
    assert got.status == 400
    assert message in got.json["error"]


def test_a_service_without_traces_says_so(engine: Engine) -> None:
    plain = Engine(engine.snapshot, buckets=engine.buckets, like=engine)
    with running(plain) as server:
        got = call(server.urls["http"], PATH, {"item": "i1"})
    assert got.status == 404
    assert "traces=True" in got.json["error"]


def test_examples_are_those_of_the_version(url: str, engine: Engine) -> None:
    got = call(url, "/v1/examples").json
    assert got == json.loads(msgspec.json.encode(examples_of(engine)))
