"""Models as compiled programs: operation by operation, compiling takes several times as long."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax

from silverjax.engagement import evidence_of


@functools.cache
def init(module: nn.Module) -> Callable[..., Any]:
    """`module.init`, compiled once for each shape of its arguments."""
    return jax.jit(module.init)


@functools.cache
def apply(module: nn.Module, method: str = "__call__") -> Callable[..., Any]:
    """`module.apply` of a method, compiled once for each shape of its arguments."""
    return jax.jit(functools.partial(module.apply, method=method))


known_of: Callable[..., Any] = jax.jit(evidence_of, static_argnames="windows")
