"""Shapes and contents of `int8_search` calls: small ones for tests, large ones for benchmarks."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np


@dataclasses.dataclass(frozen=True)
class Spec:
    """Sizes of one call, named as in `api.int8_search`."""

    clusters: int  # C
    slots: int  # S
    dim: int  # D
    queries: int  # B
    probes: int  # N
    k: int

    @property
    def words(self) -> int:
        """W, words of eligibility bits per cluster."""
        return -(-self.slots // 32)

    def abstract(self) -> tuple[jax.ShapeDtypeStruct, ...]:
        """Shapes and dtypes, nothing allocated: what lowering needs."""
        c, s, d, b, n = self.clusters, self.slots, self.dim, self.queries, self.probes
        return (
            jax.ShapeDtypeStruct((c, s, d), jnp.int8),
            jax.ShapeDtypeStruct((c, s), jnp.float32),
            jax.ShapeDtypeStruct((b, d), jnp.int8),
            jax.ShapeDtypeStruct((b,), jnp.float32),
            jax.ShapeDtypeStruct((b, n), jnp.int32),
            jax.ShapeDtypeStruct((b, n, self.words), jnp.uint32),
        )

    def make(
        self, seed: int = 0, *, share: float = 0.5, levels: int = 256, scaled: bool = True
    ) -> tuple[jax.Array, ...]:
        """Random arguments, among them unknown and repeated clusters.

        Args:
            share: Part of the slots that is eligible.
            levels: Distinct values of a code, at most 256; few of them make ties.
            scaled: Random scales; otherwise all are 1.
        """
        rng = np.random.default_rng(seed)
        c, s, d, b, n = self.clusters, self.slots, self.dim, self.queries, self.probes
        low = -(levels // 2)
        bits = rng.random((b, n, self.words, 32)) < share
        eligible = (bits.astype(np.uint32) << np.arange(32, dtype=np.uint32)).sum(-1, np.uint32)
        scales = rng.random((c, s)) if scaled else np.ones((c, s))
        query_scales = rng.random(b) if scaled else np.ones(b)
        return (
            jnp.asarray(rng.integers(low, low + levels, (c, s, d), np.int8)),
            jnp.asarray(scales.astype(np.float32)),
            jnp.asarray(rng.integers(low, low + levels, (b, d), np.int8)),
            jnp.asarray(query_scales.astype(np.float32)),
            jnp.asarray(rng.integers(-1, c, (b, n), np.int32)),
            jnp.asarray(eligible),
        )


TESTS = {
    "one_of_each": Spec(clusters=1, slots=1, dim=1, queries=1, probes=1, k=1),
    "smallest_block": Spec(clusters=4, slots=8, dim=16, queries=3, probes=2, k=16),
    "ragged_words": Spec(clusters=6, slots=40, dim=48, queries=2, probes=4, k=17),
    "several_tiles": Spec(clusters=3, slots=200, dim=64, queries=2, probes=3, k=100),
    "several_segments": Spec(clusters=2, slots=1100, dim=16, queries=2, probes=2, k=5),
    "long_runs": Spec(clusters=3, slots=40, dim=32, queries=40, probes=5, k=2),
    "odd_dim": Spec(clusters=3, slots=24, dim=208, queries=2, probes=3, k=9),
    "wide": Spec(clusters=2, slots=24, dim=1024, queries=2, probes=2, k=20),
    "wider_than_float32": Spec(clusters=2, slots=8, dim=2064, queries=2, probes=2, k=8),
}

BENCHMARKS = {
    "batch_1": Spec(clusters=1024, slots=1000, dim=64, queries=1, probes=32, k=100),
    "batch_64": Spec(clusters=1024, slots=1000, dim=64, queries=64, probes=32, k=100),
    "wide_256": Spec(clusters=256, slots=1000, dim=256, queries=64, probes=32, k=100),
    "ten_million": Spec(clusters=4096, slots=2464, dim=128, queries=16, probes=4096, k=100),
}
