"""Tensors of the Open Inference Protocol v2 in both of its encodings: JSON and binary.

Binary is little-endian and row-major; an element of BYTES is a uint32 length and that many bytes
(the protocol's "binary tensor data" extension). Sizes are checked before anything is allocated.
"""

from __future__ import annotations

import dataclasses
import math
import struct
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
DATATYPES = ("BYTES", *DTYPES)

_LENGTH = struct.Struct("<I")
_JSON_TYPES = {"b": bool, "u": int, "i": int, "f": float}


class TensorError(ValueError):
    """A tensor that cannot be read; the message names it, its value and the fix."""


@dataclasses.dataclass(frozen=True)
class Tensor:
    """One named tensor.

    Attributes:
        name: As the model's metadata spells it.
        datatype: One of `DATATYPES`.
        shape: Sizes, row-major.
        values: An array of that shape; for BYTES a flat list of its elements.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: np.ndarray | list[bytes]


@dataclasses.dataclass(frozen=True)
class TensorSpec:
    """What a model takes or gives under one name.

    Attributes:
        name: Of the tensor.
        datatype: One of `DATATYPES`.
        shape: Sizes; -1 is any.
        limits: Largest size of each axis.
        optional: May be left out.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    limits: tuple[int, ...] = ()
    optional: bool = False

    def check(self, datatype: str, shape: Sequence[int]) -> tuple[int, ...]:
        """The shape, if a tensor of it fits.

        Raises:
            TensorError: Another datatype, another rank, a size that is not allowed.
        """
        if datatype != self.datatype:
            raise TensorError(
                f"tensor {self.name!r} has datatype {datatype[:20]!r}; it must be {self.datatype!r}"
            )
        fits = len(shape) == len(self.shape)
        if not fits or any(n < 0 or want not in (-1, n) for n, want in zip(shape, self.shape)):
            raise TensorError(
                f"tensor {self.name!r} has shape {list(shape)}; it must be {list(self.shape)}, "
                "where -1 is any size"
            )
        for axis, (size, limit) in enumerate(zip(shape, self.limits)):
            if size > limit:
                raise TensorError(
                    f"tensor {self.name!r} has {size} entries on axis {axis}; the limit is {limit}"
                )
        return tuple(shape)


def from_binary(spec: TensorSpec, shape: tuple[int, ...], data: bytes) -> Tensor:
    """A tensor from its binary form; `shape` has passed `spec.check`.

    Raises:
        TensorError: The size of `data` is not what shape and datatype need.
    """
    count = math.prod(shape)
    if spec.datatype == "BYTES":
        return Tensor(spec.name, "BYTES", shape, _split(spec.name, count, data))
    dtype = DTYPES[spec.datatype]
    if len(data) != count * dtype.itemsize:
        raise TensorError(
            f"tensor {spec.name!r} has {len(data)} bytes; {spec.datatype} of shape {list(shape)} "
            f"needs {count * dtype.itemsize}"
        )
    return Tensor(spec.name, spec.datatype, shape, np.frombuffer(data, dtype).reshape(shape))


def to_binary(tensor: Tensor) -> bytes:
    """The binary form of a tensor."""
    if isinstance(tensor.values, np.ndarray):
        return tensor.values.astype(DTYPES[tensor.datatype], copy=False).tobytes()
    pack = _LENGTH.pack
    return b"".join([part for value in tensor.values for part in (pack(len(value)), value)])


def from_json(spec: TensorSpec, shape: tuple[int, ...], data: bytes) -> Tensor:
    """A tensor from its "data" field as JSON text, flat or nested; `shape` has passed `check`.

    Raises:
        TensorError: Elements of another type, out of range, or not as many as the shape has.
    """
    element = str if spec.datatype == "BYTES" else _JSON_TYPES[DTYPES[spec.datatype].kind]
    values = _decoded(spec, shape, data, element)
    if spec.datatype == "BYTES":
        values = [value.encode() for value in values]
    return from_values(spec, shape, values)


def from_values(spec: TensorSpec, shape: tuple[int, ...], values: Sequence[Any]) -> Tensor:
    """A tensor from its elements in row-major order; `shape` has passed `check`.

    Raises:
        TensorError: Not as many elements as the shape has, or one out of range.
    """
    if (count := math.prod(shape)) != len(values):
        raise TensorError(
            f"tensor {spec.name!r} has {len(values)} elements of data; shape {list(shape)} "
            f"needs {count}"
        )
    if spec.datatype == "BYTES":
        return Tensor(spec.name, "BYTES", shape, list(values))
    dtype = DTYPES[spec.datatype]
    try:
        with np.errstate(over="raise"):
            return Tensor(spec.name, spec.datatype, shape, np.array(values, dtype).reshape(shape))
    except (OverflowError, FloatingPointError):
        raise TensorError(
            f"tensor {spec.name!r} has an element that {spec.datatype} cannot hold"
        ) from None


def to_json(tensor: Tensor) -> list[Any]:
    """The flat "data" field of a tensor; BYTES must be UTF-8, as all text of ours is."""
    if isinstance(tensor.values, np.ndarray):
        return tensor.values.ravel().tolist()
    return [value.decode() for value in tensor.values]


def _split(name: str, count: int, data: bytes) -> list[bytes]:
    """The elements of a BYTES tensor."""
    values: list[bytes] = []
    at, end = 0, len(data)
    # An element takes four bytes or more: a shape that `data` cannot hold is refused up front.
    fits = 4 * count <= end
    while fits and len(values) < count:
        start = at + 4
        if fits := start <= end:
            at = start + _LENGTH.unpack_from(data, at)[0]
            if fits := at <= end:
                values.append(data[start:at])
    if not fits or at != end:
        raise TensorError(
            f"tensor {name!r} has {end} bytes, which are not {count} elements of BYTES; each is "
            "a little-endian uint32 length and that many bytes"
        )
    return values


def _decoded(spec: TensorSpec, shape: tuple[int, ...], data: bytes, element: Any) -> list[Any]:
    """The elements of a JSON list, or of lists nested as deep as the shape."""
    try:
        return msgspec.json.decode(data, type=list[element])  # type: ignore[valid-type]
    except msgspec.DecodeError as error:
        flat_error = error
    nested: Any = element
    for _ in shape:
        nested = list[nested]
    try:
        values = msgspec.json.decode(data, type=nested)
    except msgspec.DecodeError:
        wanted = {str: "strings", int: "integers", float: "numbers", bool: "booleans"}[element]
        raise TensorError(
            f"the data of tensor {spec.name!r} must be {wanted} ({spec.datatype}), flat or nested "
            f"as its shape {list(shape)}: {flat_error}"
        ) from None
    for size in shape[1:]:
        if any(len(row) != size for row in values):
            raise TensorError(
                f"tensor {spec.name!r} has nested lists that do not fit its shape {list(shape)}"
            )
        values = [value for row in values for value in row]
    return values
