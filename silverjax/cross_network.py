"""OverArch as cross layers and an MLP."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from silverjax.over_arch import OverArch, numbered, small_init
from silverjax.pair_signals import HistoryAttention
from silverjax.towers import UserState


class CrossNetwork(OverArch):
    """DCN-v2 (arXiv 2008.13535, section 3, low rank): explicit crosses in parallel with an MLP.

    `x_{l+1} = x_0 * (U_l V_l^T x_l + b_l) + x_l` over `x_0 = [user, item, user * item, fits]`,
    where `fits` are the heads of `HistoryAttention` and the towers' inner product.
    """

    def setup(self) -> None:
        super().setup()
        cfg = self.config
        self.item_vector = nn.Dense(cfg.component_dim)
        self.item_query = nn.Dense(cfg.attention_heads * cfg.component_dim)
        self.user_vector = nn.Dense(cfg.component_dim)
        self.attention = HistoryAttention(cfg.attention_heads, cfg.component_dim)
        width = 3 * cfg.component_dim + cfg.attention_heads + 1
        self.down = [nn.Dense(cfg.cross_rank, use_bias=False) for _ in range(cfg.cross_layers)]
        self.up = [nn.Dense(width, kernel_init=small_init) for _ in range(cfg.cross_layers)]
        self.hidden = nn.Dense(cfg.hidden)
        self.drop = nn.Dropout(cfg.dropout)
        self.head = nn.Dense(self.tasks, kernel_init=small_init)

    def item_parts(self, x: Float[Array, "... width"]) -> dict[str, Float[Array, "... _"]]:
        queries = numbered("query", self.item_query(x), self.config.attention_heads)
        return {"vector": self.item_vector(x), **queries}

    def form(
        self,
        user: UserState,
        parts: dict[str, Float[Array, "b k _"]],
        dot: Float[Array, "n 1 k"],
        *,
        train: bool,
    ) -> Float[Array, "n tasks k"]:
        left = self.user_vector(user.context)[:, :, None]
        left, item = jnp.broadcast_arrays(left, parts["vector"][:, None])
        left, item = (side.reshape(-1, *side.shape[2:]) for side in (left, item))
        fits = jnp.concatenate((self.attention(user, parts), dot), axis=1).swapaxes(1, 2)
        x0 = jnp.concatenate((left, item, left * item, fits), -1)
        x = x0
        for down, up in zip(self.down, self.up, strict=True):
            x = x0 * up(down(x)) + x
        deep = self.drop(nn.silu(self.hidden(x0)), deterministic=not train)
        return self.head(jnp.concatenate((x, deep), -1)).swapaxes(1, 2)
