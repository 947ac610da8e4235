"""OverArch: both forms keep one contract."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from silverjax.config import OverArchConfig
from silverjax.engagement import Evidence
from silverjax.model import Model
from silverjax.towers import state_at
from tests.compiled import apply, init, known_of
from tests.silverjax.models import BATCH, CONFIG, SCHEMA, item_features, make_engagement, some_users

K = 5
ITEMS = jax.tree.map(
    lambda column: column[: BATCH * K].reshape(BATCH, K, *column.shape[1:]), item_features()[0]
)


@pytest.fixture(scope="module", params=["mol", "cross"])
def both(request: pytest.FixtureRequest) -> Any:
    form = OverArchConfig(kind=request.param, component_dim=8, hidden=8, attention_heads=2)
    model = Model(SCHEMA, dataclasses.replace(CONFIG, over_arch=form))
    variables = init(model)(jax.random.key(0), some_users(), ITEMS)
    noise = jax.random.key(1)
    return model, jax.tree.map(lambda p: p + 0.2 * jax.random.normal(noise, p.shape), variables)


def evidence(**position: Any) -> Evidence:
    windows = CONFIG.engagement.windows
    return known_of(make_engagement(), some_users(), ITEMS.id, windows=windows, **position)


def score(both: Any, user: Any, item: Any, known: Evidence | None = None) -> Any:
    model, variables = both
    return apply(model, "score")(variables, user, item, known or evidence())


def states(both: Any) -> Any:
    model, variables = both
    return (
        apply(model, "embed_users")(variables, some_users()),
        apply(model, "embed_items")(variables, ITEMS),
    )


def test_one_logit_per_task(both: Any) -> None:
    logits = score(both, *states(both))
    assert logits.shape == (BATCH, K, len(SCHEMA.tasks))
    assert logits.dtype == jnp.float32
    assert np.isfinite(np.asarray(logits)).all()


def test_item_side_is_one_table_a_part(both: Any) -> None:
    _, item = states(both)
    assert {part.shape[:-1] for part in item.inputs.values()} == {(BATCH, K)}
    assert item.inputs["bias"].shape[-1] == len(SCHEMA.tasks)


def test_the_inner_products_of_a_search_do_as_well_as_embeddings(both: Any) -> None:
    model, variables = both
    user, item = states(both)
    found = jnp.einsum("bd,bkd->bk", user.embedding, item.embedding)
    np.testing.assert_array_equal(ITEMS.id.reshape(-1), np.arange(BATCH * K))  # rows of the tables
    tables = jax.tree.map(lambda part: part.reshape(BATCH * K, -1), item.inputs)
    got = apply(model, "score_found")(variables, user, found, tables, evidence())
    np.testing.assert_allclose(got, score(both, user, item), rtol=1e-6, atol=1e-6)
    other = apply(model, "score_found")(variables, user, found + 1, tables, evidence())
    assert (np.asarray(other) != np.asarray(got)).all()


def test_candidates_are_scored_each_by_itself(both: Any) -> None:
    """The logits of an item do not depend on which others were retrieved."""
    user, item = states(both)
    order = jnp.asarray([3, 1, 4, 0, 2])
    shuffled = jax.tree.map(lambda column: column[:, order], item)
    known = evidence()
    moved = dataclasses.replace(
        known, candidates=known.candidates[:, order], counts=known.counts[..., order]
    )
    np.testing.assert_allclose(
        score(both, user, shuffled, moved), score(both, user, item)[:, order], rtol=1e-5, atol=1e-5
    )


def test_a_training_position_scores_like_a_request(both: Any) -> None:
    model, variables = both
    user, item = states(both)
    prefixes = apply(model, "embed_positions")(variables, some_users())
    last = prefixes.embedding.shape[1] - 1
    at = jnp.broadcast_to(jnp.asarray([2, last]), (BATCH, 2))
    known = evidence(at=at, day=jnp.full((BATCH, 2), 109))
    logits = score(both, state_at(prefixes, at, recent=CONFIG.tower.recent), item, known)
    assert logits.shape == (BATCH, 2, K, len(SCHEMA.tasks))
    np.testing.assert_allclose(logits[:, 1], score(both, user, item), rtol=1e-5, atol=1e-5)


def test_absent_history_is_ignored(both: Any) -> None:
    user, item = states(both)
    garbage = jnp.where(user.present[..., None], user.recent, 1e3)
    np.testing.assert_array_equal(
        score(both, dataclasses.replace(user, recent=garbage), item), score(both, user, item)
    )


def test_recent_items_and_their_order_matter(both: Any) -> None:
    user, item = states(both)
    base = score(both, user, item)
    swapped = dataclasses.replace(user, recent=user.recent[:, ::-1], present=user.present[:, ::-1])
    assert (score(both, swapped, item)[0] != base[0]).any()
    # The last user has no history: nothing there to reverse.
    np.testing.assert_allclose(score(both, swapped, item)[-1], base[-1], rtol=1e-6)


def test_every_parameter_gets_a_gradient(both: Any) -> None:
    model, variables = both

    user, _ = states(both)

    def loss(params: Any) -> jax.Array:
        fresh = apply(model, "embed_items")({"params": params}, ITEMS)
        logits = apply(model, "score")({"params": params}, user, fresh, evidence())
        return jnp.sum(jnp.sin(logits))  # any function that no symmetry cancels

    gradients = jax.jit(jax.grad(loss))(variables["params"])["over_arch"]
    dead = [
        jax.tree_util.keystr(path)
        for path, leaf in jax.tree_util.tree_leaves_with_path(gradients)
        if not np.abs(np.asarray(leaf)).any()
    ]
    assert not dead


def test_item_state_alone_suffices(both: Any) -> None:
    """Scoring reads the cached arrays only: cached copies give the same bits."""
    user, item = states(both)
    cached = jax.tree.map(lambda column: jnp.asarray(np.asarray(column)), item)
    np.testing.assert_array_equal(score(both, user, cached), score(both, user, item))


def test_no_gradient_leaves_for_the_towers(both: Any) -> None:
    model, variables = both

    def loss(params: Any) -> jax.Array:
        logits = apply(model)({"params": params}, some_users(), ITEMS)
        return jnp.sum(jnp.sin(logits))

    gradients = jax.jit(jax.grad(loss))(variables["params"])
    assert {name for name, part in gradients.items() if _moves(part)} == {"over_arch"}


def _moves(tree: Any) -> bool:
    return any(np.abs(np.asarray(leaf)).any() for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize("reaches", [(), (1.0, 0.0), (float("inf"),), (float("nan"),)])
def test_rejects_reaches_that_weigh_nothing(reaches: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="reaches"):
        OverArchConfig(reaches=reaches)
