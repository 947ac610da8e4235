"""`int8_search` for Hopper GPUs: the first pass (see `groups`) with TMA and `wgmma`, by Mosaic GPU.

One warpgroup per run of queries and segment of 1,024 slots. The copy engine brings tiles of 128
codes into shared memory, several ahead; a tile is multiplied, K-major as it lies, by up to 64
queries of the run at once (s8 x s8 -> s32). Unlike the Triton kernel it reads the codes of all
slots, admitted or not: the choice where filters admit much. The second pass is that of
`pallas_triton`.

Roofline: the first pass reads D + 4 bytes per slot; 64 queries are the rows of one `wgmma`, whether
the run has that many or not, and their scores cost a warpgroup about 500 instructions a thread and
tile. Lowered for CUDA; not yet measured on a GPU.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from pallas_kernels import pallas_triton as triton
from pallas_kernels.int8_search.groups import GROUP, Layout, Runs, runs
from pallas_kernels.int8_search.pallas_triton import second_pass

_ROWS = 64  # queries of a product: the rows of `wgmma`
_COLUMNS = 32  # slots of a product: those of one eligibility word
_SHARED = 128 * 1024  # bytes of shared memory for tiles that are under way
_INTERPRETER = (0, 12)  # the first JAX whose interpreter runs this
_SLOTS, _QUERIES = plgpu.Layout.WGMMA.reduce(0), plgpu.Layout.WGMMA.reduce(1)


def why_not(platform: str) -> str | None:
    """What stops Mosaic GPU on a platform."""
    if platform not in ("gpu", "cuda"):
        return "Mosaic GPU compiles for NVIDIA GPUs only"
    if jax.default_backend() not in ("gpu", "cuda"):
        return None  # asked about a machine other than this one
    device = jax.devices()[0]
    capability = str(getattr(device, "compute_capability", "unknown"))
    if capability != "9.0":
        return (
            f"its wgmma needs compute capability 9.0 (Hopper), {device.device_kind} has "
            f"{capability}"
        )
    return None


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
    if interpret and jax.__version_info__ < _INTERPRETER:
        raise NotImplementedError(
            f"the interpreter of JAX {jax.__version__} has no transposed references in shared "
            "memory, limit: JAX 0.12 or later"
        )
    triton.reject_large("codes", codes.shape, codes.size)
    layout = Layout.of(codes.shape[1])
    _reject_shapes(codes.shape, layout)
    if clusters.shape[0] == 0:
        return jnp.zeros((0, k), jnp.float32), jnp.zeros((0, k), jnp.int32)
    batch, probes = clusters.shape
    work = runs(clusters, codes.shape[0], alone=batch == 1)
    maxima = _first_pass(
        codes, scales, queries, query_scales, eligible, work, layout=layout, interpret=interpret
    )
    first = jnp.arange(layout.groups, dtype=jnp.int32) * layout.group
    shape = (batch, probes, layout.groups)
    return second_pass(
        *(codes, scales, queries, query_scales, eligible, clusters),
        maxima.reshape(batch, -1),
        jnp.broadcast_to(first, shape).reshape(batch, -1),
        k=k,
        layout=layout,
        interpret=interpret,
    )


def _reject_shapes(shape: tuple[int, ...], layout: Layout) -> None:
    _, capacity, dim = shape
    if dim % 32 or dim > 512:
        raise NotImplementedError(
            f"codes have {dim} dimensions, limit: a multiple of 32 up to 512 (steps of wgmma, and "
            "two tiles in shared memory)"
        )
    if capacity % 8 or layout.group < GROUP:
        raise NotImplementedError(
            f"clusters have {capacity} slots, limit: a multiple of 8 (rows of a tile in shared "
            "memory) above 96 (one tile)"
        )


def _first_pass(
    codes: jax.Array,
    scales: jax.Array,
    queries: jax.Array,
    query_scales: jax.Array,
    eligible: jax.Array,
    work: Runs,
    *,
    layout: Layout,
    interpret: bool,
) -> jax.Array:
    """Best score of each group, float32 [P, groups], in the order of the probes."""
    gpu: Any = plgpu  # its interpreter has no name in JAX 0.10
    (count, capacity, dim), (batch, probes, width) = codes.shape, eligible.shape
    total, per_segment = work.clusters.size, layout.slots // layout.group
    # What a block of 64 reads past the end of its run is computed and dropped.
    room = -total % _ROWS + _ROWS
    query = jnp.pad(work.probes // probes, (0, room))
    words = eligible.reshape(total, width)[work.probes]
    words = jnp.pad(words, ((0, room), (0, layout.segments * layout.words - width)))
    known = jnp.minimum(work.heads, total - 1)
    cluster = jnp.where(work.heads < total, work.clusters[known], count)
    lengths, head = _lengths(work, cluster, count, alone=batch == 1)
    swizzle = plgpu.find_swizzle(8 * dim)
    transforms = (plgpu.TilingTransform((8, swizzle)), plgpu.SwizzleTransform(swizzle))
    stages = min(per_segment, max(2, min(4, _SHARED // (GROUP * dim))))
    # A block of 64 is written where no other is: runs ascend, and so do their blocks.
    blocks = total // _ROWS + work.heads.size + 1
    maxima = plgpu.kernel(
        functools.partial(_scan, stages=stages, tiles=per_segment),
        out_type=jax.ShapeDtypeStruct((blocks, layout.segments, per_segment, _ROWS), jnp.float32),
        scratch_types={
            "codes": plgpu.SMEM((stages, GROUP, dim), jnp.int8, transforms=transforms),
            "scales": plgpu.SMEM((stages, GROUP), jnp.float32),
            "queries": plgpu.SMEM((_ROWS, dim), jnp.int8, transforms=transforms),
            "words": plgpu.SMEM((layout.words, _ROWS), jnp.uint32),
            "best": plgpu.SMEM((per_segment, _ROWS), jnp.float32),
            "tile_came": plgpu.Barrier(num_arrivals=2, num_barriers=stages),
            "queries_came": plgpu.Barrier(num_arrivals=2),
        },
        grid=(work.heads.size, layout.segments),
        grid_names=("run", "segment"),
        compiler_params=plgpu.CompilerParams(
            lowering_semantics=plgpu.LoweringSemantics.Lane, approx_math=False
        ),
        interpret=gpu.InterpretGPUParams() if interpret else False,
    )(
        *(codes, scales),
        queries[query],
        query_scales[query],
        words.T.reshape(layout.segments, layout.words, -1),
        *(jnp.minimum(cluster, count - 1), work.heads, lengths),
    )
    # From blocks to probes.
    at = jnp.arange(total, dtype=jnp.int32)
    run = at if work.heads.size == total else jnp.minimum(work.clusters, count - 1)
    if batch > 1 and work.heads.size == total:
        run = head
    block = (head + (at - head) // _ROWS * _ROWS) // _ROWS + run
    found = maxima[block, :, :, (at - head) % _ROWS].reshape(total, layout.groups)
    holds = jnp.arange(layout.groups) * layout.group < capacity
    found = jnp.where((work.clusters < count)[:, None] & holds[None], found, -jnp.inf)
    return jnp.zeros_like(found).at[work.probes].set(found, unique_indices=True)


def _lengths(
    work: Runs, cluster: jax.Array, count: int, *, alone: bool
) -> tuple[jax.Array, jax.Array]:
    """Probes of each run, 0 where it names no cluster, and where the run of each probe begins."""
    at = jnp.arange(work.clusters.size, dtype=jnp.int32)
    if alone:
        return (cluster < count).astype(jnp.int32), at
    number = jnp.zeros(count + 1, jnp.int32).at[work.clusters].add(1)
    begin = jnp.full(count + 1, at.size, jnp.int32).at[work.clusters].min(at)
    return jnp.where(cluster < count, number[cluster], 0), begin[work.clusters]


def _scan(
    codes_ref: Any,  # int8 [C, S, D]
    scales_ref: Any,  # float32 [C, S]
    queries_ref: Any,  # int8 [P + room, D], in the order of the sorted probes
    query_scales_ref: Any,  # float32 [P + room]
    words_ref: Any,  # uint32 [segments, words of one, P + room]
    clusters_ref: Any,  # int32 [G], of the runs
    heads_ref: Any,  # int32 [G]
    lengths_ref: Any,  # int32 [G]
    maxima_ref: Any,  # float32 [blocks, segments, tiles, 64]
    *,
    codes: Any,  # int8 [stages, 128, D], in shared memory, as all that follow
    scales: Any,  # float32 [stages, 128]
    queries: Any,  # int8 [64, D]
    words: Any,  # uint32 [words of a segment, 64]
    best: Any,  # float32 [tiles, 64]
    tile_came: Any,
    queries_came: Any,
    stages: int,
    tiles: int,
) -> None:
    run, segment = jax.lax.axis_index("run"), jax.lax.axis_index("segment")
    cluster, head, length = clusters_ref[run], heads_ref[run], lengths_ref[run]
    # The last segment of a cluster may be short; what is left of `best` is not read.
    beyond = codes_ref.shape[1] - segment * tiles * GROUP
    last = jnp.minimum(tiles, (beyond + GROUP - 1) // GROUP)

    def fetch(tile: Any) -> None:
        slots = pl.ds((segment * tiles + tile) * GROUP, GROUP)
        stage = jax.lax.rem(jnp.int32(tile), jnp.int32(stages))
        came = tile_came.at[stage]
        plgpu.copy_gmem_to_smem(codes_ref.at[cluster, slots], codes.at[stage], came)
        plgpu.copy_gmem_to_smem(scales_ref.at[cluster, slots], scales.at[stage], came)

    def block(number: jax.Array, _: None) -> None:
        at = head + number * _ROWS
        rows = pl.ds(at, _ROWS)
        plgpu.copy_gmem_to_smem(queries_ref.at[rows], queries, queries_came)
        plgpu.copy_gmem_to_smem(words_ref.at[segment, :, rows], words, queries_came)
        for tile in range(stages):
            pl.when(tile < last)(functools.partial(fetch, tile))
        query_scale = _load(query_scales_ref.at[rows], _QUERIES)
        plgpu.barrier_wait(queries_came)

        def score(tile: jax.Array, _: None) -> None:
            stage = jax.lax.rem(tile, jnp.int32(stages))
            plgpu.barrier_wait(tile_came.at[stage])
            top = plgpu.layout_cast(jnp.full((_ROWS,), -jnp.inf, jnp.float32), _QUERIES)
            for part in range(GROUP // _COLUMNS):
                slots = pl.ds(part * _COLUMNS, _COLUMNS)
                top = jnp.maximum(
                    top,
                    _part(
                        queries,
                        codes.at[stage, slots],
                        scales.at[stage, slots],
                        words.at[tile * (GROUP // _COLUMNS) + part],
                        query_scale,
                    ),
                )
            best[tile] = jnp.where(top == 0, 0.0, top)  # -0.0 and 0.0 tie

            @pl.when(tile + stages < last)
            def refill() -> None:
                plgpu.commit_smem()  # waits for warps that still read the tile
                fetch(tile + stages)

        jax.lax.fori_loop(0, last, score, None)
        plgpu.commit_smem()
        plgpu.copy_smem_to_gmem(best, maxima_ref.at[at // _ROWS + run, segment])
        plgpu.wait_smem_to_gmem(0)

    jax.lax.fori_loop(0, (length + _ROWS - 1) // _ROWS, block, None)


def _part(queries: Any, codes: Any, scales: Any, word: Any, query_scale: jax.Array) -> jax.Array:
    """Best score of each query, float32 [64], among 32 slots."""
    shape = (_ROWS, _COLUMNS)

    def product(sums: Any) -> jax.Array:
        plgpu.wgmma(sums, queries, codes.transpose((1, 0)))
        return sums[...]

    dot = pl.run_scoped(product, plgpu.ACC(shape, jnp.int32))
    scale = _load(scales, _SLOTS)
    value = dot.astype(jnp.float32) * jax.lax.broadcast_in_dim(scale, shape, (1,))
    value = value * jax.lax.broadcast_in_dim(query_scale, shape, (0,))
    bits = _load(word, _QUERIES)
    slot = plgpu.broadcasted_iota(jnp.uint32, shape, 1, layout=plgpu.Layout.WGMMA)
    keep = (jax.lax.broadcast_in_dim(bits, shape, (0,)) >> slot) & jnp.uint32(1)
    return jnp.max(jnp.where(keep == 1, value, -jnp.inf), axis=1)


def _load(ref: Any, layout: Any) -> jax.Array:
    """A vector as the rows or columns of a product are spread over threads."""
    index = ((),) if jax.__version_info__ < (0, 11) else ()  # later it is part of the ref
    return plgpu.load(ref, *index, layout=layout, optimized=False)
