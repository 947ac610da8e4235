"""What a user and a candidate have in common, beyond their embeddings: parts of both OverArchs."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pallas_kernels.gather_dot.api import gather_dot
from silverjax.engagement import ALIKE, Evidence
from silverjax.towers import UserState


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


class EvidenceScore(nn.Module):
    """What the inner product, likeness to the history and fresh counts say, one logit a task.

    `sum_s a_ts s + mlp_t(s)` over the signals s: the inner product; how alike the
    candidate and the history are in each way, `sum_j w_j <v_j, v_candidate>` with a learned weight
    for each lag (item-to-item similarity as in FISM, KDD 2013, with recency); and the counts by
    window, whose weights also depend on the user.
    """

    tasks: int
    hidden: int

    @nn.compact
    def __call__(
        self,
        user: UserState,
        dot: Float[Array, "b p k"],
        evidence: Evidence,
    ) -> Float[Array, "b p k tasks"]:
        """All with a position axis."""
        fit = self._likeness(evidence)
        signals = jnp.concatenate([dot[..., None], fit, evidence.counts], -1)
        width = evidence.counts.shape[-1]
        dot_scale = self.param("dot_scale", nn.initializers.ones_init(), (self.tasks,))
        fit_scale = self.param("fit_scale", nn.initializers.constant(0.2), (ALIKE, self.tasks))
        trend = self.param("trend", nn.initializers.zeros_init(), (width, self.tasks))
        taste = nn.Dense(width * self.tasks, kernel_init=nn.initializers.zeros_init(), name="taste")
        trend = trend + taste(user.context).reshape(*user.context.shape[:-1], width, self.tasks)
        hidden = nn.silu(nn.Dense(self.hidden, name="hidden")(signals))
        out = nn.Dense(self.tasks, use_bias=False, kernel_init=nn.initializers.zeros_init())
        return (
            dot_scale * dot[..., None]
            + fit @ fit_scale
            + jnp.einsum("bpkw,bpwt->bpkt", evidence.counts, trend)
            + out(hidden)
        )

    def _likeness(self, evidence: Evidence) -> Float[Array, "b p k alike"]:
        longest = evidence.history.shape[1]
        lags = jnp.arange(longest, dtype=jnp.float32)
        # Weighs the latest item by 1, one seven items back by 1/e.
        start = lambda _, shape: jnp.broadcast_to(lags / -7.0, shape)  # noqa: E731
        recency = jnp.exp(self.param("recency", start, (ALIKE, longest)))
        present = (evidence.lag >= 0)[..., None]  # [b, p, h, 1]
        weight = jnp.where(present, recency.T[jnp.maximum(evidence.lag, 0)], 0.0)
        history = jnp.maximum(evidence.history, 0)
        weight = weight * evidence.scales[history][:, None]
        codes = evidence.vectors[history].astype(jnp.float32)
        taste = jnp.einsum("bphc,bhcm->bcpm", weight, codes)
        fit = gather_dot(evidence.vectors, evidence.scales, evidence.candidates, taste)
        return jnp.moveaxis(fit, 1, 3)
