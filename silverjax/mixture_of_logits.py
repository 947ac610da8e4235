"""OverArch as a Mixture of Logits."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from silverjax.over_arch import OverArch, numbered, small_init
from silverjax.pair_signals import HistoryAttention, PairDense, each_position, inner
from silverjax.towers import UserState


class MixtureOfLogits(OverArch):
    """Mixture of Logits (arXiv 2306.04039, section 4): gated sum of component inner products.

    `form_t = sum_c gate_tc(user, item) <u_c, v_c>`, where the components are all pairs of user and
    item component embeddings, and the heads of `HistoryAttention`; the towers' inner product is
    part of the evidence.
    """

    def setup(self) -> None:
        super().setup()
        cfg = self.config
        self.item_components = nn.Dense(cfg.item_components * cfg.component_dim)
        self.item_query = nn.Dense(cfg.attention_heads * cfg.component_dim)
        self.item_gate = nn.Dense(cfg.hidden)
        self.user_components = nn.Dense(cfg.user_components * cfg.component_dim)
        self.user_gate = nn.Dense(cfg.hidden)
        self.attention = HistoryAttention(cfg.attention_heads, cfg.component_dim)
        components = cfg.user_components * cfg.item_components + cfg.attention_heads
        self.pair_gate = PairDense(cfg.hidden, use_bias=False)
        self.gate = PairDense(self.tasks * components, kernel_init=small_init)
        self.gate_drop = nn.Dropout(cfg.dropout)

    def item_parts(self, x: Float[Array, "... width"]) -> dict[str, Float[Array, "... _"]]:
        components = numbered("component", self.item_components(x), self.config.item_components)
        queries = numbered("query", self.item_query(x), self.config.attention_heads)
        return {**components, **queries, "gate": self.item_gate(x)}

    def form(
        self,
        user: UserState,
        parts: dict[str, Float[Array, "b k _"]],
        dot: Float[Array, "n 1 k"],
        *,
        train: bool,
    ) -> Float[Array, "n tasks k"]:
        del dot
        cfg = self.config
        positions = user.context.shape[1]
        left = self.user_components(user.context)
        left = left.reshape(*left.shape[:2], cfg.user_components, cfg.component_dim)
        left = left / cfg.component_dim**0.5
        pairs = [inner(left, parts[f"component_{i}"]) for i in range(cfg.item_components)]
        stacked = jnp.stack(pairs, axis=2).reshape(len(pairs[0]), -1, pairs[0].shape[2])
        components = jnp.concatenate([stacked, self.attention(user, parts)], axis=1)
        hidden = (
            self.pair_gate(components)
            + each_position(parts["gate"].swapaxes(1, 2), positions)
            + self.user_gate(user.context).reshape(-1, cfg.hidden, 1)
        )
        hidden = self.gate_drop(nn.silu(hidden), deterministic=not train)
        gates = jnp.split(self.gate(hidden), self.tasks, axis=1)
        mixed = [jnp.sum(jax.nn.softmax(gate, axis=1) * components, axis=1) for gate in gates]
        return jnp.stack(mixed, axis=1)
