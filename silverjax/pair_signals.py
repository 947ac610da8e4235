"""What a user and a candidate have in common, beyond their embeddings: parts of both OverArchs.

Arrays over pairs have few axes, and the candidates come last: XLA's loops for the CPU then fill its
registers with candidates. With one axis more, or with the features last, they run an item at a time
and take ten times as long. `n` stands for the positions of all users, [batch * positions].
"""

from __future__ import annotations

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pallas_kernels.gather_dot.api import gather_dot
from pallas_kernels.gather_sum.api import gather_sum
from silverjax.engagement import ALIKE, Evidence
from silverjax.quantize import quantize
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
        items: Mapping[str, Float[Array, "b k _"]],
    ) -> Float[Array, "n heads k"]:
        """`user` with a position axis; `items` have a `query_<head>` [b, k, dim] for each head."""
        b, p, recent = user.present.shape
        k = next(iter(items.values())).shape[1]
        keys = nn.Dense(self.heads * self.dim, name="key")(nn.LayerNorm()(user.recent))
        # An absent item scores 0 and weighs nothing; where all are absent, the result is 0.
        keys = jnp.where(user.present[..., None], keys, 0.0) / self.dim**0.5
        bias = self.param("recency", nn.initializers.zeros_init(), (self.heads, recent))
        present = user.present.reshape(b * p, recent)
        out = [jnp.zeros((b * p, 0, k))]
        for head in range(self.heads):
            part = slice(head * self.dim, (head + 1) * self.dim)
            fit = inner(keys[..., part], items[f"query_{head}"])
            prior = jnp.where(present, bias[head], -1e9)[..., None]
            out.append(jnp.sum(jax.nn.softmax(fit + prior, axis=1) * fit, axis=1, keepdims=True))
        return jnp.concatenate(out, axis=1)


class EvidenceScore(nn.Module):
    """What the inner product, likeness to the history and fresh counts say, one logit a task.

    `sum_s a_ts s + mlp_t(s)` over the signals s: the inner product; how alike the candidate and
    the history are in each way and at each reach, `sum_j w_j <v_j, v_candidate>` with weights
    that fall by 1/e within so many items (item-to-item similarity as in FISM, KDD 2013, with
    recency); and the counts by window, whose weights also depend on the user.

    Several fixed reaches with weights of either sign make any smooth recency, and leave the score
    linear in all that is learned of it: so it can be fitted (`training.head_fit`).
    """

    tasks: int
    hidden: int
    reaches: tuple[float, ...]

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
        self.sow("intermediates", "signals", signals)  # kept only where somebody asks for it
        width, tasks = counts.shape[1], self.tasks
        linear = self.param("linear", self._start, (signals.shape[1], tasks))
        linear = jnp.broadcast_to(linear, (len(dot), *linear.shape))
        taste = nn.Dense(width * tasks, kernel_init=nn.initializers.zeros_init(), name="taste")
        linear = linear.at[:, -width:].add(taste(user.context).reshape(-1, width, tasks))
        hidden = nn.silu(PairDense(self.hidden, name="hidden")(signals))
        out = PairDense(tasks, use_bias=False, kernel_init=nn.initializers.zeros_init(), name="out")
        return apply_each(linear, signals) + out(hidden)

    def _start(self, _: Array, shape: tuple[int, int]) -> Float[Array, "s tasks"]:
        """The towers' order, and items like those of the history before others."""
        alike = ALIKE * len(self.reaches)
        parts = [1.0] + [1.5 / len(self.reaches)] * alike + [0.0] * (shape[0] - 1 - alike)
        return jnp.broadcast_to(jnp.asarray(parts)[:, None], shape)

    def _likeness(self, evidence: Evidence) -> Float[Array, "n alike_reaches k"]:
        reaches = jnp.asarray(self.reaches, jnp.float32)
        lag = evidence.lag[:, :, None].astype(jnp.float32)  # [b, p, 1, h]
        # Sums to 1 over a history without end.
        falls = (1.0 - jnp.exp(-1.0 / reaches))[:, None]
        weight = jnp.where(lag >= 0, jnp.exp(-lag / reaches[:, None]) * falls, 0.0)
        b, p, r, h = weight.shape
        table = evidence.vectors, evidence.scales
        taste = gather_sum(*table, evidence.history, weight.reshape(b, p * r, h))
        fit = gather_dot(*table, evidence.candidates, *quantize(taste))
        return fit.reshape(b, ALIKE, p, r, -1).swapaxes(1, 2).reshape(b * p, ALIKE * r, -1)
