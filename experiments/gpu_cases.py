"""What `gpu_bench` measures: calls of the kernels, their arguments drawn on the device."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pallas_kernels import dispatch
from pallas_kernels.bloom_probe import arg_specs as bloom_specs
from pallas_kernels.bloom_probe.api import AND, NO_OP, OR, ROWS, Plan
from pallas_kernels.bloom_probe.api import OP as BLOOM_PROBE
from pallas_kernels.int8_search import arg_specs as int8_specs
from pallas_kernels.int8_search.api import OP as INT8_SEARCH


@dataclasses.dataclass(frozen=True)
class Case:
    """One call, to be made by every backend.

    Attributes:
        bytes: That must be moved at least once.
        share: Least share of the copy bandwidth, if that is a bar.
        speedup: Least ratio to the reference, if that is a bar.
    """

    name: str
    op: dispatch.Op
    args: tuple[Any, ...]
    options: dict[str, Any]
    bytes: int
    share: float | None = None
    speedup: float | None = None


def search_args(spec: int8_specs.Spec, share: float) -> tuple[jax.Array, ...]:
    """Arguments of `int8_search` drawn on the device: every query probes every cluster."""
    c, s, d, b, n = spec.clusters, spec.slots, spec.dim, spec.queries, spec.probes

    @jax.jit
    def make(key: jax.Array) -> tuple[jax.Array, ...]:
        keys = jax.random.split(key, 5)
        draw: Callable[..., jax.Array] = jax.random.bits
        codes = jax.lax.bitcast_convert_type(draw(keys[0], (c, s, d), jnp.uint8), jnp.int8)
        queries = jax.lax.bitcast_convert_type(draw(keys[2], (b, d), jnp.uint8), jnp.int8)
        bits = jax.random.bernoulli(keys[4], share, (b, n, spec.words, 32))
        powers = jnp.uint32(1) << jnp.arange(32, dtype=jnp.uint32)
        return (
            codes,
            jax.random.uniform(keys[1], (c, s), jnp.float32, 0.5, 1.0),
            queries,
            jax.random.uniform(keys[3], (b,), jnp.float32, 0.5, 1.0),
            jnp.broadcast_to(jnp.arange(n, dtype=jnp.int32), (b, n)),
            jnp.sum(jnp.where(bits, powers, jnp.uint32(0)), axis=-1, dtype=jnp.uint32),
        )

    return make(jax.random.key(0))


def search_name(spec: int8_specs.Spec, admitted: float) -> str:
    items = spec.clusters * spec.slots / 1e6
    return f"int8_search {items:.3g} M x {spec.dim}, batch {spec.queries}, {admitted:.0%} admitted"


def search_case(spec: int8_specs.Spec, admitted: float) -> Case:
    """All slots, or a share of them; the bytes are those of the slots that must be read."""
    slots = spec.clusters * spec.slots
    batch = spec.queries
    read = 1 - (1 - admitted) ** batch  # some query wants the slot
    filters = batch * spec.probes * spec.words * 4
    return Case(
        search_name(spec, admitted),
        INT8_SEARCH,
        search_args(spec, admitted),
        {"k": spec.k},
        bytes=int(read * slots * (spec.dim + 4)) + filters,
        share=0.7 if batch <= 16 and admitted == 1 else None,
        speedup=5.0 if batch > 16 else None,
    )


def bloom_name(spec: bloom_specs.Spec) -> str:
    items, rows = 32 * spec.clusters * spec.words / 1e6, spec.leaves * spec.terms
    return f"bloom_probe {items:.3g} M, batch {spec.queries}, {rows} rows each"


def bloom_case(spec: bloom_specs.Spec) -> Case:
    """(a AND b) OR (c AND d) over the whole corpus, no two queries reading the same row."""
    c, r, w, b = spec.clusters, spec.rows, spec.words, spec.queries
    leaves, terms = spec.leaves, spec.terms
    key = jax.random.key(0)
    words = jax.jit(lambda: jax.random.bits(key, (r, c, w), jnp.uint32))()
    rows = 1 + np.arange(b * leaves * terms, dtype=np.int32).reshape(b, leaves, terms)
    program = [0, 1, AND, 2, 3, AND, OR, *[NO_OP] * spec.tokens][: spec.tokens]
    plan = Plan(
        jnp.asarray(rows),
        jnp.full((b, leaves), ROWS, jnp.int32),
        jnp.asarray(np.tile(np.array(program, np.int32), (b, 1))),
    )
    row = c * w * 4
    read = 1 + b * leaves * terms  # the row of live slots, once
    return Case(
        bloom_name(spec),
        BLOOM_PROBE,
        (words, plan, None),
        {},
        bytes=(read + b) * row,
        share=0.7,
    )


def cases(*, quick: bool) -> Iterator[tuple[str, Callable[[], Case]]]:
    """Names and makers, in order of importance: what does not fit in the time is at the end."""

    def searching(batch: int, share: float) -> tuple[str, Callable[[], Case]]:
        spec = dataclasses.replace(search, queries=batch)
        return search_name(spec, share), functools.partial(search_case, spec, share)

    search = int8_specs.BENCHMARKS["ten_million"]
    bloom = bloom_specs.BENCHMARKS["ten_million"]
    batches: tuple[int, ...] = (1, 16, 64)
    if quick:
        search = dataclasses.replace(search, clusters=4, slots=96, dim=32, probes=4, k=10)
        bloom = dataclasses.replace(bloom, clusters=4, words=5, queries=2, rows=33)
        batches = (1,)
    for batch in batches:
        yield searching(batch, 1.0)
        if batch == 1:
            yield searching(batch, 0.1)
            yield bloom_name(bloom), functools.partial(bloom_case, bloom)
    if not quick:  # a filter of its own for each query: most slots are wanted by some
        yield searching(batches[1], 0.1)
