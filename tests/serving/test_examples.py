"""What can be asked, by example, can be asked."""

from __future__ import annotations

from serving.engine import Engine
from serving.examples import examples_of
from serving.query import Query


def test_every_example_has_an_answer(engine: Engine) -> None:
    examples = examples_of(engine)
    assert (examples.items, examples.users, examples.largest_k) == (300, 20, 7)
    queries = [
        Query(user=user, where=f"{feature}:{value}", weights=f"{task}=1", k=examples.largest_k)
        for user in examples.some_users[:2]
        for feature, values in examples.features.items()
        for value in values
        for task in examples.tasks
    ]
    assert all(reply.items for reply in engine.recommend(queries))
    rows = [engine.snapshot.catalogue.item_row(item) for item in examples.some_items]
    assert [engine.snapshot.catalogue.titles[row] for row in rows] == [
        *examples.some_items.values()
    ]
