"""Arrays of a snapshot on the disk: Orbax writes them, TensorStore reads them, a few at a time.

Orbax restores a tree in one go of some ten milliseconds in which others hardly get the
interpreter's lock, too long for a process that answers requests meanwhile. What it writes is
TensorStore's own: a zarr array for each leaf, named by its path joined by dots, in an OCDBT store.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from silverjax._pause import Pause

_METADATA = ".zarray"  # the last part of the key that each array has, and has once
_TOGETHER = 8  # arrays: for each alone its threads would be woken again
_LARGE_BYTES = 2**16  # from here on an array gets pages of its own
_SLICE_BYTES = 2**20  # of a large array that are read at a time: a millisecond or two
_CACHE_BYTES = 10**8  # for the store's directory: without it every array would read that again


def save_arrays(folder: Path, arrays: Any) -> None:
    """Writes nested dicts of NumPy arrays; `folder` must not exist."""
    import orbax.checkpoint as ocp  # half a second: only who publishes pays

    # Codes and embeddings hardly compress; trying costs more time than writing them.
    with ocp.PyTreeCheckpointer(use_compression=False) as checkpointer:
        checkpointer.save(folder.absolute(), arrays)


def load_arrays(folder: Path, *, pause: Pause) -> dict[str, Any]:
    """What `save_arrays` was given; nothing where there is no `folder`.

    They come back as NumPy arrays: the devices that published need not exist here.

    Args:
        pause: Called every few small arrays, and for every slice of a large one.
    """
    if not folder.exists():
        return {}
    import tensorstore as ts

    one = {"limit": 1}  # thread at a time: every thread that reads keeps memory for the next time
    context = ts.Context(
        {
            "cache_pool": {"total_bytes_limit": _CACHE_BYTES},
            "data_copy_concurrency": one,
            "file_io_concurrency": one,
            # A slice of an array is copied from the file's own pages. Otherwise every slice would
            # read all of the array, and all at once takes a core and the memory for it twice.
            "file_io_mode": {"mode": "memmap"},
        }
    )
    files = {"driver": "file", "path": f"{folder.absolute()}/"}
    store = ts.KvStore.open({"driver": "ocdbt", "base": files}, context=context).result()
    keys = [key.decode().rpartition("/") for key in store.list().result()]
    paths = [path for path, _, part in keys if part == _METADATA]
    loaded: dict[str, Any] = {}
    for start in range(0, len(paths), _TOGETHER):
        some = paths[start : start + _TOGETHER]
        opened = [
            ts.open({"driver": "zarr"}, kvstore=store / f"{path}/", context=context, read=True)
            for path in some
        ]
        small = {}
        for path, opening in zip(some, opened):
            array = opening.result()
            if array.size * array.dtype.numpy_dtype.itemsize < _LARGE_BYTES:
                small[path] = array.read()
            else:
                _put(loaded, path.split("."), _in_own_pages(array, pause))
        for path, reading in small.items():
            _put(loaded, path.split("."), reading.result())
        pause()
    return loaded


def _in_own_pages(stored: Any, pause: Pause) -> np.ndarray:
    """Reads an array into memory of its own, which goes back to the system when it is freed.

    What `malloc` gets back it keeps for later, in the heap of whichever thread asked: after a
    hundred versions, one after the other, a process was larger by ten of them.
    """
    import tensorstore as ts

    dtype = stored.dtype.numpy_dtype
    array = np.frombuffer(_pages(stored.size * dtype.itemsize), dtype).reshape(stored.shape)
    for box in boxes(stored.shape, _SLICE_BYTES // dtype.itemsize):
        start = time.perf_counter()
        ts.array(array[box]).write(stored[box]).result()
        pause(time.perf_counter() - start)
    return array


def _pages(size: int) -> mmap.mmap:
    """Memory from the system, in huge pages where it has any.

    A version of a million items is 300,000 small ones, and who gives those back stops all others
    that ask for memory for a tenth of a second. Huge ones go twenty times as fast.
    """
    pages = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(AttributeError, OSError):  # not Linux, or built without
        pages.madvise(mmap.MADV_HUGEPAGE)
    return pages


def boxes(shape: tuple[int, ...], most: int) -> Iterator[tuple[slice, ...]]:
    """Cuts an array into parts of at most `most` values (one, if it is less), in their order.

    >>> list(boxes((3, 4), 8))
    [(slice(0, 2, None),), (slice(2, 3, None),)]
    """
    if not shape:
        yield ()
        return
    row = math.prod(shape[1:])
    step = max(1, most // max(1, row))
    for start in range(0, shape[0], step):
        part = slice(start, min(start + step, shape[0]))
        if row <= most:
            yield (part,)
        else:
            yield from ((part, *rest) for rest in boxes(shape[1:], most))


def _put(tree: dict[str, Any], path: list[str], value: Any) -> None:
    *parents, name = path
    for parent in parents:
        tree = tree.setdefault(parent, {})
    tree[name] = value
