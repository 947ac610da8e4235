"""OverArch as a Mixture of Logits."""

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


class MixtureOfLogits(nn.Module):
    """Mixture of Logits (arXiv 2306.04039, section 4): gated sum of component inner products.

    `logit_t = sum_c gate_tc(user, item) <u_c, v_c> + evidence_t(user, item) + b_t(item)`, where the
    components are all pairs of user and item component embeddings, and the heads of
    `HistoryAttention`; the towers' inner product is part of the evidence (`EvidenceScore`).
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
        self.gate = nn.DenseGeneral((self.tasks, components), kernel_init=small_init)
        self.gate_drop = nn.Dropout(cfg.dropout)
        self.evidence = EvidenceScore(self.tasks, cfg.evidence_hidden)
        self.item_bias = nn.Dense(
            self.tasks, kernel_init=small_init, bias_init=chance_of_one_in(self.encoder)
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
        x = self.item_norm(jax.lax.stop_gradient(self.encoder(items, train=train)))
        parts = (self.item_components(x), self.item_query(x), self.item_gate(x), self.item_bias(x))
        return jnp.concatenate(parts, -1)

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
        dot = jnp.einsum("bpd,bkd->bpk", user.embedding, item_embedding)
        logits = mixed + self.evidence(user, dot, evidence) + item_bias[:, None]
        return logits[:, 0] if squeeze else logits

    def _ends(self) -> list[int]:
        """Where each part of `item_inputs` but the last ends."""
        cfg = self.config
        components = cfg.item_components * cfg.component_dim
        query = components + cfg.attention_heads * cfg.component_dim
        return [components, query, query + cfg.hidden]
