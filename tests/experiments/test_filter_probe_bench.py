"""The corpus and both sides of the filter benchmark, against plain Python."""

from __future__ import annotations

import pathlib

import jax
import numpy as np
import pytest

import silverjax
from experiments import filter_probe_bench as bench
from experiments.filter_corpus import Attributes, Condition, attributes_of, conditions
from pallas_kernels.bloom_probe.api import bloom_probe

ITEMS = 2_000


@pytest.fixture(scope="module")
def attributes() -> Attributes:
    return attributes_of(ITEMS, np.random.default_rng(0))


@pytest.fixture(scope="module")
def asked(attributes: Attributes) -> list[Condition]:
    return conditions(attributes, 12, np.random.default_rng(1))


@pytest.fixture(scope="module")
def index(attributes: Attributes) -> silverjax.ItemIndex:
    points = np.random.default_rng(0).normal(size=(ITEMS, 16)).astype(np.float32)
    config = silverjax.IndexConfig(clusters=8, columns=15, bloom_bits=64)
    return silverjax.build_index(points, attributes, config)


def expected(attributes: Attributes, condition: Condition) -> set[int]:
    def has(row: int, term: tuple[str, object]) -> bool:
        held = attributes[term[0]][row]
        return term[1] in held if isinstance(held, list) else term[1] == held

    return {
        row
        for row in range(ITEMS)
        if all(any(has(row, term) for term in group) for group in condition.all_of)
        and not any(has(row, term) for term in condition.none_of)
    }


def test_queries_are_of_three_kinds_and_find_something(
    attributes: Attributes, asked: list[Condition]
) -> None:
    assert {(len(one.all_of), len(one.none_of)) for one in asked} == {(2, 1), (2, 0), (1, 1)}
    assert sum(len(expected(attributes, one)) > 0 for one in asked) > 6


def test_both_indexes_answer_as_plain_python(
    attributes: Attributes, asked: list[Condition], index: silverjax.ItemIndex
) -> None:
    pytest.importorskip("pyroaring", reason="pyroaring is in extra `bench`")
    roaring = bench.Roaring(attributes)
    for condition in asked:
        assert set(roaring.eligible(condition)) == expected(attributes, condition)
    plan = silverjax.compile_filters(index, [one.text for one in asked])
    words = np.asarray(bloom_probe(index.words, jax.device_put(plan).probe, None))
    bench.check(index, roaring, asked, words)  # no match is lost
    with pytest.raises(ValueError, match="the words lose"):
        bench.check(index, roaring, asked, np.zeros_like(words))


def test_main_writes_the_figures(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyroaring", reason="pyroaring is in extra `bench`")
    monkeypatch.setattr(bench, "FOLDER", tmp_path)
    monkeypatch.setattr(bench, "use_cores", lambda _: None)  # this process goes on
    written = {}
    monkeypatch.setattr(bench, "write_result", lambda path, **given: written.update(given) or path)
    bench.main(bench.Study(items=ITEMS, clusters=8, probes=2, rounds=1, turn=0.0))
    figures = written["figures"]
    assert set(figures["milliseconds"]) == {
        "pyroaring", "whole corpus", "probe then filter", "filters to plans",
    }  # fmt: skip
    assert all(value > 0 for value in figures["milliseconds"].values())
    rate = figures["false_positives"]
    assert rate["measured"] == pytest.approx(rate["formula"], rel=0.5)  # 2,000 items are few
    assert len(written["headline"]) == 2
