"""The JSON API against a real server: right answers, and a sentence for each wrong question."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from serving.engine import Engine
from serving.http.json_api import weights_text
from serving.query import Query
from serving.server import Server
from tests.serving.http.client import call
from tests.silverjax.models import SCHEMA

PATH = "/v1/recommend"


def test_one_row_is_what_the_engine_answers(url: str, engine: Engine) -> None:
    asked = {
        "user": "u3",
        "where": "genre:1",
        "weights": {"liked": 1, "disliked": -0.5},
        "exclude": ["i1"],
        "k": 5,
    }
    got = call(url, PATH, asked)
    assert got.status == 200
    query = Query("u3", "genre:1", "liked=1,disliked=-0.5", ("i1",), k=5)
    reply = engine.recommend([query])[0]
    assert [item["item"] for item in got.json["items"]] == [item.item for item in reply.items]
    for ours, theirs in zip(got.json["items"], reply.items, strict=True):
        assert (ours["title"], ours["place"]) == (theirs.title, theirs.place)
        assert list(ours["probabilities"]) == list(SCHEMA.tasks)
        np.testing.assert_allclose(ours["value"], theirs.value, rtol=1e-4)
    assert got.json["snapshot_version"] == got.headers["x-snapshot-version"] == "00000001"
    assert got.json["coverage"] == pytest.approx(reply.coverage)
    assert got.json["funnel"] == reply.funnel | {"returned": 5}
    assert not got.json["cold_start"]


def test_several_rows_are_answered_in_their_order(url: str) -> None:
    rows = [{"user": f"u{n}", "k": 1 + n} for n in range(6)]
    together = call(url, PATH, {"requests": rows, "timeout_ms": 20_000, "priority": 2}).json
    assert [len(r["items"]) for r in together["results"]] == [1, 2, 3, 4, 5, 6]
    for row, result in zip(rows, together["results"], strict=True):
        alone = call(url, PATH, row).json
        assert [i["item"] for i in result["items"]] == [i["item"] for i in alone["items"]]
        assert result["snapshot_version"] == together["snapshot_version"] == "00000001"


@pytest.mark.parametrize("user", [{}, {"user": None}, {"user": "nobody"}, {"user": "requests"}])
def test_strangers_are_served_and_told_so(url: str, user: dict[str, Any]) -> None:
    got = call(url, PATH, user).json
    assert got["cold_start"]
    assert len(got["items"]) == 7, "ten would be the default; the snapshot returns seven"


def test_what_was_seen_comes_back_only_when_asked_for(url: str, engine: Engine) -> None:
    seen = {f"i{row}" for row in engine.snapshot.catalogue.seen[0]}
    items = call(url, PATH, {"user": "u0"}).json["items"]
    assert not seen & {item["item"] for item in items}
    assert call(url, PATH, {"user": "u0", "exclude_seen": False}).status == 200


def test_filter_that_admits_nothing_gives_an_empty_answer(url: str) -> None:
    got = call(url, PATH, {"where": "genre:none"})
    assert (got.status, got.json["items"]) == (200, [])


def test_answers_say_where_the_time_went(url: str) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    got = call(url, PATH, {"user": "u1"}, headers={"traceparent": trace})
    stages = [part.split(";")[0] for part in got.headers["server-timing"].split(", ")]
    assert stages == ["queue", "infer", "batch"]
    assert got.headers["traceparent"] == trace
    again = call(url, PATH, {}, headers={"traceparent": "nonsense"})
    assert "traceparent" not in again.headers


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b'{"user": "\xff"}', "not valid JSON"),
        (b'{"user": "\\ud800"}', "not valid JSON"),
        ([], "Expected `object`"),
        ({"usr": "u1"}, "unknown field `usr`"),
        ({"user": 3}, "Expected `str | null`, got `int`"),
        ({"k": 0}, ">= 1"),
        ({"k": 8}, "k=8 must be from 1 to 7"),
        ({"k": 10**40}, "must be from 1 to 7"),
        ({"k": 1.5}, "Expected `int | null`, got `float`"),
        ({"where": "colour:red"}, "no feature `colour` (it has: genre)"),
        ({"where": "genre:1 AND"}, "expected a feature"),
        ({"where": "(" * 5000}, "brackets nest deeper than 50"),
        ({"weights": {"clicked": 1}}, "unknown task 'clicked'; the model has chosen"),
        ({"weights": {"liked=1,chosen": 1}}, "unknown task 'liked=1,chosen'"),
        ({"weights": "liked=nan"}, "must be finite"),
        (b'{"weights": {"liked": NaN}}', "not valid JSON"),
        (b'{"weights": {"liked": 1e999}}', "out of range"),
        ({"weights": "liked=0"}, "all weights are zero"),
        ({"exclude": ["x"]}, "no item 'x' among the 300"),
        ({"exclude": ["i1"] * 9}, "9 items to exclude exceed the limit of 8"),
        ({"timeout_ms": 0}, "> 0"),
        ({"timeout_ms": -5}, "> 0"),
        ({"timeout_ms": 1e9}, "at most 60.0 seconds"),
        ({"priority": 3}, "must be from -2 to 2"),
        ({"requests": []}, "length >= 1"),
        ({"requests": [{}], "user": "u1"}, "unknown field `user`"),
        ({"requests": [{"k": 1}, {"k": 9}]}, "k=9 must be from 1 to 7"),
        ({"requests": [{}] * 5000}, "5000 rows exceeds"),
        (b'{"exclude": ' + b"[" * 40_000 + b"]" * 40_000 + b"}", "Expected `str`, got `array`"),
        (b'{"x": ' + b'{"a":' * 9_000 + b"1" + b"}" * 9_000 + b"}", "unknown field `x`"),
    ],
)  # fmt: skip
def test_rejects_with_one_sentence(url: str, body: Any, message: str) -> None:
    got = call(url, PATH, body)
    assert got.status == 400
    assert message in got.json["error"]
    assert list(got.json) == ["error"]
    assert len(got.body) < 1200
    assert b"Traceback" not in got.body
    assert b".py" not in got.body


def test_weights_that_text_cannot_hold_are_refused() -> None:
    assert weights_text({"liked": 1, "disliked": -0.5}) == "liked=1,disliked=-0.5"
    for name in ("", " ", "a,b", "a=1", "a^2"):
        with pytest.raises(ValueError, match="unknown task"):
            weights_text({name: 1.0})


def test_one_bad_request_harms_no_other(server: Server) -> None:
    url = server.urls["http"]
    before = server.service.stats.failed
    assert call(url, PATH, {"requests": [{"where": "x:1"}]}).status == 400
    assert call(url, PATH, {"user": "u1"}).status == 200
    assert server.service.stats.failed == before
