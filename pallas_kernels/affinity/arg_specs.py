"""Shapes and contents of `affinity` calls: small ones for tests, large ones for benchmarks."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np


@dataclasses.dataclass(frozen=True)
class Spec:
    """Sizes of one call, named as in `api.affinity`."""

    clusters: int  # C
    dim: int  # D
    queries: int  # B

    def make(self, seed: int = 0) -> tuple[jax.Array, ...]:
        """Random arguments; a tenth of the queries have no number for `along`."""
        rng = np.random.default_rng(seed)
        c, d, b = self.clusters, self.dim, self.queries

        def positive(n: int) -> np.ndarray:
            return np.exp(rng.normal(scale=2, size=n)).astype(np.float32)

        along = np.where(rng.random(b) < 0.1, np.nan, positive(b)).astype(np.float32)
        return (
            jnp.asarray(rng.integers(-127, 128, (c, d), np.int8)),
            jnp.asarray(positive(c)),
            jnp.asarray(np.where(rng.random(c) < 0.1, 0, positive(c)).astype(np.float32)),
            jnp.asarray(rng.integers(-127, 128, (b, d), np.int8)),
            jnp.asarray(positive(b)),
            jnp.asarray(along),
        )


TESTS = {
    "one_of_all": Spec(clusters=1, dim=1, queries=1),
    "odd": Spec(clusters=37, dim=21, queries=3),
    "whole_words": Spec(clusters=64, dim=64, queries=7),
    "wide": Spec(clusters=45, dim=1024, queries=2),
    "no_queries": Spec(clusters=5, dim=8, queries=0),
}
BENCHMARKS = {
    "batch_1": Spec(clusters=4096, dim=64, queries=1),
    "batch_64": Spec(clusters=4096, dim=64, queries=64),
}
