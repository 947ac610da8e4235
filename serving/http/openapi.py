"""The HTTP API as an OpenAPI 3.1 document, made from the schemas that decode the requests."""

from __future__ import annotations

from typing import Any

import msgspec

from serving.config import ServiceConfig
from serving.examples import Examples
from serving.explain import Explanation
from serving.http import json_api
from serving.http.explain_api import ExplainRequest
from serving.http.live_stream import EVENT_STREAM
from serving.live import History
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


_PAGE_TYPES = ("text/html", "text/css", "text/javascript", "text/plain", "image/svg+xml")


def openapi(largest_k: int, config: ServiceConfig) -> dict[str, Any]:
    """The document.

    Args:
        largest_k: Items that the serving snapshot can return.
        config: Whose limits the document states.
    """
    requests = [json_api.RecommendRequest, json_api.BatchRequest, ExplainRequest]
    answers = [json_api.Recommendations, json_api.BatchRecommendations, Explanation]
    figures = [Examples, History]
    _, schemas = msgspec.json.schema_components(
        [*requests, *answers, *figures, json_api.Error, json_api.Row], ref_template=_REF + "{name}"
    )
    lowest, highest = config.priorities
    for name in ("RecommendRequest", "BatchRequest", "ExplainRequest"):
        properties = schemas[name]["properties"]
        if "priority" in properties:
            properties["priority"] |= {"minimum": lowest, "maximum": highest}
        properties["timeout_ms"]["anyOf"][0]["maximum"] = 1e3 * config.longest_timeout_s
    for name in ("RecommendRequest", "ExplainRequest", "Row"):
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
        "/": {"get": _operation("The live page, for people.", "text/html")},
        "/page/{name}": {
            "parameters": [_parameter("name")],
            "get": _operation("A file of the live page.", *_PAGE_TYPES, named=True),
        },
        "/v1/live": {
            "get": _operation(
                "The last five minutes in figures. With `Accept: text/event-stream` it goes on: "
                "an event `history` of the same form, then an event `frame` every second.",
                _one_of("History"),
                EVENT_STREAM,
                busy="As many listeners as there may be are connected.",
            )
        },
        "/v1/examples": {"get": _operation("What can be asked, by example.", _one_of("Examples"))},
        "/v1/explain": {
            "post": _operation(
                "Which stage keeps or drops an item for a query. Takes its turn beside the "
                "requests; 404 where the service was not made for it.",
                _one_of("Explanation"),
                body=_one_of("ExplainRequest"),
                missing="This service explains no items.",
            )
        },
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
        "/metrics": {"get": _operation("Prometheus metrics.", "text/plain")},
        "/openapi.json": {"get": _operation("This document.", _object())},
    }


def _operation(
    summary: str,
    *answers: dict[str, Any] | str,
    body: dict[str, Any] | None = None,
    named: bool = False,
    missing: str = "",
    busy: str = "",
) -> dict[str, Any]:
    """One operation.

    Args:
        answers: Schema of JSON, or another media type.
        body: Schema; `None` is no body.
        named: It has a name in its path, which may be unknown.
        missing: When else it answers 404.
        busy: When it answers 503 although it has no body.
    """
    content: dict[str, Any] = {
        one if isinstance(one, str) else _JSON: {} if isinstance(one, str) else {"schema": one}
        for one in answers
    }
    if body is not None and named:
        content["application/octet-stream"] = {}
    errors = _USUAL | (_BODY if body is not None else {}) | ({"503": busy} if busy else {})
    if named or missing:
        errors |= {"404": missing or "There is nothing of that name."}
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


def _parameter(name: str, *values: str) -> dict[str, Any]:
    schema = {"type": "string", "enum": [*values]} if values else {"type": "string"}
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _object() -> dict[str, Any]:
    return {"type": "object"}


def _one_of(*names: str) -> dict[str, Any]:
    return {"anyOf": [{"$ref": _REF + name} for name in names]}
