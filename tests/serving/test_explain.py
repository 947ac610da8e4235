"""What is explained is what is answered: every item of the catalogue, many queries."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest

from serving.engine import Engine
from serving.explain import STAGES, Explanation, explain
from serving.query import Query
from silverjax.filter_language import parse
from silverjax.snapshot import load_snapshot
from tests.serving.versions import publish_version
from tests.silverjax import oracle
from tests.silverjax.models import ITEMS

QUERIES = [
    Query(user="u3", k=7),
    Query(user="u3", k=2, exclude_seen=False),
    Query(k=5, weights="liked=1,disliked=-0.5"),
    Query(user="u0", where="genre:1 AND NOT genre:2", k=4, exclude=("i1", "i2")),
    Query(user="u7", where="genre:3 OR genre:4", k=7, weights="chosen^0.5,liked^0.5"),
    Query(user="u1", where="genre:none", k=3),
]


def explained(engine: Engine, query: Query, item: int) -> Explanation:
    return explain(engine, query, engine.encode([query]), item)


@pytest.fixture(scope="module")
def catalogues(engine: Engine) -> dict[Query, list[Explanation]]:
    """Every item explained, for every query."""
    return {query: [explained(engine, query, row) for row in range(ITEMS)] for query in QUERIES}


@pytest.mark.parametrize("query", QUERIES)
def test_every_item_is_explained_as_it_is_answered(
    engine: Engine, catalogues: dict[Query, list[Explanation]], query: Query
) -> None:
    reply = engine.recommend([query])[0]
    places = {item.row: place for place, item in enumerate(reply.items, 1)}
    all_ = catalogues[query]
    assert {row: one.place for row, one in enumerate(all_) if one.returned} == places
    for item in reply.items:
        one = all_[item.row]
        assert (one.item, one.title, one.dropped_by) == (item.item, item.title, None)
        assert one.value == pytest.approx(item.value, rel=1e-5)
        assert one.similarity == pytest.approx(item.similarity, rel=1e-6)
        shares = {share.task: share.probability for share in one.tasks}
        assert shares == pytest.approx(item.probabilities, rel=1e-5)
    # As many get past each stage as the funnel says.
    reached = [sum(one.stages[at].kept is True for one in all_) for at in range(len(STAGES))]
    assert reached[STAGES.index("search")] == reply.funnel["candidates"]
    assert reached[STAGES.index("value")] == len(reply.items)


@pytest.mark.parametrize("query", QUERIES)
def test_each_stage_is_judged_as_the_pipeline_does(
    engine: Engine, catalogues: dict[Query, list[Explanation]], query: Query
) -> None:
    """Filter and exclusions by brute force; the search keeps the best of what was probed."""
    catalogue = engine.snapshot.catalogue
    eligible = oracle.eligible(parse(query.where), catalogue.attributes, ITEMS)
    struck = {catalogue.item_row(item) for item in query.exclude}
    if query.exclude_seen and query.user is not None:
        struck |= set(catalogue.seen[catalogue.user_row(query.user)])
    last, dropped = np.inf, dict.fromkeys(STAGES, 0)
    missed = []
    for row, one in enumerate(catalogues[query]):
        verdict = {stage.stage: stage.kept for stage in one.stages}
        assert [stage.stage for stage in one.stages] == list(STAGES)
        assert verdict["index"]
        assert verdict["filter"] == eligible[row]
        if verdict["filter"]:
            assert verdict["exclusion"] == (row not in struck)
        if verdict["search"]:
            last = min(last, one.similarity or 0.0)
        if one.dropped_by == "search":
            missed.append(one.similarity)
        if one.dropped_by is not None:
            dropped[one.dropped_by] += 1
            first = next(stage for stage in one.stages if stage.kept is False)
            assert first.stage == one.dropped_by
            after = one.stages[STAGES.index(first.stage) + 1 :]
            assert all(stage.kept is None and stage.why for stage in after)
    assert all(like is not None and like <= last for like in missed)
    assert sum(dropped.values()) + len(engine.recommend([query])[0].items) == ITEMS


def test_all_ways_of_being_dropped_occur(catalogues: dict[Query, list[Explanation]]) -> None:
    """Otherwise the tests above would show little."""
    seen = {one.dropped_by for all_ in catalogues.values() for one in all_}
    assert seen == {None, "filter", "exclusion", "probe", "search", "value"}


def test_reasons_name_what_decided(engine: Engine) -> None:
    catalogue = engine.snapshot.catalogue
    seen = catalogue.seen[0][0]
    one = explained(engine, Query(user="u0", k=1, exclude=("i5",)), seen)
    assert one.stages[STAGES.index("exclusion")].why == "the user has chosen it before"
    one = explained(engine, Query(user="u0", k=1, exclude=("i5",)), 5)
    assert one.stages[STAGES.index("exclusion")].why == "named in exclude"
    genre = catalogue.attributes["genre"][5][0]
    one = explained(engine, Query(k=1, where=f"NOT genre:{genre}"), 5)
    assert one.dropped_by == "filter"
    assert one.stages[1].why == f"it fails NOT genre:{genre}"
    assert one.clauses[0].item_has == tuple(catalogue.attributes["genre"][5])


def test_the_value_is_made_of_the_tasks(engine: Engine) -> None:
    linear = explained(engine, Query(k=1, weights="liked=2,disliked=-0.5"), 3)
    assert linear.value == pytest.approx(sum(share.product for share in linear.tasks), rel=1e-5)
    powers = explained(engine, Query(k=1, weights="liked^2,chosen^0.5"), 3)
    made = np.prod([share.probability**share.power for share in powers.tasks])
    assert powers.value == pytest.approx(made, rel=1e-5)


def test_an_item_that_the_index_lacks_is_said_to_be_missing(engine: Engine) -> None:
    index = engine.snapshot.variables["index"]["items"]
    without = dataclasses.replace(index, slots=index.slots.at[3].set(-1))
    variables = {**engine.snapshot.variables, "index": {"items": without}}
    snapshot = dataclasses.replace(engine.snapshot, variables=variables)
    other = Engine(snapshot, buckets=(1,), like=engine, traces=True)
    one = explained(other, Query(k=1), 3)
    assert (one.dropped_by, one.value, one.similarity, one.tasks) == ("index", None, None, ())


def test_a_new_version_takes_the_program_over(engine: Engine, tmp_path: Path) -> None:
    publish_version(tmp_path, 5)
    other = Engine(load_snapshot(tmp_path), buckets=engine.buckets, like=engine, traces=True)
    assert other.compiled == 0
    assert explained(other, Query(k=1), 0).snapshot_version == other.version


def test_nothing_compiles_for_an_explanation(engine: Engine) -> None:
    heard: list[str] = []

    def hear(event: str, duration_secs: float, **_: str | int) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            heard.append(event)

    explained(engine, Query(k=1), 0)
    jax.monitoring.register_event_duration_secs_listener(hear)
    try:
        for number in range(5):
            explained(engine, Query(user=f"u{number}", where=f"genre:{number}", k=2), number)
    finally:
        jax.monitoring.unregister_event_duration_listener(hear)
    assert not heard


def test_rejects_an_engine_that_traces_nothing(engine: Engine) -> None:
    plain = Engine(engine.snapshot, buckets=(1,), like=engine)
    with pytest.raises(ValueError, match="make it with traces=True"):
        explained(plain, Query(k=1), 0)
