"""`bloom_probe` in Triton itself, through jax-triton: the road once Pallas drops Triton.

The kernel of `pallas_triton`, written for Triton's own compiler; offsets are 64 bits wide, so that
it has no limit of 2**31 words. jax-triton knows neither vmap nor differentiation, and runs on GPUs
alone. Compiled for Hopper; not yet measured on a GPU.
"""

from __future__ import annotations

import importlib.util
import inspect
from typing import Any

import jax
import jax.numpy as jnp

from pallas_kernels.bloom_probe.plan import NO_OP, STACK_DEPTH, Plan

_MISSING = [name for name in ("jax_triton", "triton") if importlib.util.find_spec(name) is None]
_BROKEN = (0, 12)  # the first JAX under which every call of jax-triton 0.4.1 is a TypeError
if not _MISSING:
    # Triton looks names up in the module of a kernel.
    import triton
    import triton.language as tl

_TILE = 512  # words of one program: 4 to a thread of 4 warps


def why_not(platform: str) -> str | None:
    """What stops jax-triton on a platform."""
    if platform not in ("gpu", "cuda", "rocm"):
        return "Triton compiles for GPUs only"
    if _MISSING:
        names = " and ".join(_MISSING)
        return f"{names} cannot be imported; install the extra: pip install 'silverjax[triton]'"
    if jax.__version_info__ >= _BROKEN:
        return f"jax-triton 0.4 fails under JAX {jax.__version__}, limit: JAX below 0.12"
    return None


def bloom_probe(
    words: jax.Array,
    plan: Plan,
    clusters: jax.Array | None,
    *,
    compute_capability: int | None = None,
) -> jax.Array:
    """See `api.bloom_probe`; `compute_capability`: to compile for, 90 say; None = the device's."""
    if reason := why_not("gpu"):
        raise NotImplementedError(reason)
    import jax_triton

    (rows, count, width), (batch, tokens) = words.shape, plan.program.shape
    probes = count if clusters is None else clusters.shape[1]
    if 0 in (batch, probes):
        return jnp.zeros((batch, probes, width), jnp.uint32)
    shape = jax.ShapeDtypeStruct((batch, probes * width), jnp.uint32)
    # jax-triton 0.4 renamed it.
    parameters = inspect.signature(jax_triton.triton_call).parameters
    out = {"out_shape" if "out_shape" in parameters else "out_type": shape}
    answer: jax.Array = jax_triton.triton_call(
        *(words, plan.rows, plan.modes, plan.program),
        jnp.sum(plan.program != NO_OP, axis=1, dtype=jnp.int32),
        jnp.zeros((1, 1), jnp.int32) if clusters is None else clusters,
        kernel=_compiled,
        grid=(batch, -(-probes * width // _TILE)),
        num_warps=4,
        compute_capability=compute_capability,
        **out,
        COUNT=count,
        ROWS=rows,
        WIDTH=width,
        PROBES=probes,
        LEAVES=plan.modes.shape[1],
        TERMS=plan.rows.shape[2],
        TOKENS=tokens,
        WHOLE=clusters is None,
        TILE=_TILE,
    )
    return answer.reshape(batch, probes, width)


# Pointers have no annotations: Triton would read them.
def _kernel(  # type: ignore[no-untyped-def]
    words,  # uint32 [R, C, W]
    rows,  # int32 [B, L, K]
    modes,  # int32 [B, L]
    program,  # int32 [B, P]
    steps,  # int32 [B], tokens before the padding
    clusters,  # int32 [B, N]
    out,  # uint32 [B, N * W]
    COUNT: tl.constexpr,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
    PROBES: tl.constexpr,
    LEAVES: tl.constexpr,
    TERMS: tl.constexpr,
    TOKENS: tl.constexpr,
    WHOLE: tl.constexpr,
    TILE: tl.constexpr,
) -> None:
    query = tl.program_id(0).to(tl.int64)
    place = tl.program_id(1).to(tl.int64) * TILE + tl.arange(0, TILE)
    inside = place < PROBES * WIDTH
    n, w = place // WIDTH, place % WIDTH
    if WHOLE:
        cluster = n
    else:
        cluster = tl.load(clusters + query * PROBES + n, mask=inside, other=-1).to(tl.int64)
    known = (cluster >= 0) & (cluster < COUNT) & inside
    first = words + tl.where(known, cluster * WIDTH + w, 0)
    ones = tl.full((TILE,), 0xFFFFFFFF, tl.uint32)
    none = tl.full((TILE,), 0, tl.uint32)
    # The stack is a shift register, its top in front: registers have no addresses.
    s0, s1, s2, s3, s4, s5, s6, s7 = ones, ones, ones, ones, ones, ones, ones, ones
    for t in range(tl.load(steps + query)):
        token = tl.load(program + query * TOKENS + t)
        if token >= 0:
            leaf = query * LEAVES + tl.minimum(token, LEAVES - 1)
            bits = ones
            for k in tl.static_range(TERMS):
                row = tl.load(rows + leaf * TERMS + k)
                row = tl.minimum(tl.maximum(row, 0), ROWS - 1).to(tl.int64)
                bits &= tl.load(first + row * COUNT * WIDTH, mask=known, other=0)
            mode = tl.load(modes + leaf)  # ROWS, COMPLEMENT, ONES, ZEROS of `plan`
            bits = tl.where(mode <= 1, bits, none)
            bits = tl.where((mode == 1) | (mode == 2), bits ^ ones, bits)
            s0, s1, s2, s3, s4, s5, s6, s7 = bits, s0, s1, s2, s3, s4, s5, s6
        else:
            both = tl.where(token == -1, s1 & s0, s1 | s0)  # AND, OR
            s0, s1, s2, s3, s4, s5, s6 = both, s2, s3, s4, s5, s6, s7
    live = tl.load(first, mask=known, other=0)
    answer = tl.where(known, s0 & live, none)
    tl.store(out + query * PROBES * WIDTH + place, answer, mask=inside)


assert STACK_DEPTH == 8, "the stack of _kernel has eight registers"
# Triton reads the source of a function, so not of what a type checker may have wrapped it in.
_compiled: Any = None if _MISSING else triton.jit(inspect.unwrap(_kernel))
