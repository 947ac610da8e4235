"""The messages of the protocol's gRPC service, as a table instead of generated code.

They live in a descriptor pool of their own: in the default one, a second definition of the
package `inference` (tritonclient's, say) in the same process is an error. Fields of Triton's
messages that this server has nothing to say about are left out; on the wire they are unknown
fields, which protobuf skips. `grpc.health.v1` is here for the same reason.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "inference"
SERVICE = "inference.GRPCInferenceService"
HEALTH_PACKAGE = "grpc.health.v1"
HEALTH_SERVICE = "grpc.health.v1.Health"

# message -> field -> (number, type); `*` is repeated, `map:` has string keys, `|` is in the
# message's oneof.
_Messages = dict[str, dict[str, tuple[int, str]]]

_ONEOFS = {"InferParameter": "parameter_choice", "ModelConfig": "scheduling_choice"}
_NAME_AND_VERSION = {"name": (1, "string"), "version": (2, "string")}
_TENSOR = {"name": (1, "string"), "datatype": (2, "string"), "shape": (3, "*int64")}
_DATA = {"parameters": (4, "map:InferParameter"), "contents": (5, "InferTensorContents")}

INFERENCE: _Messages = {
    "ServerLiveRequest": {},
    "ServerLiveResponse": {"live": (1, "bool")},
    "ServerReadyRequest": {},
    "ServerReadyResponse": {"ready": (1, "bool")},
    "ModelReadyRequest": _NAME_AND_VERSION,
    "ModelReadyResponse": {"ready": (1, "bool")},
    "ServerMetadataRequest": {},
    "ServerMetadataResponse": {**_NAME_AND_VERSION, "extensions": (3, "*string")},
    "ModelMetadataRequest": _NAME_AND_VERSION,
    "ModelMetadataResponse": {
        "name": (1, "string"),
        "versions": (2, "*string"),
        "platform": (3, "string"),
        "inputs": (4, "*ModelMetadataResponse.TensorMetadata"),
        "outputs": (5, "*ModelMetadataResponse.TensorMetadata"),
    },
    "ModelMetadataResponse.TensorMetadata": _TENSOR,
    "InferParameter": {
        "bool_param": (1, "|bool"),
        "int64_param": (2, "|int64"),
        "string_param": (3, "|string"),
        "double_param": (4, "|double"),
        "uint64_param": (5, "|uint64"),
    },
    "InferTensorContents": {
        "bool_contents": (1, "*bool"),
        "int_contents": (2, "*int32"),
        "int64_contents": (3, "*int64"),
        "uint_contents": (4, "*uint32"),
        "uint64_contents": (5, "*uint64"),
        "fp32_contents": (6, "*float"),
        "fp64_contents": (7, "*double"),
        "bytes_contents": (8, "*bytes"),
    },
    "ModelInferRequest": {
        "model_name": (1, "string"),
        "model_version": (2, "string"),
        "id": (3, "string"),
        "parameters": (4, "map:InferParameter"),
        "inputs": (5, "*ModelInferRequest.InferInputTensor"),
        "outputs": (6, "*ModelInferRequest.InferRequestedOutputTensor"),
        "raw_input_contents": (7, "*bytes"),
    },
    "ModelInferRequest.InferInputTensor": {**_TENSOR, **_DATA},
    "ModelInferRequest.InferRequestedOutputTensor": {
        "name": (1, "string"),
        "parameters": (2, "map:InferParameter"),
    },
    "ModelInferResponse": {
        "model_name": (1, "string"),
        "model_version": (2, "string"),
        "id": (3, "string"),
        "parameters": (4, "map:InferParameter"),
        "outputs": (5, "*ModelInferResponse.InferOutputTensor"),
        "raw_output_contents": (6, "*bytes"),
    },
    "ModelInferResponse.InferOutputTensor": {**_TENSOR, **_DATA},
    "ModelStreamInferResponse": {
        "error_message": (1, "string"),
        "infer_response": (2, "ModelInferResponse"),
    },
    "ModelConfigRequest": _NAME_AND_VERSION,
    "ModelConfigResponse": {"config": (1, "ModelConfig")},
    "ModelConfig": {
        "name": (1, "string"),
        "platform": (2, "string"),
        "max_batch_size": (4, "int32"),
        "input": (5, "*ModelInput"),
        "output": (6, "*ModelOutput"),
        "dynamic_batching": (11, "|ModelDynamicBatching"),
        "backend": (17, "string"),
    },
    # `data_type` is an enum in Triton's messages: the same bytes as an int32.
    "ModelInput": {
        "name": (1, "string"),
        "data_type": (2, "int32"),
        "dims": (4, "*int64"),
        "optional": (8, "bool"),
    },
    "ModelOutput": {"name": (1, "string"), "data_type": (2, "int32"), "dims": (3, "*int64")},
    "ModelDynamicBatching": {
        "preferred_batch_size": (1, "*int32"),
        "priority_levels": (4, "uint64"),
        "default_priority_level": (5, "uint64"),
    },
    "ModelStatisticsRequest": _NAME_AND_VERSION,
    "ModelStatisticsResponse": {"model_stats": (1, "*ModelStatistics")},
    "StatisticDuration": {"count": (1, "uint64"), "ns": (2, "uint64")},
    "InferStatistics": {
        "success": (1, "StatisticDuration"),
        "fail": (2, "StatisticDuration"),
        "queue": (3, "StatisticDuration"),
        "compute_input": (4, "StatisticDuration"),
        "compute_infer": (5, "StatisticDuration"),
        "compute_output": (6, "StatisticDuration"),
    },
    "InferBatchStatistics": {
        "batch_size": (1, "uint64"),
        "compute_input": (2, "StatisticDuration"),
        "compute_infer": (3, "StatisticDuration"),
        "compute_output": (4, "StatisticDuration"),
    },
    "ModelStatistics": {
        **_NAME_AND_VERSION,
        "last_inference": (3, "uint64"),
        "inference_count": (4, "uint64"),
        "execution_count": (5, "uint64"),
        "inference_stats": (6, "InferStatistics"),
        "batch_stats": (7, "*InferBatchStatistics"),
    },
    "RepositoryIndexRequest": {"repository_name": (1, "string"), "ready": (2, "bool")},
    "RepositoryIndexResponse": {"models": (1, "*RepositoryIndexResponse.ModelIndex")},
    "RepositoryIndexResponse.ModelIndex": {
        **_NAME_AND_VERSION,
        "state": (3, "string"),
        "reason": (4, "string"),
    },
}
HEALTH: _Messages = {
    "HealthCheckRequest": {"service": (1, "string")},
    # `status` is an enum: 1 is SERVING, 2 NOT_SERVING, 3 SERVICE_UNKNOWN.
    "HealthCheckResponse": {"status": (1, "int32")},
}


def message_classes(package: str, messages: _Messages) -> dict[str, Any]:
    """A protobuf class for each message of a table."""
    file = descriptor_pb2.FileDescriptorProto(
        name=f"silverjax/{package}.proto", package=package, syntax="proto3"
    )
    made: dict[str, Any] = {}
    for name, fields in messages.items():
        outer, _, inner = name.rpartition(".")
        made[name] = made[outer].nested_type.add() if outer else file.message_type.add()
        made[name].name = inner
        for field, (number, type_name) in fields.items():
            if type_name.startswith("map:"):
                # A map is a list of messages of this form, of a type beside the field.
                entry = made[name].nested_type.add(name=_entry(field))
                entry.options.map_entry = True
                _add_field(package, entry, "key", 1, "string")
                _add_field(package, entry, "value", 2, type_name.removeprefix("map:"))
                type_name = f"*{name}.{entry.name}"
            _add_field(package, made[name], field, number, type_name)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))
        for name in messages
    }


def _entry(field: str) -> str:
    """protoc's name for the type of a map's entries."""
    return "".join(part.capitalize() for part in field.split("_")) + "Entry"


def _add_field(package: str, message: Any, field: str, number: int, type_name: str) -> None:
    kind = descriptor_pb2.FieldDescriptorProto
    repeated = type_name.startswith("*")
    added = message.field.add(
        name=field,
        number=number,
        label=kind.LABEL_REPEATED if repeated else kind.LABEL_OPTIONAL,
    )
    if type_name.startswith("|"):
        if not message.oneof_decl:
            message.oneof_decl.add(name=_ONEOFS[message.name])
        added.oneof_index = 0
    scalar = type_name.lstrip("*|")
    if scalar[0].islower():
        added.type = getattr(kind, f"TYPE_{scalar.upper()}")
    else:
        added.type, added.type_name = kind.TYPE_MESSAGE, f".{package}.{scalar}"


MESSAGES = message_classes(PACKAGE, INFERENCE)
HEALTH_MESSAGES = message_classes(HEALTH_PACKAGE, HEALTH)
