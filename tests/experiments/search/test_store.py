from __future__ import annotations

import pathlib

import jax
import numpy as np
import pytest

import silverjax
from experiments.search.store import Store, load_item_index, save_item_index
from tests.experiments.search.toys import ITEMS


def test_store_builds_once_and_leaves_nothing_of_a_failure(tmp_path: pathlib.Path) -> None:
    told: list[str] = []
    store = Store(tmp_path / "cache", told.append)

    def save(text: str, path: str) -> None:
        pathlib.Path(path).write_text(text)
        if text == "bad":
            raise OSError("disk full")

    def get(name: str, text: str) -> str:
        return store.get(name, lambda: text, save=save, load=lambda p: pathlib.Path(p).read_text())

    assert get("a", "first") == "first"
    assert get("a", "second") == "first"
    with pytest.raises(OSError, match="disk full"):
        get("b", "bad")
    assert told == ["building a", "building b"]
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["a"]


def test_item_index_comes_back_bit_for_bit(tmp_path: pathlib.Path) -> None:
    attributes = {"parity": (np.arange(2_000) % 2).tolist()}
    config = silverjax.IndexConfig(clusters=8, columns=2, hashes=3)
    index = silverjax.build_index(ITEMS, attributes, config)
    save_item_index(index, str(tmp_path / "index"))
    again = load_item_index(str(tmp_path / "index"))
    assert str(jax.tree.structure(again)) == str(jax.tree.structure(index))  # static fields too
    for one, two in zip(jax.tree.leaves(index), jax.tree.leaves(again)):
        assert one.dtype == two.dtype
        assert np.array_equal(one, two)


def test_save_rejects_an_index_with_embeddings(tmp_path: pathlib.Path) -> None:
    config = silverjax.IndexConfig(clusters=8, keep_embeddings=True)
    index = silverjax.build_index(ITEMS, None, config)
    with pytest.raises(ValueError, match="without embeddings"):
        save_item_index(index, str(tmp_path / "index"))
    assert list(tmp_path.iterdir()) == []
