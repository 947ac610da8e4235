"""OverArch as a Mixture of Logits."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from silverjax.over_arch import OverArch, small_init
from silverjax.pair_signals import HistoryAttention
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
        self.pair_gate = nn.Dense(cfg.hidden, use_bias=False)
        self.gate = nn.DenseGeneral((self.tasks, components), kernel_init=small_init)
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
        dot: Float[Array, "b p k"],
        *,
        train: bool,
    ) -> Float[Array, "b p k tasks"]:
        del dot
        cfg = self.config
        right, query, item_gate = parts
        left = self.user_components(user.context)
        left = left.reshape(*left.shape[:-1], cfg.user_components, cfg.component_dim)
        right = right.reshape(*right.shape[:-1], cfg.item_components, cfg.component_dim)
        pairs = jnp.einsum("bpud,bkid->bpkui", left, right) / cfg.component_dim**0.5
        fits = self.attention(user, query)
        components = jnp.concatenate([pairs.reshape(*pairs.shape[:-2], -1), fits], -1)
        hidden = (
            self.pair_gate(components)
            + item_gate[:, None]
            + self.user_gate(user.context)[:, :, None]
        )
        hidden = self.gate_drop(nn.silu(hidden), deterministic=not train)
        gate = jax.nn.softmax(self.gate(hidden))
        return jnp.einsum("bpktc,bpkc->bpkt", gate, components)
