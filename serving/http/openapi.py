"""The HTTP API as an OpenAPI 3.1 document, made from the schemas that decode the requests."""

from __future__ import annotations

from typing import Any

import msgspec

from serving.config import ServiceConfig
from serving.http import json_api
from silverjax import __version__

_REF = "#/components/schemas/"
_JSON = "application/json"
# Any operation may meet these: no rights, a server that fails or stops.
_USUAL = {"401": "No valid key.", "403": "The key lacks the right.", "500": "The server failed."}
_BODY = {
    "400": "Something in the request cannot be used.",
    "408": "The body did not come in time.",
    "413": "The body is too long.",
    "415": "The body is compressed.",
    "503": "Overloaded or stopping; try again after Retry-After seconds.",
    "504": "The time ran out before the answer was there.",
}


def openapi(largest_k: int, config: ServiceConfig) -> dict[str, Any]:
    """The document.

    Args:
        largest_k: Items that the serving snapshot can return.
        config: Whose limits the document states.
    """
    requests = [json_api.RecommendRequest, json_api.BatchRequest]
    answers = [json_api.Recommendations, json_api.BatchRecommendations]
    _, schemas = msgspec.json.schema_components(
        [*requests, *answers, json_api.Error, json_api.Row], ref_template=_REF + "{name}"
    )
    lowest, highest = config.priorities
    for name in ("RecommendRequest", "BatchRequest"):
        properties = schemas[name]["properties"]
        properties["priority"] |= {"minimum": lowest, "maximum": highest}
        properties["timeout_ms"]["anyOf"][0]["maximum"] = 1e3 * config.longest_timeout_s
    for name in ("RecommendRequest", "Row"):
        schemas[name]["properties"]["k"]["anyOf"][0]["maximum"] = largest_k
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "SilverJAX",
            "version": __version__,
            "description": "Recommendations from one compiled function. The Open Inference "
            "Protocol v2 is served beside this API, under /v2 and over gRPC.",
        },
        "paths": _paths(),
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        # A server without API keys asks for none.
        "security": [{"key": []}, {}],
    }


def _paths() -> dict[str, Any]:
    model = [_parameter("model", "recommend")]
    return {
        "/v1/recommend": {
            "post": _operation(
                "Recommend items to one user or several.",
                _one_of("Recommendations", "BatchRecommendations"),
                body=_one_of("RecommendRequest", "BatchRequest"),
            )
        },
        "/v2": {"get": _operation("The server and its extensions.", _object())},
        "/v2/health/live": {"get": _operation("The process answers.", _object())},
        "/v2/health/ready": {"get": _ready("Requests are answered.")},
        "/v2/models/{model}": {
            "parameters": model,
            "get": _operation("What the model takes and gives.", _object(), named=True),
        },
        "/v2/models/{model}/config": {
            "parameters": model,
            "get": _operation("Triton's model configuration.", _object(), named=True),
        },
        "/v2/models/{model}/ready": {"parameters": model, "get": _ready("The model is ready.")},
        "/v2/models/{model}/stats": {
            "parameters": model,
            "get": _operation("Sums since the start.", _object(), named=True),
        },
        "/v2/models/{model}/infer": {
            "parameters": model,
            "post": _operation(
                "Open Inference Protocol v2; binary tensors may follow the JSON.",
                _object(),
                body=_object(),
                named=True,
            ),
        },
        "/v2/repository/index": {"post": _operation("The models.", {"type": "array"}, body={})},
        "/healthz": {"get": _operation("The state, for people.", _object())},
        "/livez": {"get": _operation("The process answers.", _object())},
        "/readyz": {"get": _ready("Warm, and not stopping.")},
        "/metrics": {"get": _operation("Prometheus metrics.", None)},
        "/openapi.json": {"get": _operation("This document.", _object())},
    }


def _operation(
    summary: str,
    answer: dict[str, Any] | None,
    *,
    body: dict[str, Any] | None = None,
    named: bool = False,
) -> dict[str, Any]:
    """One operation.

    Args:
        answer: Schema; `None` is text.
        body: Schema; `None` is no body.
        named: It has a model's name in its path, which may be unknown.
    """
    content = {"text/plain": {}} if answer is None else {_JSON: {"schema": answer}}
    if body is not None and named:
        content["application/octet-stream"] = {}
    errors = _USUAL | (_BODY if body is not None else {})
    errors |= {"404": "No such model or version."} if named else {}
    error = {_JSON: {"schema": {"$ref": _REF + "Error"}}}
    operation: dict[str, Any] = {
        "summary": summary,
        "responses": {
            "200": {"description": "Done.", "content": content},
            **{code: {"description": text, "content": error} for code, text in errors.items()},
        },
    }
    if body is not None:
        operation["requestBody"] = {"required": bool(body), "content": {_JSON: {"schema": body}}}
    return operation


def _ready(summary: str) -> dict[str, Any]:
    operation = _operation(summary, _object(), named=True)
    responses = operation["responses"]
    responses["503"] = responses["200"] | {"description": "Not yet, or no longer."}
    return operation


def _parameter(name: str, example: str) -> dict[str, Any]:
    schema = {"type": "string", "enum": [example]}
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _object() -> dict[str, Any]:
    return {"type": "object"}


def _one_of(*names: str) -> dict[str, Any]:
    return {"anyOf": [{"$ref": _REF + name} for name in names]}
