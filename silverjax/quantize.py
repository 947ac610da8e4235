"""Symmetric int8 per row: what the index stores, and the towers' view of it in training."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int8

LEVELS = 127  # symmetric: -128 is not used, so that a code and its negative are both exact


def quantize(x: Float[Array, "*n d"]) -> tuple[Int8[Array, "*n d"], Float[Array, "*n"]]:
    """`codes = round(x / scale)`, `scale = max|x| / 127` over the last axis.

    Rounds half to even. The largest entry of a row maps to +-127, so the error of any entry is
    at most scale / 2. A row of zeros has codes 0 and scale 0.

    Returns:
        Codes int8 shaped like `x`; scales float32 without the last axis. `codes * scale` is
        close to `x`.
    """
    x = x.astype(jnp.float32)
    scale = jnp.max(jnp.abs(x), axis=-1) / LEVELS
    # Tiny rows would divide by a denormal; they round to 0 like a row of zeros.
    safe = jnp.where(scale > jnp.finfo(jnp.float32).tiny, scale, jnp.inf)
    codes = jnp.clip(jnp.round(x / safe[..., None]), -LEVELS, LEVELS).astype(jnp.int8)
    return codes, jnp.where(jnp.isfinite(safe), scale, 0.0)


def dequantize(codes: Int8[Array, "*n d"], scale: Float[Array, "*n"]) -> Float[Array, "*n d"]:
    """`codes * scale`, float32."""
    return codes.astype(jnp.float32) * scale[..., None]


def straight_through(x: Float[Array, "*n d"]) -> Float[Array, "*n d"]:
    """Forward: `dequantize(quantize(x))`. Backward: the identity (Bengio et al., arXiv 1308.3432).

    The towers then learn with the very embeddings that the index will hold.
    """
    return x + jax.lax.stop_gradient(dequantize(*quantize(x)) - x)
