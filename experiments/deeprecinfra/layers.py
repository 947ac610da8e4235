"""Layers that the models share: one gather for all tables, MLPs, layers per task, recurrence."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from experiments.deeprecinfra.model_config import Tables


class FusedTables(nn.Module):
    """All tables as one array and one gather, however many there are.

    One gather per table is a kernel launch each: two thirds of the GPU time of Wide&Deep in
    DeepRecSys's own profile. Here the tables lie one after the other, and an id is moved by where
    its table starts. An id beyond its table reads the table's last row.

    Tables that pool equally many lookups, as all tables of each of the eight models do, share one
    gather; neighbours that pool other numbers have their own.

    Attributes:
        groups: The tables, in the order of the columns of `ids`: by group, table and lookup.
        width: Numbers per row.
    """

    groups: tuple[Tables, ...]
    width: int

    @nn.compact
    def __call__(self, ids: Int[Array, "batch lookups"]) -> dict[str, Float[Array, "batch n w"]]:
        """Vectors by group, [batch, vectors of the group, width]."""
        starts, last = [], []
        total = 0
        for group in self.groups:
            for _ in range(group.count):
                starts += [total] * group.lookups
                last += [group.rows - 1] * group.lookups
                total += group.rows
        scale = 1.0 / np.sqrt(self.width)
        table = self.param("rows", nn.initializers.normal(scale), (total, self.width))
        where = jnp.clip(ids, 0, jnp.asarray(last, jnp.int32)) + jnp.asarray(starts, jnp.int32)
        found, at = dict[str, Array](), 0
        for bag, groups in itertools.groupby(self.groups, lambda g: g.ids // g.vectors):
            alike = list(groups)
            stop = at + sum(group.ids for group in alike)
            vectors = pooled(table, where[:, at:stop].reshape(len(ids), -1, bag))
            ends = np.cumsum([group.vectors for group in alike])[:-1]
            names = [group.name for group in alike]
            found.update(zip(names, jnp.split(vectors, ends, 1)))
            at = stop
        return found


def pooled(
    table: Float[Array, "rows w"], where: Int[Array, "batch n bag"]
) -> Float[Array, "batch n w"]:
    """Sum of the rows of each bag.

    A GPU fuses the sum into the gather. XLA's CPU backend would write all rows to memory first
    (63 MB for 64 items of RMC2, and 13 times the time), so there one row of every bag is added
    at a time.
    """

    def rows(at: Int[Array, "..."]) -> Float[Array, "... w"]:
        return table.at[at].get(mode="promise_in_bounds")

    def at_once(where: Int[Array, "batch n bag"]) -> Float[Array, "batch n w"]:
        return rows(where).sum(2)

    def one_by_one(where: Int[Array, "batch n bag"]) -> Float[Array, "batch n w"]:
        start = jnp.zeros((*where.shape[:2], table.shape[1]), table.dtype)
        steps = jnp.moveaxis(where, 2, 0)
        return jax.lax.scan(lambda total, at: (total + rows(at), None), start, steps)[0]

    if where.shape[2] == 1:
        return rows(where[..., 0])
    found: Array = jax.lax.platform_dependent(where, cpu=one_by_one, default=at_once)
    return found


class MLP(nn.Module):
    """Dense layers, each with its activation."""

    widths: Sequence[int]
    activation: Callable[[Array], Array] | None = nn.relu  # None: PReLU, with a slope to learn

    @nn.compact
    def __call__(self, x: Float[Array, "... n"]) -> Float[Array, "... m"]:
        for number, width in enumerate(self.widths):
            x = nn.Dense(width, name=f"layer{number}")(x)
            if self.activation is None:
                x = nn.PReLU(name=f"slope{number}")(x)
            else:
                x = self.activation(x)
        return x


class TaskHeads(nn.Module):
    """An MLP of its own for each task; all tasks in one matrix product a layer."""

    tasks: int
    widths: Sequence[int]  # hidden; one logit comes after them

    @nn.compact
    def __call__(self, x: Float[Array, "batch n"]) -> Float[Array, "batch tasks"]:
        x = jnp.broadcast_to(x[:, None], (x.shape[0], self.tasks, x.shape[1]))
        init = nn.initializers.lecun_normal(batch_axis=(0,))
        for number, width in enumerate((*self.widths, 1)):
            if number:
                x = nn.relu(x)
            kernel = self.param(f"kernel{number}", init, (self.tasks, x.shape[-1], width))
            bias = self.param(f"bias{number}", nn.initializers.zeros, (self.tasks, width))
            x = jnp.einsum("bti,tio->bto", x, kernel) + bias
        return x[..., 0]


class GRU(nn.Module):
    """A gated recurrent unit, or with attention the AUGRU of DIEN (Zhou et al., AAAI 2019, 4.3).

        u = a sigmoid(W_u x + U_u h + b_u),   r = sigmoid(W_r x + U_r h + b_r)
        c = tanh(W_c x + r (U_c h) + b_c),    h' = (1 - u) h + u c

    where a is the attention of the step, or 1. The products with x of all steps are one product;
    the steps are a scan.
    """

    width: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch steps n"], attention: Float[Array, "batch steps"] | None = None
    ) -> Float[Array, "batch steps width"]:
        """The state after every step."""
        inputs = nn.Dense(3 * self.width, name="input")(x)
        kernel = self.param("recurrent", nn.initializers.orthogonal(), (self.width, 3 * self.width))
        weights = jnp.ones(x.shape[:2], x.dtype) if attention is None else attention

        def step(
            h: Float[Array, "batch width"], now: tuple[Array, Array]
        ) -> tuple[Array, Float[Array, "batch width"]]:
            given, weight = now
            x_u, x_r, x_c = jnp.split(given, 3, -1)
            h_u, h_r, h_c = jnp.split(h @ kernel, 3, -1)
            u = weight[:, None] * nn.sigmoid(x_u + h_u)
            h = (1 - u) * h + u * jnp.tanh(x_c + nn.sigmoid(x_r + h_r) * h_c)
            return h, h

        start = jnp.zeros((x.shape[0], self.width), x.dtype)
        _, states = jax.lax.scan(step, start, (inputs.swapaxes(0, 1), weights.swapaxes(0, 1)))
        return states.swapaxes(0, 1)
