"""`int8_search` as Triton kernels: two passes over groups of slots (see `groups`).

First pass: one program per run of queries and segment of 1,024 slots. It lists the slots that any
of its queries admits, by rank in the bits of the mask, and so reads the codes of those alone, 128
at a time, once for all queries of the run. Second pass: one program per query and chosen group.

Roofline: the first pass reads D + 4 bytes per admitted slot and 4 bytes per 32 slots and query;
16 queries at a time cost one tensor-core product of [128, D] x [D, 16], so that memory is the limit
to a batch of about 64. What surrounds it (the sort of the probes, two selections, the second pass)
does not depend on the size of the index. Checked in the interpreter and compiled for Hopper; not
yet measured on a GPU.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as pltriton

from pallas_kernels import pallas_triton
from pallas_kernels.int8_search import selection
from pallas_kernels.int8_search.groups import Layout, Runs, runs

why_not = pallas_triton.why_not

_FEWEST, _MOST = 16, 32  # queries of one product: what a Triton dot takes, what registers hold
_HELD = 256  # dimensions up to which queries stay in shared memory for all tiles of a segment


@functools.partial(jax.jit, static_argnames=("k", "interpret"))
def int8_search(
    codes: jax.Array,
    scales: jax.Array,
    queries: jax.Array,
    query_scales: jax.Array,
    clusters: jax.Array,
    eligible: jax.Array,
    *,
    k: int,
    interpret: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """See `api.int8_search`; `interpret` runs it on any device, slowly."""
    pallas_triton.reject_large("codes", codes.shape, codes.size)
    pallas_triton.reject_large("eligible", eligible.shape, eligible.size)
    if clusters.shape[0] == 0:
        return jnp.zeros((0, k), jnp.float32), jnp.zeros((0, k), jnp.int32)
    arrays = codes, scales, queries, query_scales, eligible
    layout = Layout.of(codes.shape[1])
    maxima, first = first_pass(*arrays, clusters, k=k, layout=layout, interpret=interpret)
    return second_pass(*arrays, clusters, maxima, first, k=k, layout=layout, interpret=interpret)


def first_pass(
    codes: jax.Array,
    scales: jax.Array,
    queries: jax.Array,
    query_scales: jax.Array,
    eligible: jax.Array,
    clusters: jax.Array,
    *,
    k: int,
    layout: Layout,
    interpret: bool,
) -> tuple[jax.Array, jax.Array]:
    """Best score of each group, float32 [B, N * groups], and its first slot, int32 alike."""
    (batch, probes), count = clusters.shape, codes.shape[0]
    shape = (batch * probes, layout.groups)
    per_segment = layout.slots // layout.group
    group = jnp.arange(layout.groups, dtype=jnp.int32)
    if probes * layout.groups <= k:  # all groups will be scored one by one
        first = jnp.broadcast_to(group * layout.group, shape)
        return jnp.zeros((batch, probes * layout.groups)), first.reshape(batch, -1)
    # A group that is not reached begins where its segment ends.
    ends = jnp.broadcast_to((group // per_segment + 1) * layout.slots, shape)
    work: Runs = runs(clusters, count, alone=batch == 1)
    maxima, first = pallas_triton.call(
        functools.partial(
            _scan,
            probes=probes,
            layout=layout,
            columns=pallas_triton.tile(batch * probes // count, least=_FEWEST, most=_MOST),
            alone=batch == 1,
        ),
        grid=(work.heads.size, layout.segments),
        out_shape=(
            jax.ShapeDtypeStruct(shape, jnp.float32),
            jax.ShapeDtypeStruct(shape, jnp.int32),
        ),
        input_output_aliases={8: 0, 9: 1},
        num_warps=4,
        num_stages=3 if batch == 1 else 2,  # more would spill registers
        interpret=interpret,
    )(
        *(codes, scales, queries, query_scales),
        eligible.reshape(batch * probes, -1),
        *(work.clusters, work.probes, work.heads),
        *(jnp.full(shape, -jnp.inf), ends),
    )
    return maxima.reshape(batch, -1), first.reshape(batch, -1)


def second_pass(
    codes: jax.Array,
    scales: jax.Array,
    queries: jax.Array,
    query_scales: jax.Array,
    eligible: jax.Array,
    clusters: jax.Array,
    maxima: jax.Array,
    first: jax.Array,
    *,
    k: int,
    layout: Layout,
    interpret: bool,
) -> tuple[jax.Array, jax.Array]:
    """The best `k` slots, by the groups of the best maxima."""
    batch = clusters.shape[0]
    chosen = selection.best_places(maxima, k=k, interpret=interpret)
    shape = (*chosen.shape, layout.group)
    scores, slots = pallas_triton.call(
        functools.partial(_rescore, layout=layout),
        grid=chosen.shape,
        out_shape=(
            jax.ShapeDtypeStruct(shape, jnp.float32),
            jax.ShapeDtypeStruct(shape, jnp.int32),
        ),
        num_warps=4,
        interpret=interpret,
    )(codes, scales, queries, query_scales, eligible, clusters, maxima, first, chosen)
    best, place = selection.top_k(scores.reshape(batch, -1), k=k, interpret=interpret)
    slot = jnp.take_along_axis(slots.reshape(batch, -1), place, axis=1)
    return best, jnp.where(best == -jnp.inf, -1, slot)


def _scan(
    codes_ref: Any,  # int8 [C, S, D]
    scales_ref: Any,  # float32 [C, S]
    queries_ref: Any,  # int8 [B, D]
    query_scales_ref: Any,  # float32 [B]
    eligible_ref: Any,  # uint32 [P, W]
    clusters_ref: Any,  # int32 [P], of the sorted probes
    probes_ref: Any,  # int32 [P]
    heads_ref: Any,  # int32 [G]
    _maxima_before: Any,  # the memory of the next two
    _first_before: Any,
    maxima_ref: Any,  # float32 [P, groups], -inf
    first_ref: Any,  # int32 [P, groups], where each segment ends
    *,
    probes: int,
    layout: Layout,
    columns: int,
    alone: bool,  # each run is one query
) -> None:
    head, segment = heads_ref[pl.program_id(0)], pl.program_id(1)
    total, (count, capacity) = clusters_ref.shape[0], codes_ref.shape[:2]
    cluster = clusters_ref[jnp.minimum(head, total - 1)]
    word = segment * layout.words + jnp.arange(layout.words, dtype=jnp.int32)
    inside = _inside(word, capacity)
    per_segment = layout.slots // layout.group

    def members(at: jax.Array) -> tuple[jax.Array, jax.Array]:  # bool, int32 [columns]
        column = jnp.arange(columns, dtype=jnp.int32)
        if alone:
            return column == 0, jnp.broadcast_to(probes_ref[at], (columns,))
        known = at + column < total
        own = pltriton.load(clusters_ref.at[at + column], mask=known, other=-1) == cluster
        return own, pltriton.load(probes_ref.at[at + column], mask=own, other=0)

    def over_run(body: Any, start: Any) -> Any:  # `columns` members at a time
        if alone:
            return body(head, start)

        def step(state: Any) -> Any:
            at, _, value = state
            value, at = body(at, value), at + columns
            more = (at < total) & (clusters_ref[jnp.minimum(at, total - 1)] == cluster)
            return at, more.astype(jnp.int32), value

        return jax.lax.while_loop(lambda state: state[1] > 0, step, (head, jnp.int32(1), start))[2]

    def admit(at: jax.Array, union: jax.Array) -> jax.Array:
        if alone:
            place = eligible_ref.at[probes_ref[at], word]
            return pltriton.load(place, mask=inside != 0, other=jnp.uint32(0)) & inside
        own, pair = members(at)
        mask = own[:, None] & (inside != 0)[None]
        place = eligible_ref.at[pair[:, None], word[None]]
        words = pltriton.load(place, mask=mask, other=jnp.uint32(0)) & inside[None]
        return union | _or(words)

    @pl.when((head < total) & (cluster < count))
    def _() -> None:
        union = over_run(admit, jnp.zeros(layout.words, jnp.uint32))
        admitted = jnp.sum(_count(union))
        dense = _prefix(union, admitted)

        tiles = (admitted + layout.group - 1) // layout.group

        def score(at: jax.Array, state: jax.Array) -> jax.Array:
            own, pair = members(at)
            query = _Queries(queries_ref, pair // probes, alone)
            query_scale = pltriton.load(query_scales_ref.at[pair // probes])

            def tile(group: jax.Array, _: None) -> None:
                rank = group * layout.group + jnp.arange(layout.group, dtype=jnp.int32)
                alive = rank < admitted
                place = jax.lax.cond(dense, lambda: rank, lambda: _nth(union, rank))
                slot = segment * layout.slots + jnp.where(alive, place, 0)
                scale = pltriton.load(scales_ref.at[cluster, slot], mask=alive, other=0.0)
                dot = query.dot(codes_ref, cluster, slot, alive)
                value = (dot.astype(jnp.float32) * scale[:, None]) * query_scale[None]
                keep = jnp.broadcast_to(alive[:, None], value.shape)
                if not alone:
                    # Slots last: neighbouring threads read the same word.
                    place = eligible_ref.at[pair[:, None], slot[None] // 32]
                    mask = own[:, None] & alive[None]
                    words = pltriton.load(place, mask=mask, other=jnp.uint32(0))
                    bits = words >> (slot % 32).astype(jnp.uint32)[None]
                    keep = (bits & jnp.uint32(1)).astype(jnp.int32).T == 1
                best = jnp.max(jnp.where(keep, value, -jnp.inf), axis=0)
                best = jnp.where(best == 0, 0.0, best)  # -0.0 and 0.0 tie
                begin = jnp.min(jnp.where(alive, slot, capacity))
                # The interpreter writes what is masked back where it was: not over another's.
                to = jnp.where(own, pair, total), segment * per_segment + group
                pltriton.store(maxima_ref.at[to], best, mask=own)
                begins = jnp.broadcast_to(begin, best.shape)
                pltriton.store(first_ref.at[to], begins, mask=own)

            jax.lax.fori_loop(0, tiles, tile, None)
            return state

        over_run(score, head)


def _rescore(
    codes_ref: Any,  # int8 [C, S, D]
    scales_ref: Any,  # float32 [C, S]
    queries_ref: Any,  # int8 [B, D]
    query_scales_ref: Any,  # float32 [B]
    eligible_ref: Any,  # uint32 [B, N, W]
    clusters_ref: Any,  # int32 [B, N]
    maxima_ref: Any,  # float32 [B, N * groups]
    first_ref: Any,  # int32 [B, N * groups]
    chosen_ref: Any,  # int32 [B, chosen]
    scores_ref: Any,  # float32 [B, chosen, slots of a group]
    slots_ref: Any,  # int32 [B, chosen, slots of a group]
    *,
    layout: Layout,
) -> None:
    query, at = pl.program_id(0), pl.program_id(1)
    count, capacity, _ = codes_ref.shape
    group = chosen_ref[query, at]
    probe, within = group // layout.groups, group % layout.groups
    per_segment = layout.slots // layout.group
    segment = within // per_segment
    cluster = clusters_ref[query, probe]
    known = (cluster >= 0) & (cluster < count) & (maxima_ref[query, group] > -jnp.inf)
    cluster = jnp.where(known, cluster, 0)
    last = within % per_segment == per_segment - 1
    following = first_ref[query, jnp.where(last, group, group + 1)]
    end = jnp.where(last, (segment + 1) * layout.slots, following)
    word = segment * layout.words + jnp.arange(layout.words, dtype=jnp.int32)
    # Its own bits, from the first slot of the group to the first of the next.
    inside = _inside(word, jnp.minimum(end, capacity)) & ~_inside(word, first_ref[query, group])
    place = eligible_ref.at[query, probe, word]
    words = pltriton.load(place, mask=(inside != 0) & known, other=jnp.uint32(0)) & inside
    rank = jnp.arange(layout.group, dtype=jnp.int32)
    alive = rank < jnp.sum(_count(words))
    slot = segment * layout.slots + jnp.where(alive, _nth(words, rank), 0)
    scale = pltriton.load(scales_ref.at[cluster, slot], mask=alive, other=0.0)
    same = _Queries(queries_ref, jnp.broadcast_to(query, (_FEWEST,)), True)
    dot = jnp.max(same.dot(codes_ref, cluster, slot, alive), axis=1)
    value = (dot.astype(jnp.float32) * scale) * query_scales_ref[query]
    value = jnp.where(alive, jnp.where(value == 0, 0.0, value), -jnp.inf)
    pltriton.store(scores_ref.at[query, at, rank], value)
    pltriton.store(slots_ref.at[query, at, rank], cluster * capacity + slot)


class _Queries:
    """Some queries, to be multiplied by tiles of codes."""

    def __init__(self, ref: Any, query: jax.Array, same: bool) -> None:
        """`query` int32 [columns]; `same`: they are all one."""
        self._ref, self._query, self._same = ref, query, same
        self._dim = ref.shape[1]
        self._width = pallas_triton.tile(self._dim, least=32, most=128)  # an int8 dot is 32 deep
        self._parts = -(-self._dim // self._width)
        held = range(self._parts if self._dim <= _HELD else 0)
        self._held = [self._read(part) for part in held]

    def dot(
        self, codes_ref: Any, cluster: jax.Array, slot: jax.Array, alive: jax.Array
    ) -> jax.Array:
        """int32 [slots, columns]: products with the codes of `slot` int32 [slots]."""

        def product(part: jax.Array | int, columns: jax.Array) -> jax.Array:
            d = self._dims(part)
            place = codes_ref.at[cluster, slot[:, None], d[None]]
            mask = alive[:, None] & (d < self._dim)[None]
            return pltriton.dot(pltriton.load(place, mask=mask, other=jnp.int8(0)), columns)

        none = jnp.zeros((slot.shape[0], self._query.shape[0]), jnp.int32)
        if self._held:
            return sum((product(part, held) for part, held in enumerate(self._held)), none)
        add = lambda part, total: total + product(part, self._read(part))  # noqa: E731
        return jax.lax.fori_loop(0, self._parts, add, none)

    def _dims(self, part: jax.Array | int) -> jax.Array:
        return part * self._width + jnp.arange(self._width, dtype=jnp.int32)

    def _read(self, part: jax.Array | int) -> jax.Array:  # int8 [width, columns]
        d = self._dims(part)
        shape = (self._width, self._query.shape[0])
        if self._same:
            place = self._ref.at[jnp.max(self._query), d]
            vector = pltriton.load(place, mask=d < self._dim, other=jnp.int8(0))
            return jnp.broadcast_to(vector[:, None], shape)
        mask = jnp.broadcast_to((d < self._dim)[:, None], shape)
        place = self._ref.at[self._query[None], d[:, None]]
        return pltriton.load(place, mask=mask, other=jnp.int8(0))


def _count(words: jax.Array) -> jax.Array:
    """Bits that are set in each word, int32."""
    return jax.lax.population_count(words.astype(jnp.int32))


def _inside(word: jax.Array, end: jax.Array | int) -> jax.Array:
    """uint32 words whose bits are the slots below `end`."""
    room = jnp.clip(end - 32 * word, 0, 32)
    some = (jnp.uint32(1) << (room % 32).astype(jnp.uint32)) - jnp.uint32(1)
    return jnp.where(room == 32, jnp.uint32(0xFFFFFFFF), some)


def _or(words: jax.Array) -> jax.Array:
    """The union of uint32 [n, words]; Triton reduces by sum, maximum and minimum only."""
    shift = jnp.arange(32, dtype=jnp.uint32)
    bits = ((words[:, :, None] >> shift[None, None]) & jnp.uint32(1)).astype(jnp.int32)
    some = jnp.max(bits, axis=0).astype(jnp.uint32)
    return jnp.sum(some << shift[None], axis=1, dtype=jnp.uint32)


def _prefix(words: jax.Array, count: jax.Array) -> jax.Array:
    """Whether the `count` bits that are set are the first ones: then a rank is a place."""
    word = jnp.arange(words.shape[0], dtype=jnp.int32)
    return jnp.max(jnp.where(words == _inside(word, count), 0, 1)) == 0


def _nth(words: jax.Array, rank: jax.Array) -> jax.Array:
    """Place of the bit of each rank (int32, from 0) in the words; anything where there is none."""
    counts = _count(words)
    ends = jnp.cumsum(counts)
    begins = ends - counts
    # One word per rank; ranks last, so that each thread adds up the words of its own.
    hit = (begins[:, None] <= rank[None]) & (rank[None] < ends[:, None])

    def of_word(values: jax.Array) -> jax.Array:
        return jnp.sum(jnp.where(hit, values[:, None], 0), axis=0)

    place = 32 * of_word(jnp.arange(words.shape[0], dtype=jnp.int32))
    bits = of_word(words.astype(jnp.int32)).astype(jnp.uint32)
    rank = rank - of_word(begins)
    for half in (16, 8, 4, 2, 1):  # is it in the lower half?
        low = _count(bits & jnp.uint32(2**half - 1))
        upper = rank >= low
        rank = jnp.where(upper, rank - low, rank)
        bits = jnp.where(upper, bits >> jnp.uint32(half), bits)
        place = place + jnp.where(upper, half, 0)
    return place
