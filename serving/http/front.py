"""The operations of the data port: recommendations, inference, health, metrics."""

from __future__ import annotations

import time
from typing import Any

from starlette.responses import Response

from serving.answered import Answered
from serving.examples import examples_of
from serving.http import explain_api, json_api
from serving.http.endpoint import JSON, Call, json_response
from serving.http.openapi import openapi
from serving.metrics import Metrics
from serving.oip import rest
from serving.oip.model import EXTENSIONS, NAME, PLATFORM, OipModel
from serving.oip.statistics import statistics
from serving.problems import Refused
from serving.service import Service
from silverjax import __version__


class Front:
    """Handlers for HTTP calls; each returns an answer or raises what is wrong.

    Args:
        service: Answers.
        metrics: Where answers are counted.
    """

    def __init__(self, service: Service, metrics: Metrics) -> None:
        self.service, self.metrics = service, metrics
        self.model = OipModel(service)

    async def recommend(self, call: Call) -> Response:
        """`POST /v1/recommend`."""
        request = json_api.decode(call.body)
        batch = isinstance(request, json_api.BatchRequest)
        started = time.perf_counter()
        answered = await self.service.answer(
            json_api.queries_of(request, self.model.default_k),
            timeout=None if request.timeout_ms is None else request.timeout_ms / 1e3,
            priority=request.priority,
        )
        body = json_api.encode(answered, batch=batch)
        self.metrics.answered(answered, time.perf_counter() - started)
        return Response(body, headers=timing(answered), media_type=JSON)

    async def explain(self, call: Call) -> Response:
        """`POST /v1/explain`."""
        request = explain_api.decode(call.body)
        try:
            explanation = await self.service.explain(
                json_api.query_of(request, self.model.default_k),
                request.item,
                timeout=None if request.timeout_ms is None else request.timeout_ms / 1e3,
            )
        except NotImplementedError as error:
            raise Refused(404, str(error)) from None
        return Response(explain_api.encode(explanation), media_type=JSON)

    async def examples(self, call: Call) -> Response:
        """`GET /v1/examples`: what can be asked of the version that serves."""
        return json_response(examples_of(self.model.engine))

    async def infer(self, call: Call) -> Response:
        """`POST /v2/models/{model}/infer`."""
        self._check_name(call)
        length = call.headers.get(rest.HEADER_LENGTH.encode())
        started = time.perf_counter()
        request = rest.decode(
            call.body, None if length is None else length.decode("latin-1"), self.model.signature
        )
        answer, answered = await self.model.infer(request.infer)
        body, json_length = rest.encode(answer, request.binary)
        self.metrics.answered(answered, time.perf_counter() - started)
        headers = timing(answered)
        if json_length is None:
            return Response(body, headers=headers, media_type=JSON)
        headers[rest.HEADER_LENGTH] = str(json_length)
        return Response(body, headers=headers, media_type="application/octet-stream")

    async def server_metadata(self, call: Call) -> Response:
        """`GET /v2`."""
        return json_response({"name": PLATFORM, "version": __version__, "extensions": EXTENSIONS})

    async def model_metadata(self, call: Call) -> Response:
        """`GET /v2/models/{model}`."""
        self._check_name(call)
        return json_response(self.model.metadata())

    async def model_config(self, call: Call) -> Response:
        """`GET /v2/models/{model}/config`."""
        self._check_name(call)
        return json_response(self.model.config(enum_names=True))

    async def model_statistics(self, call: Call) -> Response:
        """`GET /v2/models/{model}/stats` and `GET /v2/models/stats`."""
        if "model" in call.path:
            self._check_name(call)
        return json_response({"model_stats": [statistics(self.service, self.metrics.totals)]})

    async def repository_index(self, call: Call) -> Response:
        """`POST /v2/repository/index`."""
        return json_response(self.model.index())

    async def live(self, call: Call) -> Response:
        """`GET /livez`, `GET /v2/health/live`: the process answers."""
        return json_response({"live": True})

    async def ready(self, call: Call) -> Response:
        """`GET /readyz`, `GET /v2/health/ready`: warm, and not stopping."""
        return self._readiness()

    async def model_ready(self, call: Call) -> Response:
        """`GET /v2/models/{model}/ready`."""
        self._check_name(call)
        return self._readiness()

    async def health(self, call: Call) -> Response:
        """`GET /healthz`: all that a person wants to know of the state, always 200."""
        service = self.service
        return json_response(
            {
                "status": "degraded" if service.degraded else "ok",
                "ready": service.ready,
                "degraded": service.degraded,
                "snapshot_version": service.version,
            }
        )

    async def prometheus(self, call: Call) -> Response:
        """`GET /metrics`."""
        accept = call.headers.get(b"accept", b"").decode("latin-1")
        body, content_type = self.metrics.exposition(accept)
        return Response(body, headers={"content-type": content_type})

    async def schema(self, call: Call) -> Response:
        """`GET /openapi.json`."""
        return json_response(openapi(self.model.engine.sizes.k, self.service.config))

    def _readiness(self) -> Response:
        ready = self.service.ready
        # The protocol's text says "live" here, its clients look for "ready".
        state: dict[str, Any] = {"ready": ready, "live": True, "name": NAME}
        return json_response(state, 200 if ready else 503)

    def _check_name(self, call: Call) -> None:
        self.model.check_name(call.path["model"], call.path.get("version"))


def timing(answered: Answered) -> dict[str, str]:
    """Where the time went, as browsers and proxies read it (W3C Server Timing)."""
    return {
        "server-timing": f"queue;dur={answered.queue_ms:.2f}, infer;dur={answered.infer_ms:.2f}, "
        f'batch;desc="{answered.batch}"',
        "x-snapshot-version": answered.version,
    }


async def not_found(call: Call) -> Response:
    """Any other address."""
    raise Refused(404, "there is nothing at this address; /openapi.json lists what there is")
