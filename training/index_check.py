"""What the index loses against brute force, for plain queries and under filters.

The filters are drawn from the attributes of the catalogue itself, at several selectivities:
between one item in ten and one in a hundred is where approximate search with a filter is known
to suffer most.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from silverjax.ann_search import search
from silverjax.filter_plan import compile_filters
from silverjax.item_index import ItemIndex
from silverjax.metrics import index_loss

SHARES = (0.5, 0.1, 0.01)

# (queries [b, d], one filter per query) -> item rows [b, k], best first, -1 past the end.
FilteredSearch = Callable[[np.ndarray, Sequence[str]], Array | np.ndarray]

_TERMS = 128  # terms to draw from at most; keeps the masks of a large catalogue in memory
_DRAWS = 4_000
_NEAR = 1.3  # a filter counts as one of 10 % from 7.7 % to 13 %
_BARE = re.compile(r"[A-Za-z0-9_.\-]+")
_KEYWORDS = {"and", "or", "not", "in"}


@dataclasses.dataclass(frozen=True)
class FilterQuery:
    """A filter and, found without the index, the items that it admits.

    Attributes:
        text: In the filter language.
        eligible: bool [items].
    """

    text: str
    eligible: np.ndarray

    @property
    def share(self) -> float:
        return float(self.eligible.mean())


@dataclasses.dataclass(frozen=True)
class IndexLoss:
    """Index loss over a set of queries.

    Attributes:
        loss: Mean share of the exact top k that was lost.
        worst: The largest share that one query lost.
        eligible: Mean share of the catalogue that the filters admit.
        short: Queries with fewer than `k` eligible items.
        queries: Queries in all.
    """

    loss: float
    worst: float
    eligible: float
    short: int
    queries: int


def representative_filters(
    attributes: Mapping[str, Sequence[Sequence[str]]],
    *,
    shares: Sequence[float] = SHARES,
    per_share: int = 16,
    seed: int = 0,
) -> dict[float, list[FilterQuery]]:
    """Draws filters of several selectivities from a catalogue's own attributes.

    Single terms, negations, and two to four terms under AND, OR and NOT; frequent terms more
    often. Where too few filters come within 30 % of a share, the nearest ones stand in.

    Args:
        attributes: For each feature and item its values.
        shares: Shares of the catalogue to admit.
        per_share: Different filters for each.
        seed: Same seed, same filters.
    Raises:
        ValueError: There are no attributes, or a share lies outside (0, 1).
    """
    for share in shares:
        if not 0 < share < 1:
            raise ValueError(f"a share of {share} of the catalogue is not between 0 and 1")
    rng = np.random.default_rng(seed)
    near: dict[float, dict[str, FilterQuery]] = {share: {} for share in shares}
    far: dict[float, dict[str, FilterQuery]] = {share: {} for share in shares}
    for drawn in _draw(_terms(attributes, rng), rng):
        for share in shares:
            if _distance(drawn, share) > math.log(_NEAR):
                far[share][drawn.text] = drawn
                if len(far[share]) > 2 * per_share:  # now and then, and few masks in memory
                    far[share] = _nearest(far[share], share, per_share)
            elif len(near[share]) < per_share:
                near[share][drawn.text] = drawn
        if all(len(found) == per_share for found in near.values()):
            break
    return {
        share: [*near[share].values(), *_nearest(far[share], share, per_share).values()][:per_share]
        for share in shares
    }


def measure_index_loss(
    searcher: FilteredSearch,
    embeddings: Float[np.ndarray, "items dim"],
    queries: Float[np.ndarray, "n dim"],
    filters: Mapping[float, Sequence[FilterQuery]],
    *,
    k: int,
    batch: int = 64,
    progress: Callable[[int], None] | None = None,
) -> dict[str, IndexLoss]:
    """Compares a search with float32 brute force over the same items.

    Args:
        searcher: Returns at least the best `k` rows per query; see `index_searcher`.
        embeddings: What the index was built from.
        queries: For instance user embeddings. Every filter set is given to all of them, its
            filters in turn.
        filters: From `representative_filters`.
        k: Items per query.
        batch: Queries per call; the last batch is padded to it.
        progress: Called with the number of queries done since the last call.
    Returns:
        Losses by `plain` and by share, such as `10 %`.
    """
    if not 1 <= k <= len(embeddings):
        raise ValueError(f"{k=} must be from 1 to the {len(embeddings)} items")
    everything = FilterQuery("", np.ones(len(embeddings), bool))
    sets = {"plain": [everything], **{f"{s * 100:g} %": filters[s] for s in filters}}
    return {
        name: _loss(searcher, embeddings, queries, chosen, k, batch, progress)
        for name, chosen in sets.items()
    }


def index_searcher(
    index: ItemIndex, *, k: int, probes: int, rescore: float | None = None
) -> FilteredSearch:
    """The searcher of `measure_index_loss` for an index made by `build_index`."""

    def searcher(queries: np.ndarray, filters: Sequence[str]) -> Array:
        # No filter at all takes the path without a plan, as a caller without filters would.
        plan = compile_filters(index, filters) if any(filters) else None
        return search(index, jnp.asarray(queries), plan, k=k, probes=probes, rescore=rescore).rows

    return searcher


def _loss(
    searcher: FilteredSearch,
    embeddings: np.ndarray,
    queries: np.ndarray,
    filters: Sequence[FilterQuery],
    k: int,
    batch: int,
    progress: Callable[[int], None] | None,
) -> IndexLoss:
    losses, eligible = [], []
    items = jnp.asarray(embeddings, jnp.float32)
    for start in range(0, len(queries), batch):
        at = np.arange(start, min(start + batch, len(queries)))
        # The last query again, as often as needed for the one shape.
        padded = np.minimum(np.arange(start, start + batch), len(queries) - 1)
        chosen = [filters[one % len(filters)] for one in padded]
        given = np.asarray(queries[padded], np.float32)
        admitted = np.stack([one.eligible for one in chosen])
        exact = exact_top(given, items, admitted, k=k)
        found = jnp.asarray(searcher(given, [one.text for one in chosen]))[:, :k]
        losses.append(np.asarray(index_loss(found, exact))[: len(at)])
        eligible.append(admitted.sum(axis=1)[: len(at)])
        if progress is not None:
            progress(len(at))
    lost, counts = np.concatenate(losses), np.concatenate(eligible)
    return IndexLoss(
        loss=float(lost.mean(dtype=np.float64)),
        worst=float(lost.max()),
        eligible=float(counts.mean() / len(embeddings)),
        short=int((counts < k).sum()),
        queries=len(queries),
    )


@functools.partial(jax.jit, static_argnames="k")
def exact_top(
    queries: Float[Array | np.ndarray, "batch dim"],
    items: Float[Array | np.ndarray, "items dim"],
    eligible: Bool[Array | np.ndarray, "batch items"],
    *,
    k: int,
) -> Int[Array, "batch k"]:
    """Float32 brute force: rows of the `k` largest inner products, -1 past the last eligible."""
    # Accelerators would otherwise multiply in fewer bits than the truth deserves.
    scores = jnp.matmul(queries, jnp.asarray(items).T, precision=jax.lax.Precision.HIGHEST)
    best, rows = jax.lax.top_k(jnp.where(eligible, scores, -jnp.inf), k)
    return jnp.where(jnp.isneginf(best), -1, rows)


def _terms(
    attributes: Mapping[str, Sequence[Sequence[str]]], rng: np.random.Generator
) -> list[FilterQuery]:
    """The terms to draw from: of all terms, frequent ones with more chance."""
    rows: dict[tuple[str, str], list[int]] = {}
    items = 0
    for feature, lists in attributes.items():
        items = len(lists)
        for row, values in enumerate(lists):
            for value in values:
                rows.setdefault((feature, str(value)), []).append(row)
    if not rows:
        raise ValueError("no filters to draw: the catalogue's attributes hold no values")
    names = list(rows)
    weight = np.sqrt([len(rows[name]) for name in names])
    size = min(_TERMS, len(names))
    terms = []
    for at in rng.choice(len(names), size, replace=False, p=weight / weight.sum()):
        eligible = np.zeros(items, bool)
        eligible[rows[names[at]]] = True
        terms.append(FilterQuery(":".join(map(_quoted, names[at])), eligible))
    return terms


def _draw(terms: list[FilterQuery], rng: np.random.Generator) -> Iterator[FilterQuery]:
    """Random expressions over `terms` that admit something."""
    weight = np.sqrt([term.eligible.sum() for term in terms])
    weight /= weight.sum()
    for form in rng.integers(0, len(_FORMS), _DRAWS):
        picked = rng.choice(len(terms), 3, replace=len(terms) < 3, p=weight)
        drawn = _FORMS[form](*(terms[at] for at in picked))
        if drawn.eligible.any():
            yield drawn


def _distance(drawn: FilterQuery, share: float) -> float:
    return abs(math.log(drawn.share / share))


def _nearest(drawn: dict[str, FilterQuery], share: float, count: int) -> dict[str, FilterQuery]:
    ordered = sorted(drawn.items(), key=lambda one: _distance(one[1], share))
    return dict(ordered[:count])


def _not(part: FilterQuery) -> FilterQuery:
    return FilterQuery(f"NOT {part.text}", ~part.eligible)


def _bracketed(part: FilterQuery) -> FilterQuery:
    return FilterQuery(f"({part.text})", part.eligible)


def _joined(word: str, *parts: FilterQuery) -> FilterQuery:
    masks = [part.eligible for part in parts]
    join = np.logical_and if word == "AND" else np.logical_or
    return FilterQuery(f" {word} ".join(part.text for part in parts), join.reduce(masks))


def _quoted(name: str) -> str:
    """A feature or value as the filter language wants it."""
    if _BARE.fullmatch(name) and name.lower() not in _KEYWORDS:
        return name
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


_FORMS: tuple[Callable[[FilterQuery, FilterQuery, FilterQuery], FilterQuery], ...] = (
    lambda a, b, c: a,
    lambda a, b, c: _not(a),
    lambda a, b, c: _joined("OR", a, b, c),
    lambda a, b, c: _joined("AND", a, b),
    lambda a, b, c: _joined("AND", a, _not(b)),
    lambda a, b, c: _joined("AND", _bracketed(_joined("OR", a, b)), _not(c)),
)
