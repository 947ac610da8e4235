"""OverArch as a Mixture of Logits."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from silverjax.over_arch import OverArch, small_init
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

    def part_widths(self) -> list[int]:
        """Components, attention query, gate."""
        cfg = self.config
        dim = cfg.component_dim
        return [cfg.item_components * dim, cfg.attention_heads * dim, cfg.hidden]

    def item_parts(self, x: Float[Array, "... width"]) -> tuple[Float[Array, "... _"], ...]:
        return self.item_components(x), self.item_query(x), self.item_gate(x)

    def form(
        self,
        user: UserState,
        parts: list[Float[Array, "b k _"]],
        dot: Float[Array, "n 1 k"],
        *,
        train: bool,
    ) -> Float[Array, "n tasks k"]:
        del dot
        cfg = self.config
        right, query, item_gate = parts
        positions = user.context.shape[1]
        left = self.user_components(user.context)
        left = left.reshape(*left.shape[:2], cfg.user_components, cfg.component_dim)
        left = left / cfg.component_dim**0.5
        pairs = [inner(left, part) for part in jnp.split(right, cfg.item_components, axis=-1)]
        stacked = jnp.stack(pairs, axis=2).reshape(len(pairs[0]), -1, right.shape[1])
        components = jnp.concatenate([stacked, self.attention(user, query)], axis=1)
        hidden = (
            self.pair_gate(components)
            + each_position(item_gate.swapaxes(1, 2), positions)
            + self.user_gate(user.context).reshape(-1, cfg.hidden, 1)
        )
        hidden = self.gate_drop(nn.silu(hidden), deterministic=not train)
        gates = jnp.split(self.gate(hidden), self.tasks, axis=1)
        mixed = [jnp.sum(jax.nn.softmax(gate, axis=1) * components, axis=1) for gate in gates]
        return jnp.stack(mixed, axis=1)
