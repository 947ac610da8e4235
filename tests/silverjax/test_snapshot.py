"""Snapshots: what is published comes back exactly, whole, or not at all."""

from __future__ import annotations

import dataclasses
import gc
import json
import subprocess
import time
from pathlib import Path
from typing import Any

import flax.struct
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

import silverjax
from silverjax import _plain, snapshot
from silverjax.config import RetrieverConfig
from silverjax.item_index import ItemIndex
from silverjax.snapshot_errors import NoSnapshotError, SnapshotError
from tests.silverjax.snapshots import (
    CATALOGUE,
    CONFIG,
    SCHEMA,
    as_bytes,
    files_of,
    make_index,
    make_variables,
    publish,
)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A snapshot that no test may change."""
    return publish(tmp_path_factory.mktemp("published"))


def assert_same(ours: Any, theirs: Any) -> None:
    """Same structure, static fields included, and the same bytes in every leaf."""
    # tree.map raises where the structures differ.
    jax.tree.map(lambda a, b: np.testing.assert_equal(as_bytes(a), as_bytes(b)), ours, theirs)


def test_round_trip_is_bit_exact(published: Path) -> None:
    loaded = silverjax.load_snapshot(published)
    expected = make_variables()
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(loaded.variables))
    assert_same(loaded.variables, expected)
    assert loaded.config == CONFIG
    assert loaded.schema == SCHEMA
    assert loaded.version == published.name == "00000001"


def test_catalogue_comes_back_on_the_host(published: Path) -> None:
    loaded = silverjax.load_snapshot(published).catalogue
    for name in ("item_ids", "titles", "user_ids", "attributes"):
        assert getattr(loaded, name) == getattr(CATALOGUE, name)
    encoded = (loaded.items, loaded.users)
    assert_same(encoded, (CATALOGUE.items, CATALOGUE.users))
    assert all(type(leaf) is np.ndarray for leaf in jax.tree.leaves(encoded))
    assert loaded.users_at([loaded.user_row("u2")]).history.tolist() == [[-1, 0, 2]]


def test_columns_that_did_not_change_are_shared(tmp_path: Path) -> None:
    publish(tmp_path)
    publish(tmp_path, catalogue=dataclasses.replace(CATALOGUE, titles=["a", "b", "c"]))
    one = silverjax.load_snapshot(tmp_path / "00000001")
    pauses: list[int] = []
    two = silverjax.load_snapshot(tmp_path, like=one, pause=lambda worked=0.0: pauses.append(1))
    for name in ("item_ids", "user_ids", "attributes", "seen"):
        assert getattr(two.catalogue, name) is getattr(one.catalogue, name)
    assert two.catalogue.titles == ["a", "b", "c"]
    assert two.catalogue._item_rows is one.catalogue._item_rows
    assert_same(two.variables, one.variables)
    assert len(pauses) > len(two.manifest["files"])


def test_loading_again_and_again_leaves_nothing_behind(published: Path) -> None:
    def objects_after_loading() -> int:
        snapshot.load_snapshot(published)
        gc.collect()
        return len(gc.get_objects())

    objects_after_loading()  # what the first one imports stays
    counts = [objects_after_loading() for _ in range(4)]
    assert counts[-1] - counts[0] < 30  # a server loads thousands; ten objects each are a leak


def test_none_in_a_pytree_class_comes_back_as_none(tmp_path: Path) -> None:
    publish(tmp_path, variables={"index": {"items": make_index(inputs=False)}})
    items = silverjax.load_snapshot(tmp_path).variables["index"]["items"]
    assert items.cache.inputs is None
    assert items.cache.embeddings.shape == (9, 16)


def test_loaded_index_takes_the_place_of_the_published_one_without_recompiling(
    published: Path,
) -> None:
    traces = []

    @jax.jit
    def live_items(index: ItemIndex) -> jax.Array:
        traces.append(index)
        return index.live_items

    live_items(make_index())
    live_items(silverjax.load_snapshot(published).variables["index"]["items"])
    assert len(traces) == 1


@hypothesis.given(
    st.recursive(
        st.tuples(
            st.sampled_from(["int8", "uint32", "float32", "bfloat16", "bool"]),
            st.lists(st.integers(0, 3), max_size=3),
            st.integers(0, 2**32 - 1),
        ),
        lambda below: st.dictionaries(st.text("ab_./%", min_size=1, max_size=3), below, max_size=3),
        max_leaves=6,
    )
)
def test_split_and_join_are_inverse(spec: Any) -> None:
    def build(node: Any) -> Any:
        if isinstance(node, dict):
            return {name: build(below) for name, below in node.items()}
        dtype, shape, seed = node
        return jnp.asarray(np.random.default_rng(seed).integers(0, 2, shape), dtype)

    tree = {"params": build(spec)}
    description, arrays = _plain.split(tree, "tree")
    back = _plain.join(json.loads(json.dumps(description)), arrays, leaf=jnp.asarray)
    assert_same(back, tree)


def test_directory_holds_arrays_and_json_only(published: Path) -> None:
    names = files_of(published)
    outside_arrays = [name for name in names if not name.startswith("arrays/")]
    assert outside_arrays == [
        "arrays.json",
        "catalogue/attributes.json",
        "catalogue/item_ids.json",
        "catalogue/seen.json",
        "catalogue/titles.json",
        "catalogue/user_ids.json",
        "config.json",
        "manifest.json",
        "manifest.sha256",
        "schema.json",
    ]
    assert len(names) > len(outside_arrays)
    pickled = b"\x80\x04\x95"  # PROTO 4, FRAME: how every pickle since Python 3.8 begins
    assert not [name for name in names if (published / name).read_bytes().startswith(pickled)]


def test_manifest_can_be_checked_by_hand(published: Path) -> None:
    subprocess.run(
        ["sha256sum", "--check", "--quiet", "manifest.sha256"], cwd=published, check=True
    )


def test_manifest_carries_what_the_publisher_adds(tmp_path: Path) -> None:
    publish(tmp_path, info={"recall@20": 0.25})
    assert silverjax.load_snapshot(tmp_path).manifest["info"] == {"recall@20": 0.25}


def test_root_loads_the_highest_version(tmp_path: Path) -> None:
    for version in (None, 7, None, 123_456_789):
        publish(tmp_path, variables={}, version=version)
    names = [path.name for path in snapshot.versions(tmp_path)]
    assert names == ["00000001", "00000007", "00000008", "123456789"]
    assert silverjax.load_snapshot(tmp_path).version == "123456789"
    assert silverjax.load_snapshot(tmp_path / "00000007").version == "00000007"


@pytest.mark.parametrize("version", [0, 3, 4])
def test_rejects_a_version_that_is_not_above_the_latest(tmp_path: Path, version: int) -> None:
    publish(tmp_path, variables={}, version=4)
    with pytest.raises(SnapshotError, match=f"version={version} must be above the latest .* 4;"):
        publish(tmp_path, variables={}, version=version)
    assert len(snapshot.versions(tmp_path)) == 1


def test_nothing_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(NoSnapshotError, match="there is no such directory"):
        silverjax.load_snapshot(tmp_path / "absent")
    with pytest.raises(NoSnapshotError, match="holds no version"):
        silverjax.load_snapshot(tmp_path)


def test_unknown_setting_is_refused(tmp_path: Path) -> None:
    @dataclasses.dataclass(frozen=True)
    class LaterConfig(RetrieverConfig):
        telepathy: bool = True

    publish(tmp_path, variables={}, config=LaterConfig())
    with pytest.raises(SnapshotError, match="config has no field 'telepathy'"):
        silverjax.load_snapshot(tmp_path)


def test_unknown_class_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @flax.struct.dataclass
    class Popen:
        args: Any

    with monkeypatch.context() as patch:
        patch.setitem(_plain.CLASSES, "Popen", Popen)
        publish(tmp_path, variables={"index": Popen(jnp.zeros(1))})
    with pytest.raises(SnapshotError, match="class 'Popen' is unknown"):
        silverjax.load_snapshot(tmp_path)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"a": 1.0}, r"variables\['a'\] is a float"),
        ({"a": np.zeros(1)}, r"variables\['a'\] is float64, which JAX would load as float32"),
        ({"a": {1: np.zeros(1, np.int8)}}, r"variables\['a'\] has the key 1"),
        ({"a": {"": np.zeros(1, np.int8)}}, "has the key ''"),
        ({"a": np.array([{}], object)}, "holds object"),
        ({"a": np.array(["x"])}, "holds <U1"),
        ({"a": jax.random.key(0)}, "holds key<"),
    ],
)
def test_rejects_what_would_not_come_back(
    tmp_path: Path, variables: dict[Any, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        publish(tmp_path, variables=variables)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"titles": ["only one"]}, "titles has 1 rows, item_ids 3"),
        ({"attributes": {"genre": [[]]}}, "genre has 1 rows"),
        ({"item_ids": ["a", "b", "a"]}, "item_ids names a row twice"),
        ({"user_ids": [3, 4]}, "user_ids holds values that are not text"),
        ({"user_ids": ["one"]}, r"array of Users has shape \(2,\).* must have 1 rows"),
        ({"items": CATALOGUE.users}, r"array of Users has shape \(2,\).* must have 3 rows"),
    ],
)
def test_rejects_catalogue_that_does_not_fit(
    tmp_path: Path, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        publish(tmp_path, catalogue=dataclasses.replace(CATALOGUE, **fields))


@pytest.mark.slow
def test_large_snapshot_is_published_in_seconds(tmp_path: Path) -> None:
    """1 M items of 64 int8 dimensions with bit words and float scales: about 150 MB."""
    rng = np.random.default_rng(0)
    items = dataclasses.replace(
        make_index(),
        codes=jnp.asarray(rng.integers(-127, 128, (1024, 1024, 64), np.int8)),
        words=jnp.asarray(rng.integers(0, 2**32, (128, 1024, 32), np.uint32)),
        scales=jnp.ones((1024, 1024)),
        terms=jnp.arange(16_000_000, dtype=jnp.int32),
    )
    start = time.monotonic()
    publish(tmp_path, variables={"index": {"items": items}})
    # Takes 1 s on two free cores; the limit only tells "seconds" from "minutes".
    assert time.monotonic() - start < 30
    loaded = silverjax.load_snapshot(tmp_path).variables["index"]["items"]
    assert as_bytes(loaded.codes) == as_bytes(items.codes)
