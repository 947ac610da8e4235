"""`affinity`: which clusters a query should visit first."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from pallas_kernels.checks import check_array, check_shape
from pallas_kernels.dispatch import auxiliary

OP = auxiliary("affinity")


def affinity(
    centroids: jax.Array,
    scales: jax.Array,
    radii: jax.Array,
    queries: jax.Array,
    query_scales: jax.Array,
    along: jax.Array,
    *,
    backend: str | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Mean and spread of the scores of each cluster's items, and how high both together reach.

    The mean of a cluster's inner products with a query is that of its centroid, here in int8, as
    the items are: it only says where to look first.

    Args:
        centroids: int8 [C, D].
        scales: float32 [C], finite.
        radii: float32 [C]: how far the items of a cluster lie from its centroid.
        queries: int8 [B, D].
        query_scales: float32 [B], finite.
        along: float32 [B]: standard deviation of the scores per unit of radius. A query whose is
            no number shall visit nothing.
        backend: One backend by name; None, or a name that only other ops know, = the default.

    Returns:
        The affinity float32 [B, C], `REACH` standard deviations over the mean, -inf where it is no
        number; and the standard deviation float32 [B, C], above 0. Bit for bit the same on every
        backend.

    Raises:
        ValueError: A wrong dtype or shape.
        NotImplementedError: The chosen backend cannot serve here.
    """
    check_array("centroids", centroids, jnp.int8, ("C", "D"))
    check_array("queries", queries, jnp.int8, ("B", "D"))
    (c, d), b = centroids.shape, queries.shape[0]
    if 0 in centroids.shape:
        raise ValueError(f"centroids has shape {centroids.shape}, limit: no axis may be empty")
    for name, array, length, axis in (
        ("scales", scales, c, "C"),
        ("radii", radii, c, "C"),
        ("query_scales", query_scales, b, "B"),
        ("along", along, b, "B"),
    ):
        check_array(name, array, jnp.float32, (axis,))
        check_shape(name, array, (length,), (axis,))
    if queries.shape[1] != d:
        raise ValueError(
            f"queries have {queries.shape[1]} dimensions, the centroids {d}; pad the shorter"
        )
    result: tuple[jax.Array, jax.Array] = OP(
        centroids, scales, radii, queries, query_scales, along, backend=backend
    )
    return result
