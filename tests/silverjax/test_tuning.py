"""Recall curve, choice and signature on a small model, against NumPy."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

import silverjax
from silverjax.bloom_filter import false_positive_rate
from silverjax.index_config import IndexConfig
from silverjax.snapshot import Snapshot, load_snapshot
from silverjax.tuned import Goal
from silverjax.tuning import (
    Point,
    RecallCurve,
    check_latency,
    frontier,
    sample_queries,
    signature,
    wanted_signature,
)
from tests.silverjax.models import CONFIG, SCHEMA, USERS, make_catalogue, make_variables

RNG = np.random.default_rng(0)
POINTS = RNG.normal(size=(1_000, 16)).astype(np.float32)
QUERIES = RNG.normal(size=(70, 16)).astype(np.float32)  # more than brute force takes at once


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    root = tmp_path_factory.mktemp("snapshots")
    silverjax.publish(
        root,
        variables=make_variables(),
        config=CONFIG,
        schema=SCHEMA,
        catalogue=make_catalogue(),
    )
    return load_snapshot(root)


@pytest.fixture(scope="module")
def curve() -> RecallCurve:
    config = IndexConfig(clusters=20, capacity=1_100, keep_embeddings=True)
    return RecallCurve(silverjax.build_index(POINTS, None, config), QUERIES, k=100)


def test_recall_is_the_share_of_the_true_best(curve: RecallCurve) -> None:
    scores = QUERIES @ POINTS.T
    wanted = np.argsort(-scores, axis=1)[:, :100]
    found = silverjax.search(curve.index, QUERIES, k=100, probes=5).rows
    hits = [len(set(one) & set(two)) for one, two in zip(wanted.tolist(), found.tolist())]
    assert curve.at(5) == pytest.approx(np.mean(hits) / 100)
    assert curve.at(20) > 0.95


def test_fewest_is_where_the_target_is_first_reached(curve: RecallCurve) -> None:
    probes = curve.fewest(0.8)
    assert curve.at(probes) >= 0.8 > curve.at(probes - 1)


def test_fewest_rejects_what_int8_cannot_reach(curve: RecallCurve) -> None:
    reached = f"all 20 clusters together reach {curve.at(20):.4f}"
    with pytest.raises(ValueError, match=f"recall 1.0 is out of reach: {reached}"):
        curve.fewest(1.0)


def test_ladder_goes_from_the_fewest_to_all(curve: RecallCurve) -> None:
    assert curve.ladder() == [2, 3, 4, 6, 8, 11, 16, 20]  # 100 candidates need two clusters


def test_recall_rejects_an_index_without_embeddings() -> None:
    index = silverjax.build_index(POINTS, None, IndexConfig(clusters=4))
    with pytest.raises(ValueError, match="keeps no embeddings .*keep_embeddings=True"):
        RecallCurve(index, QUERIES, k=10)


def test_sample_queries_are_embeddings_of_different_users(snapshot: Snapshot) -> None:
    queries = sample_queries(snapshot, count=8, seed=0)
    assert queries.shape == (8, 16)
    assert len(np.unique(queries, axis=0)) == 8
    everybody = sample_queries(snapshot, count=10 * USERS, seed=0)
    assert len(everybody) == USERS
    assert np.allclose(everybody[:8], queries, atol=1e-6)  # compiled for another batch


def test_frontier_times_every_step_and_chooses_the_cheapest(
    snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = snapshot.variables["index"]["items"]
    curve = RecallCurve(index, sample_queries(snapshot, count=20, seed=0), k=40)
    monkeypatch.setattr(curve, "ladder", lambda: [1, 6])  # every step compiles a model
    told: list[str] = []
    chosen, points = frontier(snapshot, curve, Goal(recall=0.9, batch=2), told=told.append)
    assert chosen in points
    assert chosen.recall >= 0.9
    assert all(point.recall < 0.9 for point in points if point.probes < chosen.probes)
    assert {point.probes for point in points} == {1, 6, chosen.probes}
    assert all(point.latency_ms > 0 for point in points)
    assert told[-1] == "timing"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recall": 1.5}, "recall=1.5 must be above 0 and at most 1"),
        ({"latency_ms": -1.0}, "latency_ms=-1.0 must be a positive number; leave it out for none"),
        ({"memory_mib": float("nan")}, "memory_mib=nan must be a positive number"),
        ({"queries": 0}, "queries=0 must be at least 1"),
        ({"batch": 0}, "batch=0 must be at least 1"),
    ],
)
def test_goal_rejects(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Goal(**changes)


def test_check_latency_rejects_with_what_is_within_reach() -> None:
    points = [Point(2, 0.6, 1.0), Point(4, 0.8, 2.0), Point(8, 0.95, 4.0)]
    check_latency(points[2], points, limit_ms=4.0)
    with pytest.raises(ValueError, match=r"0.9500 takes 4.00 ms \(8 clusters\), over the limit of "
                       r"3.0 ms; the best within it is recall 0.8000 with 4 clusters"):  # fmt: skip
        check_latency(points[2], points, limit_ms=3.0)
    with pytest.raises(ValueError, match="even the fewest clusters take 1.00 ms"):
        check_latency(points[2], points, limit_ms=0.5)


@pytest.fixture(scope="module")
def tagged() -> silverjax.ItemIndex:
    """Items of no to eleven tags, of which the four most frequent have a column."""
    tags = [[f"t{(row * 7 + n) % 90}" for n in range(row % 12)] for row in range(1_000)]
    config = IndexConfig(clusters=4, columns=4, bloom_bits=64, hashes=3, capacity=1_200)
    return silverjax.build_index(POINTS, {"tag": tags}, config)


def test_signature_is_the_mean_of_the_formula_over_the_items(tagged: silverjax.ItemIndex) -> None:
    columns = np.asarray(tagged.column_of_term)
    terms, spans = np.asarray(tagged.terms), np.asarray(tagged.spans)
    lists = spans[np.asarray(tagged.rows) >= 0].tolist()
    lengths = [int((columns[terms[at : at + n]] == 0).sum()) for at, n in lists]
    expected = np.mean([false_positive_rate(n, 128, 3) for n in lengths])
    made = signature(tagged, 128)
    assert made.false_positives == pytest.approx(expected)
    wider = IndexConfig(clusters=4, columns=4, bloom_bits=128, hashes=3, capacity=1_200)
    tags = [[f"t{(row * 7 + n) % 90}" for n in range(row % 12)] for row in range(1_000)]
    built = silverjax.build_index(POINTS, {"tag": tags}, wider)
    assert made.index_bytes == sum(built.nbytes().values())


def test_wanted_signature_is_as_wide_as_it_need_be_and_fits(tagged: silverjax.ItemIndex) -> None:
    ample = wanted_signature(tagged, 100.0)
    assert ample is not None
    assert ample.false_positives <= 0.01 < signature(tagged, ample.bits - 32).false_positives
    tight = wanted_signature(tagged, (ample.index_bytes - 1) / 2**20)
    assert tight is not None
    assert tight.bits == ample.bits - 32
    now = wanted_signature(tagged, None)
    assert now is not None
    assert (now.bits, now.index_bytes) == (64, sum(tagged.nbytes().values()))
    with pytest.raises(ValueError, match=r"narrowest signature \(32 bits\) .* limit of 0.01 MiB"):
        wanted_signature(tagged, 0.01)


def test_an_index_without_features_wants_no_signature(curve: RecallCurve) -> None:
    assert wanted_signature(curve.index, 1.0) is None


def test_sample_queries_rejects_a_snapshot_without_users(snapshot: Snapshot) -> None:
    nobody = dataclasses.replace(snapshot.catalogue, user_ids=[])
    with pytest.raises(ValueError, match="has no users"):
        sample_queries(dataclasses.replace(snapshot, catalogue=nobody), count=1, seed=0)
