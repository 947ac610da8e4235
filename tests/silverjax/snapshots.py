"""Snapshots for the tests: a small model's, and the means to damage one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

import silverjax
from silverjax import _durable
from silverjax.batch import Items, Users
from silverjax.catalogue import Catalogue
from silverjax.config import OverArchConfig, RetrieverConfig, TowerConfig
from silverjax.item_index import ItemCache, ItemIndex
from silverjax.schema import Feature, FeatureKind, Schema

SCHEMA = Schema(
    users=2,
    items=3,
    user_features=(),
    item_features=(Feature("genre", FeatureKind.MULTI, 4, 2),),
    tasks=("chosen", "liked"),
)
CONFIG = RetrieverConfig(tower=TowerConfig(dim=16), over_arch=OverArchConfig(kind="cross"))


def host(values: Any, dtype: Any = np.int32) -> Any:
    """A NumPy array, where annotations speak of JAX's."""
    return np.asarray(values, dtype)


CATALOGUE = Catalogue(
    item_ids=["a", "b", "ü/../x"],
    titles=["Toy Story (1995)", "", "七人の侍"],
    attributes={"genre": [["comedy", "animation"], [], ["drama"]]},
    items=Items(
        id=host([0, 1, 2]),
        features={"genre": host([[1, 2], [0, 0], [3, 0]])},
    ),
    user_ids=["u1", "u2"],
    users=Users(
        id=host([0, 1]),
        features={"age.in/years": host([0.5, -1.5], np.float32)},
        history=host([[-1, 0, 2]] * 2),
        history_labels=host(np.zeros((2, 3, 2)), np.float32),
    ),
)


def make_index(*, inputs: bool = True) -> ItemIndex:
    rng = np.random.default_rng(0)
    return ItemIndex(
        centroids=jnp.asarray(rng.integers(-127, 128, (2, 16), np.int8)),
        centroid_scales=jnp.asarray([0.1, 0.25], jnp.float32),
        live_items=jnp.asarray(39, jnp.int32),
        radii=jnp.asarray([0.5, 2.0], jnp.float32),
        profile=jnp.full(16, 1 / 16, jnp.float32),
        codes=jnp.asarray(rng.integers(-127, 128, (2, 32, 16), np.int8)),
        scales=jnp.asarray(np.array([[np.inf] * 32, [-0.0] * 32], np.float32)),
        rows=jnp.asarray(rng.integers(-1, 9, (2, 32), np.int32)),
        slots=jnp.arange(9, dtype=jnp.int32),
        words=jnp.asarray(rng.integers(0, 2**32, (5, 2, 1), np.uint32)),
        terms=jnp.zeros((0,), jnp.int32),
        spans=jnp.zeros((2, 32, 2), jnp.int32),
        vocabulary=jnp.zeros((0, 4), jnp.uint32),
        column_of_term=jnp.zeros((0,), jnp.int32),
        vocabulary_size=jnp.asarray(0, jnp.int32),
        cache=ItemCache(jnp.ones((9, 16)), {"bias": jnp.ones((9, 3))} if inputs else None),
        features=("genre", "language"),
        dim=13,
        columns=4,
        hashes=2,
    )


def make_variables() -> dict[str, Any]:
    odd_nans = np.array([0x7FC00001, 0xFFC12345, 0x00000001], np.uint32).view(np.float32)
    params = {
        "tower": {"Dense_0": {"kernel": jnp.full((3, 4), 1 / 3, jnp.bfloat16)}, "empty": {}},
        "nan": odd_nans,
        "mask": np.array([True, False]),
        "half": np.ones((1, 2), np.float16),
        "scalar": jnp.asarray(7, jnp.uint8),
    }
    return {"params": params, "index": {"items": make_index()}}


def publish(root: Path, **changes: Any) -> Path:
    given: dict[str, Any] = {
        "variables": make_variables(),
        "config": CONFIG,
        "schema": SCHEMA,
        "catalogue": CATALOGUE,
    }
    return silverjax.publish(root, **(given | changes))


def files_of(version: Path) -> list[str]:
    return sorted(p.relative_to(version).as_posix() for p in version.rglob("*") if p.is_file())


def overwrite(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


def reseal(version: Path, **changes: Any) -> None:
    """Changes the manifest and makes it consistent with its own hash again."""
    manifest = json.loads((version / "manifest.json").read_bytes()) | changes
    data = json.dumps(manifest).encode()
    overwrite(version / "manifest.json", data)
    overwrite(version / "manifest.sha256", _durable._seal_line(data))


def as_bytes(leaf: Any) -> tuple[str, tuple[int, ...], bytes]:
    return str(leaf.dtype), leaf.shape, np.asarray(leaf).tobytes()
