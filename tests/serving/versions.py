"""Versions of one small model that tests publish, swap and tell apart by their answers."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import jax
import numpy as np

from silverjax.snapshot import publish
from tests.silverjax.models import CONFIG, SCHEMA, make_catalogue, make_variables


@functools.cache
def _variables() -> dict[str, Any]:
    return make_variables()


def publish_version(root: Path, seed: int, *, broken: bool = False) -> Path:
    """Publishes the next version: the same shapes, other parameters; NaN if `broken`."""
    rng = np.random.default_rng(seed)

    def shaken(leaf: Any) -> Any:
        noise = np.float32(np.nan if broken else rng.normal(1.0, 0.1))
        return np.asarray(leaf) * noise

    variables = _variables() | {"params": jax.tree.map(shaken, _variables()["params"])}
    return publish(
        root, variables=variables, config=CONFIG, schema=SCHEMA, catalogue=make_catalogue()
    )
