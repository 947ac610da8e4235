"""REST bodies: what a client of the protocol sends is read, what does not fit is refused."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.http._utils import _get_inference_request

from serving.oip.infer import InferAnswer, Signature
from serving.oip.rest import decode, encode
from serving.oip.tensors import Tensor, TensorError, TensorSpec

SIGNATURE = Signature(
    inputs={
        "user": TensorSpec("user", "BYTES", (-1,), (4,)),
        "k": TensorSpec("k", "INT32", (1,), optional=True),
    },
    outputs={
        "item": TensorSpec("item", "BYTES", (-1, -1)),
        "score": TensorSpec("score", "FP32", (-1, -1)),
    },
)
USER: dict[str, Any] = {"name": "user", "shape": [1], "datatype": "BYTES", "data": ["7"]}


def body(*inputs: dict[str, Any], **rest: Any) -> bytes:
    return json.dumps({"inputs": list(inputs), **rest}).encode()


@pytest.mark.parametrize("binary_users", [True, False])
@pytest.mark.parametrize("binary_k", [True, False])
def test_what_the_client_sends_is_read(binary_users: bool, binary_k: bool) -> None:
    users = triton.InferInput("user", [2], "BYTES")
    users.set_data_from_numpy(np.array([b"7", "ü".encode()], np.object_), binary_data=binary_users)
    k = triton.InferInput("k", [1], "INT32")
    k.set_data_from_numpy(np.array([5], np.int32), binary_data=binary_k)
    wanted = [triton.InferRequestedOutput("score", binary_data=binary_k)]
    sent, length = _get_inference_request(
        [users, k], "me", wanted, 0, False, False, 2, 1_500_000, None
    )
    read = decode(sent, None if length is None else str(length), SIGNATURE)
    assert read.infer.inputs["user"].values == [b"7", "ü".encode()]
    np.testing.assert_array_equal(read.infer.inputs["k"].values, [5])
    assert read.infer.outputs == ("score",)
    assert (read.infer.id, read.infer.timeout, read.infer.priority) == ("me", 1.5, 2)
    assert read.binary == ({"score"} if binary_k else set())


def test_all_outputs_are_sent_where_none_is_named() -> None:
    assert decode(body(USER), None, SIGNATURE).infer.outputs == ("item", "score")
    asked = decode(body(USER, parameters={"binary_data_output": True}), None, SIGNATURE)
    assert asked.binary == {"item", "score"}


@pytest.mark.parametrize("binary", [set(), {"item"}, {"score"}, {"item", "score"}])
def test_the_client_reads_what_is_sent(binary: set[str]) -> None:
    score = np.array([[0.5, -1.25]], np.float32)
    items = Tensor("item", "BYTES", (1, 2), [b"a", "ü".encode()])
    answer = InferAnswer(
        "recommend",
        "00000001",
        (items, Tensor("score", "FP32", (1, 2), score)),
        id="me",
        parameters={"coverage": 0.5},
    )
    sent, length = encode(answer, frozenset(binary))
    assert (length is None) == (not binary)
    result = triton.InferenceServerClient.parse_response_body(sent, header_length=length)
    np.testing.assert_array_equal(result.as_numpy("score"), score)
    names = [v if isinstance(v, str) else v.decode() for v in result.as_numpy("item")[0]]
    assert names == ["a", "ü"]
    assert result.get_response()["id"] == "me"
    assert result.get_response()["parameters"] == {"coverage": 0.5}


@pytest.mark.parametrize(
    ("sent", "length", "message"),
    [
        (body(), None, "input 'user' is missing"),
        (body(USER, USER), None, "given twice"),
        (body(USER | {"name": "users"}), None, "no input 'users'; it has user, k"),
        (body(USER, outputs=[{"name": "x"}]), None, "no output 'x'; it has item, score"),
        (body(USER | {"shape": [10**30]}), None, "the limit is 4"),
        (body(USER | {"shape": [5]}), None, "5 entries on axis 0; the limit is 4"),
        (body({k: USER[k] for k in USER if k != "data"}), None, "neither data nor"),
        (body(USER | {"parameters": {"binary_data_size": 0}}), None, "both data and"),
        (body(USER | {"parameters": {"shared_memory_region": "x"}}), None, "is not supported"),
        (body(USER, parameters={"sequence_id": 3}), None, "keeps no state"),
        (body(USER, parameters={"timeout": -1}), None, "timeout=-1 must be a whole number"),
        (body(USER, parameters={"timeout": 0.5}), None, "timeout=0.5 must be a whole number"),
        (body(USER, parameters={"priority": True}), None, "priority=True must be a whole"),
        (body(USER) + b"abc", str(len(body(USER))), "3 bytes follow the last tensor"),
        (body(USER), "-1", "must be the number of bytes of JSON"),
        (body(USER), "99999", "at most the"),
        (body(USER), "1e3", "must be the number of bytes of JSON"),
    ],
)
def test_rejects_what_does_not_fit(sent: bytes, length: str | None, message: str) -> None:
    with pytest.raises(TensorError) as caught:
        decode(sent, length, SIGNATURE)
    assert message in str(caught.value)


@pytest.mark.parametrize("size", [4, 6, 10**12, -1, 4.0, True, "5"])
def test_rejects_a_binary_size_that_is_not_the_tensors(size: object) -> None:
    head = {k: USER[k] for k in USER if k != "data"} | {"parameters": {"binary_data_size": size}}
    sent = body(head)
    with pytest.raises(TensorError):
        decode(sent + b"\x01\0\0\0a", str(len(sent)), SIGNATURE)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"{",
        b"[]",
        b'{"inputs": 1}',
        b'{"inputs": [], "extra": 1}',
        b'{"inputs": [{"name": "user", "data": ' + b"[" * 100_000 + b"]" * 100_000 + b"}]}",
        b'{"inputs": [], "id": "\xff"}',
        body(USER | {"shape": ["1"]}),
    ],
)
def test_rejects_what_is_no_such_json(sent: bytes) -> None:
    with pytest.raises((msgspec.MsgspecError, UnicodeDecodeError, RecursionError)):
        decode(sent, None, SIGNATURE)
