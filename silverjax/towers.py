"""Stage 2: the user tower and the item tower.

Both read one `ItemEncoder`, so a film in a user's history and the same film as a candidate
share their id vector. Vectors are not normalised; the search compares them by inner product.
"""

from __future__ import annotations

from collections.abc import Sequence

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from silverjax.attention import Block, causal_distance
from silverjax.batch import Items, Users
from silverjax.config import TowerConfig
from silverjax.quantize import straight_through
from silverjax.schema import Feature, FeatureKind, Schema


@flax.struct.dataclass
class UserState:
    """What the user tower knows. Leading axes are [batch], or [batch, positions] in training.

    Attributes:
        embedding: Query of the search, float32 [..., dim].
        context: Hidden state for OverArch, float32 [..., width].
        recent: The latest items of the history with their labels, the most recent LAST.
        present: False where the history was shorter than `recent`.
    """

    embedding: Float[Array, "... dim"]
    context: Float[Array, "... width"]
    recent: Float[Array, "... r width"]
    present: Bool[Array, "... r"]


@flax.struct.dataclass
class Positions:
    """The user after every prefix of a history.

    Attributes:
        embedding: As in `UserState`.
        context: As in `UserState`.
        tokens: The items of the history with their labels.
        present: False where the history is padded.
    """

    embedding: Float[Array, "batch h dim"]
    context: Float[Array, "batch h width"]
    tokens: Float[Array, "batch h width"]
    present: Bool[Array, "batch h"]


def state_at(positions: Positions, at: Int[Array, "batch p"], *, recent: int) -> UserState:
    """The `UserState` [batch, p] after the history up to and including position `at`."""

    def take(column: Array, where: Array) -> Array:
        return jax.vmap(lambda rows, index: rows[index])(column, where)

    window = at[..., None] + jnp.arange(1 - recent, 1)  # [batch, p, r]
    inside = jnp.maximum(window, 0)
    return UserState(
        embedding=take(positions.embedding, at),
        context=take(positions.context, at),
        recent=take(positions.tokens, inside),
        present=take(positions.present, inside) & (window >= 0),
    )


class FeatureEncoder(nn.Module):
    """Sum of one vector per feature: a table entry, a mean of entries, or a scaled direction."""

    features: tuple[Feature, ...]
    width: int

    @nn.compact
    def __call__(self, values: dict[str, Array]) -> Float[Array, "... width"]:
        total = jnp.zeros((self.width,))
        for feature in self.features:
            value = values[feature.name]
            if feature.kind is FeatureKind.NUMERIC:
                direction = self.param(feature.name, _table_init, (self.width,))
                total = total + value[..., None] * direction
                continue
            table = self.param(feature.name, _table_init, (feature.size, self.width))
            known = (value > 0)[..., None]
            vectors = jnp.where(known, table[jnp.clip(value, 0, feature.size - 1)], 0.0)
            if feature.kind is FeatureKind.MULTI:
                vectors = vectors.sum(-2) / jnp.maximum(known.sum(-2), 1).astype(jnp.float32)
            total = total + vectors
        return total


class ItemEncoder(nn.Module):
    """Id table and content features of items. Row `schema.items` of the table means 'no id'."""

    schema: Schema
    config: TowerConfig

    def setup(self) -> None:
        shape = (self.schema.items + 1, self.config.width)
        self.table = self.param("id", _table_init, shape)
        self.content = FeatureEncoder(self.schema.item_features, self.config.width)

    def lookup(self, rows: Int[Array, "..."]) -> Float[Array, "... width"]:
        """Id vectors; a row outside the table reads the 'no id' vector."""
        known = (rows >= 0) & (rows < self.schema.items)
        return self.table[jnp.where(known, rows, self.schema.items)]

    def __call__(self, items: Items, *, train: bool = False) -> Float[Array, "... width"]:
        rows = items.id
        if train and self.config.item_id_dropout > 0.0:
            drop = jax.random.bernoulli(
                self.make_rng("dropout"), self.config.item_id_dropout, rows.shape
            )
            rows = jnp.where(drop, -1, rows)
        return self.lookup(rows) + self.content(items.features)


class ItemTower(nn.Module):
    """Items to embeddings. Runs in training and at index build, never on a request."""

    encoder: ItemEncoder
    config: TowerConfig

    @nn.compact
    def __call__(self, items: Items, *, train: bool = False) -> Float[Array, "... dim"]:
        """Embeddings float32 [..., dim]."""
        vector = self.encoder(items, train=train)
        hidden = nn.gelu(nn.Dense(self.config.width, name="hidden")(nn.LayerNorm()(vector)))
        if self.config.dim != self.config.width:
            vector = nn.Dense(self.config.dim, use_bias=False, name="project")(vector)
        out = vector + nn.Dense(self.config.dim, name="out", kernel_init=_small_init)(hidden)
        return straight_through(out) if train and self.config.int8 else out


class UserTower(nn.Module):
    """Id, profile and recent history to a `UserState`."""

    schema: Schema
    encoder: ItemEncoder
    config: TowerConfig

    def setup(self) -> None:
        cfg = self.config
        self.table = self.param("id", _table_init, (self.schema.users + 1, cfg.width))
        self.profile = FeatureEncoder(self.schema.user_features, cfg.width)
        self.start = self.param("start", _table_init, (cfg.width,))
        self.label = nn.Dense(cfg.width, use_bias=False)
        self.token_norm = nn.LayerNorm()
        self.token_drop = nn.Dropout(cfg.dropout)
        self.blocks = [Block(cfg) for _ in range(cfg.layers)]
        self.state_norm = nn.LayerNorm()
        self.hidden = nn.Dense(cfg.width)
        self.context = nn.Dense(cfg.width, kernel_init=_small_init)
        self.project = None if cfg.dim == cfg.width else nn.Dense(cfg.dim, use_bias=False)

    def __call__(self, users: Users, *, train: bool = False) -> UserState:
        """The state after the whole history; leading axis batch."""
        tokens, present = self._tokens(users)
        x = self._mixed(tokens, users, self.blocks[:-1], train=train)
        for block in self.blocks[-1:]:
            x = block(x, causal_distance(users.history), train=train, last=True)
        embedding, context = self._out(x[:, -1:], users, train=train)
        recent = self.config.recent
        return UserState(
            embedding=embedding[:, 0],
            context=context[:, 0],
            recent=_latest(tokens, recent),
            present=_latest(present, recent),
        )

    def positions(self, users: Users, *, train: bool = False) -> Positions:
        """The states after every prefix of the history.

        Attention is causal, so position j is what `__call__` would give for the history up to
        and including j: one pass trains h next-item predictions instead of one. A padded
        position is a user without history.
        """
        tokens, present = self._tokens(users)
        x = self._mixed(tokens, users, self.blocks, train=train)
        embedding, context = self._out(x, users, train=train)
        return Positions(embedding=embedding, context=context, tokens=tokens, present=present)

    def _tokens(self, users: Users) -> tuple[Float[Array, "batch h width"], Bool[Array, "batch h"]]:
        """The items of the history with their labels, and which there are."""
        present = users.history >= 0
        tokens = self.encoder.lookup(users.history) + self.label(users.history_labels)
        return jnp.where(present[..., None], tokens, self.start), present

    def _mixed(
        self,
        tokens: Float[Array, "batch h width"],
        users: Users,
        blocks: Sequence[Block],
        *,
        train: bool,
    ) -> Float[Array, "batch h width"]:
        x = self.token_drop(self.token_norm(tokens), deterministic=not train)
        distance = causal_distance(users.history)
        for block in blocks:
            x = block(x, distance, train=train)
        return x

    def _out(
        self, x: Float[Array, "batch i width"], users: Users, *, train: bool
    ) -> tuple[Float[Array, "batch i dim"], Float[Array, "batch i width"]]:
        """Embedding and context."""
        x = self.state_norm(x)
        who = self._identity(users, train=train)[:, None]
        hidden = nn.gelu(self.hidden(jnp.concatenate([x, jnp.broadcast_to(who, x.shape)], -1)))
        context = x + self.context(hidden)
        embedding = context if self.project is None else self.project(context)
        if train and self.config.int8:
            embedding = straight_through(embedding)
        return embedding, context

    def _identity(self, users: Users, *, train: bool) -> Float[Array, "batch width"]:
        rows = users.id
        if train and self.config.user_id_dropout > 0.0:
            drop = jax.random.bernoulli(
                self.make_rng("dropout"), self.config.user_id_dropout, rows.shape
            )
            rows = jnp.where(drop, -1, rows)
        known = (rows >= 0) & (rows < self.schema.users)
        identity = self.table[jnp.where(known, rows, self.schema.users)]
        return identity + self.profile(users.features)


def _latest(column: Array, n: int) -> Array:
    """The last `n` entries of axis 1; zeros in front of a shorter one."""
    short = max(0, n - column.shape[1])
    return jnp.pad(column, ((0, 0), (short, 0)) + ((0, 0),) * (column.ndim - 2))[:, -n:]


_table_init = nn.initializers.normal(0.02)
_small_init = nn.initializers.normal(0.01)
