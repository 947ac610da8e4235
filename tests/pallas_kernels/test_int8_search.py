"""`int8_search`: every backend against the NumPy oracle, lowering, and messages."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pallas_kernels.int8_search import cpu, pallas_triton, reference
from pallas_kernels.int8_search.api import int8_search
from pallas_kernels.int8_search.arg_specs import BENCHMARKS, TESTS, Spec
from tests.pallas_kernels import oracles
from tests.pallas_kernels.cpu import INSTRUCTIONS
from tests.pallas_kernels.cuda import ignore_triton_deprecation, lower_for_cuda

Answer = tuple[jax.Array, jax.Array]
BACKENDS: dict[str, Callable[..., Answer]] = {
    "reference": reference.int8_search,
    "pallas_triton": functools.partial(pallas_triton.int8_search, interpret=True),
    **{
        f"cpu_{name}": functools.partial(cpu.int8_search, instructions=name)
        for name in INSTRUCTIONS
    },
}


def assert_right(answer: Answer, args: tuple[jax.Array, ...], k: int, note: str = "") -> None:
    """Bit for bit: the order of the float operations is part of the contract."""
    scores, slots = oracles.int8_search(*(np.asarray(array) for array in args), k=k)
    assert [each.dtype.name for each in answer] == ["float32", "int32"]
    np.testing.assert_array_equal(np.asarray(answer[1]), slots, note)
    np.testing.assert_array_equal(np.asarray(answer[0]), scores, note)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("spec", TESTS)
def test_matches_reference(spec: str, backend: str) -> None:
    """Plain data, ties, nothing eligible, everything eligible, a few eligible."""
    case = TESTS[spec]
    kinds: list[dict[str, Any]] = [
        {},
        {"levels": 2, "scaled": False},
        {"share": 0.0},
        {"share": 1.0},
        {"share": 0.05, "levels": 4},
    ]
    # The oracle takes as long as the backend where there are many slots.
    for seed in range(15 if case.slots * case.queries < 1000 else 5):
        options = kinds[seed % len(kinds)]
        args = case.make(seed, **options)
        assert_right(BACKENDS[backend](*args, k=case.k), args, case.k, f"{seed=} {options}")


@pytest.mark.gpu
@pytest.mark.parametrize("spec", TESTS)
def test_triton_matches_reference_on_gpu(spec: str) -> None:
    case = TESTS[spec]
    args = case.make()
    with ignore_triton_deprecation():
        answer = int8_search(*args, k=case.k, backend="pallas_triton")
    assert_right(answer, args, case.k)


def test_reference_matches_oracle_over_many_shapes() -> None:
    rng = np.random.default_rng(0)
    for seed in range(12):
        case = Spec(
            clusters=int(rng.integers(1, 6)),
            slots=int(rng.choice([8, 24, 32, 40, 64, 200])),
            dim=int(rng.choice([16, 32, 48, 128, 1024, 1040])),
            queries=int(rng.integers(1, 5)),
            probes=int(rng.integers(1, 6)),
            k=1,
        )
        k = int(rng.integers(1, case.probes * case.slots + 1))
        for share in (0.02, 0.5, 1.0):
            args = case.make(seed, share=share, levels=int(rng.choice([2, 3, 256])))
            assert_right(reference.int8_search(*args, k=k), args, k, f"{case} {k=} {share=}")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dim", [1024, 2064])
def test_extreme_codes_are_exact(dim: int, backend: str) -> None:
    """The largest sums: float32 alone would lose bits past 2**24 = 1024 * 128 * 128."""
    codes, scales, queries, query_scales, clusters, eligible = Spec(
        clusters=2, slots=8, dim=dim, queries=2, probes=2, k=8
    ).make(share=1.0, scaled=False)
    codes = jnp.full_like(codes, -128).at[1].set(127).at[:, 3, 5].set(1)
    queries = jnp.full_like(queries, -128).at[1].set(127)
    clusters = jnp.asarray([[0, 1], [1, 0]], jnp.int32)
    args = (codes, scales, queries, query_scales, clusters, eligible)
    assert_right(BACKENDS[backend](*args, k=16), args, 16)


@pytest.mark.parametrize("backend", BACKENDS)
def test_ties_go_to_the_earlier_position(backend: str) -> None:
    """Also between 0.0 and -0.0, which a zero scale makes, and between probes of one cluster."""
    slots = 8
    codes = jnp.ones((3, slots, 16), jnp.int8).at[1].set(-1)
    scales = jnp.zeros((3, slots), jnp.float32)
    queries = jnp.ones((1, 16), jnp.int8)
    clusters = jnp.asarray([[2, 1, -1, 0, 2]], jnp.int32)
    eligible = jnp.full((1, 5, 1), 0b1010, jnp.uint32)
    args = (codes, scales, queries, jnp.ones(1), clusters, eligible)
    scores, found = BACKENDS[backend](*args, k=10)
    assert found.tolist() == [[17, 19, 9, 11, 1, 3, 17, 19, -1, -1]]
    assert scores.tolist() == [[0.0] * 8 + [-np.inf] * 2]
    assert_right((scores, found), args, 10)


@pytest.mark.parametrize("backend", BACKENDS)
def test_unknown_clusters_give_nothing(backend: str) -> None:
    args = list(TESTS["smallest_block"].make(share=1.0))
    args[4] = jnp.asarray([[-1, 4], [-9, 99], [3, -1]], jnp.int32)
    scores, slots = BACKENDS[backend](*args, k=16)
    assert (np.asarray(slots[:2]) == -1).all()
    assert (np.asarray(scores[:2]) == -np.inf).all()
    assert sorted(slots[2].tolist()) == [-1] * 8 + list(range(24, 32))


@pytest.mark.parametrize("backend", BACKENDS)
def test_bits_past_the_last_slot_are_ignored(backend: str) -> None:
    args = list(TESTS["ragged_words"].make())
    args[5] = jnp.full_like(args[5], 0xFFFFFFFF)  # 64 bits for 40 slots
    assert_right(BACKENDS[backend](*args, k=160), tuple(args), 160)


@pytest.mark.parametrize("backend", BACKENDS)
def test_empty_batch_gives_empty_answer(backend: str) -> None:
    scores, slots = BACKENDS[backend](*Spec(3, 8, 16, queries=0, probes=2, k=5).make(), k=5)
    assert scores.shape == slots.shape == (0, 5)


def test_vmap() -> None:
    """A stack of indexes, each with its own queries; and one index under a stack of batches."""
    case = TESTS["ragged_words"]
    args = [case.make(seed) for seed in range(3)]
    search = functools.partial(int8_search, k=case.k)
    stacked = tuple(jnp.stack(arrays) for arrays in zip(*args))
    answer = jax.vmap(search)(*stacked)
    for i, each in enumerate(args):
        assert_right((answer[0][i], answer[1][i]), each, case.k)
    codes, scales = args[0][:2]
    shared = jax.vmap(functools.partial(search, codes, scales))(*stacked[2:])
    for i, each in enumerate(args):
        assert_right((shared[0][i], shared[1][i]), (codes, scales, *each[2:]), case.k)


def test_reference_memory_is_bounded_by_scores() -> None:
    """Float codes exist for one probe at a time: 32 probes of this batch would take 520 MB."""
    case = BENCHMARKS["batch_64"]
    lowered = reference.int8_search.lower(*case.abstract(), k=case.k)
    memory: Any = lowered.compile().memory_analysis()
    scores = 4 * case.queries * case.probes * case.slots  # 8 MB
    one_probe = 5 * case.queries * case.slots * case.dim  # int8 and float32: 20 MB
    assert memory.temp_size_in_bytes < 1.5 * (one_probe + 3 * scores)


@pytest.mark.parametrize("spec", TESTS | BENCHMARKS)
def test_lowers_for_cuda(spec: str) -> None:
    case = (TESTS | BENCHMARKS)[spec]
    search = functools.partial(pallas_triton.int8_search, k=case.k)
    assert "triton" in lower_for_cuda(search, *case.abstract())


NAMES = ("codes", "scales", "queries", "query_scales", "clusters", "eligible")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"codes": jnp.zeros((6, 40, 48))}, r"codes has dtype float32, must be int8 \[C, S, D\]"),
        ({"codes": jnp.zeros((40, 48), jnp.int8)}, r"codes has shape \(40, 48\), must be int8"),
        ({"codes": jnp.zeros((0, 40, 48), jnp.int8)}, "limit: no axis may be empty"),
        ({"scales": jnp.zeros((6, 41))}, r"scales has shape \(6, 41\), must be \[C, S\] = \(6, 40"),
        ({"queries": jnp.zeros((2, 64), jnp.int8)}, r"queries has .* must be \[B, D\] = \(2, 48\)"),
        ({"queries": jnp.zeros((2, 48))}, r"queries has dtype float32.*astype\(jnp.int8\)"),
        ({"query_scales": jnp.zeros(3)}, r"query_scales has shape \(3,\), must be \[B\] = \(2,\)"),
        ({"query_scales": 1.0}, "query_scales is a float, must be .*use jnp.asarray"),
        ({"clusters": jnp.zeros((2, 4), jnp.uint32)}, "clusters has dtype uint32, must be int32"),
        ({"clusters": jnp.zeros(4, jnp.int32)}, r"clusters has shape \(4,\), must be int32 \[B, N"),
        ({"eligible": jnp.zeros((2, 4, 1), jnp.uint32)}, r"\[B, N, ceil\(S / 32\)\] = \(2, 4, 2\)"),
        ({"eligible": jnp.zeros((2, 4, 2), jnp.int32)}, "eligible has dtype int32, must be uint32"),
        ({"k": 0}, "k is 0, limit: an integer from 1 to N \\* S = 4 \\* 40 = 160; ask for fewer"),
        ({"k": 161}, "k is 161, .*probe more clusters"),
        ({"k": 1.0}, "k is 1.0, limit: an integer"),
        ({"k": True}, "k is True, limit: an integer"),
    ],
)
def test_rejects_wrong_arguments(changes: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = dict(zip(NAMES, TESTS["ragged_words"].make())) | {"k": 5} | changes
    with pytest.raises(ValueError, match=message):
        int8_search(*(arguments[name] for name in NAMES), k=arguments["k"])


def test_rejects_more_slots_than_int32() -> None:
    shapes: Any = Spec(2**21, 1024, 16, queries=1, probes=1, k=1).abstract()
    with pytest.raises(ValueError, match=r"limit: C \* S < 2\*\*31 .*split the index"):
        jax.eval_shape(functools.partial(int8_search, k=1), *shapes)


def test_triton_rejects_what_it_cannot_address() -> None:
    shapes: Any = Spec(2**15, 1024, 64, queries=1, probes=1, k=1).abstract()
    with pytest.raises(NotImplementedError, match=r"codes .* limit: below 2\*\*31"):
        jax.eval_shape(functools.partial(pallas_triton.int8_search, k=1), *shapes)
