"""Both encodings of a tensor, against the encoders of a client nobody here wrote."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tritonclient import utils as triton

from serving.oip.tensors import (
    DTYPES,
    Tensor,
    TensorError,
    TensorSpec,
    from_binary,
    from_json,
    to_binary,
    to_json,
)

SHAPES = hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4)


def spec_of(datatype: str, shape: tuple[int, ...]) -> TensorSpec:
    return TensorSpec("x", datatype, tuple(-1 for _ in shape))


def nested(values: list[Any], shape: tuple[int, ...]) -> list[Any]:
    """Flat values in lists as deep as the shape."""
    if len(shape) == 1:
        return values
    step = math.prod(shape[1:])
    return [nested(values[n * step : (n + 1) * step], shape[1:]) for n in range(shape[0])]


@given(st.data(), SHAPES, st.sampled_from(sorted(DTYPES)))
def test_numbers_are_encoded_as_the_client_does(
    data: st.DataObject, shape: tuple[int, ...], datatype: str
) -> None:
    values = data.draw(hnp.arrays(triton.triton_to_np_dtype(datatype), shape))
    binary = to_binary(Tensor("x", datatype, shape, values))
    assert binary == values.tobytes()
    back = from_binary(spec_of(datatype, shape), shape, binary)
    np.testing.assert_array_equal(back.values, values)


@given(st.data(), SHAPES)
def test_bytes_are_encoded_as_the_client_does(data: st.DataObject, shape: tuple[int, ...]) -> None:
    count = math.prod(shape)
    values = data.draw(st.lists(st.binary(max_size=5), min_size=count, max_size=count))
    array = np.empty(count, np.object_)
    array[:] = values
    theirs = triton.serialize_byte_tensor(array)
    theirs = theirs.item() if theirs.size else b""
    assert to_binary(Tensor("x", "BYTES", shape, values)) == theirs
    assert from_binary(spec_of("BYTES", shape), shape, theirs).values == values


@given(st.data(), SHAPES, st.booleans())
def test_text_survives_json_flat_and_nested(
    data: st.DataObject, shape: tuple[int, ...], flat: bool
) -> None:
    count = math.prod(shape)
    text = data.draw(st.lists(st.text(max_size=5), min_size=count, max_size=count))
    sent = json.dumps(text if flat else nested(text, shape)).encode()
    tensor = from_json(spec_of("BYTES", shape), shape, sent)
    assert tensor.values == [value.encode() for value in text]
    assert to_json(tensor) == text


@given(st.data(), SHAPES, st.sampled_from(["BOOL", "UINT64", "INT8", "INT32", "FP32", "FP64"]))
def test_numbers_survive_json(data: st.DataObject, shape: tuple[int, ...], datatype: str) -> None:
    finite: Any = {"allow_nan": False, "allow_infinity": False} if datatype[0] == "F" else {}
    values = data.draw(hnp.arrays(DTYPES[datatype], shape, elements=finite or None))
    tensor = Tensor("x", datatype, shape, values)
    sent = json.dumps(nested(to_json(tensor), shape)).encode()
    back = from_json(spec_of(datatype, shape), shape, sent)
    np.testing.assert_array_equal(back.values, values)
    assert isinstance(back.values, np.ndarray)
    assert back.values.dtype == DTYPES[datatype]


@given(st.binary(max_size=40), st.integers(0, 5))
def test_any_bytes_either_are_a_tensor_or_are_refused(data: bytes, count: int) -> None:
    spec = TensorSpec("x", "BYTES", (-1,))
    try:
        tensor = from_binary(spec, (count,), data)
    except TensorError as error:
        assert "elements of BYTES" in str(error)
    else:
        assert to_binary(tensor) == data


@pytest.mark.parametrize(
    ("datatype", "shape", "data", "message"),
    [
        ("INT32", (2,), b"1234567", "has 7 bytes; INT32 of shape [2] needs 8"),
        ("BYTES", (1,), b"\x02\0\0\0a", "not 1 elements of BYTES"),
        ("BYTES", (1,), b"\0\0\0\0a", "not 1 elements of BYTES"),
        ("BYTES", (2**30,), b"\0\0\0\0", "not 1073741824 elements of BYTES"),
        ("BYTES", (1,), b"\xff\xff\xff\xff", "not 1 elements of BYTES"),
    ],
)
def test_rejects_binary_of_another_size(
    datatype: str, shape: tuple[int, ...], data: bytes, message: str
) -> None:
    with pytest.raises(TensorError) as caught:
        from_binary(spec_of(datatype, shape), shape, data)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("datatype", "shape", "data", "message"),
    [
        ("INT32", (1,), b"[1.5]", "must be integers (INT32)"),
        ("INT32", (1,), b"[true]", "must be integers (INT32)"),
        ("INT32", (1,), b"[3000000000]", "an element that INT32 cannot hold"),
        ("UINT8", (1,), b"[-1]", "an element that UINT8 cannot hold"),
        ("FP32", (1,), b"[1e300]", "an element that FP32 cannot hold"),
        ("FP32", (1,), b"[1e999]", "must be numbers (FP32)"),
        ("BYTES", (1,), b"[1]", "must be strings (BYTES)"),
        ("BYTES", (1,), b"[[[[]]]]", "must be strings (BYTES)"),
        ("BYTES", (2,), b'["a"]', "has 1 elements of data; shape [2] needs 2"),
        ("BYTES", (2, 2), b'[["a"], ["b", "c", "d"]]', "nested lists that do not fit"),
        ("BYTES", (1,), b'{"a": 1}', "must be strings"),
    ],
)
def test_rejects_json_that_does_not_fit(
    datatype: str, shape: tuple[int, ...], data: bytes, message: str
) -> None:
    with pytest.raises(TensorError) as caught:
        from_json(spec_of(datatype, shape), shape, data)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("datatype", "shape", "message"),
    [
        ("INT64", [2, 3], "datatype 'INT64'; it must be 'BYTES'"),
        ("BYTES", [2], "shape [2]; it must be [-1, 3]"),
        ("BYTES", [2, 4], "shape [2, 4]; it must be [-1, 3]"),
        ("BYTES", [-1, 3], "shape [-1, 3]; it must be [-1, 3]"),
        ("BYTES", [9, 3], "9 entries on axis 0; the limit is 8"),
    ],
)
def test_rejects_another_datatype_or_shape(datatype: str, shape: list[int], message: str) -> None:
    spec = TensorSpec("x", "BYTES", (-1, 3), limits=(8, 3))
    assert spec.check("BYTES", [8, 3]) == (8, 3)
    with pytest.raises(TensorError) as caught:
        spec.check(datatype, shape)
    assert message in str(caught.value)
