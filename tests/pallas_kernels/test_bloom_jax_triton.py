"""`bloom_probe` through jax-triton: its reasons everywhere, the rest where the extra is installed.

pip install -e '.[triton,test]'
"""

from __future__ import annotations

import functools
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pallas_kernels.bloom_probe import jax_triton
from pallas_kernels.bloom_probe.api import bloom_probe
from pallas_kernels.bloom_probe.arg_specs import BENCHMARKS, TESTS
from tests.pallas_kernels import oracles

needs_triton = pytest.mark.skipif(
    jax_triton.why_not("gpu") is not None, reason=str(jax_triton.why_not("gpu"))
)


def expected(words: Any, plan: Any, clusters: Any) -> np.ndarray:
    rows, modes, program = (np.asarray(part) for part in (plan.rows, plan.modes, plan.program))
    probed = None if clusters is None else np.asarray(clusters)
    return oracles.bloom_probe(np.asarray(words), rows, modes, program, probed)


def test_says_why_it_does_not_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    assert jax_triton.why_not("cpu") == "Triton compiles for GPUs only"
    monkeypatch.setattr(jax_triton, "_MISSING", ["jax_triton"])
    assert "install the extra: pip install 'silverjax[triton]'" in str(jax_triton.why_not("gpu"))
    with pytest.raises(NotImplementedError, match="jax_triton cannot be imported"):
        jax_triton.bloom_probe(*TESTS["small"].make())
    monkeypatch.setattr(jax_triton, "_MISSING", [])
    monkeypatch.setattr(jax, "__version_info__", (0, 12, 0))
    assert "limit: JAX below 0.12" in str(jax_triton.why_not("gpu"))


@needs_triton
@pytest.mark.parametrize("spec", TESTS | BENCHMARKS)
def test_compiles_for_hopper(spec: str) -> None:
    args = (TESTS | BENCHMARKS)[spec].abstract()
    probe = functools.partial(jax_triton.bloom_probe, compute_capability=90)
    text = jax.jit(probe).trace(*args).lower(lowering_platforms=("cuda",)).as_text()
    assert "triton_kernel_call" in text


class Memory(types.SimpleNamespace):
    """As much of a torch tensor as Triton's interpreter asks for, over a NumPy array."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.dtype = array, array.dtype
        for name in ("untyped_storage", "cpu", "new_empty", "size", "stride", "storage_offset"):
            setattr(self, name, lambda *_, **__: self)

    def data_ptr(self) -> int:
        return self.array.ctypes.data

    def set_(self, *_: Any) -> None: ...

    def copy_(self, *_: Any) -> None: ...


@needs_triton
@pytest.mark.parametrize("spec", TESTS)
def test_kernel_matches_reference(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In Triton's own interpreter."""
    from triton.runtime.interpreter import InterpretedFunction

    def call(*inputs: Any, kernel: Any, grid: Any, out_shape: Any, **options: Any) -> jax.Array:
        for name in ("num_warps", "compute_capability"):
            del options[name]
        arrays = [np.ascontiguousarray(each) for each in inputs]
        answer = np.zeros(out_shape.shape, out_shape.dtype)
        memory = [Memory(array) for array in (*arrays, answer)]
        InterpretedFunction(kernel.fn).run(*memory, grid=grid, warmup=False, **options)
        return jnp.asarray(answer)

    import jax_triton as library

    monkeypatch.setattr(library, "triton_call", call)
    for seed in range(3):
        args = TESTS[spec].make(seed)
        np.testing.assert_array_equal(np.asarray(jax_triton.bloom_probe(*args)), expected(*args))


@pytest.mark.gpu
@needs_triton
@pytest.mark.parametrize("spec", TESTS)
def test_matches_reference_on_gpu(spec: str) -> None:
    args = TESTS[spec].make()
    answer = bloom_probe(*args, backend="jax_triton")
    np.testing.assert_array_equal(np.asarray(answer), expected(*args))
