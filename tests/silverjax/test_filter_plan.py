"""Plans of whole batches against plans of single filters, and against the index by hand."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pallas_kernels.bloom_probe import api as kernel
from silverjax.bloom_filter import bloom_rows
from silverjax.filter_language import Term
from silverjax.filter_plan import compile_filters, digest
from silverjax.index_builder import build_index
from silverjax.index_config import IndexConfig
from silverjax.item_index import ItemIndex
from tests.silverjax import oracle

terms = st.builds(Term, st.just("tag"), st.integers(0, 44).map(str))  # the last five unknown


@pytest.fixture(scope="module")
def index() -> ItemIndex:
    tags = [[i % 40, i % 3] for i in range(120)]
    return build_index(
        np.eye(120, dtype=np.float32), {"tag": tags}, IndexConfig(clusters=4, columns=8, hashes=3)
    )


@given(trees=st.lists(oracle.expressions(terms), max_size=6))
def test_plan_of_a_batch_is_those_of_its_filters(index: ItemIndex, trees: list) -> None:
    texts = [oracle.to_text(tree) for tree in trees]
    together = jax.tree.leaves(compile_filters(index, texts, max_leaves=64))
    for at, text in enumerate(texts):
        alone = jax.tree.leaves(compile_filters(index, [text], max_leaves=64))
        for one, all_of_them in zip(alone, together, strict=True):
            np.testing.assert_array_equal(one[0], all_of_them[at])
    assert {len(array) for array in together} == {len(texts)}


@pytest.mark.parametrize("tag", range(40))
@pytest.mark.parametrize("negated", [False, True])
def test_leaf_reads_the_rows_of_its_term(index: ItemIndex, tag: int, negated: bool) -> None:
    plan = compile_filters(index, [f"{'NOT ' * negated}tag:{tag}"])
    words = np.frombuffer(digest("tag", str(tag)), np.uint32)
    term = int(np.flatnonzero((np.asarray(index.vocabulary) == words).all(axis=1))[0])
    column = int(index.column_of_term[term])
    signature = 1 + index.columns + bloom_rows(words, index.bloom_bits, 3)
    expected = [column] * 3 if column else signature.tolist()
    assert plan.probe.rows[0, 0].tolist() == expected
    complement = kernel.COMPLEMENT if column else kernel.ONES
    assert plan.probe.modes[0, 0] == (complement if negated else kernel.ROWS)
    assert (plan.terms[0, 0], plan.negated[0, 0], plan.exact[0]) == (term, negated, column > 0)
    assert (plan.terms[0, 1:] == -1).all()
    assert (plan.probe.modes[0, 1:] == kernel.ZEROS).all()
    assert plan.probe.program[0, :2].tolist() == [0, kernel.NO_OP]


def test_index_without_terms_knows_none() -> None:
    index = build_index(np.eye(3, dtype=np.float32), {"tag": [None] * 3})
    plan = compile_filters(index, ["tag:a", "NOT tag:a", ""])
    assert plan.probe.program[:, 0].tolist() == [0, kernel.NO_OP, kernel.NO_OP]
    assert plan.probe.modes[0, 0] == kernel.ZEROS
    assert plan.exact.all()


def test_heaviest_part_goes_first(index: ItemIndex) -> None:
    plan = compile_filters(index, ["tag:1 AND (tag:2 OR tag:3) AND tag:2 AND tag:2"])
    code = plan.probe.program[0]
    assert code[code != kernel.NO_OP].tolist() == [
        *(0, 1, kernel.OR, 2, kernel.AND, 3, kernel.AND),
    ]
