"""`int8_search` by Mosaic GPU: its numbers in the interpreter, its lowering, what it refuses."""

from __future__ import annotations

import functools
import types
from typing import Any

import jax
import numpy as np
import pytest

from pallas_kernels.int8_search import pallas_mosaic_gpu
from pallas_kernels.int8_search.api import int8_search
from pallas_kernels.int8_search.arg_specs import BENCHMARKS, Spec
from tests.pallas_kernels import oracles
from tests.pallas_kernels.cuda import ignore_triton_deprecation, lower_for_cuda

# Small: the interpreter takes seconds for each.
SPECS = {
    "ragged_tile": Spec(clusters=2, slots=200, dim=64, queries=2, probes=2, k=2),
    "one_query": Spec(clusters=4, slots=128, dim=32, queries=1, probes=5, k=2),
    "several_segments": Spec(clusters=1, slots=1104, dim=32, queries=1, probes=1, k=5),
    "long_runs": Spec(clusters=2, slots=136, dim=32, queries=70, probes=2, k=2),
}
needs_interpreter = pytest.mark.skipif(
    jax.__version_info__ < (0, 12), reason="the Mosaic GPU interpreter needs JAX 0.12"
)


def assert_right(answer: Any, args: tuple[jax.Array, ...], k: int) -> None:
    scores, slots = oracles.int8_search(*(np.asarray(array) for array in args), k=k)
    np.testing.assert_array_equal(np.asarray(answer[1]), slots)
    np.testing.assert_array_equal(np.asarray(answer[0]), scores)


@needs_interpreter
@pytest.mark.parametrize("spec", ["ragged_tile", "several_segments", "long_runs"])
def test_matches_reference(spec: str) -> None:
    case = SPECS[spec]
    options: dict[str, Any] = {"levels": 2, "scaled": False, "share": 0.05}  # ties, few eligible
    args = case.make(**options) if spec == "long_runs" else case.make()
    assert_right(pallas_mosaic_gpu.int8_search(*args, k=case.k, interpret=True), args, case.k)


@needs_interpreter
def test_ties_and_signs_of_zero_are_those_of_the_reference() -> None:
    """Negative scales of queries turn the order of the products around; zeros tie."""
    case = SPECS["one_query"]
    codes, scales, queries, query_scales, clusters, eligible = case.make(0, levels=2, share=1.0)
    args = codes, scales.at[:, ::2].set(0), queries, -query_scales, clusters, eligible
    assert_right(pallas_mosaic_gpu.int8_search(*args, k=300, interpret=True), args, 300)


@pytest.mark.gpu
@pytest.mark.parametrize("spec", SPECS)
def test_matches_reference_on_gpu(spec: str) -> None:
    if reason := pallas_mosaic_gpu.why_not("gpu"):
        pytest.skip(reason)
    case = SPECS[spec]
    args = case.make()
    with ignore_triton_deprecation():
        answer = int8_search(*args, k=case.k, backend="pallas_mosaic_gpu")
    assert_right(answer, args, case.k)


@pytest.mark.parametrize("spec", SPECS | BENCHMARKS)
def test_lowers_for_cuda(spec: str) -> None:
    case = (SPECS | BENCHMARKS)[spec]
    search = functools.partial(pallas_mosaic_gpu.int8_search, k=case.k)
    text = lower_for_cuda(search, *case.abstract())
    assert "mosaic_gpu" in text


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (Spec(3, 128, 48, queries=1, probes=1, k=1), "48 dimensions, limit: a multiple of 32 up"),
        (Spec(3, 128, 1024, queries=1, probes=1, k=1), "1024 dimensions, limit: .* up to 512"),
        (Spec(3, 132, 64, queries=1, probes=1, k=1), "132 slots, limit: a multiple of 8"),
        (Spec(3, 64, 64, queries=1, probes=1, k=1), "64 slots, limit: .* above 96"),
    ],
)
def test_rejects_shapes_it_has_no_tiles_for(spec: Spec, message: str) -> None:
    with pytest.raises(NotImplementedError, match=message):
        jax.eval_shape(functools.partial(pallas_mosaic_gpu.int8_search, k=1), *spec.abstract())


def test_serves_hopper_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "NVIDIA GPUs only" in str(pallas_mosaic_gpu.why_not("rocm"))
    device = types.SimpleNamespace(device_kind="NVIDIA A100", compute_capability="8.0")
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(jax, "devices", lambda: [device])
    assert str(pallas_mosaic_gpu.why_not("gpu")).endswith("(Hopper), NVIDIA A100 has 8.0")
    device.compute_capability = "9.0"
    assert pallas_mosaic_gpu.why_not("gpu") is None
