"""What a user and a candidate have in common, beyond their embeddings: parts of both OverArchs.

Arrays over pairs have few axes, and the candidates come last: XLA's loops for the CPU then fill its
registers with candidates. With one axis more, or with the features last, they run an item at a time
and take ten times as long. `n` stands for the positions of all users, [batch * positions].
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pallas_kernels.gather_dot.api import gather_dot
from silverjax.engagement import ALIKE, Evidence
from silverjax.towers import UserState


class PairDense(nn.Module):
    """`nn.Dense` over the features of pairs."""

    features: int
    use_bias: bool = True
    kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: Float[Array, "n s k"]) -> Float[Array, "n features k"]:
        kernel = self.param("kernel", self.kernel_init, (x.shape[1], self.features))
        out = apply_each(jnp.broadcast_to(kernel, (len(x), *kernel.shape)), x)
        if not self.use_bias:
            return out
        bias = self.param("bias", nn.initializers.zeros_init(), (self.features,))
        return out + bias[None, :, None]


def apply_each(matrices: Float[Array, "n s t"], x: Float[Array, "n s k"]) -> Float[Array, "n t k"]:
    """A matrix for each position."""
    return jnp.einsum("nst,nsk->ntk", matrices, x)


def inner(users: Float[Array, "b p u d"], items: Float[Array, "b k d"]) -> Float[Array, "n u k"]:
    """Inner products of vectors of each position with those of the candidates."""
    b, p, u, d = users.shape
    out = jnp.einsum("bxd,bkd->bxk", users.reshape(b, p * u, d), items)
    return out.reshape(b * p, u, -1)


def each_position(items: Float[Array, "b s k"], positions: int) -> Float[Array, "n s k"]:
    """The candidates' own features, the same at all positions."""
    return items if positions == 1 else jnp.repeat(items, positions, axis=0)


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
    ) -> Float[Array, "n heads k"]:
        """`user` with a position axis; `query` is the candidates' part of the cached inputs."""
        b, p, recent = user.present.shape
        keys = nn.Dense(self.heads * self.dim, name="key")(nn.LayerNorm()(user.recent))
        # An absent item scores 0 and weighs nothing; where all are absent, the result is 0.
        keys = jnp.where(user.present[..., None], keys, 0.0) / self.dim**0.5
        bias = self.param("recency", nn.initializers.zeros_init(), (self.heads, recent))
        present = user.present.reshape(b * p, recent)
        out = []
        for head in range(self.heads):
            part = slice(head * self.dim, (head + 1) * self.dim)
            fit = inner(keys[..., part], query[..., part])
            prior = jnp.where(present, bias[head], -1e9)[..., None]
            out.append(jnp.sum(jax.nn.softmax(fit + prior, axis=1) * fit, axis=1))
        empty = jnp.zeros((b * p, 0, query.shape[1]))
        return jnp.stack(out, axis=1) if out else empty


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
        dot: Float[Array, "n 1 k"],
        evidence: Evidence,
    ) -> Float[Array, "n tasks k"]:
        """`user` with a position axis."""
        counts = evidence.counts.reshape(-1, *evidence.counts.shape[2:])
        signals = jnp.concatenate([dot, self._likeness(evidence), counts], axis=1)
        width, tasks = counts.shape[1], self.tasks
        dot_scale = self.param("dot_scale", nn.initializers.ones_init(), (tasks,))
        fit_scale = self.param("fit_scale", nn.initializers.constant(0.2), (ALIKE, tasks))
        trend = self.param("trend", nn.initializers.zeros_init(), (width, tasks))
        taste = nn.Dense(width * tasks, kernel_init=nn.initializers.zeros_init(), name="taste")
        trend = trend + taste(user.context).reshape(-1, width, tasks)
        same = jnp.concatenate([dot_scale[None], fit_scale])
        linear = jnp.concatenate([jnp.broadcast_to(same, (len(dot), *same.shape)), trend], axis=1)
        hidden = nn.silu(PairDense(self.hidden, name="hidden")(signals))
        out = PairDense(tasks, use_bias=False, kernel_init=nn.initializers.zeros_init(), name="out")
        return apply_each(linear, signals) + out(hidden)

    def _likeness(self, evidence: Evidence) -> Float[Array, "n alike k"]:
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
        return fit.swapaxes(1, 2).reshape(-1, ALIKE, fit.shape[3])
