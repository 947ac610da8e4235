"""The promise of the filters: exactly what brute force admits, nothing more, nothing less."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from silverjax.ann_search import search
from silverjax.filter_language import And, Everything, Expression, Not, Or, Term, parse
from silverjax.filter_plan import compile_filters
from silverjax.index_builder import build_index
from silverjax.index_config import IndexConfig
from tests.silverjax import oracle

ITEMS = 64
FILTERS = 100
VALUES = ["en", "fr", "x y", 'q"t', "\\", "", "7", "or"]
UNKNOWN = ["nobody", "8"]

# 102 corpora of 100 filters each: 10,200 pairs. Few columns and narrow signatures make the
# Bloom rows err all the time, so that only the exact check can be right.
CONFIGS = [
    IndexConfig(clusters=4, columns=2, bloom_bits=32, hashes=1, iterations=2, terms=16_384),
    IndexConfig(clusters=4, columns=0, bloom_bits=32, hashes=3, iterations=2, terms=16_384),
    IndexConfig(clusters=4, columns=63, bloom_bits=64, hashes=4, iterations=2, terms=16_384),
]


def random_corpus(rng: np.random.Generator) -> dict[str, list[list[str | int]]]:
    def some(pool: list[str | int], most: int) -> list[list[str | int]]:
        sizes = rng.integers(0, most + 1, ITEMS)
        return [[pool[i] for i in rng.integers(0, len(pool), size)] for size in sizes]

    return {"language": some([*VALUES, 7, 11], 3), "tag": some(list(range(200)), 6)}


def random_tree(rng: np.random.Generator, leaves: int) -> Expression:
    if rng.random() < 0.3:
        return Not(random_tree(rng, leaves))
    if leaves == 1:
        if rng.random() < 0.5:
            pool = [*VALUES, *UNKNOWN, "11"]
            return Term("language", pool[rng.integers(len(pool))])
        return Term("tag", str(rng.integers(0, 210)))
    left = int(rng.integers(1, leaves))
    parts = (random_tree(rng, left), random_tree(rng, leaves - left))
    return And(parts) if rng.random() < 0.5 else Or(parts)


def check(config: IndexConfig, corpus: oracle.Corpus, trees: list[Expression]) -> None:
    """All filters at once, against brute force."""
    embeddings = np.random.default_rng(0).normal(size=(ITEMS, 8)).astype(np.float32)
    index = build_index(embeddings, corpus, config)
    plan = compile_filters(index, [oracle.to_text(tree) for tree in trees])
    queries = np.random.default_rng(1).normal(size=(len(trees), 8)).astype(np.float32)
    found = search(index, queries, plan, k=ITEMS, probes=4)
    for rows, tree in zip(np.asarray(found.rows), trees, strict=True):
        expected = np.flatnonzero(oracle.eligible(tree, corpus, ITEMS))
        assert sorted(rows[rows >= 0]) == list(expected), oracle.to_text(tree)


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS, ids=["narrow", "bloom-only", "default"])
@settings(max_examples=34, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(seed=st.integers(0, 2**32), heavy=st.booleans())
def test_filtered_search_returns_what_brute_force_admits(
    config: IndexConfig, seed: int, heavy: bool
) -> None:
    rng = np.random.default_rng(seed)
    corpus = random_corpus(rng)
    if heavy:  # one item with 5,000 terms
        corpus["tag"][0] = list(range(5_000))
    check(config, corpus, [random_tree(rng, int(rng.integers(1, 12))) for _ in range(FILTERS)])


terms = st.one_of(
    st.builds(Term, st.just("language"), st.sampled_from([*VALUES, *UNKNOWN])),
    st.builds(Term, st.just("tag"), st.integers(0, 9).map(str)),
)


@settings(max_examples=60, deadline=None)
@given(tree=oracle.expressions(terms))
def test_any_one_filter_admits_what_brute_force_admits(tree: Expression) -> None:
    rng = np.random.default_rng(0)
    check(CONFIGS[0], random_corpus(rng), [tree])


def test_items_without_values_are_only_reached_by_negation() -> None:
    index = build_index(np.eye(3, dtype=np.float32), {"tag": [["a"], [], None]})
    plan = compile_filters(index, ["tag:a", "NOT tag:a", "", "NOT tag:unknown", "tag:unknown"])
    found = search(index, np.ones((5, 3), np.float32), plan, k=3, probes=1)
    answers = [sorted(r for r in row if r >= 0) for row in np.asarray(found.rows).tolist()]
    assert answers == [[0], [1, 2], [0, 1, 2], [0, 1, 2], []]


def test_numbers_and_their_text_are_one_value() -> None:
    index = build_index(np.eye(2, dtype=np.float32), {"creator": [5, "6"]})
    plan = compile_filters(index, ["creator:5", 'creator:"6"'])
    found = search(index, np.ones((2, 2), np.float32), plan, k=1, probes=1)
    assert np.asarray(found.rows).tolist() == [[0], [1]]


def test_unknown_feature_is_refused_with_the_known_ones() -> None:
    index = build_index(np.eye(2, dtype=np.float32), {"genre": ["a", "b"], "year": [1, 2]})
    with pytest.raises(ValueError, match="no feature `colour` .it has: genre, year.") as caught:
        compile_filters(index, ["genre:a AND colour:red"])
    assert "at character 13" in str(caught.value)


def test_one_string_for_a_list_of_filters_is_refused() -> None:
    index = build_index(np.eye(2, dtype=np.float32), {"genre": ["a", "b"]})
    with pytest.raises(TypeError, match="one filter per query"):
        compile_filters(index, "genre:a")


def test_too_many_terms_for_a_fixed_plan_are_refused() -> None:
    index = build_index(np.eye(40, dtype=np.float32), {"tag": list(range(40))})
    text = "tag IN (" + ", ".join(str(i) for i in range(40)) + ")"
    with pytest.raises(ValueError, match="40 terms, over max_leaves=32"):
        compile_filters(index, [text], max_leaves=32)
    plan = compile_filters(index, [text])
    found = search(index, np.ones((1, 40), np.float32), plan, k=40, probes=1)
    assert (np.asarray(found.rows) >= 0).all()


def test_alternation_deeper_than_the_stack_is_refused() -> None:
    def full(depth: int, at: int) -> str:
        if depth == 0:
            return f"tag:{at}"
        word = " AND " if depth % 2 else " OR "
        return f"({full(depth - 1, 2 * at)}{word}{full(depth - 1, 2 * at + 1)})"

    index = build_index(np.eye(512, dtype=np.float32), {"tag": list(range(512))})
    assert compile_filters(index, [full(7, 0)]).batch == 1
    with pytest.raises(ValueError, match="stack of 9, the limit is 8"):
        compile_filters(index, [full(8, 0)])


def test_thousand_new_filters_do_not_recompile() -> None:
    rng = np.random.default_rng(0)
    n = 500
    corpus = {"tag": rng.integers(0, 300, (n, 3)).tolist(), "language": ["en", "fr"] * (n // 2)}
    index = build_index(rng.normal(size=(n, 16)).astype(np.float32), corpus)
    queries = rng.normal(size=(4, 16)).astype(np.float32)
    traced = []

    @jax.jit
    def serve(index, queries, plan):  # type: ignore[no-untyped-def]
        traced.append(1)
        return search(index, queries, plan, k=5, probes=2)

    for number in range(250):
        picked = rng.integers(0, 310, 10)
        filters = [
            f"tag:{picked[0]}",
            f"language:en AND NOT (tag:{picked[1]} OR tag:{picked[2]})",
            "" if number % 3 else f"NOT tag IN ({picked[3]}, {picked[4]}, {picked[5]})",
            " OR ".join(f"tag:{t}" for t in picked[6:]),
        ]
        serve(index, queries, compile_filters(index, filters))
    assert len(traced) == 1
    other = build_index(
        rng.normal(size=(n, 16)).astype(np.float32),
        {"tag": rng.integers(0, 100, (n, 4)).tolist(), "language": ["de"] * n},
    )
    serve(other, queries, compile_filters(other, ["tag:5", "language:de", "", "NOT tag:1"]))
    assert len(traced) == 1


def test_everything_is_the_empty_filter() -> None:
    assert parse("") == Everything()
