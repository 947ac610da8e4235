"""`filtered_search`: every backend against the NumPy oracle, lowering, and messages."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pallas_kernels.bloom_probe import pallas_triton as bloom_triton
from pallas_kernels.filtered_search import cpu, pallas_triton, reference
from pallas_kernels.filtered_search.api import filtered_search
from pallas_kernels.filtered_search.arg_specs import BENCHMARKS, TESTS, Args, Spec
from pallas_kernels.filtered_search.composed import composed
from pallas_kernels.int8_search import pallas_triton as int8_triton
from tests.pallas_kernels import oracles
from tests.pallas_kernels.cpu import INSTRUCTIONS
from tests.pallas_kernels.cuda import lower_for_cuda

Answer = tuple[jax.Array, ...]
BACKENDS: dict[str, Callable[..., Answer]] = {
    "reference": reference.filtered_search,
    **{
        f"cpu_{name}": functools.partial(cpu.filtered_search, instructions=name)
        for name in INSTRUCTIONS
    },
}
INTERPRETED = functools.partial(
    composed,
    bloom_probe=functools.partial(bloom_triton.bloom_probe, interpret=True),
    int8_search=functools.partial(int8_triton.int8_search, interpret=True),
)
KINDS: list[dict[str, Any]] = [
    {},
    {"levels": 2},
    {"live": 0.05},
    {"live": 0.0},
    {"exact": False},
    {"spread": False},
    {"filters": False},
    {"levels": 2, "filters": False},
]


def sizes(case: Spec) -> dict[str, Any]:
    return {"k": case.k, "probes": case.probes, "max_probes": case.most, "recall": case.recall}


def expected(case: Spec, args: Args) -> tuple[np.ndarray, ...]:
    *arrays, plan, exact, excluded, spread = jax.tree.map(np.asarray, args)
    parts = None if plan is None else (plan.rows, plan.modes, plan.program)
    filters: Any = (parts, exact, excluded, spread)
    return oracles.filtered_search(*arrays, *filters, **sizes(case))


def assert_right(answer: Answer, wanted: tuple[np.ndarray, ...], note: str = "") -> None:
    """Bit for bit, slots first: they say most about what went wrong."""
    for name, place in {"slots": 1, "scores": 0, "live": 2, "eligible": 3}.items():
        got = np.asarray(answer[place])
        assert got.dtype == wanted[place].dtype
        np.testing.assert_array_equal(got, wanted[place], f"{name} {note}")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("spec", TESTS)
def test_matches_reference(spec: str, backend: str) -> None:
    case = TESTS[spec]
    # XLA compiles the reference anew for each set of arguments, which takes seconds.
    kinds = KINDS if backend != "reference" or spec == "small" else KINDS[:4]
    for seed in range(2 * len(kinds)):
        args = case.make(seed, **kinds[seed % len(kinds)])
        answer = BACKENDS[backend](*args, **sizes(case))
        assert_right(answer, expected(case, args), f"{seed=}")


def test_triton_matches_reference_in_the_interpreter() -> None:
    case = TESTS["small"]
    args = case.make()
    assert_right(INTERPRETED(*args, **sizes(case)), expected(case, args))


def random_spec(rng: np.random.Generator) -> Spec:
    clusters, slots = int(rng.integers(1, 9)), int(rng.choice([1, 7, 8, 24, 32, 40, 64, 100]))
    probes = int(rng.integers(1, clusters + 1))
    return Spec(
        clusters=clusters,
        slots=slots,
        dim=int(rng.choice([4, 5, 16, 50, 64, 65, 128, 200, 1024], p=[0.12] * 8 + [0.04])),
        queries=int(rng.integers(1, 65)),
        probes=probes,
        k=int(rng.integers(1, probes * slots + 1)),
        max_probes=int(rng.integers(probes, clusters + 1)),
        recall=float(rng.choice([0.0, 0.5, 0.9, 0.99, 1.0])),
        leaves=int(rng.integers(1, 9)),
        hashes=int(rng.integers(1, 4)),
        excluded=int(rng.integers(1, 40)) if rng.random() < 0.5 else None,
    )


@pytest.mark.slow
@pytest.mark.skipif(not INSTRUCTIONS, reason="the CPU kernels were not built")
def test_cpu_matches_oracle_over_ten_thousand_filters() -> None:
    """Each query has a filter, a set of clusters and a set of struck slots of its own."""
    rng = np.random.default_rng(0)
    checked = returned = 0
    while checked < 10_000:
        case = random_spec(rng)
        for _ in range(2):  # of the same shapes, which are compiled once
            seed = int(rng.integers(2**31))
            args = case.make(seed, **KINDS[int(rng.integers(len(KINDS)))])
            wanted = expected(case, args)
            for name in INSTRUCTIONS:
                answer = cpu.filtered_search(*args, **sizes(case), instructions=name)
                assert_right(answer, wanted, f"{name} {case} {seed=}")
            checked += case.queries
            returned += int((wanted[1] >= 0).sum())
    assert returned > checked  # most filters leave something


@pytest.mark.parametrize("backend", BACKENDS)
def test_slots_are_returned_by_name(backend: str) -> None:
    case = TESTS["few_pass"]
    args = case.make()
    scores, slots, *counts = expected(case, args)
    assert (slots < 0).any()
    assert (slots >= 0).any()
    names = np.random.default_rng(1).permutation(case.clusters * case.slots).astype(np.int32)
    named = np.where(slots < 0, -1, names[slots])
    given = jnp.asarray(names.reshape(case.clusters, case.slots))
    answer = BACKENDS[backend](*args, given, **sizes(case))
    assert_right(answer, (scores, named, *counts))


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_the_rows_admit_wrongly_is_replaced(backend: str) -> None:
    """All 600 slots seem to have the term; the 80 that score lowest have it."""
    slots = 600
    args = list(Spec(1, slots, 16, queries=1, probes=1, k=50).make(filters=False, live=1.0))
    args[0] = jnp.ones((1, slots, 16), jnp.int8)
    args[1] = jnp.arange(slots, 0, -1, dtype=jnp.float32)[None]
    args[2] = jnp.full_like(args[2], 0xFFFFFFFF)
    args[3], args[4], args[5] = jnp.ones((1, 16), jnp.int8), jnp.ones(1), jnp.zeros((1, 1))
    full = Spec(1, slots, 16, queries=1, probes=1, k=50, leaves=1).make()
    plan = dataclasses.replace(full[6], program=jnp.asarray([[0, -3]], jnp.int32))
    has = np.arange(slots) >= slots - 80
    exact = dataclasses.replace(
        full[7],
        spans=jnp.asarray(np.stack([np.zeros(slots), has], 1).astype(np.int32))[None],
        terms=jnp.asarray([7], jnp.int32),
        leaf_terms=jnp.asarray([[7]], jnp.int32),
        negated=jnp.asarray([[False]]),
        decided=jnp.asarray([False]),
    )
    plan = dataclasses.replace(plan, modes=jnp.full_like(plan.modes, 2))  # ONES
    _, found, live, eligible = BACKENDS[backend](
        *args[:6], plan, exact, None, None, k=50, probes=1, max_probes=1, recall=0.95
    )
    assert found[0].tolist() == list(range(slots - 80, slots - 30))
    assert (int(live[0]), int(eligible[0])) == (slots, slots)


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_affinity_finds_nothing(backend: str) -> None:
    args = list(TESTS["small"].make(filters=False))
    args[5] = jnp.full_like(args[5], -jnp.inf)
    scores, slots, live, eligible = BACKENDS[backend](*args, **sizes(TESTS["small"]))
    assert (np.asarray(slots) == -1).all()
    assert (np.asarray(scores) == -np.inf).all()
    assert not np.asarray(live).any()
    assert not np.asarray(eligible).any()


@pytest.mark.parametrize("backend", BACKENDS)
def test_empty_batch_gives_empty_answer(backend: str) -> None:
    case = dataclasses.replace(TESTS["small"], queries=0)
    answer = BACKENDS[backend](*case.make(), **sizes(case))
    assert [each.shape for each in answer] == [(0, case.k), (0, case.k), (0,), (0,)]


def test_vmap() -> None:
    """A stack of indexes, each with its own queries."""
    case = TESTS["small"]
    args = [case.make(seed) for seed in range(3)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *args)
    answer = jax.vmap(lambda *one: filtered_search(*one, **sizes(case)))(*stacked)
    for i, each in enumerate(args):
        assert_right(tuple(part[i] for part in answer), expected(case, each))


def test_runs_under_jit_with_numpy_plans() -> None:
    case = TESTS["small"]
    args = case.make()
    host = jax.tree.map(np.asarray, args)
    answer = jax.jit(lambda *one: filtered_search(*one, **sizes(case)))(*host)
    assert_right(answer, expected(case, args))


@pytest.mark.parametrize("spec", TESTS | BENCHMARKS)
def test_lowers_for_cuda(spec: str) -> None:
    case = (TESTS | BENCHMARKS)[spec]
    search = functools.partial(pallas_triton.filtered_search, **sizes(case))
    assert "triton" in lower_for_cuda(search, *case.abstract())


@pytest.mark.skipif(not INSTRUCTIONS, reason="the CPU kernels were not built")
@pytest.mark.parametrize(
    ("program", "message"),
    [
        ([0] * 9, "query 0 holds 9 values at token 8"),
        ([0, -1], "query 0 holds 0 values at token 1"),
    ],
)
def test_cpu_rejects_programs_off_the_stack(program: list[int], message: str) -> None:
    args = list(Spec(1, 8, 16, queries=1, probes=1, k=1).make())
    args[6] = dataclasses.replace(args[6], program=jnp.asarray([program], jnp.int32))
    with pytest.raises(jax.errors.JaxRuntimeError, match=message):
        jax.block_until_ready(cpu.filtered_search(*args, k=1, probes=1, max_probes=1, recall=0.95))


NAMES = (
    *("codes", "scales", "words", "queries", "query_scales", "affinity"),
    *("plan", "exact", "excluded", "spread", "names"),
)
I32 = jnp.int32


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"codes": jnp.zeros((5, 40, 16))}, r"codes has dtype float32, must be int8 \[C, S, D\]"),
        ({"codes": jnp.zeros((0, 40, 16), jnp.int8)}, "limit: no axis may be empty"),
        ({"words": jnp.zeros((0, 5, 2), jnp.uint32)}, "words has .*limit: no axis may be empty"),
        ({"words": jnp.zeros((9, 5, 1), jnp.uint32)}, r"words has .*ceil\(S / 32\)\] = \(9, 5, 2"),
        ({"queries": jnp.zeros((4, 8), jnp.int8)}, r"queries has .* must be \[B, D\] = \(4, 16\)"),
        ({"scales": jnp.zeros((5, 41))}, r"scales has .*\[C, S\] = \(5, 40\); build it for the"),
        ({"query_scales": jnp.zeros(3)}, r"query_scales has shape \(3,\), must be \[B\] = \(4,\)"),
        ({"affinity": jnp.zeros((4, 6))}, r"affinity has shape \(4, 6\), must be .* = \(4, 5\)"),
        ({"affinity": jnp.zeros((4, 5), I32)}, "affinity has dtype int32, must be float32"),
        ({"plan": Spec(1, 1, 1, queries=3, probes=1, k=1).make()[6]}, r"plan.program has shape"),
        ({"plan": None}, "exact needs the plan that it decides"),
        ({"excluded": jnp.zeros((3, 2), I32)}, r"excluded has shape \(3, 2\), must be"),
        ({"excluded": jnp.zeros(4, I32)}, r"excluded has shape \(4,\), must be int32 \[B, X\]"),
        ({"k": 0}, r"k is 0, limit: an integer from 1 to 80 \(probes \* S = 2 \* 40\)"),
        ({"k": 81}, "k is 81, limit"),
        ({"k": True}, "k is True, limit"),
        ({"probes": 6}, r"probes is 6, limit: an integer from 1 to 5 \(the clusters C\)"),
        ({"max_probes": 1}, "max_probes is 1, limit: an integer from 2 to 5"),
        ({"spread": jnp.zeros((4, 6))}, r"spread has shape \(4, 6\), must be .* = \(4, 5\)"),
        ({"names": jnp.zeros((5, 41), I32)}, r"names has shape \(5, 41\), must be .* = \(5, 40\)"),
        ({"recall": 1.5}, "recall is 1.5, limit: a share from 0 to 1"),
    ],
)
def test_rejects_wrong_arguments(changes: dict[str, Any], message: str) -> None:
    case = TESTS["small"]
    arguments = dict(zip(NAMES, (*case.make(), None))) | sizes(case) | changes
    with pytest.raises(ValueError, match=message):
        filtered_search(*[arguments.pop(name) for name in NAMES], **arguments)


def test_rejects_wrong_exact() -> None:
    case = TESTS["small"]
    args = list(case.make())
    for change, message in (
        ({"terms": jnp.zeros(0, I32)}, "exact.terms is empty"),
        ({"negated": jnp.zeros((4, 3), bool)}, r"exact.negated has shape \(4, 3\), must be"),
        ({"spans": jnp.zeros((5, 40, 2))}, "exact.spans has dtype float32, must be int32"),
    ):
        wrong = [*args[:7], dataclasses.replace(args[7], **change), *args[8:]]
        with pytest.raises(ValueError, match=message):
            filtered_search(*wrong, **sizes(case))
