"""Loads the CPU kernels: C++ that XLA calls as custom calls (`jax.ffi`), built by pip.

The library holds an AVX-512 VNNI, an AVX2 and a portable version of each inner loop and picks the
best that the CPU has; `PALLAS_KERNELS_CPU=avx2` (or `portable`, `avx512`) picks another.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import os
import pathlib
from typing import Any

import jax

ENVIRONMENT_VARIABLE = "PALLAS_KERNELS_CPU"
INSTRUCTIONS = ("avx512", "avx2", "portable")
FILE = pathlib.Path(__file__).with_name("cpu_kernels.so")
_HANDLERS = (
    "silver_affinity",
    "silver_bloom_probe",
    "silver_filtered_search",
    "silver_gather_dot",
    "silver_gather_sum",
    "silver_int8_search",
    "silver_top_k",
)


def why_not(platform: str) -> str | None:
    """What stops the CPU kernels on a platform."""
    if platform != "cpu":
        return "C++ for the CPU only"
    return load()[1]


def call(
    handler: str, outputs: Any, *arrays: Any, instructions: str | None, **attributes: Any
) -> Any:
    """The custom call `handler`; which instruction set it uses is settled when it is traced.

    Args:
        outputs: Shapes and dtypes of the results.
        arrays: Its arguments, in the order of the handler.
        instructions: One of `INSTRUCTIONS`; None asks the environment, then takes the best.
        attributes: Its compile-time constants.

    Raises:
        NotImplementedError: The library was not built, or this CPU lacks these instructions.
        ValueError: No instruction set has this name.
    """
    wanted = instructions or os.environ.get(ENVIRONMENT_VARIABLE, "")
    if wanted and wanted not in INSTRUCTIONS:
        raise ValueError(
            f"the CPU kernels have no instruction set {wanted!r}, only {', '.join(INSTRUCTIONS)}; "
            f"change or unset {ENVIRONMENT_VARIABLE}"
        )
    library, problem = load()
    if library is None:
        raise NotImplementedError(problem)
    if not library.silver_cpu_runs(wanted.encode()):
        raise NotImplementedError(
            f"this CPU lacks the instruction set {wanted!r}; change or unset {ENVIRONMENT_VARIABLE}"
        )
    function = jax.ffi.ffi_call(handler, outputs, vmap_method="sequential")
    return function(*arrays, instructions=wanted, **attributes)


@functools.cache
def load() -> tuple[Any, str | None]:
    """The library, or what is wrong; said once in the log, since everything runs without it."""
    try:
        library = ctypes.CDLL(str(FILE))
        handlers = {name: jax.ffi.pycapsule(getattr(library, name)) for name in _HANDLERS}
    except (OSError, AttributeError) as error:  # AttributeError: an old build lacks a handler
        what = str(error) if FILE.exists() else f"{FILE.name} was not built"
        problem = f"{what}; install a C++20 compiler, then `pip install` SilverJAX again"
        logging.getLogger(__name__).warning(
            "the CPU kernels are missing, so XLA runs their (slower) references: %s", problem
        )
        return None, problem
    for name, handler in handlers.items():
        jax.ffi.register_ffi_target(name, handler, platform="cpu")
    return library, None
