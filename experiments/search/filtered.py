"""Filters of a known share, one for each query, and the systems that search under them."""

from __future__ import annotations

import concurrent.futures
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from jaxtyping import Bool, Float

from experiments.search.data import WIDTH, nearest

Run = Callable[[np.ndarray, int], np.ndarray]  # queries, the number of the first -> rows [batch, k]

_HALVES, _TENTHS = 8, 24  # terms that half, and a tenth, of the items have
_BLUR = 0.5  # of the border of a half-space, in standard deviations across it
SHARES = (0.5, 0.1, 0.01, 0.001)
KINDS = ("random", "correlated")


@dataclasses.dataclass(frozen=True)
class Terms:
    """Which items have which terms: bool [terms, n] by feature.

    `half` and `tenth` are drawn for each item alone; `side` and `cap` are the items on one side of
    a plane with a blurred border, so that whole clusters pass or fail.
    """

    has: dict[str, Bool[np.ndarray, "terms n"]]

    @classmethod
    def draw(cls, items: Float[np.ndarray, "n dim"], rng: np.random.Generator) -> Terms:
        n = len(items)

        def sides(count: int, share: float) -> Bool[np.ndarray, "terms n"]:
            out = np.empty((count, n), bool)
            for mask in out:
                across = items @ rng.normal(size=items.shape[1])
                across += rng.normal(scale=_BLUR * float(np.std(across)), size=n)
                mask[:] = across >= np.quantile(across, 1 - share)
            return out

        return cls(
            {
                "half": rng.random((_HALVES, n), np.float32) < 0.5,
                "tenth": rng.random((_TENTHS, n), np.float32) < 0.1,
                "side": sides(_HALVES, 0.5),
                "cap": sides(_TENTHS, 0.1),
            }
        )

    def attributes(self) -> dict[str, list[list[int]]]:
        """As `silverjax.build_index` takes them."""
        return {name: [terms.tolist() for terms in _lists(has)] for name, has in self.has.items()}


def _lists(has: Bool[np.ndarray, "terms n"]) -> list[np.ndarray]:
    items, terms = np.nonzero(has.T)
    return np.split(terms, np.searchsorted(items, np.arange(1, has.shape[1])))


@dataclasses.dataclass(frozen=True)
class Filters:
    """One filter a query: what is asked of this project, and what the peers are given.

    Attributes:
        texts: In the filter language.
        masks: bool [queries, n].
    """

    texts: list[str]
    masks: Bool[np.ndarray, "queries n"]

    def of(self, query: int) -> str:
        """The filter of a query; past the last one they start again."""
        return self.texts[query % len(self.texts)]

    @property
    def share(self) -> float:
        """Mean share of the items that pass."""
        return float(self.masks.mean())


def draw_filters(
    terms: Terms, kind: str, share: float, count: int, rng: np.random.Generator
) -> Filters:
    """`count` filters that admit about `share` of the items, one of `SHARES`.

    One term where a second is there, another where it is not, so that hardly two are alike; below
    a tenth of the items, one or two more terms that a tenth has.
    """
    half, tenth = ("half", "tenth") if kind == "random" else ("side", "cap")
    feature = half if share == 0.5 else tenth
    also = {0.5: 0, 0.1: 0, 0.01: 1, 0.001: 2}[share]
    own, switch, rare = terms.has[feature], terms.has["half"], terms.has["tenth"]
    texts, masks = [], []
    for _ in range(count):
        a, b, c = rng.choice(_HALVES, 3, replace=False).tolist()
        if feature == tenth:
            a, b = rng.choice(_TENTHS // 2, 2, replace=False).tolist()
        text = f"(({feature}:{a} AND half:{c}) OR ({feature}:{b} AND NOT half:{c}))"
        mask = (own[a] & switch[c]) | (own[b] & ~switch[c])
        for more in (_TENTHS // 2 + rng.choice(_TENTHS // 2, also, replace=False)).tolist():
            text += f" AND tenth:{more}"
            mask = mask & rare[more]
        texts.append(text)
        masks.append(mask)
    return Filters(texts, np.stack(masks))


class Peer(Protocol):
    """Searches under filters; `effort` is its knob for recall."""

    name: str

    def efforts(self) -> Iterator[float]:
        """From little to all."""

    def run(self, filters: Filters, effort: float) -> Run:
        """The search of one effort."""


class Silver:
    """This project: filters as text, compiled within every call; one setting for all filters."""

    name = "silverjax"

    def __init__(self, index: Any, *, k: int, probes: int, filtered_recall: float) -> None:
        self._index, self._k, self._probes, self._recall = index, k, probes, filtered_recall

    def run(self, filters: Filters) -> Run:
        import jax

        import silverjax

        @jax.jit
        def search(index: Any, queries: Any, plan: Any) -> Any:
            return silverjax.search(
                *(index, queries, plan),
                k=self._k,
                probes=self._probes,
                filtered_recall=self._recall,
            ).rows

        def rows(queries: np.ndarray, first: int) -> np.ndarray:
            texts = [filters.of(first + i) for i in range(len(queries))]
            plan = silverjax.compile_filters(self._index, texts)
            return np.asarray(search(self._index, queries, plan))

        return rows


class Threaded:
    """Calls a search of one query for each of a batch, on threads that are kept."""

    def __init__(self, threads: int, start: Callable[[], None]) -> None:
        self._pool = concurrent.futures.ThreadPoolExecutor(threads, initializer=start)
        self._threads = threads

    def rows(self, one: Callable[[int], np.ndarray], count: int) -> np.ndarray:
        if count == 1:
            return one(0)[None]

        def part(start: int) -> list[np.ndarray]:
            return [one(i) for i in range(start, count, self._threads)]

        parts = list(self._pool.map(part, range(self._threads)))
        return np.stack([parts[i % self._threads][i // self._threads] for i in range(count)])


class Faiss:
    """An inverted file with an `IDSelectorBitmap` a query; its bitmaps are made beforehand.

    faiss takes one selector a call, so the queries of a batch are spread over threads one by one;
    a single query has all threads for its clusters.
    """

    def __init__(self, name: str, index: Any, *, k: int, clusters: int, threads: int) -> None:
        import faiss

        self.name, self._index, self._k, self._clusters = name, index, k, clusters
        self._faiss: Any = faiss  # its type stubs know the C++ signatures only
        self._index.parallel_mode = 1  # over clusters, where a call has threads
        faiss.omp_set_num_threads(threads)
        self._threads = Threaded(threads, lambda: faiss.omp_set_num_threads(1))

    def efforts(self) -> Iterator[float]:
        probes = 8
        while probes < self._clusters:
            yield probes
            probes += max(1, probes // 8)
        yield self._clusters

    def run(self, filters: Filters, effort: float) -> Run:
        bitmaps = [np.packbits(mask, bitorder="little") for mask in filters.masks]
        parameters = [
            self._faiss.SearchParametersIVF(
                nprobe=int(effort), sel=self._faiss.IDSelectorBitmap(bitmap)
            )
            for bitmap in bitmaps
        ]

        def rows(queries: np.ndarray, first: int) -> np.ndarray:
            def one(i: int) -> np.ndarray:
                found: np.ndarray = self._index.search(
                    queries[i : i + 1], self._k, params=parameters[(first + i) % len(parameters)]
                )[1][0]
                return found

            return self._threads.rows(one, len(queries))

        return rows


class Exact:
    """NumPy over the items that pass, from bitmaps that are made beforehand."""

    name = "exact scan of what passes"

    def __init__(self, items: np.ndarray, *, k: int, threads: int) -> None:
        self._items, self._k = items, k
        self._threads = Threaded(threads, lambda: None)

    def efforts(self) -> Iterator[float]:
        yield 1.0

    def run(self, filters: Filters, effort: float) -> Run:
        del effort
        masks = filters.masks

        def rows(queries: np.ndarray, first: int) -> np.ndarray:
            def one(i: int) -> np.ndarray:
                own = np.flatnonzero(masks[(first + i) % len(masks)])
                scores = self._items[own] @ queries[i]
                top = min(self._k, len(own))
                best = np.full(self._k, -1, np.int64)
                best[:top] = own[np.argpartition(-scores, top - 1)[:top]]
                return best

            return self._threads.rows(one, len(queries))

        return rows


def wanted(items: np.ndarray, queries: np.ndarray, filters: Filters, k: int) -> list[np.ndarray]:
    """Rows of the best `k` of what passes, for each query."""
    return [
        nearest(items, query[None], mask, k)[0]
        for query, mask in zip(queries, filters.masks, strict=True)
    ]


def recall(found: np.ndarray, truth: Sequence[np.ndarray]) -> float:
    """Mean share of the true rows that were found."""
    shares = [
        len(np.intersect1d(one, two)) / len(two) for one, two in zip(found, truth, strict=True)
    ]
    return float(np.mean(shares))


def faiss_index(items: np.ndarray, clusters: int, *, codes: bool) -> Any:
    """IVFFlat, or IVF with a byte per dimension."""
    import faiss

    arguments = faiss.IndexFlatIP(WIDTH), WIDTH, clusters
    metric = faiss.METRIC_INNER_PRODUCT
    index: Any = (
        faiss.IndexIVFScalarQuantizer(*arguments, faiss.ScalarQuantizer.QT_8bit, metric)
        if codes
        else faiss.IndexIVFFlat(*arguments, metric)
    )
    index.train(items)
    index.add(items)
    return index
