"""Lowering for CUDA on a machine without a GPU."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import jax

# JAX 0.11 and later say so at every lowering; pallas_kernels/pallas_triton.py has the plan.
_DEPRECATION = (
    "The Pallas Triton backend is deprecated and will be removed in a future JAX version. To keep "
    "using Pallas on GPU, please migrate to the Mosaic GPU backend. To keep using Triton, switch "
    "to the official Triton bindings and jax_triton."
)


@contextlib.contextmanager
def ignore_triton_deprecation() -> Iterator[None]:
    """Drops this one warning, by its exact text."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", f"{re.escape(_DEPRECATION)}$", DeprecationWarning)
        yield


def lower_for_cuda(function: Callable[..., Any], *args: Any) -> str:
    """The program that `jax.jit(function)` would compile for an NVIDIA GPU, as text.

    Args:
        args: Arrays or `jax.ShapeDtypeStruct`s.
    """
    with ignore_triton_deprecation(), _abstract_gpu():
        lowered = jax.jit(function).trace(*args).lower(lowering_platforms=("cuda",))
    text: str = lowered.as_text()
    return text


@contextlib.contextmanager
def _abstract_gpu() -> Iterator[None]:
    """From JAX 0.11 the Triton lowering asks for the device that it lowers for."""
    if jax.__version_info__ < (0, 11):
        yield
        return
    from jax.sharding import AbstractDevice, AbstractMesh, use_abstract_mesh

    device = AbstractDevice(device_kind="NVIDIA H200", num_cores=132, platform="gpu")
    with use_abstract_mesh(AbstractMesh((), (), abstract_device=device)):
        yield
