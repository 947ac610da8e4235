"""Stage 6, OverArch: a learned score for each pair of user and candidate, one logit per task.

Two forms behind one interface. `item_inputs` is all that the item side contributes; it is
computed once per item at index build and cached as one flat vector. `__call__` runs on requests.
Every logit is of the joint event ("the user chooses this item, and likes it"), so that
probabilities of different tasks can be added up by the Value Model.
"""

from __future__ import annotations

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from silverjax.batch import Items
from silverjax.config import OverArchConfig, TowerConfig
from silverjax.towers import ItemEncoder, UserState

_small_init = nn.initializers.normal(0.01)


class HistoryAttention(nn.Module):
    """How well a candidate fits the recent history, item by item: one logit per head.

    `out_m = sum_r softmax_r(s_mr + bias_mr) s_mr`, with `s_mr` the inner product of the
    candidate's query and recent item r's key: a soft maximum that can prefer the latest.
    Target attention in the sense of DIN (arXiv 1706.06978), reduced to its scores.
    """

    heads: int
    dim: int

    @nn.compact
    def __call__(
        self,
        user: UserState,
        query: Float[Array, "b k heads_dim"],
    ) -> Float[Array, "b p k heads"]:
        """`user` with a position axis; `query` is the candidates' part of the cached inputs."""
        keys = nn.Dense(self.heads * self.dim, name="key")(nn.LayerNorm()(user.recent))
        keys = keys.reshape(*keys.shape[:-1], self.heads, self.dim)
        query = query.reshape(*query.shape[:-1], self.heads, self.dim)
        fit = jnp.einsum("bkmd,bprmd->bpkmr", query, keys) / self.dim**0.5
        shape = (self.heads, user.recent.shape[-2])
        bias = self.param("recency", nn.initializers.zeros_init(), shape)
        present = user.present[:, :, None, None]
        weight = jax.nn.softmax(jnp.where(present, fit + bias, -1e9))
        return jnp.sum(weight * jnp.where(present, fit, 0.0), axis=-1)


def _chance_of_one_in(encoder: ItemEncoder) -> nn.initializers.Initializer:
    """Logits begin at what is true of an item nobody knows: one in the catalogue is chosen.

    From 0, every negative would first have to be pushed down, and the steps that do it harm
    all that is shared.
    """
    return nn.initializers.constant(-math.log(max(encoder.schema.items, 2)))


class MixtureOfLogits(nn.Module):
    """Mixture of Logits (arXiv 2306.04039, section 4): gated sum of component inner products.

    `logit_t = sum_c gate_tc(user, item) <u_c, v_c> + a_t <user, item> + b_t`, where the components
    are all pairs of user and item component embeddings, and the heads of `HistoryAttention`.
    """

    config: OverArchConfig
    tower: TowerConfig
    encoder: ItemEncoder
    tasks: int

    def setup(self) -> None:
        cfg = self.config
        self.item_components = nn.Dense(cfg.item_components * cfg.component_dim)
        self.item_query = nn.Dense(cfg.attention_heads * cfg.component_dim)
        self.item_gate = nn.Dense(cfg.hidden)
        self.user_components = nn.Dense(cfg.user_components * cfg.component_dim)
        self.user_gate = nn.Dense(cfg.hidden)
        self.attention = HistoryAttention(cfg.attention_heads, cfg.component_dim)
        components = cfg.user_components * cfg.item_components + cfg.attention_heads
        self.pair_gate = nn.Dense(cfg.hidden, use_bias=False)
        self.gate = nn.DenseGeneral((self.tasks, components), kernel_init=_small_init)
        self.gate_drop = nn.Dropout(cfg.dropout)
        self.dot_scale = self.param("dot_scale", nn.initializers.ones_init(), (self.tasks,))
        self.item_bias = nn.Dense(
            self.tasks, kernel_init=_small_init, bias_init=_chance_of_one_in(self.encoder)
        )
        self.item_norm = nn.LayerNorm()

    def item_inputs(
        self,
        items: Items,
        item_embedding: Float[Array, "... dim"],
        *,
        train: bool = False,
    ) -> Float[Array, "... e"]:
        """Components, attention query, gate and task biases of each item, as one vector."""
        del item_embedding
        x = self.item_norm(self.encoder(items, train=train))
        parts = (self.item_components(x), self.item_query(x), self.item_gate(x), self.item_bias(x))
        return jnp.concatenate(parts, -1)

    def __call__(
        self,
        user: UserState,
        item_embedding: Float[Array, "b k dim"],
        item_inputs: Float[Array, "b k e"],
        *,
        train: bool = False,
    ) -> Float[Array, "b *p k tasks"]:
        """Logits float32; the axis p is there where `user` has it (in training)."""
        user, squeeze = with_positions(user)
        cfg = self.config
        inputs = jnp.split(item_inputs, self._ends(), axis=-1)
        item_parts, query, item_gate, item_bias = inputs
        left = self.user_components(user.context)
        left = left.reshape(*left.shape[:-1], cfg.user_components, cfg.component_dim)
        right = item_parts.reshape(*item_parts.shape[:-1], cfg.item_components, cfg.component_dim)
        pairs = jnp.einsum("bpud,bkid->bpkui", left, right) / cfg.component_dim**0.5
        parts = [pairs.reshape(*pairs.shape[:-2], -1), self.attention(user, query)]
        components = jnp.concatenate(parts, -1)
        hidden = (
            self.pair_gate(components)
            + item_gate[:, None]
            + self.user_gate(user.context)[:, :, None]
        )
        hidden = self.gate_drop(nn.silu(hidden), deterministic=not train)
        gate = jax.nn.softmax(self.gate(hidden))
        mixed = jnp.einsum("bpktc,bpkc->bpkt", gate, components)
        dot = jnp.einsum("bpd,bkd->bpk", user.embedding, item_embedding)[..., None]
        logits = mixed + self.dot_scale * dot + item_bias[:, None]
        return logits[:, 0] if squeeze else logits

    def _ends(self) -> list[int]:
        """Where each part of `item_inputs` but the last ends."""
        cfg = self.config
        components = cfg.item_components * cfg.component_dim
        query = components + cfg.attention_heads * cfg.component_dim
        return [components, query, query + cfg.hidden]


class CrossNetwork(nn.Module):
    """DCN-v2 (arXiv 2008.13535, section 3, low rank): explicit crosses in parallel with an MLP.

    `x_{l+1} = x_0 * (U_l V_l^T x_l + b_l) + x_l` over `x_0 = [user, item, user * item, fits]`,
    where `fits` are the heads of `HistoryAttention` and the towers' inner product.
    """

    config: OverArchConfig
    tower: TowerConfig
    encoder: ItemEncoder
    tasks: int

    def setup(self) -> None:
        cfg = self.config
        self.item_norm = nn.LayerNorm()
        self.item_vector = nn.Dense(cfg.component_dim)
        self.item_query = nn.Dense(cfg.attention_heads * cfg.component_dim)
        self.item_bias = nn.Dense(
            self.tasks, kernel_init=_small_init, bias_init=_chance_of_one_in(self.encoder)
        )
        self.user_vector = nn.Dense(cfg.component_dim)
        self.attention = HistoryAttention(cfg.attention_heads, cfg.component_dim)
        width = 3 * cfg.component_dim + cfg.attention_heads + 1
        self.down = [nn.Dense(cfg.cross_rank, use_bias=False) for _ in range(cfg.cross_layers)]
        self.up = [nn.Dense(width, kernel_init=_small_init) for _ in range(cfg.cross_layers)]
        self.hidden = nn.Dense(cfg.hidden)
        self.drop = nn.Dropout(cfg.dropout)
        self.head = nn.Dense(self.tasks, kernel_init=_small_init)
        self.dot_scale = self.param("dot_scale", nn.initializers.ones_init(), (self.tasks,))

    def item_inputs(
        self,
        items: Items,
        item_embedding: Float[Array, "... dim"],
        *,
        train: bool = False,
    ) -> Float[Array, "... e"]:
        """Vector, attention query and task biases of each item, as one vector."""
        del item_embedding
        x = self.item_norm(self.encoder(items, train=train))
        return jnp.concatenate((self.item_vector(x), self.item_query(x), self.item_bias(x)), -1)

    def __call__(
        self,
        user: UserState,
        item_embedding: Float[Array, "b k dim"],
        item_inputs: Float[Array, "b k e"],
        *,
        train: bool = False,
    ) -> Float[Array, "b *p k tasks"]:
        """Logits float32; the axis p is there where `user` has it (in training)."""
        user, squeeze = with_positions(user)
        cfg = self.config
        ends = [cfg.component_dim, (1 + cfg.attention_heads) * cfg.component_dim]
        item, query, item_bias = jnp.split(item_inputs, ends, axis=-1)
        left, item = jnp.broadcast_arrays(self.user_vector(user.context)[:, :, None], item[:, None])
        dot = jnp.einsum("bpd,bkd->bpk", user.embedding, item_embedding)[..., None]
        x0 = jnp.concatenate((left, item, left * item, self.attention(user, query), dot), -1)
        x = x0
        for down, up in zip(self.down, self.up, strict=True):
            x = x0 * up(down(x)) + x
        deep = self.drop(nn.silu(self.hidden(x0)), deterministic=not train)
        out = self.head(jnp.concatenate((x, deep), -1))
        logits = out + self.dot_scale * dot + item_bias[:, None]
        return logits[:, 0] if squeeze else logits


def make_over_arch(
    config: OverArchConfig, *, tower: TowerConfig, encoder: ItemEncoder, tasks: int
) -> MixtureOfLogits | CrossNetwork:
    """The form that `config.kind` names."""
    form = MixtureOfLogits if config.kind == "mol" else CrossNetwork
    return form(config=config, tower=tower, encoder=encoder, tasks=tasks)


def with_positions(user: UserState) -> tuple[UserState, bool]:
    """Gives a request's state the position axis of a training state; says whether it did.

    OverArch is written over [batch, positions]: training scores the same candidates at many
    positions of one history, a request at one.
    """
    if user.embedding.ndim == 3:
        return user, False
    return jax.tree.map(lambda column: column[:, None], user), True
