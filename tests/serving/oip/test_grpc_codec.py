"""gRPC messages of Triton's client are read, and ours are read by it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2

from serving.oip.descriptors import MESSAGES
from serving.oip.grpc_codec import decode, encode
from serving.oip.infer import InferAnswer, InferRequest
from serving.oip.tensors import Tensor, TensorError
from tests.serving.oip.test_rest import SIGNATURE


def as_ours(message: Any) -> Any:
    """Across the wire: serialised by their classes, parsed by ours."""
    return MESSAGES["ModelInferRequest"].FromString(message.SerializeToString())


def request(**changes: Any) -> Any:
    user = {
        "name": "user",
        "datatype": "BYTES",
        "shape": [2],
        "contents": {"bytes_contents": [b"7", b"8"]},
    }
    return service_pb2.ModelInferRequest(**({"inputs": [user]} | changes))


def read(message: Any) -> InferRequest:
    return decode(as_ours(message), SIGNATURE)


def test_contents_and_raw_contents_are_read_alike() -> None:
    k = {"name": "k", "datatype": "INT32", "shape": [1], "contents": {"int_contents": [5]}}
    user = {"name": "user", "datatype": "BYTES", "shape": [2]}
    plain = read(request(inputs=[*request().inputs, k]))
    k.pop("contents")
    users = triton.InferInput("user", [2], "BYTES")
    users.set_data_from_numpy(np.array([b"7", b"8"], np.object_))
    raw = [users._get_content(), np.array([5], "<i4").tobytes()]
    packed = read(request(inputs=[user, k], raw_input_contents=raw))
    for found in (plain, packed):
        assert found.inputs["user"].values == [b"7", b"8"]
        np.testing.assert_array_equal(found.inputs["k"].values, [5])


def test_parameters_and_outputs_are_read() -> None:
    message = request(
        id="me",
        parameters={"timeout": {"int64_param": 2_000_000}, "priority": {"uint64_param": 3}},
        outputs=[{"name": "score"}],
    )
    found = read(message)
    assert (found.id, found.timeout, found.priority, found.outputs) == ("me", 2.0, 3, ("score",))


def test_the_client_reads_the_answer() -> None:
    score = np.array([[0.5, -1.25]], np.float32)
    items = Tensor("item", "BYTES", (1, 2), [b"a", "ü".encode()])
    answer = InferAnswer(
        "recommend",
        "00000001",
        (items, Tensor("score", "FP32", (1, 2), score)),
        id="me",
        parameters={"coverage": 0.5, "rows": 1, "cold": True, "version": "7"},
    )
    sent = encode(answer).SerializeToString()
    result = triton.InferResult(service_pb2.ModelInferResponse.FromString(sent))
    np.testing.assert_array_equal(result.as_numpy("score"), score)
    assert result.as_numpy("item").tolist() == [[b"a", "ü".encode()]]
    response = result.get_response()
    assert (response.id, response.model_version) == ("me", "00000001")
    assert response.parameters["coverage"].double_param == 0.5
    assert response.parameters["cold"].bool_param


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (request(inputs=[]), "input 'user' is missing"),
        (request(raw_input_contents=[b"", b""]), "2 raw_input_contents for 1 inputs"),
        (request(raw_input_contents=[b""]), "both contents and raw contents"),
        (request(outputs=[{"name": "x"}]), "no output 'x'"),
        (request(parameters={"timeout": {"string_param": "5"}}), "timeout='5' must be a whole"),
        (request(parameters={"timeout": {}}), "timeout=None must be a whole"),
        (request(parameters={"sequence_id": {"int64_param": 5}}), "keeps no state"),
    ],
)
def test_rejects_what_does_not_fit(message: Any, text: str) -> None:
    with pytest.raises(TensorError) as caught:
        read(message)
    assert text in str(caught.value)


@pytest.mark.parametrize("shape", [[1], [3], [2**40], [-2], [1, 2], []])
def test_rejects_another_shape_than_the_data_has(shape: list[int]) -> None:
    message = request()
    message.inputs[0].shape[:] = shape
    with pytest.raises(TensorError):
        read(message)
