"""Shapes and contents of `bloom_probe` calls: small ones for tests, large ones for benchmarks."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pallas_kernels.bloom_probe.plan import AND, NO_OP, OR, STACK_DEPTH, Plan

Args = tuple[jax.Array, Plan, jax.Array | None]


@dataclasses.dataclass(frozen=True)
class Spec:
    """Sizes of one call, named as in `api.bloom_probe`."""

    clusters: int  # C
    rows: int  # R
    words: int  # W
    queries: int  # B
    probes: int | None  # N; None = the whole corpus
    leaves: int = 4  # L
    terms: int = 2  # K
    tokens: int = 8  # P

    def abstract(self) -> tuple[Any, Plan, Any]:
        """Shapes and dtypes, nothing allocated: what lowering needs."""
        b, n, i32 = self.queries, self.probes, jnp.int32
        shapes: dict[str, Any] = {
            "rows": jax.ShapeDtypeStruct((b, self.leaves, self.terms), i32),
            "modes": jax.ShapeDtypeStruct((b, self.leaves), i32),
            "program": jax.ShapeDtypeStruct((b, self.tokens), i32),
        }
        words = jax.ShapeDtypeStruct((self.rows, self.clusters, self.words), jnp.uint32)
        return words, Plan(**shapes), None if n is None else jax.ShapeDtypeStruct((b, n), i32)

    def make(self, seed: int = 0, *, used: int | None = None) -> Args:
        """Random words, programs and clusters, among them unknown and repeated clusters.

        Args:
            used: Leaves that each program pushes; None draws a number per query, 0 included.
        """
        rng = np.random.default_rng(seed)
        b, most = self.queries, min(self.leaves, (self.tokens + 1) // 2)
        counts = rng.integers(0, most + 1, b) if used is None else np.full(b, min(used, most))
        plan = Plan(
            jnp.asarray(rng.integers(0, self.rows, (b, self.leaves, self.terms), np.int32)),
            jnp.asarray(rng.integers(0, 4, (b, self.leaves), np.int32)),
            jnp.asarray(
                np.array(
                    [
                        random_program(rng, count, self.leaves, self.tokens)
                        for count in counts.tolist()
                    ],
                    np.int32,
                ).reshape(b, self.tokens)
            ),
        )
        shape = (self.rows, self.clusters, self.words)
        # Two draws OR-ed: rows are three quarters full, so that conjunctions leave something.
        words = rng.integers(0, 2**32, shape, np.uint32) | rng.integers(0, 2**32, shape, np.uint32)
        clusters = None
        if self.probes is not None:
            clusters = jnp.asarray(rng.integers(-1, self.clusters, (b, self.probes), np.int32))
        return jnp.asarray(words), plan, clusters


def random_program(rng: np.random.Generator, pushes: int, leaves: int, tokens: int) -> list[int]:
    """A valid postfix program that pushes `pushes` leaves, padded with no-ops to `tokens`."""
    program: list[int] = []
    height = 0
    while pushes or height > 1:
        may_push = pushes > 0 and height < STACK_DEPTH
        if height < 2 or (may_push and rng.random() < 0.6):
            program.append(int(rng.integers(leaves)))
            height, pushes = height + 1, pushes - 1
        else:
            program.append(AND if rng.random() < 0.5 else OR)
            height -= 1
    return program + [NO_OP] * (tokens - len(program))


TESTS = {
    "one_of_each": Spec(clusters=1, rows=1, words=1, queries=1, probes=1, leaves=1, tokens=1),
    "small": Spec(clusters=5, rows=9, words=2, queries=4, probes=3),
    "ragged_tile": Spec(clusters=9, rows=12, words=7, queries=3, probes=37, terms=4),
    "whole_corpus": Spec(clusters=11, rows=6, words=1, queries=3, probes=None, terms=1),
    "two_tiles": Spec(clusters=70, rows=40, words=34, queries=3, probes=None),
    "two_registers": Spec(clusters=3, rows=5, words=20, queries=2, probes=4),
    "wide_cluster": Spec(clusters=3, rows=5, words=130, queries=2, probes=4),
    "deep_program": Spec(4, 20, 3, queries=16, probes=5, leaves=24, terms=3, tokens=64),
}

BENCHMARKS = {
    "batch_1": Spec(1024, 300, 32, queries=1, probes=32, leaves=32, terms=4, tokens=64),
    "batch_64": Spec(1024, 300, 32, queries=64, probes=32, leaves=32, terms=4, tokens=64),
    "whole_million": Spec(1024, 300, 32, queries=32, probes=None, leaves=32, terms=4, tokens=64),
    "ten_million": Spec(4096, 200, 77, queries=16, probes=None, leaves=4, terms=3, tokens=16),
}
