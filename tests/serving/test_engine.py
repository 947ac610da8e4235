"""Queries in the caller's words, answered from a published snapshot."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from experiments.serving_pair import publish_again
from serving.engine import Engine
from serving.query import Query
from serving.stage_times import stage_times
from silverjax.snapshot import load_snapshot
from silverjax.snapshot_errors import SnapshotError
from tests.silverjax.models import SCHEMA


def test_answers_name_items_and_say_why(engine: Engine) -> None:
    reply = engine.recommend([Query(user="u3", where="genre:1", k=5)])[0]
    assert len(reply.items) == 5
    assert reply.snapshot == "00000001"
    assert 0 < reply.coverage <= 1
    values = [item.value for item in reply.items]
    assert values == sorted(values, reverse=True)
    genres = engine.snapshot.catalogue.attributes["genre"]
    for item in reply.items:
        assert item.title == f"Item {item.row}"
        assert item.item == f"i{item.row}"
        assert "1" in genres[item.row]
        assert 1 <= item.place <= reply.funnel["candidates"]
        assert list(item.probabilities) == list(SCHEMA.tasks)


def test_what_was_seen_is_left_out_unless_asked_for(engine: Engine) -> None:
    seen = set(engine.snapshot.catalogue.seen[0])
    everything = Query(user="u0", k=7, exclude_seen=False)
    first = engine.recommend([Query(user="u0", k=7)])[0]
    assert not seen & {item.row for item in first.items}
    named = tuple(item.item for item in engine.recommend([everything])[0].items[:2])
    again = engine.recommend([Query(user="u0", k=7, exclude=named, exclude_seen=False)])[0]
    assert not set(named) & {item.item for item in again.items}


def test_a_query_does_not_depend_on_its_batch(engine: Engine) -> None:
    queries = [
        Query(user=f"u{n}", where=where, k=3)
        for n, where in enumerate(["", "genre:2", "NOT genre:3", "", "genre:4"])
    ]
    together = engine.recommend(queries)
    for query, reply in zip(queries, together, strict=True):
        alone = engine.recommend([query])[0]
        assert [i.item for i in alone.items] == [i.item for i in reply.items]
        np.testing.assert_allclose(
            [i.value for i in alone.items], [i.value for i in reply.items], rtol=1e-5
        )


def test_strangers_are_served(engine: Engine) -> None:
    assert len(engine.recommend([Query(k=4)])[0].items) == 4


def test_filter_that_admits_nothing_gives_an_empty_answer(engine: Engine) -> None:
    reply = engine.recommend([Query(where="genre:none", k=3)])[0]
    assert reply.items == ()
    assert reply.funnel["eligible"] == 0


def test_requests_never_compile(engine: Engine) -> None:
    engine.recommend([Query(where="genre:1", k=3)])
    with jax.log_compiles(), _no_compiles():
        for number in range(20):
            engine.recommend(
                [Query(user=f"u{number}", where=f"genre:{number % 9}", k=3)] * (number % 4 + 1)
            )


class _no_compiles:
    """Fails if JAX compiles anything inside."""

    def __enter__(self) -> None:
        import logging

        self.seen: list[str] = []
        self.handler = logging.Handler()
        self.handler.emit = lambda record: self.seen.append(record.getMessage())  # type: ignore[method-assign]
        self.logger = logging.getLogger("jax._src.interpreters.pxla")
        self.logger.addHandler(self.handler)

    def __exit__(self, *_: object) -> None:
        self.logger.removeHandler(self.handler)
        assert not [message for message in self.seen if message.startswith("Compiling")]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (Query(user="nobody", k=3), "no user 'nobody' among the 20"),
        (Query(exclude=("x",), k=3), "no item 'x' among the 300"),
        (Query(where="colour:red", k=3), "no feature `colour`"),
        (Query(where="genre:", k=3), "expected a value"),
        (Query(weights="clicked=1", k=3), "unknown task 'clicked'"),
        (Query(weights="liked=nan", k=3), "must be finite"),
        (Query(k=0), "k=0 must be from 1 to 7"),
        (Query(k=8), "k=8 must be from 1 to 7"),
        (Query(exclude=("i1",) * 9, k=3), "9 items to exclude exceed the limit of 8"),
    ],
)
def test_rejects_queries_that_cannot_be_answered(
    engine: Engine, query: Query, message: str
) -> None:
    with pytest.raises((ValueError, KeyError), match=message):
        engine.recommend([query])


def test_k_above_what_the_search_can_return_is_refused(engine: Engine) -> None:
    with pytest.raises(ValueError, match="exceeds the"):
        Engine(engine.snapshot, buckets=(1,), k=10_000)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tower: {}, r"parameter \['user_tower'\].* is missing; the model needs"),
        (lambda tower: jax.tree.map(lambda p: p[..., None], tower), "has shape .* the model needs"),
        (
            lambda tower: {**tower, "odd": np.zeros(3)},
            r"\['odd'\] has shape \(3,\); the model has no",
        ),
    ],
)
def test_parameters_of_another_model_are_refused(engine: Engine, change: Any, message: str) -> None:
    params = engine.snapshot.variables["params"]
    other = {**params, "user_tower": change(params["user_tower"])}
    variables = {**engine.snapshot.variables, "params": other}
    with pytest.raises(SnapshotError, match=message):
        Engine(dataclasses.replace(engine.snapshot, variables=variables), buckets=(1,))


def test_stage_times_cover_all_stages(engine: Engine) -> None:
    times = stage_times(engine, [Query(user="u1", k=3), Query(user="u2", k=3)], repeats=2)
    assert times.batch == 2
    assert len(times.stages) == 5
    assert times.total > 0


def test_snapshot_survives_the_round_trip(engine: Engine, tmp_path: Path) -> None:
    """A second publication of what was loaded answers the same."""
    publish_again(tmp_path, engine.snapshot)
    again = Engine(load_snapshot(tmp_path), buckets=(1,))
    query = Query(user="u5", where="NOT genre:1", k=7)
    one, two = engine.recommend([query])[0], again.recommend([query])[0]
    assert [i.item for i in one.items] == [i.item for i in two.items]
