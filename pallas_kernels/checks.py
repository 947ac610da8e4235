"""Argument checks shared by the ops; they read shapes and dtypes only, so they work under jit."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp


def check_array(name: str, array: Any, dtype: Any, axes: tuple[str, ...]) -> None:
    """Raises ValueError unless `array` has this dtype and one dimension per name in `axes`."""
    layout = f"{jnp.dtype(dtype).name} [{', '.join(axes)}]"
    if not hasattr(array, "dtype") or not hasattr(array, "shape"):
        raise ValueError(f"{name} is a {type(array).__name__}, must be {layout}; use jnp.asarray")
    if array.dtype != jnp.dtype(dtype):
        raise ValueError(
            f"{name} has dtype {jnp.dtype(array.dtype).name}, must be {layout}; convert it with "
            f".astype(jnp.{jnp.dtype(dtype).name})"
        )
    if len(array.shape) != len(axes):
        raise ValueError(f"{name} has shape {tuple(array.shape)}, must be {layout}; reshape it")


def check_shape(name: str, array: Any, shape: tuple[int, ...], axes: tuple[str, ...]) -> None:
    """Raises ValueError unless `array` has this shape, whose axes are called `axes`."""
    if tuple(array.shape) != shape:
        raise ValueError(
            f"{name} has shape {tuple(array.shape)}, must be [{', '.join(axes)}] = {shape}; build "
            "it for the same index and queries"
        )
