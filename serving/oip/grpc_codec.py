"""Inference requests and answers as protobuf messages of the gRPC service."""

from __future__ import annotations

from typing import Any

from serving.oip.descriptors import MESSAGES
from serving.oip.infer import (
    InferAnswer,
    InferRequest,
    Signature,
    make_request,
    refuse_parameters,
)
from serving.oip.tensors import Tensor, TensorError, TensorSpec, from_binary, from_values, to_binary

_CONTENTS = {
    "BOOL": "bool_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def decode(message: Any, signature: Signature) -> InferRequest:
    """Reads a `ModelInferRequest`.

    Raises:
        TensorError: Something in it does not fit the protocol or the signature.
    """
    raw = message.raw_input_contents
    if raw and len(raw) != len(message.inputs):
        raise TensorError(
            f"{len(raw)} raw_input_contents for {len(message.inputs)} inputs; give one for each "
            "input, or none and `contents` instead"
        )
    inputs = []
    for at, given in enumerate(message.inputs):
        spec = signature.input(given.name)
        shape = spec.check(given.datatype, given.shape)
        refuse_parameters(given.parameters)
        if raw:
            if given.HasField("contents"):
                raise TensorError(f"tensor {given.name!r} has both contents and raw contents")
            inputs.append(from_binary(spec, shape, raw[at]))
        else:
            inputs.append(_from_contents(spec, shape, given.contents))
    for output in message.outputs:
        refuse_parameters(output.parameters)
    return make_request(
        signature,
        inputs,
        [output.name for output in message.outputs],
        id=message.id,
        parameters={name: _value(given) for name, given in message.parameters.items()},
    )


def encode(answer: InferAnswer) -> Any:
    """A `ModelInferResponse`; tensors are raw, as Triton sends them."""
    return MESSAGES["ModelInferResponse"](
        model_name=answer.model,
        model_version=answer.version,
        id=answer.id,
        parameters={name: _parameter(value) for name, value in answer.parameters.items()},
        outputs=[
            {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}
            for tensor in answer.outputs
        ],
        raw_output_contents=[to_binary(tensor) for tensor in answer.outputs],
    )


def _from_contents(spec: TensorSpec, shape: tuple[int, ...], contents: Any) -> Tensor:
    field = _CONTENTS.get(spec.datatype)
    if field is None:
        raise TensorError(f"tensor {spec.name!r} is {spec.datatype}; send raw_input_contents")
    return from_values(spec, shape, getattr(contents, field))


def _value(parameter: Any) -> Any:
    choice = parameter.WhichOneof("parameter_choice")
    return getattr(parameter, choice) if choice else None


def _parameter(value: bool | int | float | str) -> dict[str, Any]:
    kinds = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}
    return {kinds[type(value)]: value}
