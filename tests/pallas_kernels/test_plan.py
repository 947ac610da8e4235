"""`evaluate` on programs made from random expression trees, against recursion in NumPy."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pallas_kernels.bloom_probe.api import AND, NO_OP, OR, STACK_DEPTH, Plan, evaluate
from tests.pallas_kernels import oracles
from tests.pallas_kernels.oracles import Tree

BATCH, LEAVES, TOKENS, WIDTH = 8, 6, 64, 3


@jax.jit
def run(program: jax.Array, leaves: jax.Array) -> jax.Array:
    """`evaluate` where leaf i of query b is leaves[b, i]."""
    return evaluate(program, lambda i: leaves[jnp.arange(leaves.shape[0]), i])


def random_tree(rng: np.random.Generator, size: int) -> Tree:
    if size <= 1:
        return int(rng.integers(LEAVES))
    left = int(rng.integers(1, size))
    operator = "and" if rng.random() < 0.5 else "or"
    return operator, random_tree(rng, left), random_tree(rng, size - left)


def random_leaves(rng: np.random.Generator, dtype: Any) -> np.ndarray:
    shape = (BATCH, LEAVES, WIDTH)
    return rng.integers(0, 2 if dtype is bool else 2**32, shape, np.uint32).astype(dtype)


@pytest.mark.parametrize("dtype", [bool, np.uint32])
def test_evaluate_matches_recursion(dtype: Any) -> None:
    checked = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        trees = [random_tree(rng, int(rng.integers(1, 30))) for _ in range(BATCH)]
        trees = [tree if oracles.depth(tree) <= STACK_DEPTH else 0 for tree in trees]
        leaves = random_leaves(rng, dtype)
        program = np.full((BATCH, TOKENS), NO_OP, np.int32)
        for b, tree in enumerate(trees):
            tokens = oracles.postfix(tree)
            program[b, : len(tokens)] = tokens
            checked += len(tokens) > 1
        answer = np.asarray(run(jnp.asarray(program), jnp.asarray(leaves)))
        assert answer.dtype == dtype
        for b, tree in enumerate(trees):
            np.testing.assert_array_equal(answer[b], oracles.value(tree, list(leaves[b])))
    assert checked > 300  # most trees are within the stack and hold an operator


def test_evaluate_uses_the_whole_stack() -> None:
    tree: Tree = 0
    for leaf in range(1, STACK_DEPTH):  # leans right, so that all leaves lie on the stack at once
        tree = ("and" if leaf % 2 else "or", leaf % LEAVES, tree)
    assert oracles.depth(tree) == STACK_DEPTH
    rng = np.random.default_rng(0)
    leaves = random_leaves(rng, np.uint32)
    program = jnp.broadcast_to(jnp.asarray(oracles.postfix(tree), jnp.int32), (BATCH, 15))
    answer = np.asarray(run(program, jnp.asarray(leaves)))
    for b in range(BATCH):
        np.testing.assert_array_equal(answer[b], oracles.value(tree, list(leaves[b])))


@pytest.mark.parametrize("dtype", [bool, np.uint32])
def test_evaluate_admits_all_without_tokens(dtype: Any) -> None:
    leaves = jnp.asarray(np.zeros((2, 1, 3), dtype))
    program = jnp.asarray([[NO_OP, NO_OP], [0, NO_OP]], jnp.int32)
    answer = np.asarray(run(program, leaves))
    assert (answer[0] == ~np.zeros(3, dtype)).all()
    assert not answer[1].any()


def test_evaluate_works_on_one_value_per_query() -> None:
    leaves = jnp.asarray([[True, False], [True, True]])
    program = jnp.asarray([[0, 1, AND], [0, 1, OR]], jnp.int32)
    assert run(program, leaves).tolist() == [False, True]


def test_evaluate_asks_for_a_leaf_only_where_one_is_pushed() -> None:
    asked = []

    def leaf(i: jax.Array) -> jax.Array:
        jax.debug.callback(lambda i: asked.append(i.tolist()), i)
        return jnp.ones((i.shape[0], 2), bool)

    program = jnp.asarray([[0, 1, AND, 2, OR, *[NO_OP] * 20]], jnp.int32)
    jax.block_until_ready(jax.jit(lambda tokens: evaluate(tokens, leaf))(program))
    jax.effects_barrier()
    assert sorted(asked) == [[0], [1], [2]]


def test_vmap() -> None:
    rng = np.random.default_rng(0)
    leaves = jnp.asarray(np.stack([random_leaves(rng, bool) for _ in range(2)]))
    programs = jnp.asarray([[[0, 1, AND]] * BATCH, [[2, NO_OP, NO_OP]] * BATCH], jnp.int32)
    answer = jax.vmap(run)(programs, leaves)
    np.testing.assert_array_equal(answer[0], leaves[0, :, 0] & leaves[0, :, 1])
    np.testing.assert_array_equal(answer[1], leaves[1, :, 2])


def test_plan_is_a_pytree_of_three_arrays() -> None:
    plan = Plan.admit_all(5)
    assert [leaf.shape for leaf in jax.tree.leaves(plan)] == [(5, 1, 1), (5, 1), (5, 1)]
    assert jax.tree.map(lambda leaf: leaf[:2], plan).program.shape == (2, 1)
