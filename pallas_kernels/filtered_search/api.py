"""`filtered_search`: probe the nearest clusters, filter them, search them, in one op."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from pallas_kernels.bloom_probe.plan import Plan, check_plan
from pallas_kernels.checks import check_array, check_shape
from pallas_kernels.dispatch import Backend, Op
from pallas_kernels.filtered_search.exact import Exact as Exact

OP = Op(
    "filtered_search",
    (
        Backend("cpu", "pallas_kernels.filtered_search.cpu", default_on=("cpu",)),
        Backend("reference", "pallas_kernels.filtered_search.reference", default_on=("*",)),
        Backend("pallas_triton", "pallas_kernels.filtered_search.pallas_triton"),
        Backend("pallas_mosaic_gpu", "pallas_kernels.filtered_search.pallas_mosaic_gpu"),
    ),
)


def filtered_search(
    codes: jax.Array,
    scales: jax.Array,
    words: jax.Array,
    queries: jax.Array,
    query_scales: jax.Array,
    affinity: jax.Array,
    plan: Plan | None = None,
    exact: Exact | None = None,
    excluded: jax.Array | None = None,
    spread: jax.Array | None = None,
    names: jax.Array | None = None,
    *,
    k: int,
    probes: int,
    max_probes: int | None = None,
    recall: float = 0.98,
    backend: str | None = None,
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Keeps the best `k` slots, among those that pass, of the clusters of highest affinity.

    Probe first, filter second (SilverTorch, arXiv 2511.14881): `bloom_probe` over the probed
    clusters only, `int8_search` over what it admits, `exact` over what enters the result. Where
    fewer than `k` slots pass, the next `probes` clusters are probed.

    With `spread`, a query that has a filter goes further: it counts what passes in every cluster,
    visits `probes` clusters that hold some, and goes on until those left are expected to hold
    fewer than `(1 - recall) * k` of the best k (`reach.py` has the rule). Where little passes,
    that is all of it.

    Args:
        codes: int8 [C, S, D].
        scales: float32 [C, S], finite.
        words: uint32 [R, C, ceil(S / 32)], as in `bloom_probe`; row 0 holds the live slots.
        queries: int8 [B, D].
        query_scales: float32 [B], finite.
        affinity: float32 [B, C], without NaN: what a high score in each cluster is, `REACH`
            standard deviations over their mean; equal ones go by cluster, -inf is never probed.
        plan: Programs over the rows of `words`; None admits every live slot.
        exact: Decides each slot by its own terms, where the rows of a plan give a superset.
        excluded: int32 [B, X] slots not to return; -1 as padding.
        spread: float32 [B, C], above 0: standard deviation of the scores of a cluster's slots
            about their mean. None = stop at the first `k`, with a filter too.
        names: int32 [C, S], what is returned for each slot; None = its number. Of a lone search
            XLA would spend a tenth on this lookup, as it wakes a thread for so large a table.
        k: Slots to keep, 1 to probes * S.
        probes: Clusters visited at a time.
        max_probes: Clusters visited at most, from `probes` to C; None = C.
        recall: Share of the best k that a query with a filter is expected to find, 0 to 1; 1 goes
            on until nothing better is to be expected.
        backend: One backend by name; None = the platform's default.

    Returns:
        Scores float32 [B, k], best first, computed as in `int8_search`; slots int32 [B, k] =
        cluster * S + s or their names, equal scores by slot; past the last one -inf, -1. Live
        slots of the clusters probed, or counted and found to hold nothing that passes, int32 [B],
        and those of them that the words admit, int32 [B].

    Raises:
        ValueError: A wrong dtype or shape, or `k`, `probes`, `max_probes` or `recall` out of
            range.
        NotImplementedError: The chosen backend cannot serve here.
    """
    count = codes.shape[0] if max_probes is None else max_probes
    _check(codes, scales, words, queries, query_scales, affinity, k, probes, count)
    batch = queries.shape[0]
    if plan is not None:
        check_plan(plan)
        check_shape("plan.program", plan.program, (batch, plan.program.shape[1]), ("B", "P"))
    if spread is not None:
        check_array("spread", spread, jnp.float32, ("B", "C"))
        check_shape("spread", spread, (batch, codes.shape[0]), ("B", "C"))
    if not 0 <= recall <= 1:
        raise ValueError(f"recall is {recall!r}, limit: a share from 0 to 1")
    if exact is not None:
        _check_exact(exact, plan, codes.shape[:2])
    if excluded is not None:
        check_array("excluded", excluded, jnp.int32, ("B", "X"))
        check_shape("excluded", excluded, (batch, excluded.shape[1]), ("B", "X"))
    if names is not None:
        check_array("names", names, jnp.int32, ("C", "S"))
        check_shape("names", names, codes.shape[:2], ("C", "S"))
    result: tuple[jax.Array, jax.Array, jax.Array, jax.Array] = OP(
        *(codes, scales, words, queries, query_scales, affinity),
        *(plan, exact, excluded, spread, names),
        k=k,
        probes=probes,
        max_probes=count,
        recall=float(recall),
        backend=backend,
    )
    return result


def _check(
    codes: jax.Array,
    scales: jax.Array,
    words: jax.Array,
    queries: jax.Array,
    query_scales: jax.Array,
    affinity: jax.Array,
    k: int,
    probes: int,
    max_probes: int,
) -> None:
    check_array("codes", codes, jnp.int8, ("C", "S", "D"))
    check_array("words", words, jnp.uint32, ("R", "C", "ceil(S / 32)"))
    check_array("queries", queries, jnp.int8, ("B", "D"))
    for name, array in {"codes": codes, "words": words}.items():
        if 0 in array.shape:
            raise ValueError(f"{name} has shape {array.shape}, limit: no axis may be empty")
    (c, s, d), b = codes.shape, queries.shape[0]
    if c * s > 2**31 - 1:
        raise ValueError(
            f"codes has {c} clusters of {s} slots, limit: C * S < 2**31 (slots are int32); split "
            "the index over devices"
        )
    check_shape("words", words, (words.shape[0], c, -(-s // 32)), ("R", "C", "ceil(S / 32)"))
    check_shape("queries", queries, (b, d), ("B", "D"))
    for name, array, shape, axes in (
        ("scales", scales, (c, s), ("C", "S")),
        ("query_scales", query_scales, (b,), ("B",)),
        ("affinity", affinity, (b, c), ("B", "C")),
    ):
        check_array(name, array, jnp.float32, axes)
        check_shape(name, array, shape, axes)
    _check_number("probes", probes, 1, c, "the clusters C")
    _check_number("max_probes", max_probes, probes, c, "the clusters C")
    _check_number("k", k, 1, probes * s, f"probes * S = {probes} * {s}")


def _check_exact(exact: Exact, plan: Plan | None, slots: tuple[int, ...]) -> None:
    if plan is None:
        raise ValueError("exact needs the plan that it decides; pass plan=")
    leaves = tuple(plan.modes.shape)
    for name, dtype, shape, axes in (
        ("spans", jnp.int32, (*slots, 2), ("C", "S", "2")),
        ("terms", jnp.int32, exact.terms.shape[:1], ("T",)),
        ("leaf_terms", jnp.int32, leaves, ("B", "L")),
        ("negated", jnp.bool_, leaves, ("B", "L")),
        ("decided", jnp.bool_, leaves[:1], ("B",)),
    ):
        array = getattr(exact, name)
        check_array(f"exact.{name}", array, dtype, axes)
        check_shape(f"exact.{name}", array, shape, axes)
    if exact.terms.shape[0] == 0:
        raise ValueError("exact.terms is empty, limit: one entry or more; pad it")


def _check_number(name: str, value: Any, low: int, high: int, what: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{name} is {value!r}, limit: an integer from {low} to {high} ({what})")
