"""The peers: inverted files and graphs of faiss, and hnswlib. All of them are in extra `bench`."""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from experiments.results import fingerprint
from experiments.search.data import Corpus
from experiments.search.store import Store
from experiments.search.systems import Run, Variant

_GRAPHS = (16, 32)  # links per node: about the least and the most that is usual
_EFFORT = 200  # candidates while a graph is built
_REFINE = (2, 4, 8, 16)  # candidates of the fast scan per item returned
_CODE_LARGEST = 127.0


def _whole(vectors: np.ndarray) -> float:
    """What brings vectors to the range of the signed form, which drops what is past the point.

    Scaling all alike leaves the order of inner products as it is.
    """
    return _CODE_LARGEST / float(np.abs(vectors).max())


class Peers:
    """Every variant of every peer over one corpus.

    Args:
        clusters: Sizes of the inverted files.
        threads: What a search may use; building uses them too.
    """

    def __init__(
        self, corpus: Corpus, store: Store, *, clusters: tuple[int, ...], k: int, threads: int
    ) -> None:
        import faiss

        faiss.omp_set_num_threads(threads)
        self._faiss: Any = faiss  # its type stubs know the C++ signatures only
        self._corpus, self._store = corpus, store
        self._clusters, self._k, self._threads = clusters, k, threads
        self._data = fingerprint(corpus.items)

    def variants(self) -> Iterator[Variant]:
        for clusters in self._clusters:
            yield from self._inverted_files(clusters)
        for links in _GRAPHS:
            yield self._faiss_graph(links)
            yield self._hnswlib_graph(links)

    # Inverted files

    def _inverted_files(self, clusters: int) -> Iterator[Variant]:
        faiss, items = self._faiss, self._corpus.items
        dim, metric = items.shape[1], faiss.METRIC_INNER_PRODUCT
        label = f"{clusters} clusters"

        def flat() -> Any:
            quantizer = faiss.IndexFlatIP(dim)
            return self._filled(faiss.IndexIVFFlat(quantizer, dim, clusters, metric), items)

        exact = self._faiss_stored(f"ivf-flat-{clusters}", flat)
        yield from self._probing("faiss IVFFlat", label, exact)

        def coarse(scale: float) -> Any:
            """The clusters of IVFFlat again, so that k-means runs once."""
            quantizer = faiss.IndexFlatIP(dim)
            quantizer.add(exact.quantizer.reconstruct_n(0, clusters) * np.float32(scale))
            return quantizer

        def scalar() -> Any:
            kind = faiss.ScalarQuantizer.QT_8bit
            index = faiss.IndexIVFScalarQuantizer(coarse(1.0), dim, clusters, kind, metric)
            return self._filled(index, items)

        yield from self._probing(
            "faiss IVF-SQ8", label, self._faiss_stored(f"ivf-sq8-{clusters}", scalar)
        )

        def signed() -> Any:
            kind, scale = faiss.ScalarQuantizer.QT_8bit_direct_signed, _whole(items)
            index = faiss.IndexIVFScalarQuantizer(coarse(scale), dim, clusters, kind, metric)
            index.by_residual = False  # the differences would not fit the range
            return self._filled(index, np.rint(items * np.float32(scale)))

        index = self._faiss_stored(f"ivf-sq8-whole-{clusters}", signed)
        yield from self._probing("faiss IVF-SQ8 signed", label, index, whole=True)

        def fast_scan() -> Any:
            index = faiss.IndexIVFPQFastScan(coarse(1.0), dim, clusters, dim // 2, 4, metric)
            return self._filled(index, items)

        yield from self._refined(label, self._faiss_stored(f"ivf-pq-fs-{clusters}", fast_scan))

    def _filled(self, index: Any, items: np.ndarray) -> Any:
        index.train(items)
        index.add(items)
        return index

    def _probing(
        self, method: str, label: str, index: Any, *, whole: bool = False
    ) -> Iterator[Variant]:
        """Searches of an inverted file; `whole` where it takes queries of whole numbers only."""

        def run(probes: int, *, mode: int) -> Run:
            parameters = self._faiss.SearchParametersIVF(nprobe=probes)

            def search(queries: np.ndarray) -> np.ndarray:
                index.parallel_mode = mode
                if whole:
                    queries = np.rint(queries * np.float32(_whole(queries)))
                return index.search(queries, self._k, params=parameters)[1]  # type: ignore[no-any-return]

            return search

        size = self._bytes(index)
        for mode, name in self._modes(label):
            yield Variant(
                method, name, "probes", 1, index.nlist, functools.partial(run, mode=mode), size
            )

    def _refined(self, label: str, index: Any) -> Iterator[Variant]:
        """Fast scans whose best candidates are scored again, from floats or from 8 bits."""
        faiss, method = self._faiss, "faiss IVF-PQ fast scan + refine"
        for name, refine in self._refiners.items():
            both = faiss.IndexRefine(index, refine)

            def run(probes: int, *, factor: int, mode: int, both: Any = both) -> Run:
                base = faiss.SearchParametersIVF(nprobe=probes)
                parameters = faiss.IndexRefineSearchParameters(
                    k_factor=factor, base_index_params=base
                )

                def search(queries: np.ndarray) -> np.ndarray:
                    index.parallel_mode = mode
                    return both.search(queries, self._k, params=parameters)[1]  # type: ignore[no-any-return]

                return search

            size = self._bytes(index) + self._bytes(refine)
            for factor in _REFINE:
                for mode, text in self._modes(f"{label}, {factor} x k refined in {name}"):
                    made = functools.partial(run, factor=factor, mode=mode)
                    yield Variant(method, text, "probes", 1, index.nlist, made, size)

    @functools.cached_property
    def _refiners(self) -> dict[str, Any]:
        """Vectors by row, shared by all fast scans."""
        faiss, items = self._faiss, self._corpus.items
        floats = faiss.IndexFlatIP(items.shape[1])
        floats.add(items)
        kind, metric = faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
        codes = faiss.IndexScalarQuantizer(items.shape[1], kind, metric)
        codes.train(items)
        codes.add(items)
        return {"float32": floats, "8 bits": codes}

    def _modes(self, label: str) -> list[tuple[int, str]]:
        """faiss gives each query a thread (0), or can share one query's clusters out (1)."""
        return [(0, label)] + [(1, f"{label}, threads share a query")] * (self._threads > 1)

    # Graphs

    def _faiss_graph(self, links: int) -> Variant:
        faiss, items = self._faiss, self._corpus.items

        def build() -> Any:
            index = faiss.IndexHNSWFlat(items.shape[1], links, faiss.METRIC_INNER_PRODUCT)
            index.hnsw.efConstruction = _EFFORT
            index.add(items)
            return index

        index = self._faiss_stored(f"hnsw-{links}", build)

        def run(effort: int) -> Run:
            parameters = faiss.SearchParametersHNSW(efSearch=effort)
            return lambda queries: index.search(queries, self._k, params=parameters)[1]

        return self._graph("faiss HNSW", links, run, self._bytes(index))

    def _hnswlib_graph(self, links: int) -> Variant:
        import hnswlib

        items = self._corpus.items
        index = hnswlib.Index(space="ip", dim=items.shape[1])

        def build() -> Any:
            index.init_index(len(items), M=links, ef_construction=_EFFORT, random_seed=0)
            index.add_items(items, num_threads=self._threads)
            return index

        def load(path: str) -> Any:
            index.load_index(path, max_elements=len(items))
            return index

        version = importlib.metadata.version("hnswlib")
        name = f"hnswlib-{links}-{fingerprint(self._data, version, _EFFORT)}"
        self._store.get(name, build, save=lambda one, path: one.save_index(path), load=load)

        def run(effort: int) -> Run:
            def search(queries: np.ndarray) -> np.ndarray:
                index.set_ef(effort)
                rows, _ = index.knn_query(queries, self._k, num_threads=self._threads)
                return rows.astype(np.int64)  # type: ignore[no-any-return]

            return search

        return self._graph("hnswlib", links, run, index.index_file_size())

    def _graph(self, method: str, links: int, run: Callable[[int], Run], size: int) -> Variant:
        most = max(self._k, 2_048)
        return Variant(method, f"{links} links", "ef", self._k, most, run, size)

    # faiss in general

    def _faiss_stored(self, name: str, build: Callable[[], Any]) -> Any:
        faiss = self._faiss
        version = importlib.metadata.version("faiss-cpu")
        return self._store.get(
            f"faiss-{name}-{fingerprint(self._data, version, _EFFORT)}",
            build,
            save=faiss.write_index,
            load=faiss.read_index,
        )

    def _bytes(self, index: Any) -> int:
        """What faiss would write of an index: its arrays, ids included."""
        return int(self._faiss.serialize_index(index).nbytes)
