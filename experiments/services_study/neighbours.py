"""The second service: filters to bitmaps, then faiss; every query has its own.

python -m experiments.services_study.neighbours FOLDER
"""

from __future__ import annotations

import concurrent.futures
import os
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

import faiss
import numpy as np

from experiments.services_study.roaring_filter import InvertedIndex, dense
from experiments.services_study.service import serve
from experiments.services_study.storage import load, load_study

_faiss: Any = faiss  # its type stubs know the C++ signatures only
KINDS = ("IVF-SQ8", "IVFFlat")
_SAMPLE = 128  # items per list on which k-means is trained, as in our index
_EXACT_BELOW = 4_000  # so few admitted items are scanned faster than looked for in the lists


class Neighbours:
    """Filtered nearest neighbours.

    faiss takes one selector a call, so a batch is as many calls; they are spread over the cores,
    one thread each, which is faster than all threads in one call after the other.

    Args:
        embeddings: Float32 [n, dim].
        columns: Filter features.
        lists: Inverted lists.
        k: Items per query.
    """

    def __init__(
        self, embeddings: np.ndarray, columns: Mapping[str, np.ndarray], *, lists: int, k: int
    ) -> None:
        self._embeddings, self._k = embeddings, k
        self._filters = InvertedIndex(columns)
        self._indexes = _trained(embeddings, lists)
        self._pool = concurrent.futures.ThreadPoolExecutor(
            len(os.sched_getaffinity(0)), initializer=lambda: faiss.omp_set_num_threads(1)
        )

    def __call__(self, arrays: dict[str, np.ndarray], filters: list[str]) -> dict[str, np.ndarray]:
        kind, probes = arrays["setting"].tolist()
        index = self._indexes[KINDS[kind]]

        def one(at: int) -> tuple[np.ndarray, np.ndarray]:
            admitted = self._filters.admitted(filters[at])
            seen = arrays["history"][at]
            admitted = admitted - type(admitted)(seen[seen >= 0].astype(np.uint32))
            rows = np.asarray(admitted.to_array())
            return self._search(arrays["embedding"][at], rows, index, probes)

        rows, scores = zip(*self._pool.map(one, range(len(filters))))
        return {"rows": np.stack(rows), "scores": np.stack(scores)}

    def _search(
        self, query: np.ndarray, admitted: np.ndarray, index: Any, probes: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rows int32 [k], -1 past the last one, and inner products."""
        if len(admitted) < _EXACT_BELOW:
            return self._scan(query, admitted)
        bitmap = dense(admitted, len(self._embeddings))
        options: dict[str, Any] = {"sel": _faiss.IDSelectorBitmap(bitmap), "nprobe": probes}
        parameters = faiss.SearchParametersIVF(**options)
        scores, rows = index.search(query[None], self._k, params=parameters)
        return rows[0].astype(np.int32), scores[0]

    def _scan(self, query: np.ndarray, admitted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows, scores = np.full(self._k, -1, np.int32), np.full(self._k, -np.inf, np.float32)
        own = self._embeddings[admitted] @ query
        best = np.argsort(-own)[: self._k]
        rows[: len(best)], scores[: len(best)] = admitted[best], own[best]
        return rows, scores


def _trained(embeddings: np.ndarray, lists: int) -> dict[str, Any]:
    """Both kinds of index over the same lists."""
    dim, metric = embeddings.shape[1], faiss.METRIC_INNER_PRODUCT
    quantizer = faiss.IndexFlatIP(dim)
    flat = faiss.IndexIVFFlat(quantizer, dim, lists, metric)
    flat.cp.max_points_per_centroid = _SAMPLE
    flat.train(embeddings)
    codes = faiss.IndexIVFScalarQuantizer(
        quantizer, dim, lists, faiss.ScalarQuantizer.QT_8bit, metric
    )
    codes.train(embeddings)
    for index in (flat, codes):
        index.add(embeddings)
    return {"IVFFlat": flat, "IVF-SQ8": codes}


def main(folder: pathlib.Path) -> None:
    study = load_study(folder)
    columns = load(folder / "neighbours")
    embeddings = columns.pop("embeddings")
    search = Neighbours(embeddings, columns, lists=study.inverted_lists, k=study.candidates)
    serve({"search": search})


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
