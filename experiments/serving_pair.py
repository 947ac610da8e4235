"""Two versions of a snapshot that differ, to swap one for the other, and what each answers."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np

from serving.engine import Engine
from serving.query import Query
from silverjax.snapshot import Snapshot, load_snapshot, publish


@contextlib.contextmanager
def two_versions(path: Path) -> Iterator[Path]:
    """A folder with two versions of a snapshot that differ in their parameters, a little."""
    loaded = load_snapshot(path)
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for scale in (0.0, 0.05):
            params = jax.tree.map(
                lambda leaf, scale=scale: np.asarray(leaf) * np.float32(1 + scale * rng.normal()),
                loaded.variables["params"],
            )
            changed = dataclasses.replace(loaded, variables=loaded.variables | {"params": params})
            publish_again(Path(folder), changed)
        yield Path(folder)


def publish_again(root: Path, snapshot: Snapshot) -> None:
    """Publishes what was loaded, as the next version under `root`."""
    publish(
        root,
        variables=snapshot.variables,
        config=snapshot.config,
        schema=snapshot.schema,
        catalogue=snapshot.catalogue,
    )


def best_values(root: Path, engine: Engine, queries: list[Query]) -> dict[str, list[float]]:
    """By version, the best value of each query."""
    best = {}
    for version in ("00000001", "00000002"):
        other = Engine(load_snapshot(root / version), buckets=engine.buckets, like=engine)
        best[version] = [reply.items[0].value for reply in other.recommend(queries)]
    return best


def size_mib(version: Path) -> float:
    """Of all files of a version."""
    return sum(file.stat().st_size for file in version.rglob("*")) / 2**20
