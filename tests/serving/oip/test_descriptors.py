"""Our table of messages against those that Triton's client was generated from."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from tritonclient.grpc import model_config_pb2, service_pb2

from serving.oip.descriptors import HEALTH_MESSAGES, INFERENCE, MESSAGES


def theirs(name: str) -> Any:
    outer, _, inner = name.partition(".")
    found = getattr(service_pb2, outer, None) or getattr(model_config_pb2, outer)
    return getattr(found, inner).DESCRIPTOR if inner else found.DESCRIPTOR


def described(field: Any) -> tuple[Any, ...]:
    """What decides a field's bytes, and its name. An enum's bytes are those of an int32."""
    is_enum = field.type == FieldDescriptor.TYPE_ENUM
    return (
        field.name,
        FieldDescriptor.TYPE_INT32 if is_enum else field.type,
        field.is_repeated,
        field.message_type and field.message_type.full_name,
        field.containing_oneof and field.containing_oneof.name,
    )


@pytest.mark.parametrize("name", INFERENCE)
def test_fields_are_those_of_the_published_protocol(name: str) -> None:
    known = theirs(name).fields_by_number
    ours = MESSAGES[name].DESCRIPTOR.fields_by_number
    assert set(ours) <= set(known)
    assert {n: described(f) for n, f in ours.items()} == {n: described(known[n]) for n in ours}


def test_health_messages_have_the_published_bytes() -> None:
    """grpc.health.v1: HealthCheckResponse{status: SERVING} is field 1, varint 1."""
    assert HEALTH_MESSAGES["HealthCheckResponse"](status=1).SerializeToString() == b"\x08\x01"
    assert HEALTH_MESSAGES["HealthCheckRequest"](service="x").SerializeToString() == b"\n\x01x"


@pytest.mark.parametrize("first", ["serving.oip.descriptors", "tritonclient.grpc"])
def test_lives_beside_another_definition_of_the_protocol(first: str) -> None:
    both = {"serving.oip.descriptors", "tritonclient.grpc"}
    script = f"import {first}, {(both - {first}).pop()}"
    subprocess.run([sys.executable, "-c", script], check=True)
