"""Where negatives come from: the batch, the whole catalogue, and the model's own index."""

from __future__ import annotations

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


@flax.struct.dataclass
class Pool:
    """Negatives that all examples of a step share.

    Attributes:
        rows: Item rows.
        logq: Log of how often each row's item is expected in such a pool.
    """

    rows: Int[Array, "m"]
    logq: Float[Array, "m"]


def uniform_rows(key: Array, items: int, count: int) -> Int[Array, "count"]:
    """Distinct rows, uniform over the catalogue; all rows if `count` reaches `items`."""
    if count >= items:
        return jnp.arange(items, dtype=jnp.int32)
    if (
        count * 8 < items
    ):  # repetitions are rare, and a permutation of a large catalogue is not free
        return jax.random.randint(key, (count,), 0, items, jnp.int32)
    return jax.random.permutation(key, items)[:count].astype(jnp.int32)


def mixed_pool(
    key: Array,
    targets: Int[Array, "*n"],
    frequency: Float[Array, "items"],
    *,
    in_batch: int,
    uniform: int,
) -> Pool:
    """In-batch negatives plus uniform ones (Yang et al., mixed negative sampling, WWW 2020).

    Args:
        targets: Chosen items of the batch; -1 where there is none.
        frequency: Share of each item among all targets, sums to 1.
        in_batch: Targets to take, without repetition of a position.
        uniform: Rows to draw from the catalogue.
    Returns:
        A pool in which item i is expected `in_batch * frequency[i] + uniform / items` times. Rows
        taken from positions without a target are -1, with logq 0: drop them.
    """
    items = frequency.shape[0]
    uniform = min(uniform, items)
    key_batch, key_uniform = jax.random.split(key)
    flat = targets.reshape(-1)
    in_batch = min(in_batch, flat.shape[0])
    # Positions with a target first, in random order.
    order = jnp.argsort(jax.random.uniform(key_batch, flat.shape) + (flat < 0).astype(jnp.float32))
    rows = jnp.concatenate([flat[order[:in_batch]], uniform_rows(key_uniform, items, uniform)])
    expected = in_batch * frequency[jnp.maximum(rows, 0)] + uniform / items
    return Pool(rows=rows, logq=jnp.where(rows >= 0, jnp.log(expected), 0.0))


def first_of_each(rows: Int[Array, "b c"]) -> Bool[Array, "b c"]:
    """True where a row holds an item (not -1) that no earlier column of the row holds."""
    same = rows[:, :, None] == rows[:, None, :]
    earlier = jnp.tril(jnp.ones(same.shape[1:], bool), -1)
    return (rows >= 0) & ~jnp.any(same & earlier, axis=-1)
