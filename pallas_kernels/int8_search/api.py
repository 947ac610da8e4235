"""`int8_search`: the best eligible slots of the probed clusters, by int8 inner product."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from pallas_kernels.checks import check_array
from pallas_kernels.dispatch import Backend, Op

OP = Op(
    "int8_search",
    (
        Backend("cpu", "pallas_kernels.int8_search.cpu", default_on=("cpu",)),
        Backend("reference", "pallas_kernels.int8_search.reference", default_on=("*",)),
        Backend("pallas_triton", "pallas_kernels.int8_search.pallas_triton"),
        Backend("pallas_mosaic_gpu", "pallas_kernels.int8_search.pallas_mosaic_gpu"),
    ),
)


def int8_search(
    codes: jax.Array,
    scales: jax.Array,
    queries: jax.Array,
    query_scales: jax.Array,
    clusters: jax.Array,
    eligible: jax.Array,
    *,
    k: int,
    backend: str | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Scores the eligible slots of the probed clusters and keeps the best `k` of each query.

    score = (float32(int32 dot product) * scale of the slot) * scale of the query, in this order
    on every backend, so that answers agree bit for bit.

    Args:
        codes: int8 [C, S, D].
        scales: float32 [C, S], finite.
        queries: int8 [B, D].
        query_scales: float32 [B], finite.
        clusters: int32 [B, N]; -1 (or any id outside the index) gives nothing.
        eligible: uint32 [B, N, ceil(S / 32)]; bit s % 32 of word s // 32 admits slot s.
        k: Slots to keep, 1 to N * S.
        backend: One backend by name; None = the platform's default.

    Returns:
        Scores float32 [B, k], best first, and slots int32 [B, k] = cluster * S + s. Ties: the
        earlier position in `clusters`, then the lower s. Past the last eligible slot: -inf, -1.

    Raises:
        ValueError: A wrong dtype or shape, or `k` out of range.
        NotImplementedError: The chosen backend cannot serve here.
    """
    _check(codes, scales, queries, query_scales, clusters, eligible, k)
    result: tuple[jax.Array, jax.Array] = OP(
        codes, scales, queries, query_scales, clusters, eligible, k=k, backend=backend
    )
    return result


def _check(
    codes: jax.Array,
    scales: jax.Array,
    queries: jax.Array,
    query_scales: jax.Array,
    clusters: jax.Array,
    eligible: jax.Array,
    k: int,
) -> None:
    check_array("codes", codes, jnp.int8, ("C", "S", "D"))
    check_array("queries", queries, jnp.int8, ("B", "D"))
    check_array("clusters", clusters, jnp.int32, ("B", "N"))
    (c, s, d), (b, n) = codes.shape, clusters.shape
    if 0 in codes.shape:
        raise ValueError(f"codes has shape {codes.shape}, limit: no axis may be empty")
    if c * s > 2**31 - 1:
        raise ValueError(
            f"codes has {c} clusters of {s} slots, limit: C * S < 2**31 (slots are int32); split "
            "the index over devices"
        )
    expected = {
        "scales": (scales, jnp.float32, ("C", "S"), (c, s)),
        "queries": (queries, jnp.int8, ("B", "D"), (b, d)),
        "query_scales": (query_scales, jnp.float32, ("B",), (b,)),
        "eligible": (eligible, jnp.uint32, ("B", "N", "ceil(S / 32)"), (b, n, -(-s // 32))),
    }
    for name, (array, dtype, axes, shape) in expected.items():
        check_array(name, array, dtype, axes)
        if tuple(array.shape) != shape:
            raise ValueError(
                f"{name} has shape {tuple(array.shape)}, must be [{', '.join(axes)}] = {shape} for "
                f"codes {codes.shape} and clusters {clusters.shape}; build it for the same index "
                "and queries"
            )
    if not isinstance(k, int) or isinstance(k, bool) or not 1 <= k <= n * s:
        raise ValueError(
            f"k is {k!r}, limit: an integer from 1 to N * S = {n} * {s} = {n * s}; ask for fewer "
            "slots or probe more clusters"
        )
