"""What the Pallas-Triton backends share: where they run, and tile sizes.

JAX 0.11 deprecates Pallas-Triton in favour of Mosaic GPU and of Triton through `jax_triton`; it
is still shipped in 0.12. The warning comes when a call is lowered, so it cannot be silenced here.
"""

from __future__ import annotations

from typing import Any

from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as pltriton

# The first 32-bit element offset that wraps; Pallas switches to 64 bits at 2**32 bytes only.
ELEMENTS = 2**31


def why_not(platform: str) -> str | None:
    """What stops Triton on a platform."""
    if platform in ("gpu", "cuda", "rocm"):
        return None
    return "Triton compiles for GPUs only (its tests run it in the Pallas interpreter)"


def call(
    kernel: Any, *, num_warps: int, interpret: bool, num_stages: int = 2, **kwargs: Any
) -> Any:
    """`pl.pallas_call` that always names its backend: without parameters JAX picks Mosaic."""
    params = pltriton.CompilerParams(num_warps=num_warps, num_stages=num_stages)
    return pl.pallas_call(kernel, compiler_params=params, interpret=interpret, **kwargs)


def tile(extent: int, *, least: int, most: int) -> int:
    """The power of two that covers `extent`, within bounds: Triton has no other tile sizes."""
    return min(max(pl.next_power_of_2(extent), least), most)


def reject_large(name: str, shape: tuple[int, ...], elements: int) -> None:
    """Raises NotImplementedError for an array that 32-bit offsets cannot address."""
    if elements >= ELEMENTS:
        raise NotImplementedError(
            f"{name} {shape} has {elements} elements, limit: below 2**31 (32-bit offsets)"
        )
