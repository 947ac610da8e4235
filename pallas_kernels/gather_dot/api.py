"""`gather_dot`: a request's vectors against rows of an int8 table, without a copy of the rows."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pallas_kernels.checks import check_array
from pallas_kernels.dispatch import Backend, Op
from pallas_kernels.gather_dot import reference

OP = Op(
    "gather_dot",
    (
        Backend("cpu", "pallas_kernels.gather_dot.cpu", default_on=("cpu",)),
        Backend("reference", "pallas_kernels.gather_dot.reference", default_on=("*",)),
    ),
    # Whoever asks for a backend asks for that of a search; this one serves all of them.
    auxiliary=True,
)


def gather_dot(
    codes: jax.Array,
    scales: jax.Array,
    rows: jax.Array,
    vectors: jax.Array,
    *,
    backend: str | None = None,
) -> jax.Array:
    """`out[b, g, v, k] = (codes[r, g] . vectors[b, g, v]) * scales[r, g]` with `r = rows[b, k]`.

    Gathering first writes and reads the rows once more, in four times the bytes: where rows are
    many and far apart, that is what takes the time.

    Differentiable in `vectors`; table and scales are data.

    Args:
        codes: int8 [N, G, M]: G codes of a row.
        scales: float32 [N, G].
        rows: int32 [B, K]; a row outside the table gives zeros.
        vectors: float32 [B, G, V, M].
        backend: One backend by name; None, or a name that only other ops know, = the default.

    Returns:
        float32 [B, G, V, K]. Backends sum in different orders: they differ by rounding, within
        `M * 2**-24` of the sum of the products' magnitudes.

    Raises:
        ValueError: A wrong dtype or shape.
        NotImplementedError: The chosen backend cannot serve here.
    """
    check_array("codes", codes, jnp.int8, ("N", "G", "M"))
    check_array("scales", scales, jnp.float32, ("N", "G"))
    check_array("rows", rows, jnp.int32, ("B", "K"))
    check_array("vectors", vectors, jnp.float32, ("B", "G", "V", "M"))
    wanted = {
        "scales": (scales.shape, codes.shape[:2]),
        "vectors": (
            vectors.shape,
            (rows.shape[0], codes.shape[1], vectors.shape[2], codes.shape[2]),
        ),
    }
    for name, (given, fits) in wanted.items():
        if given != fits:
            raise ValueError(
                f"{name} has shape {given}, must be {fits} beside codes {codes.shape} and rows "
                f"{rows.shape}"
            )
    return _gather_dot(backend, codes, scales, rows, vectors)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _gather_dot(
    backend: str | None,
    codes: jax.Array,
    scales: jax.Array,
    rows: jax.Array,
    vectors: jax.Array,
) -> jax.Array:
    result: jax.Array = OP(codes, scales, rows, vectors, backend=backend)
    return result


def _forward(backend: str | None, *arguments: jax.Array) -> tuple[jax.Array, Any]:
    return _gather_dot(backend, *arguments), arguments


def _backward(backend: str | None, arguments: Any, slope: jax.Array) -> tuple[Any, ...]:
    del backend
    codes, scales, rows, vectors = arguments
    _, pull = jax.vjp(lambda v: reference.gather_dot(codes, scales, rows, v), vectors)

    def none(array: jax.Array) -> np.ndarray:  # the tangent of an integer
        return np.zeros(array.shape, jax.dtypes.float0)

    return none(codes), jnp.zeros_like(scales), none(rows), *pull(slope)


_gather_dot.defvjp(_forward, _backward)
