"""How good a ranking is, and what the index cost it.

Rankings and held-out sets are rows of integers padded with -1, so every function here is of
fixed shape and works under `jax.jit`. A ranking that repeats an item gains nothing by it: only
the first place counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

# Rankings come from the device or, where other libraries rank, from the host.
Rows = Int[Array | np.ndarray, "batch n"]
HeldOut = Int[Array | np.ndarray, "sets m"]


def recall_at_k(ranked: Rows, held_out: HeldOut, *, k: int) -> Float[Array, "batch"]:
    """Share of the held-out items that are among the first `k`.

    `|first k of ranked ∩ held_out| / |held_out|`. The divisor is the number of held-out items,
    also where that exceeds `k`; with one held-out item this is the hit rate.

    Args:
        ranked: Item rows, best first, -1 past the end; `n` is at least `k`.
        held_out: Different item rows in any order, -1 as padding.
        k: Places that count.
    Returns:
        One share per row; nan where nothing is held out.
    """
    found = (_places(ranked, held_out, k) < k).sum(axis=1)
    return found.astype(jnp.float32) / _undefined_if_zero(_counts(held_out))


def ndcg_at_k(ranked: Rows, held_out: HeldOut, *, k: int) -> Float[Array, "batch"]:
    """Normalised discounted cumulative gain of the first `k`, with binary relevance.

    `sum over hits of 1 / log2(2 + place)`, place from 0, divided by the same sum for the best
    possible ranking, which has `min(k, |held_out|)` hits in front (Järvelin and Kekäläinen,
    "Cumulated gain-based evaluation of IR techniques", ACM TOIS 2002).

    Args:
        ranked: Item rows, best first, -1 past the end; `n` is at least `k`.
        held_out: Different item rows in any order, -1 as padding.
        k: Places that count.
    Returns:
        One value in [0, 1] per row; nan where nothing is held out.
    """
    places = _places(ranked, held_out, k)
    gained = jnp.where(places < k, _discount(places), 0.0).sum(axis=1)
    best_places = jnp.arange(k)
    hits = best_places[None, :] < _counts(held_out)[:, None]
    best = jnp.where(hits, _discount(best_places)[None, :], 0.0).sum(axis=1)
    return gained / _undefined_if_zero(best)


def catalogue_coverage(ranked: Rows, *, items: int) -> Float[Array, ""]:
    """Share of the catalogue that is recommended to anybody.

    Args:
        ranked: Item rows below `items`, -1 past the end.
        items: Size of the catalogue.
    """
    if items < 1:
        raise ValueError(f"{items=} must be at least 1")
    # -1 would count from the end; one row past the end takes what is no item, and is dropped.
    rows = jnp.where(jnp.asarray(ranked) < 0, items, ranked)
    return jnp.zeros(items, bool).at[rows].set(True, mode="drop").mean(dtype=jnp.float32)


def index_loss(found: Rows, exact: HeldOut) -> Float[Array, "batch"]:
    """Share of the exact top k that an index lost: `1 - |found ∩ exact| / |exact|`.

    Args:
        found: Item rows that the index returned, -1 past the end.
        exact: Item rows of the brute-force answer to the same query and filter, -1 past the last
            eligible item: where fewer than `k` are eligible, only those can be lost.
    Returns:
        One share in [0, 1] per row; 0 where no item is eligible.
    """
    found, exact = jnp.asarray(found), jnp.asarray(exact)
    kept = _is_member(exact, found).sum(axis=1)
    wanted = _counts(exact)
    lost = (wanted - kept).astype(jnp.float32)
    return lost / jnp.maximum(wanted, 1).astype(jnp.float32)


class Estimate(NamedTuple):
    """A mean and half the width of its confidence interval, both in the units of the values."""

    mean: float
    half_width: float
    values: int

    @property
    def low(self) -> float:
        return self.mean - self.half_width

    @property
    def high(self) -> float:
        return self.mean + self.half_width

    def __str__(self) -> str:
        return f"{self.mean:.4f} ± {self.half_width:.4f}"


def mean_and_interval(
    values: Sequence[float] | np.ndarray, *, confidence: float = 0.95
) -> Estimate:
    """Mean of independent runs (say, seeds) with Student's t interval.

    `mean ± t * s / sqrt(n)`, with the sample standard deviation `s` (divisor n - 1) and the
    quantile `t` of n - 1 degrees of freedom. The interval speaks of what varies between the
    runs, and of nothing else: over seeds, not of which users were sampled.

    Returns:
        The estimate; the half width of a single value is infinite, for nothing is known of it.
    Raises:
        ValueError: No values, a value that is not finite, or `confidence` outside (0, 1).
    """
    # Here, not above: it is needed on the host only, and would slow down every import.
    from scipy.special import stdtrit  # type: ignore[import-untyped]

    array = np.asarray(values, np.float64)
    if array.ndim != 1 or not array.size:
        raise ValueError(f"values has shape {array.shape}; give one or more, in one dimension")
    if not np.isfinite(array).all():
        raise ValueError(f"values must be finite, got {array.tolist()}")
    if not 0 < confidence < 1:
        raise ValueError(f"{confidence=} must lie between 0 and 1")
    n = array.size
    if n == 1:
        return Estimate(float(array[0]), math.inf, 1)
    quantile = float(stdtrit(n - 1, 0.5 + confidence / 2))
    return Estimate(float(array.mean()), quantile * float(array.std(ddof=1)) / math.sqrt(n), n)


def _places(
    ranked: Array | np.ndarray, held_out: Array | np.ndarray, k: int
) -> Int[Array, "sets m"]:
    """First place (from 0) of each held-out item among the first `k`; `k` if it is not there."""
    ranked, held_out = jnp.asarray(ranked), jnp.asarray(held_out)
    if not 1 <= k <= ranked.shape[1]:
        raise ValueError(
            f"{k=} must be from 1 to the length of the rankings, {ranked.shape[1]}; rank more items"
        )
    if ranked.shape[0] != held_out.shape[0]:
        raise ValueError(f"{ranked.shape[0]} rankings for {held_out.shape[0]} held-out sets")
    equal = ranked[:, None, :k] == held_out[:, :, None]
    here = equal.any(axis=2) & (held_out >= 0)
    return jnp.where(here, jnp.argmax(equal, axis=2), k)


def _is_member(items: Int[Array, "batch k"], of: Int[Array, "batch n"]) -> Bool[Array, "batch k"]:
    """Which valid `items` occur in `of`, by binary search: lists may be thousands long."""
    ordered = jnp.sort(of, axis=1)
    at = jax.vmap(jnp.searchsorted)(ordered, items)
    at = jnp.minimum(at, of.shape[1] - 1)
    return (jnp.take_along_axis(ordered, at, axis=1) == items) & (items >= 0)


def _counts(rows: Array | np.ndarray) -> Int[Array, "batch"]:
    return (jnp.asarray(rows) >= 0).sum(axis=1, dtype=jnp.int32)


def _discount(place: Int[Array, "*shape"]) -> Float[Array, "*shape"]:
    return 1.0 / jnp.log2(place.astype(jnp.float32) + 2.0)


def _undefined_if_zero(value: Array) -> Float[Array, "batch"]:
    value = value.astype(jnp.float32)
    return jnp.where(value > 0, value, jnp.nan)
