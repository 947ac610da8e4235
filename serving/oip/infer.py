"""An inference request and its answer, whichever way they came: the part REST and gRPC share."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from serving.oip.tensors import Tensor, TensorError, TensorSpec

# They change what an answer means, so they are refused instead of ignored. A model takes no
# memory of the client's: registering some has been a way into other servers.
_REFUSED = {
    "shared_memory_region": "send the data in the request",
    "classification": "ask for the score tensor and take the largest",
    "sequence_id": "this model keeps no state between requests",
}


@dataclasses.dataclass(frozen=True)
class Signature:
    """What the model takes and gives.

    Attributes:
        inputs: By name, in the order of the metadata.
        outputs: The same.
    """

    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]

    def input(self, name: str) -> TensorSpec:
        return _known("input", name, self.inputs)

    def output(self, name: str) -> TensorSpec:
        return _known("output", name, self.outputs)


@dataclasses.dataclass(frozen=True)
class InferRequest:
    """One request, checked against the signature of the model.

    Attributes:
        inputs: By name; every input that is not optional is there.
        outputs: Names of the wanted outputs.
        id: Given back with the answer.
        timeout: Seconds the client will wait; `None` is as long as it takes.
        priority: 0 is the server's default, 1 the most urgent.
    """

    inputs: dict[str, Tensor]
    outputs: tuple[str, ...]
    id: str = ""
    timeout: float | None = None
    priority: int = 0


@dataclasses.dataclass(frozen=True)
class InferAnswer:
    """What is sent back.

    Attributes:
        model: Name of the model.
        version: Of the snapshot that answered.
        outputs: The wanted tensors, in the order they were asked for.
        id: Of the request.
        parameters: About the whole answer.
    """

    model: str
    version: str
    outputs: tuple[Tensor, ...]
    id: str = ""
    parameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def make_request(
    signature: Signature,
    inputs: Sequence[Tensor],
    outputs: Iterable[str],
    *,
    id: str = "",
    parameters: Mapping[str, Any],
) -> InferRequest:
    """Checks what belongs together: names given once, none missing, parameters in range.

    Args:
        outputs: Names; empty asks for all.
        parameters: Of the request; `timeout` is in microseconds, as Triton has it.
    Raises:
        TensorError: The message names the value and the fix.
    """
    refuse_parameters(parameters)
    by_name = {tensor.name: tensor for tensor in inputs}
    if len(by_name) < len(inputs):
        raise TensorError("an input is given twice; give each name once")
    for spec in signature.inputs.values():
        if not spec.optional and spec.name not in by_name:
            raise TensorError(f"input {spec.name!r} is missing; every request needs it")
    names = tuple(signature.output(name).name for name in outputs) or tuple(signature.outputs)
    timeout = _whole_number(parameters, "timeout")
    return InferRequest(
        inputs=by_name,
        outputs=names,
        id=id,
        timeout=timeout / 1e6 if timeout else None,
        priority=_whole_number(parameters, "priority"),
    )


def refuse_parameters(parameters: Mapping[str, Any]) -> None:
    """Raises `TensorError` for parameters that ask for what this server does not do."""
    for name, instead in _REFUSED.items():
        if name in parameters:
            raise TensorError(f"parameter {name!r} is not supported; {instead}")


def _known(kind: str, name: str, specs: Mapping[str, TensorSpec]) -> TensorSpec:
    if name not in specs:
        raise TensorError(f"the model has no {kind} {name[:60]!r}; it has {', '.join(specs)}")
    return specs[name]


def _whole_number(parameters: Mapping[str, Any], name: str) -> int:
    value = parameters.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        unit = " of microseconds" if name == "timeout" else ""
        raise TensorError(f"parameter {name}={value!r} must be a whole number{unit}, 0 or more")
    return value
