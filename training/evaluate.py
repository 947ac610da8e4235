"""Full-catalogue ranking: every item the user has not seen competes with the held-out ones.

Ranking against a few sampled negatives would be cheaper, and can put methods in the wrong order
(Krichene and Rendle, "On Sampled Metrics for Item Recommendation", KDD 2020).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from silverjax.engagement import SECONDS_PER_DAY
from silverjax.metrics import catalogue_coverage, ndcg_at_k, recall_at_k
from training.splits import Cases

RECALL_AT = (10, 20, 50)
NDCG_AT = (10, 20)


@dataclasses.dataclass(frozen=True)
class Batch:
    """What a ranker is told about some users; never the targets. All batches have one shape.

    Attributes:
        user: int32 [b], user rows; -1 pads the last batch.
        history: int32 [b, h], item rows, most recent last, -1 padding at the front.
        history_labels: float32 [b, h, tasks], 0 where padded.
        exclude: int32 [b, s], all items the user has seen, which must not be ranked; -1 as padding.
        day: int32 [b], when the user asks, in days since the epoch (UTC).
    """

    user: np.ndarray
    history: np.ndarray
    history_labels: np.ndarray
    exclude: np.ndarray
    day: np.ndarray


# (batch, k) -> item rows [b, k], best first, -1 past the end.
Ranker = Callable[[Batch, int], Array | np.ndarray]


@dataclasses.dataclass(frozen=True)
class Result:
    """The quality of one ranker.

    Attributes:
        metrics: Means over the cases, by names such as `recall@20`, and `coverage`.
        per_case: float32 [cases] of each mean, for paired comparisons.
    """

    metrics: dict[str, float]
    per_case: dict[str, np.ndarray]


def evaluate(
    ranker: Ranker,
    cases: Cases,
    *,
    items: int,
    history: int = 50,
    batch: int = 256,
    recall_at: tuple[int, ...] = RECALL_AT,
    ndcg_at: tuple[int, ...] = NDCG_AT,
    progress: Callable[[int], None] | None = None,
) -> Result:
    """Ranks the catalogue for every case and compares with what the user chose.

    Args:
        ranker: Returns the best `max(recall_at + ndcg_at)` items, or all if there are fewer.
        cases: From a split; their histories are all that the ranker sees.
        items: Size of the catalogue.
        history: Most recent interactions given to the ranker.
        batch: Cases per call.
        recall_at: Places to compute recall at.
        ndcg_at: Places to compute ndcg at.
        progress: Called with the number of cases done since the last call.
    Raises:
        ValueError: The ranker returns another shape, a row outside the catalogue, or a cut-off
            exceeds the catalogue.
    """
    deepest = max((*recall_at, *ndcg_at), default=0)
    if not 1 <= deepest <= items:
        raise ValueError(
            f"cut-offs {recall_at=} and {ndcg_at=} must name at least one place, and none past "
            f"the {items} items of the catalogue"
        )
    per_case: dict[str, list[np.ndarray]] = {}
    tops = []
    for at, given in batches(cases, history=history, batch=batch):
        ranked = _checked(ranker(given, deepest), len(given.user), deepest, items)
        targets = cases.targets_of(_padded(at, batch))[0]
        for name, values in _metrics(ranked, targets, recall_at, ndcg_at).items():
            per_case.setdefault(name, []).append(np.asarray(values)[: len(at)])
        tops.append(np.asarray(ranked)[: len(at)])
        if progress is not None:
            progress(len(at))
    joined = {name: np.concatenate(values) for name, values in per_case.items()}
    means = {name: float(values.mean(dtype=np.float64)) for name, values in joined.items()}
    for k in sorted(set(recall_at)):
        top = np.concatenate(tops)[:, :k]
        means[f"coverage@{k}"] = float(catalogue_coverage(top, items=items))
    return Result(means, joined)


def batches(
    cases: Cases, *, history: int = 50, batch: int = 256
) -> Iterator[tuple[np.ndarray, Batch]]:
    """Cuts cases into batches of one shape; yields the cases' positions [<= batch] with each."""
    if batch < 1:
        raise ValueError(f"{batch=} must be at least 1")
    for start in range(0, len(cases), batch):
        at = np.arange(start, min(start + batch, len(cases)))
        padded = _padded(at, batch)
        items, labels = cases.history_of(padded, width=history)
        user = np.where(padded >= 0, cases.user[padded], -1).astype(np.int32)
        day = (cases.time[padded] // SECONDS_PER_DAY).astype(np.int32)
        yield at, Batch(user, items, labels, cases.seen_by(padded), day)


def rank_by_scores(scores: Callable[[Batch], Array | np.ndarray]) -> Ranker:
    """A ranker from a function that scores the whole catalogue, float [b, items].

    Equal scores go by item row. Items scored -inf are not ranked.
    """

    def ranker(given: Batch, k: int) -> Array:
        return _top(jnp.asarray(scores(given)), jnp.asarray(given.exclude), k)

    return ranker


def compare(
    results: Mapping[str, Result], metric: str, *, samples: int = 2000, seed: int = 0
) -> dict[str, dict[str, tuple[float, float]]]:
    """Paired bootstrap over users: the 95 % interval of each method's gain over each other.

    The interval over seeds says what retraining would change; this one, what other users would.

    Returns:
        `result[a][b]` is the interval of `metric` of `a` minus that of `b`.
    """
    values = {name: result.per_case[metric] for name, result in results.items()}
    sizes = {len(value) for value in values.values()}
    if len(sizes) != 1:
        raise ValueError(f"methods were evaluated on different numbers of cases: {sorted(sizes)}")
    (n,) = sizes
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(n, np.full(n, 1 / n), size=samples).astype(np.float32) / n
    means = {name: counts @ value for name, value in values.items()}
    gains: dict[str, dict[str, tuple[float, float]]] = {}
    for a in means:
        gains[a] = {}
        for b in means:
            low, high = np.quantile(means[a] - means[b], [0.025, 0.975])
            gains[a][b] = (float(low), float(high))
    return gains


@functools.partial(jax.jit, static_argnames="k")
def _top(
    scores: Float[Array, "batch items"], exclude: Int[Array, "batch seen"], k: int
) -> Int[Array, "batch k"]:
    items = scores.shape[1]
    # -1 would count from the end; the row past the end is dropped.
    rows = jnp.where(exclude < 0, items, exclude)
    lines = jnp.arange(scores.shape[0])[:, None]
    open_scores = scores.at[lines, rows].set(-jnp.inf, mode="drop")
    best, top = jax.lax.top_k(open_scores, k)
    return jnp.where(jnp.isneginf(best), -1, top)


@functools.partial(jax.jit, static_argnames=("recall_at", "ndcg_at"))
def _metrics(
    ranked: Int[Array | np.ndarray, "batch k"],
    targets: Int[Array | np.ndarray, "batch m"],
    recall_at: tuple[int, ...],
    ndcg_at: tuple[int, ...],
) -> dict[str, Float[Array, "batch"]]:
    return {
        **{f"recall@{k}": recall_at_k(ranked, targets, k=k) for k in recall_at},
        **{f"ndcg@{k}": ndcg_at_k(ranked, targets, k=k) for k in ndcg_at},
    }


def _padded(at: np.ndarray, batch: int) -> np.ndarray:
    return np.pad(at, (0, batch - len(at)), constant_values=-1)


def _checked(ranked: Array | np.ndarray, rows: int, k: int, items: int) -> np.ndarray:
    ranked = np.asarray(ranked)
    if ranked.shape != (rows, k):
        raise ValueError(f"the ranker returned shape {ranked.shape}; it was asked for {(rows, k)}")
    if not np.issubdtype(ranked.dtype, np.integer):
        raise ValueError(f"the ranker returned {ranked.dtype}; item rows are integers")
    if ranked.size and (ranked.max() >= items or ranked.min() < -1):
        raise ValueError(
            f"the ranker returned rows {ranked.min()}..{ranked.max()}; the catalogue's are "
            f"0..{items - 1}, and -1 past the end"
        )
    return ranked
