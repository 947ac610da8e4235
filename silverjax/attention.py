"""Causal self-attention over a history, for all of its positions or the last one alone."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from silverjax.config import TowerConfig


class Heads(nn.Module):
    """A projection to attention heads (`nn.DenseGeneral`) that can be taken apart."""

    width: int
    heads: int

    def setup(self) -> None:
        shape = (self.width, self.heads, self.width // self.heads)
        self.kernel = self.param("kernel", _heads_init, shape)
        self.bias = self.param("bias", nn.initializers.zeros_init(), shape[1:])

    def __call__(self, x: Float[Array, "*n width"]) -> Float[Array, "*n heads d"]:
        return jnp.einsum("...w,whd->...hd", x, self.kernel) + self.bias

    def folded(self, x: Float[Array, "*n heads d"]) -> Float[Array, "*n heads width"]:
        """`folded(x) . y = x . (self(y) - bias)`, head by head."""
        return jnp.einsum("...hd,whd->...hw", x, self.kernel)

    def of_each(self, x: Float[Array, "*n heads width"]) -> Float[Array, "*n heads d"]:
        """Projects for each head an input of its own."""
        return jnp.einsum("...hw,whd->...hd", x, self.kernel) + self.bias


class Block(nn.Module):
    """Pre-norm self-attention with a learned bias per distance, then an MLP."""

    config: TowerConfig

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "batch h width"],
        distance: Int[Array, "batch h h"],
        *,
        train: bool,
        last: bool = False,
    ) -> Float[Array, "batch i width"]:
        """`distance[b, i, j]`: steps from i back to j, -1 where i must not see j.

        `last` asks for the last position alone: i is 1 then, otherwise h.
        """
        cfg = self.config
        drop = nn.Dropout(cfg.dropout, deterministic=not train)
        y = nn.LayerNorm()(x)
        query, key, val = (Heads(cfg.width, cfg.heads, name=name) for name in ("q", "k", "v"))
        # Distances, not absolute positions: every position of a training window then learns the
        # function that a request uses at the last one.
        bias = self.param("distance", nn.initializers.zeros_init(), (cfg.heads, cfg.history))
        if last:
            # Where one position asks all, it is cheaper to fold its query with the keys' kernel
            # than to make keys; the keys' bias would add the same to all logits.
            x, distance = x[:, -1:], distance[:, -1:]
            logits = jnp.einsum("bihw,bjw->bhij", key.folded(query(y[:, -1:])), y)
        else:
            logits = jnp.einsum("bihd,bjhd->bhij", query(y), key(y))
        logits = logits / (cfg.width // cfg.heads) ** 0.5
        logits = logits + bias[:, jnp.maximum(distance, 0)].swapaxes(0, 1)
        weights = jax.nn.softmax(jnp.where(distance[:, None] >= 0, logits, -1e9))
        if last:  # and to project one mean per head than all values
            mixed = val.of_each(jnp.einsum("bhij,bjw->bihw", weights, y))
        else:
            mixed = jnp.einsum("bhij,bjhd->bihd", weights, val(y))
        x = x + drop(nn.DenseGeneral(cfg.width, axis=(-2, -1), name="o")(mixed))
        y = nn.gelu(nn.Dense(2 * cfg.width)(nn.LayerNorm()(x)))
        return x + drop(nn.Dense(cfg.width)(y))


def causal_distance(history: Int[Array, "batch h"]) -> Int[Array, "batch h h"]:
    """`[b, i, j] = i - j` where token j is in the history at position i, else -1.

    A padded position sees itself, so that its attention is defined.
    """
    steps = jnp.arange(history.shape[1])
    back = (steps[:, None] - steps[None, :])[None]
    visible = (back >= 0) & ((history >= 0)[:, None, :] | (back == 0))
    return jnp.where(visible, back, -1)


def _heads_init(key: Array, shape: tuple[int, int, int]) -> Array:
    """A matrix for all heads, as `nn.DenseGeneral` begins."""
    return nn.initializers.lecun_normal()(key, (shape[0], shape[1] * shape[2])).reshape(shape)
