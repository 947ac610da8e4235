"""OverArch as cross layers and an MLP."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from silverjax.batch import Items
from silverjax.config import OverArchConfig, TowerConfig
from silverjax.engagement import Evidence
from silverjax.pair_signals import (
    EvidenceScore,
    HistoryAttention,
    chance_of_one_in,
    small_init,
    with_positions,
)
from silverjax.towers import ItemEncoder, UserState


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
            self.tasks, kernel_init=small_init, bias_init=chance_of_one_in(self.encoder)
        )
        self.user_vector = nn.Dense(cfg.component_dim)
        self.attention = HistoryAttention(cfg.attention_heads, cfg.component_dim)
        width = 3 * cfg.component_dim + cfg.attention_heads + 1
        self.down = [nn.Dense(cfg.cross_rank, use_bias=False) for _ in range(cfg.cross_layers)]
        self.up = [nn.Dense(width, kernel_init=small_init) for _ in range(cfg.cross_layers)]
        self.hidden = nn.Dense(cfg.hidden)
        self.drop = nn.Dropout(cfg.dropout)
        self.head = nn.Dense(self.tasks, kernel_init=small_init)
        self.evidence = EvidenceScore(self.tasks, cfg.evidence_hidden)

    def item_inputs(
        self,
        items: Items,
        item_embedding: Float[Array, "... dim"],
        *,
        train: bool = False,
    ) -> Float[Array, "... e"]:
        """Vector, attention query and task biases of each item, as one vector."""
        del item_embedding
        x = self.item_norm(jax.lax.stop_gradient(self.encoder(items, train=train)))
        return jnp.concatenate((self.item_vector(x), self.item_query(x), self.item_bias(x)), -1)

    def __call__(
        self,
        user: UserState,
        item_embedding: Float[Array, "b k dim"],
        item_inputs: Float[Array, "b k e"],
        evidence: Evidence,
        *,
        train: bool = False,
    ) -> Float[Array, "b *p k tasks"]:
        """Logits float32; the axis p is there where `user` has it (in training)."""
        user, evidence, squeeze = with_positions(user, evidence)
        user, item_embedding = jax.lax.stop_gradient((user, item_embedding))
        cfg = self.config
        ends = [cfg.component_dim, (1 + cfg.attention_heads) * cfg.component_dim]
        item, query, item_bias = jnp.split(item_inputs, ends, axis=-1)
        left, item = jnp.broadcast_arrays(self.user_vector(user.context)[:, :, None], item[:, None])
        dot = jnp.einsum("bpd,bkd->bpk", user.embedding, item_embedding)
        x0 = jnp.concatenate(
            (left, item, left * item, self.attention(user, query), dot[..., None]), -1
        )
        x = x0
        for down, up in zip(self.down, self.up, strict=True):
            x = x0 * up(down(x)) + x
        deep = self.drop(nn.silu(self.hidden(x0)), deterministic=not train)
        out = self.head(jnp.concatenate((x, deep), -1))
        logits = out + self.evidence(user, dot, evidence) + item_bias[:, None]
        return logits[:, 0] if squeeze else logits
