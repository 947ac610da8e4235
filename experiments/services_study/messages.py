"""Arrays and texts as one message: a JSON header, then the arrays' little-endian bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np

_LENGTH = 4  # bytes of the header's own length
_ALIGNED = 64  # so that XLA may read the arrays where they lie


def pack(arrays: Mapping[str, np.ndarray], texts: Sequence[str] = ()) -> bytes:
    """One message; `unpack` reads it."""
    little = {n: np.asarray(a, a.dtype.newbyteorder("<"), order="C") for n, a in arrays.items()}
    columns = [[name, a.dtype.str, a.shape] for name, a in little.items()]
    header = json.dumps({"arrays": columns, "texts": list(texts)}).encode()
    header += b" " * (-(_LENGTH + len(header)) % _ALIGNED)
    parts = [len(header).to_bytes(_LENGTH, "little"), header]
    for array in little.values():
        parts += [array.tobytes(), bytes(-array.nbytes % _ALIGNED)]
    return b"".join(parts)


def unpack(message: bytes) -> tuple[dict[str, np.ndarray], list[str]]:
    """Arrays (read-only views of `message`) and texts.

    Raises:
        ValueError: `message` is shorter than its header says.
    """
    at = _LENGTH + int.from_bytes(message[:_LENGTH], "little")
    header = json.loads(message[_LENGTH:at])
    arrays = {}
    for name, dtype, shape in header["arrays"]:
        count = int(np.prod(shape, dtype=np.int64))
        array = np.frombuffer(message, dtype, count, at).reshape(shape)
        arrays[name] = array
        at += array.nbytes + -array.nbytes % _ALIGNED
    return arrays, header["texts"]
