"""Arrays on the disk come back bit for bit, in slices of which somebody is told."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from silverjax._arrays import boxes, load_arrays, save_arrays


def test_large_arrays_come_back_slice_by_slice(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    saved = {
        "rows": rng.integers(-128, 128, (70_001, 33), dtype=np.int8),
        "long_rows": rng.normal(size=(3, 300_001)).astype(np.float32),
        "flat": rng.random(400_003) < 0.5,
        "small": np.array([1, np.nan], np.float32),
        "scalar": np.array(7, np.int32),
    }
    deep, waits = rng.normal(size=(5, 40, 3_000)), list[float]()
    save_arrays(tmp_path / "arrays", saved | {"nested": {"deep": deep}})
    loaded = load_arrays(tmp_path / "arrays", pause=lambda worked=0.0: waits.append(worked))
    np.testing.assert_array_equal(loaded.pop("nested")["deep"], deep, strict=True)
    assert loaded.keys() == saved.keys()
    for name, array in loaded.items():
        np.testing.assert_array_equal(array, saved[name], strict=True)
    assert sum(wait > 0 for wait in waits) >= 3 + 6 + 1 + 5  # slices of at most a mebibyte


@pytest.mark.parametrize("shape", [(7,), (5, 4), (3, 4, 5), (2, 1, 9), (1,), ()])
@pytest.mark.parametrize("most", [0, 1, 3, 8, 1_000])
def test_boxes_cover_an_array_once_and_in_order(shape: tuple[int, ...], most: int) -> None:
    array = np.arange(int(np.prod(shape))).reshape(shape)
    parts = [array[box].ravel() for box in boxes(shape, most)]
    assert list(itertools.chain.from_iterable(parts)) == array.ravel().tolist()
    assert all(len(part) <= max(1, most) for part in parts)
