"""The selection of the GPU searches against `jax.lax.top_k`, and who probes what."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pallas_kernels.int8_search import groups, selection
from tests.pallas_kernels.cuda import ignore_triton_deprecation, lower_for_cuda


def scores(batch: int, n: int, *, levels: int | None = None) -> np.ndarray:
    """Normal, among them many -inf; or few distinct ones, so that most are equal."""
    rng = np.random.default_rng(n)
    values = rng.normal(size=(batch, n)).astype(np.float32)
    if levels:
        values = rng.integers(-levels, levels, (batch, n)).astype(np.float32)
    return np.where(rng.random((batch, n)) < 0.3, -np.inf, values)


def assert_best_places(n: int, k: int, *, interpret: bool) -> None:
    for levels in (None, 3):
        values = scores(2, n, levels=levels)
        places = selection.best_places(jnp.asarray(values), k=k, interpret=interpret)
        # Stable, so that equal scores go by place.
        expected = np.sort(np.argsort(-values, axis=1, kind="stable")[:, :k], axis=1)
        np.testing.assert_array_equal(np.asarray(places), expected)


def assert_top_k(n: int, k: int, *, interpret: bool) -> None:
    for levels in (None, 3):
        values = jnp.asarray(scores(2, n, levels=levels))
        answer = selection.top_k(values, k=k, interpret=interpret)
        for one, other in zip(answer, jax.lax.top_k(values, k)):
            np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


# Rows that a program holds, rows that it does not, and more than groups can help with.
ROWS = [(1, 1), (7, 9), (40, 3), (5_000, 100), (40_000, 100), (40_000, 700)]


@pytest.mark.parametrize(("n", "k"), ROWS)
def test_best_places_are_those_of_top_k(n: int, k: int) -> None:
    assert_best_places(n, k, interpret=True)


@pytest.mark.parametrize(("n", "k"), [(1, 1), (20, 20), (3_000, 130), (800, 600)])
def test_top_k_is_that_of_lax(n: int, k: int) -> None:
    assert_top_k(n, k, interpret=True)


@pytest.mark.gpu
@pytest.mark.parametrize(("n", "k"), [*ROWS, (32_768, 256), (3_000_000, 100)])
def test_matches_reference_on_gpu(n: int, k: int) -> None:
    with ignore_triton_deprecation():
        assert_best_places(n, k, interpret=False)
        assert_top_k(n, k, interpret=False)


def test_lowers_for_cuda() -> None:
    values = jax.ShapeDtypeStruct((3, 200_000), jnp.float32)
    text = lower_for_cuda(lambda v: selection.best_places(v, k=100, interpret=False), values)
    assert text.count("triton") >= 2


@pytest.mark.parametrize("capacity", [1, 32, 33, 100, 1024, 1025, 5000])
def test_layout_covers_the_slots_of_a_cluster(capacity: int) -> None:
    layout = groups.Layout.of(capacity)
    slots = layout.segments * layout.slots
    assert capacity <= slots < capacity + max(layout.slots, 32)
    assert layout.groups * layout.group == slots
    for size in (layout.words, layout.group):
        assert size & (size - 1) == 0


@pytest.mark.parametrize(("queries", "probes", "count"), [(1, 5, 3), (4, 3, 20), (9, 6, 4)])
def test_runs_hold_each_probe_of_a_known_cluster_once(
    queries: int, probes: int, count: int
) -> None:
    clusters = np.random.default_rng(0).integers(-1, count + 1, (queries, probes), np.int32)
    work = groups.runs(jnp.asarray(clusters), count, alone=queries == 1)
    sorted_, places, heads = (np.asarray(a) for a in (work.clusters, work.probes, work.heads))
    found = []
    for head in heads[heads < places.size]:
        at = head
        while at < places.size and sorted_[at] == sorted_[head] < count:
            found.append((int(places[at]), int(sorted_[at])))
            at += 1
            if queries == 1:  # each probe is a run
                break
    flat = clusters.reshape(-1)
    assert sorted(found) == [(i, int(c)) for i, c in enumerate(flat) if 0 <= c < count]
