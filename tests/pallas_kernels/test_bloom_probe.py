"""`bloom_probe`: every backend against the NumPy oracle, lowering, and messages."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pallas_kernels.bloom_probe import cpu, pallas_triton, reference
from pallas_kernels.bloom_probe.api import NO_OP, ONES, Plan, bloom_probe
from pallas_kernels.bloom_probe.arg_specs import BENCHMARKS, TESTS, Spec
from tests.pallas_kernels import oracles
from tests.pallas_kernels.cpu import INSTRUCTIONS
from tests.pallas_kernels.cuda import ignore_triton_deprecation, lower_for_cuda

BACKENDS: dict[str, Callable[..., jax.Array]] = {
    "reference": reference.bloom_probe,
    "pallas_triton": functools.partial(pallas_triton.bloom_probe, interpret=True),
    **{
        f"cpu_{name}": functools.partial(cpu.bloom_probe, instructions=name)
        for name in INSTRUCTIONS
    },
}


def expected(words: jax.Array, plan: Plan, clusters: jax.Array | None) -> np.ndarray:
    rows, modes, program = (np.asarray(part) for part in (plan.rows, plan.modes, plan.program))
    probed = None if clusters is None else np.asarray(clusters)
    return oracles.bloom_probe(np.asarray(words), rows, modes, program, probed)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("spec", TESTS)
def test_matches_reference(spec: str, backend: str) -> None:
    for seed in range(25):
        args = TESTS[spec].make(seed)
        answer = BACKENDS[backend](*args)
        assert answer.dtype == jnp.uint32
        np.testing.assert_array_equal(np.asarray(answer), expected(*args), f"{seed=}")


@pytest.mark.gpu
@pytest.mark.parametrize("spec", TESTS)
def test_triton_matches_reference_on_gpu(spec: str) -> None:
    args = TESTS[spec].make()
    with ignore_triton_deprecation():
        answer = bloom_probe(*args, backend="pallas_triton")
    np.testing.assert_array_equal(np.asarray(answer), expected(*args))


@pytest.mark.parametrize("backend", BACKENDS)
def test_programs_of_no_ops_admit_live_slots(backend: str) -> None:
    words, plan, clusters = Spec(3, 4, 2, queries=2, probes=3).make()
    clusters = jnp.asarray([[0, 2, -1], [1, 3, -7]], jnp.int32)  # 3 and -7 do not exist
    plan = dataclasses.replace(plan, program=jnp.full_like(plan.program, NO_OP))
    live = np.asarray(words)[0]
    nothing = np.zeros(2, np.uint32)
    wanted = [[live[0], live[2], nothing], [live[1], nothing, nothing]]
    np.testing.assert_array_equal(np.asarray(BACKENDS[backend](words, plan, clusters)), wanted)
    smallest = Plan.admit_all(2)
    np.testing.assert_array_equal(np.asarray(BACKENDS[backend](words, smallest, clusters)), wanted)
    no_tokens = dataclasses.replace(smallest, program=jnp.zeros((2, 0), jnp.int32))
    np.testing.assert_array_equal(np.asarray(BACKENDS[backend](words, no_tokens, clusters)), wanted)


@pytest.mark.parametrize("backend", BACKENDS)
def test_dead_slots_pass_no_filter(backend: str) -> None:
    words, plan, clusters = TESTS["small"].make()
    plan = dataclasses.replace(plan, modes=jnp.full_like(plan.modes, ONES))
    answer = BACKENDS[backend](words.at[0].set(0), plan, clusters)
    assert not np.asarray(answer).any()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("queries", "probes"), [(0, 3), (2, 0)])
def test_empty_batches_give_empty_answers(queries: int, probes: int, backend: str) -> None:
    args = Spec(3, 4, 2, queries=queries, probes=probes).make()
    assert BACKENDS[backend](*args).shape == (queries, probes, 2)


def test_vmap() -> None:
    """A stack of indexes, each with its own queries."""
    args = [TESTS["small"].make(seed) for seed in range(3)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *args)
    answer = jax.vmap(bloom_probe)(*stacked)
    for each, one in zip(args, answer):
        np.testing.assert_array_equal(np.asarray(one), expected(*each))


def test_runs_under_jit_with_numpy_plans() -> None:
    words, plan, clusters = TESTS["small"].make()
    host = jax.tree.map(np.asarray, plan)
    answer = jax.jit(bloom_probe)(words, host, clusters)
    np.testing.assert_array_equal(np.asarray(answer), expected(words, plan, clusters))


@pytest.mark.parametrize("spec", TESTS | BENCHMARKS)
def test_lowers_for_cuda(spec: str) -> None:
    args = (TESTS | BENCHMARKS)[spec].abstract()
    assert "triton" in lower_for_cuda(pallas_triton.bloom_probe, *args)


def _with(**changes: Any) -> tuple[Any, Plan, Any]:
    words, plan, clusters = TESTS["small"].make()  # C 5, R 9, W 2, B 4, N 3, L 4, K 2, P 8
    parts: dict[str, Any] = {"words": words, "clusters": clusters}
    parts |= {field.name: getattr(plan, field.name) for field in dataclasses.fields(plan)}
    parts |= changes
    plan = Plan(parts["rows"], parts["modes"], parts["program"])
    return parts["words"], plan, parts["clusters"]


I32 = jnp.int32


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"words": jnp.zeros((9, 5, 2), I32)},
            r"words has dtype int32, must be uint32 \[R, C, W\]",
        ),
        ({"words": jnp.zeros((9, 2), jnp.uint32)}, r"words has shape \(9, 2\), must be .*reshape"),
        ({"words": jnp.zeros((0, 5, 2), jnp.uint32)}, r"\(0, 5, 2\), limit: at least one .*row 0"),
        ({"words": [[1]]}, "words is a list, .*use jnp.asarray"),
        ({"rows": jnp.zeros((4, 4), I32)}, r"plan.rows has shape \(4, 4\), must be .*\[B, L, K\]"),
        ({"rows": jnp.zeros((4, 5, 2), I32)}, r"plan.rows \(4, 5, 2\), .*must share L; build all"),
        ({"rows": jnp.zeros((3, 4, 2), I32)}, r"plan.rows \(3, 4, 2\), .*must share B"),
        ({"rows": jnp.zeros((4, 4, 0), I32)}, r"limit: L >= 1 and K >= 1; pad with one leaf"),
        ({"modes": jnp.zeros((4, 4), jnp.uint8)}, "plan.modes has dtype uint8, must be int32"),
        ({"modes": jnp.zeros((3, 4), I32)}, r"plan.modes \(3, 4\) .*must share B"),
        ({"program": jnp.zeros((3, 8), I32)}, r"plan.program \(3, 8\) must share B"),
        ({"program": jnp.zeros(8, I32)}, r"plan.program has shape \(8,\), must be int32 \[B, P\]"),
        ({"clusters": jnp.zeros((3, 3), I32)}, "clusters has 3 rows, limit: B = 4.*one row of"),
        ({"clusters": jnp.zeros((4, 3), jnp.uint32)}, "clusters has dtype uint32, must be int32"),
    ],
)
def test_rejects_wrong_arguments(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bloom_probe(*_with(**changes))


def test_triton_rejects_what_it_cannot_address() -> None:
    _, plan, clusters = TESTS["small"].make()
    huge: Any = jax.ShapeDtypeStruct((2**22, 512, 1), jnp.uint32)
    with pytest.raises(NotImplementedError, match=r"2147483648 elements, limit: below 2\*\*31"):
        jax.eval_shape(pallas_triton.bloom_probe, huge, plan, clusters)
    assert jax.eval_shape(reference.bloom_probe, huge, plan, clusters).shape == (4, 3, 1)
