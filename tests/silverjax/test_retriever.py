"""The whole as one function: stages, funnel, exclusions, and no recompiles."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from silverjax.config import RetrieverConfig
from silverjax.filter_plan import compile_filters
from silverjax.index_config import SearchConfig
from silverjax.model import Model
from silverjax.model_index import embed_catalogue, index_catalogue
from silverjax.quantize import dequantize, quantize
from silverjax.retriever import Answer, Request, Retriever
from silverjax.value_model import make_weights, parse_weights, value
from tests.compiled import apply, known_of
from tests.silverjax.models import (
    BATCH,
    CONFIG,
    ITEMS,
    SCHEMA,
    item_features,
    make_engagement,
    make_variables,
    some_users,
)


@pytest.fixture(scope="module")
def variables() -> dict:
    return make_variables()


def request(variables: dict, **changes: object) -> Request:
    plain = Request(
        users=some_users(),
        weights=jax.tree.map(
            lambda row: jnp.repeat(row, BATCH, axis=0), make_weights({"chosen": 1.0}, SCHEMA.tasks)
        ),
        plan=compile_filters(variables["index"]["items"], [""] * BATCH),
        exclude=jnp.full((BATCH, 8), -1, jnp.int32),
    )
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]


def answer(variables: dict, asked: Request, config: RetrieverConfig = CONFIG) -> Answer:
    result: Answer = apply(Retriever(SCHEMA, config))(variables, asked)
    return result


def test_equals_scoring_the_whole_catalogue_when_everything_is_probed(variables: dict) -> None:
    everything = SearchConfig(k=7, candidates=ITEMS, probes=6, excluded=8)
    asked = request(variables)
    found = answer(variables, asked, dataclasses.replace(CONFIG, search=everything))
    model, items = Model(SCHEMA, CONFIG), item_features()[0]
    state: Any = embed_catalogue(model, variables["params"], items)
    user: Any = apply(model, "embed_users")({"params": variables["params"]}, asked.users)
    # The search compares int8 embeddings, and OverArch takes its word, as it did in training.
    user, state = (
        dataclasses.replace(side, embedding=dequantize(*quantize(side.embedding)))
        for side in (user, state)
    )
    every = jax.tree.map(lambda c: jnp.broadcast_to(c, (BATCH, *c.shape)), state)
    rows = jnp.broadcast_to(jnp.arange(ITEMS), (BATCH, ITEMS))
    windows = CONFIG.engagement.windows
    known = known_of(make_engagement(), asked.users, rows, windows=windows)
    logits = apply(model, "score")({"params": variables["params"]}, user, every, known)
    probabilities = jax.nn.sigmoid(logits)  # type: ignore[arg-type]
    values = np.asarray(value(probabilities, asked.weights))
    for row in range(BATCH):
        best = np.sort(values[row])[::-1][:7]
        np.testing.assert_allclose(found.scores[row], best, rtol=2e-5, atol=1e-6)
        at = np.asarray(found.rows[row])
        np.testing.assert_allclose(values[row][at], best, rtol=2e-5, atol=1e-6)
        np.testing.assert_allclose(
            found.probabilities[row], probabilities[row][at], rtol=2e-5, atol=1e-6
        )


def test_funnel_narrows_stage_by_stage(variables: dict) -> None:
    plan = compile_filters(variables["index"]["items"], ["genre:1", "NOT genre:1", "", "genre:99"])
    found = answer(variables, request(variables, plan=plan))
    funnel = {name: np.asarray(count) for name, count in found.funnel._asdict().items()}
    assert list(funnel) == ["live", "probed", "eligible", "candidates", "returned"]
    assert (funnel["live"] == ITEMS).all()
    counts = list(funnel.values())
    for wide, narrow in itertools.pairwise(counts):
        assert (wide >= narrow).all()
    assert funnel["returned"].tolist() == [7, 7, 7, 0]
    genres = item_features()[1]["genre"]
    assert all("1" in genres[row] for row in np.asarray(found.rows[0]))
    assert all("1" not in genres[row] for row in np.asarray(found.rows[1]))
    assert float(found.coverage[3]) == 1.0


def test_excluded_items_are_not_recommended(variables: dict) -> None:
    first = answer(variables, request(variables))
    again = answer(
        variables,
        request(variables, exclude=jnp.pad(first.rows, ((0, 0), (0, 1)), constant_values=-1)),
    )
    for row in range(BATCH):
        assert not set(np.asarray(again.rows[row]).tolist()) & set(
            np.asarray(first.rows[row]).tolist()
        )


def test_new_filters_weights_and_indexes_do_not_recompile(variables: dict) -> None:
    traced = []
    retriever = Retriever(SCHEMA, CONFIG)

    @jax.jit
    def serve(variables: dict, asked: Request) -> object:
        traced.append(1)
        return retriever.apply(variables, asked)

    index = variables["index"]["items"]
    for text, weights in [
        ("", "chosen=1"),
        ("genre:1 OR NOT genre:2", "liked=2,disliked=-1"),
        ("genre IN (3,4)", "liked^0.5"),
    ]:
        weighed = jax.tree.map(
            lambda row: jnp.repeat(row, BATCH, axis=0), parse_weights(weights, SCHEMA.tasks)
        )
        serve(
            variables,
            request(variables, plan=compile_filters(index, [text] * BATCH), weights=weighed),
        )
    items, attributes = item_features(seed=9)
    fresh = index_catalogue(retriever, variables["params"], items, attributes)
    serve({**variables, "index": {"items": fresh}}, request(variables))
    assert len(traced) == 1


def test_weights_change_the_order(variables: dict) -> None:
    def rows(text: str) -> list[list[int]]:
        weights = jax.tree.map(
            lambda row: jnp.repeat(row, BATCH, axis=0), parse_weights(text, SCHEMA.tasks)
        )
        return np.asarray(answer(variables, request(variables, weights=weights)).rows).tolist()

    assert rows("liked=1") != rows("liked=-1")
    assert rows("chosen=1") == rows("chosen=3")


def test_gradients_reach_the_parameters_through_the_scores(variables: dict) -> None:
    asked = request(variables)

    def loss(params: dict) -> jax.Array:
        found = Retriever(SCHEMA, CONFIG).apply({**variables, "params": params}, asked)
        return jnp.sum(found.probabilities)  # type: ignore[union-attr]

    gradients = jax.jit(jax.grad(loss))(variables["params"])
    assert any(float(jnp.abs(leaf).max()) > 0 for leaf in jax.tree.leaves(gradients))


def test_index_without_cache_is_refused(variables: dict) -> None:
    bare = dataclasses.replace(variables["index"]["items"], cache=None)
    with pytest.raises(ValueError, match="build it with `index_catalogue`"):
        answer({**variables, "index": {"items": bare}}, request(variables))


def test_candidates_and_probes_shrink_to_a_small_index() -> None:
    fitted = SearchConfig(k=20, candidates=256, probes=8).fitted(clusters=1, slots=16)
    assert (fitted.k, fitted.candidates, fitted.probes) == (16, 16, 1)


def test_rejects_more_results_than_candidates() -> None:
    with pytest.raises(ValueError, match="k=300 exceeds candidates=256"):
        SearchConfig(k=300)
