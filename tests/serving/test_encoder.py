"""Encoded rows against the plain meaning of a query; texts are compiled once."""

from __future__ import annotations

import itertools
from typing import Any

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from serving import encoder as module
from serving.encoder import Encoder
from serving.engine import Engine, Piece
from serving.query import Query
from silverjax.filter_plan import compile_filters
from silverjax.value_model import parse_weights

queries = st.builds(
    Query,
    user=st.one_of(st.none(), st.integers(0, 19).map("u{}".format)),
    where=st.sampled_from(["", "genre:1", "NOT genre:2", "genre:3 OR genre:4"]),
    weights=st.sampled_from(["", "liked=1", "liked=1,disliked=-0.5", "chosen^0.5"]),
    exclude=st.lists(st.integers(0, 299).map("i{}".format), max_size=8).map(tuple),
    exclude_seen=st.booleans(),
    k=st.integers(1, 7),
)


def excluded(engine: Engine, query: Query) -> list[int]:
    """Named items, then what the user saw last, as far as there is room."""
    room = engine.sizes.excluded
    named = [int(item[1:]) for item in query.exclude]
    seen: list[int] = []
    if query.exclude_seen and query.user is not None:
        seen = list(engine.snapshot.catalogue.seen[int(query.user[1:])])
    seen = seen[max(0, len(seen) - (room - len(named))) :]
    return named + seen + [-1] * (room - len(named) - len(seen))


@hypothesis.given(st.lists(queries, min_size=1, max_size=6), st.data())
def test_batch_of_pieces_is_what_the_queries_say(
    engine: Engine, asked: list[Query], data: Any
) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(1, len(asked)))) | {0, len(asked)})
    encoder = Encoder(engine.snapshot, largest_k=7, excluded=engine.sizes.excluded)
    whole, alone = encoder.encode(asked), [encoder.encode([query]) for query in asked]
    # Some rows come from the request as a whole, some from requests of one row.
    pieces: list[Piece] = []
    for number, (start, stop) in enumerate(itertools.pairwise(cuts)):
        single = [(one, 0, 1) for one in alone[start:stop]]
        pieces += single if number % 2 else [(whole, start, stop)]
    request = encoder.assemble(pieces, 8)
    padded = [*asked, *[Query(exclude_seen=False)] * (8 - len(asked))]
    rows = [-1 if q.user is None else int(q.user[1:]) for q in padded]
    np.testing.assert_array_equal(request.users.id, rows)
    known = np.asarray(engine.snapshot.catalogue.users.history)
    for at, (row, query) in enumerate(zip(rows, padded)):
        np.testing.assert_array_equal(request.users.history[at], known[row] if row >= 0 else -1)
        assert request.exclude is not None
        assert request.exclude[at].tolist() == excluded(engine, query)
        weights = parse_weights(query.weights or "chosen=1", engine.snapshot.schema.tasks)
        np.testing.assert_array_equal(request.weights.linear[at], weights.linear[0])
        np.testing.assert_array_equal(request.weights.power[at], weights.power[0])
    index = engine.snapshot.variables["index"]["items"]
    plan = compile_filters(index, [query.where for query in padded], max_leaves=module.LEAVES)
    assert request.plan is not None
    np.testing.assert_array_equal(request.plan.probe.rows, plan.probe.rows)
    np.testing.assert_array_equal(request.plan.probe.modes, plan.probe.modes)
    np.testing.assert_array_equal(request.plan.probe.program, plan.probe.program)
    np.testing.assert_array_equal(request.plan.terms, plan.terms)
    np.testing.assert_array_equal(request.plan.negated, plan.negated)
    np.testing.assert_array_equal(request.plan.exact, plan.exact)


def test_a_filter_is_compiled_once(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[str] = []

    def noted(index: Any, filters: list[str], **options: Any) -> Any:
        compiled.extend(filters)
        return compile_filters(index, filters, **options)

    monkeypatch.setattr(module, "compile_filters", noted)
    monkeypatch.setattr(module, "DISTINCT", 3)
    encoder = Encoder(engine.snapshot, largest_k=10, excluded=8)
    texts = ["genre:1", "genre:2", "genre:1", ""]
    before = encoder.encode([Query(where=text) for text in texts] * 2).fields["filter"].copy()
    assert compiled == ["", "genre:1", "genre:2"]
    # A fourth text empties the table; what is asked for is compiled anew, and is the same.
    queued = encoder.encode([Query(where="genre:1")])
    assert encoder.encode([Query(where="genre:3"), Query(where="genre:1")]) is not None
    assert compiled == ["", "genre:1", "genre:2", "genre:3", "genre:1"]
    assert queued.fields["filter"][0] == before[0]
    assert encoder.encode([Query(where="genre:2")]).fields["filter"][0] == before[1]


def test_filter_that_cannot_be_used_is_not_kept(engine: Engine) -> None:
    encoder = Encoder(engine.snapshot, largest_k=10, excluded=8)
    for _ in range(2):
        with pytest.raises(ValueError, match="expected a value"):
            encoder.encode([Query(where="genre:1"), Query(where="genre:")])
    assert len(encoder.encode([Query(where="genre:1")])) == 1
