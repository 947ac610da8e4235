"""Shapes and contents of `filtered_search` calls: small ones for tests, large for benchmarks."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pallas_kernels.bloom_probe import arg_specs as bloom
from pallas_kernels.bloom_probe.plan import COMPLEMENT, ONES, ROWS, Plan
from pallas_kernels.filtered_search.exact import Exact

Args = tuple[Any, ...]  # of `api.filtered_search`, as far as `spread`

_MOST_TERMS = 4  # there is room for, per slot; half of them are used


@dataclasses.dataclass(frozen=True)
class Spec:
    """Sizes of one call, named as in `api.filtered_search`."""

    clusters: int  # C
    slots: int  # S
    dim: int  # D
    queries: int  # B
    probes: int
    k: int
    max_probes: int | None = None
    recall: float = 0.95
    rows: int = 12  # R: live slots, then the terms that have a row of their own, then the others
    columns: int = 4  # terms with a row of their own
    terms: int = 30  # distinct terms
    hashes: int = 2  # K
    leaves: int = 4  # L
    excluded: int | None = None  # X

    @property
    def words(self) -> int:
        """W, words of eligibility bits per cluster."""
        return -(-self.slots // 32)

    @property
    def most(self) -> int:
        return self.clusters if self.max_probes is None else self.max_probes

    def make(
        self,
        seed: int = 0,
        *,
        live: float = 0.9,
        levels: int = 256,
        filters: bool = True,
        exact: bool = True,
        spread: bool = True,
    ) -> Args:
        """Random slots with terms, bit rows that follow from them, filters over the terms.

        Args:
            live: Share of slots that hold something.
            levels: Distinct values of a code, at most 256; few of them make ties.
            filters: Whether there is a plan.
            exact: Whether the exact check is passed along; without it the rows alone decide.
            spread: Whether filtered queries go on for the sake of recall.
        """
        rng = np.random.default_rng(seed)
        c, s, d, b = self.clusters, self.slots, self.dim, self.queries
        low = -(levels // 2)
        has = rng.random((c * s, self.terms)) < _MOST_TERMS / 2 / self.terms
        rows = 1 + np.arange(self.terms)[:, None].repeat(self.hashes, 1)
        tail = rng.integers(1 + self.columns, self.rows, (self.terms, self.hashes))
        rows = np.where(np.arange(self.terms)[:, None] < self.columns, rows, tail).astype(np.int32)
        words = self._words(rng.random(c * s) < live, has, rows)
        affinity = rng.integers(-5, 6, (b, c)).astype(np.float32)  # ties
        affinity[rng.random((b, c)) < 0.1] = -np.inf
        excluded = None
        if self.excluded is not None:
            excluded = jnp.asarray(rng.integers(-1, c * s, (b, self.excluded), np.int32))
        plan, check = self._filters(rng, has, rows) if filters else (None, None)
        return (
            jnp.asarray(rng.integers(low, low + levels, (c, s, d), np.int8)),
            jnp.asarray(rng.random((c, s)).astype(np.float32)),
            jnp.asarray(words),
            jnp.asarray(rng.integers(low, low + levels, (b, d), np.int8)),
            jnp.asarray(rng.random(b).astype(np.float32)),
            jnp.asarray(affinity),
            plan,
            check if exact else None,
            excluded,
            self._spread(rng, np.asarray(affinity)) if spread else None,
        )

    def _spread(self, rng: np.random.Generator, affinity: np.ndarray) -> jax.Array:
        """About as wide as scores lie from affinities, here and there hardly at all."""
        width = rng.random(affinity.shape) * self.dim * 4.0 ** rng.integers(0, 7)
        return jnp.asarray(np.maximum(width, 1e-30).astype(np.float32))

    def _words(self, live: np.ndarray, has: np.ndarray, rows: np.ndarray) -> np.ndarray:
        bits = np.zeros((len(live), self.rows), bool)
        for term, own in enumerate(rows):
            bits[np.ix_(has[:, term], own)] = True
        bits[:, 0] = live
        room = self.words * 32 - self.slots
        slots = bits.reshape(self.clusters, self.slots, self.rows)
        # Bits past the last slot are set: nobody may count them.
        slots = np.pad(slots, ((0, 0), (0, room), (0, 0)), constant_values=True)
        packed = slots.transpose(2, 0, 1).reshape(self.rows, self.clusters, self.words, 32)
        return (packed.astype(np.uint32) << np.arange(32, dtype=np.uint32)).sum(-1, np.uint32)

    def _filters(
        self, rng: np.random.Generator, has: np.ndarray, rows: np.ndarray
    ) -> tuple[Plan, Exact]:
        b, leaves, tokens = self.queries, self.leaves, 2 * self.leaves
        term = rng.integers(0, self.terms, (b, leaves), np.int32)
        negated = rng.random((b, leaves)) < 0.4
        own = term < self.columns
        # A term without a row of its own may be there wherever its bits are: never negate those.
        modes = np.where(negated, np.where(own, COMPLEMENT, ONES), ROWS).astype(np.int32)
        counts = rng.integers(0, leaves + 1, b)
        program = np.array(
            [bloom.random_program(rng, int(n), leaves, tokens) for n in counts], np.int32
        ).reshape(b, tokens)
        lengths = has.sum(1)
        spans = np.stack([np.cumsum(lengths) - lengths, lengths], 1).astype(np.int32)
        terms = np.nonzero(has)[1].astype(np.int32)
        terms = np.pad(terms, (0, max(0, _MOST_TERMS * len(has) - len(terms))))
        exact = Exact(
            spans=jnp.asarray(spans.reshape(self.clusters, self.slots, 2)),
            terms=jnp.asarray(terms),
            leaf_terms=jnp.asarray(term),
            negated=jnp.asarray(negated),
            decided=jnp.asarray(own.all(1)),
        )
        plan = Plan(jnp.asarray(rows[term]), jnp.asarray(modes), jnp.asarray(program))
        return plan, exact

    def abstract(self) -> Args:
        """Shapes and dtypes, nothing allocated: what lowering needs."""
        shape = jax.ShapeDtypeStruct
        c, s, b, leaves = self.clusters, self.slots, self.queries, self.leaves
        rows: Any = shape((b, leaves, self.hashes), jnp.int32)
        modes: Any = shape((b, leaves), jnp.int32)
        program: Any = shape((b, 2 * leaves), jnp.int32)
        exact: dict[str, Any] = {
            "spans": shape((c, s, 2), jnp.int32),
            "terms": shape((_MOST_TERMS * c * s,), jnp.int32),
            "leaf_terms": modes,
            "negated": shape((b, leaves), jnp.bool_),
            "decided": shape((b,), jnp.bool_),
        }
        return (
            shape((c, s, self.dim), jnp.int8),
            shape((c, s), jnp.float32),
            shape((self.rows, c, self.words), jnp.uint32),
            shape((b, self.dim), jnp.int8),
            shape((b,), jnp.float32),
            shape((b, c), jnp.float32),
            Plan(rows, modes, program),
            Exact(**exact),
            None if self.excluded is None else shape((b, self.excluded), jnp.int32),
            shape((b, c), jnp.float32),
        )


TESTS = {
    "one_of_each": Spec(clusters=1, slots=1, dim=1, queries=1, probes=1, k=1),
    "small": Spec(clusters=5, slots=40, dim=16, queries=4, probes=2, k=10, excluded=6),
    "few_pass": Spec(clusters=9, slots=33, dim=20, queries=6, probes=1, k=30, leaves=8),
    "bounded": Spec(clusters=9, slots=64, dim=64, queries=3, probes=2, k=40, max_probes=5),
    "wide": Spec(clusters=3, slots=24, dim=1024, queries=2, probes=2, k=20),
}

BENCHMARKS = {
    "batch_1": Spec(1024, 992, 64, queries=1, probes=32, k=100, rows=128, leaves=32),
    "batch_64": Spec(1024, 992, 64, queries=64, probes=32, k=100, rows=128, leaves=32),
}
