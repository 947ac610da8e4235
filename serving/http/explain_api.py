"""`POST /v1/explain`: one query and one item."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from serving.http.json_api import Row, Timeout


class ExplainRequest(Row, frozen=True, kw_only=True):
    """One query, and the item to follow through the stages."""

    item: Annotated[str, msgspec.Meta(description="Id of an item of the catalogue.")]
    timeout_ms: Timeout = None


_request = msgspec.json.Decoder(ExplainRequest)
_encoder = msgspec.json.Encoder()


def decode(body: bytes) -> ExplainRequest:
    """Raises `msgspec.DecodeError`, `UnicodeDecodeError` or `RecursionError` for anything else."""
    return _request.decode(body)


def encode(value: Any) -> bytes:
    """An explanation as JSON."""
    return _encoder.encode(value)
