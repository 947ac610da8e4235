"""Inference requests and answers as HTTP bodies: JSON, and JSON followed by binary tensors."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec

from serving.oip.infer import (
    InferAnswer,
    InferRequest,
    Signature,
    make_request,
    refuse_parameters,
)
from serving.oip.tensors import Tensor, TensorError, from_binary, from_json, to_binary, to_json

HEADER_LENGTH = "inference-header-content-length"

_Parameters = dict[str, bool | int | float | str]


class _Input(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    shape: list[int]
    datatype: str
    parameters: _Parameters = {}
    data: msgspec.Raw = msgspec.Raw()


class _Output(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    parameters: _Parameters = {}


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    inputs: list[_Input]
    id: str = ""
    parameters: _Parameters = {}
    outputs: list[_Output] = []


_decoder = msgspec.json.Decoder(_Body)
_encoder = msgspec.json.Encoder()


@dataclasses.dataclass(frozen=True)
class RestRequest:
    """A request, and the outputs that its sender wants in binary."""

    infer: InferRequest
    binary: frozenset[str]


def decode(body: bytes, header_length: str | None, signature: Signature) -> RestRequest:
    """Reads a request.

    Args:
        body: JSON, then the binary tensors in the order of the inputs.
        header_length: Value of the header `Inference-Header-Content-Length`: bytes of JSON;
            `None` where all of the body is.
    Raises:
        TensorError: Something in it does not fit the protocol or the signature.
        msgspec.DecodeError, UnicodeDecodeError, RecursionError: It is no such JSON.
    """
    at = _checked_length(header_length, len(body))
    parsed = _decoder.decode(body if at == len(body) else memoryview(body)[:at])
    inputs = []
    for given in parsed.inputs:
        spec = signature.input(given.name)
        shape = spec.check(given.datatype, given.shape)
        refuse_parameters(given.parameters)
        size = given.parameters.get("binary_data_size")
        if size is None:
            if not given.data:
                raise TensorError(f"tensor {given.name!r} has neither data nor binary_data_size")
            inputs.append(from_json(spec, shape, bytes(given.data)))
        else:
            _check_size(given, size, len(body) - at)
            inputs.append(from_binary(spec, shape, body[at : at + int(size)]))
            at += int(size)
    if at != len(body):
        raise TensorError(
            f"{len(body) - at} bytes follow the last tensor; the sum of binary_data_size must be "
            f"what follows the JSON, and {HEADER_LENGTH} its length"
        )
    for output in parsed.outputs:
        refuse_parameters(output.parameters)
    request = make_request(
        signature,
        inputs,
        [output.name for output in parsed.outputs],
        id=parsed.id,
        parameters=parsed.parameters,
    )
    default = parsed.parameters.get("binary_data_output", False)
    asked = {o.name: o.parameters.get("binary_data", default) for o in parsed.outputs}
    binary = frozenset(name for name in request.outputs if asked.get(name, default))
    return RestRequest(request, binary)


def encode(answer: InferAnswer, binary: frozenset[str]) -> tuple[bytes, int | None]:
    """The body of an answer, and the length of its JSON where binary tensors follow it."""
    parts = [b""]
    outputs = []
    for tensor in answer.outputs:
        described, data = _described(tensor, tensor.name in binary)
        outputs.append(described)
        if data is not None:
            parts.append(data)
    parts[0] = _encoder.encode(
        {
            "model_name": answer.model,
            "model_version": answer.version,
            **({"id": answer.id} if answer.id else {}),
            "parameters": answer.parameters,
            "outputs": outputs,
        }
    )
    return b"".join(parts), len(parts[0]) if len(parts) > 1 else None


def _described(tensor: Tensor, binary: bool) -> tuple[dict[str, Any], bytes | None]:
    described: dict[str, Any] = {
        "name": tensor.name,
        "datatype": tensor.datatype,
        "shape": tensor.shape,
    }
    if not binary:
        return described | {"data": to_json(tensor)}, None
    data = to_binary(tensor)
    return described | {"parameters": {"binary_data_size": len(data)}}, data


def _checked_length(header_length: str | None, size: int) -> int:
    if header_length is None:
        return size
    # int() would also take signs, spaces and digits of other scripts.
    if not (header_length.isascii() and header_length.isdigit()) or int(header_length) > size:
        raise TensorError(
            f"{HEADER_LENGTH}: {header_length[:20]!r} must be the number of bytes of JSON, at "
            f"most the {size} bytes of the body"
        )
    return int(header_length)


def _check_size(given: _Input, size: object, left: int) -> None:
    if given.data:
        raise TensorError(f"tensor {given.name!r} has both data and binary_data_size; give one")
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= left:
        raise TensorError(
            f"tensor {given.name!r} has binary_data_size {size!r}; {left} bytes of the body are "
            "left for it"
        )
