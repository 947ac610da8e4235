"""Columns of a catalogue are read in pieces as `json.loads` reads them in one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from silverjax._columns import read_column
from silverjax.snapshot import _json

# What ends a list, a value or a line in JSON, inside texts.
texts = st.text(st.sampled_from('ab"\\,:[]{}\n \u2028七'), max_size=6)
lists = st.lists(texts, max_size=4)
columns = st.one_of(
    st.tuples(st.just("titles"), st.lists(texts, max_size=140)),
    st.tuples(st.just("seen"), st.lists(st.lists(st.integers(0, 2**31 - 1)), max_size=70)),
    st.tuples(st.just("attributes"), st.dictionaries(texts, st.lists(lists, max_size=5))),
)


@hypothesis.given(columns, st.booleans())
def test_is_read_as_json(
    tmp_path_factory: pytest.TempPathFactory, column: tuple[str, Any], pretty: bool
) -> None:
    name, values = column
    path, pauses = tmp_path_factory.getbasetemp() / "column.json", list[int]()
    path.write_bytes(json.dumps(values, indent=1).encode() if pretty else _json(values))
    read = read_column(name, path, pause=lambda: pauses.append(1))
    assert (list(read) if name == "seen" else read) == values
    at_once = read_column(name, path, pause=None)
    assert (list(at_once) if name == "seen" else at_once) == values
    assert len(pauses) >= (len(values) // 64 if name != "attributes" else 0)


@pytest.mark.parametrize("text", ["", "[", '["a"', '["a",', '["a" "b', "[}", "{}x"])
def test_rejects_what_is_cut_short(tmp_path: Path, text: str) -> None:
    (tmp_path / "titles.json").write_text(text)
    with pytest.raises(ValueError, match=r"ends before|Expecting|Unterminated"):
        read_column("titles", tmp_path / "titles.json", pause=lambda: None)
