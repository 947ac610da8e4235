"""The Open Inference Protocol over gRPC, on the same loop and the same service as HTTP."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from serving.http.endpoint import Guard
from serving.metrics import Metrics
from serving.oip import grpc_codec
from serving.oip.descriptors import (
    HEALTH_MESSAGES,
    HEALTH_SERVICE,
    MESSAGES,
    SERVICE,
)
from serving.oip.model import EXTENSIONS, NAME, PLATFORM, OipModel
from serving.oip.statistics import statistics
from serving.problems import Problem, problem_of
from serving.security import Operation
from silverjax import __version__

Context = Any  # grpc.aio.ServicerContext, generic in types that have no names here
Method = Callable[[Any, Context], Awaitable[Any]]

_SERVING, _NOT_SERVING, _UNKNOWN = 1, 2, 3
_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}


class GrpcFront:
    """The methods of `inference.GRPCInferenceService` and of `grpc.health.v1.Health`.

    Args:
        model: Answers.
        metrics: Where answers are counted.
        guard: Who may do what; gRPC carries the key as metadata `authorization`.
    """

    def __init__(self, model: OipModel, metrics: Metrics, guard: Guard) -> None:
        self._model, self._metrics, self._guard = model, metrics, guard

    def handlers(self) -> list[grpc.GenericRpcHandler]:
        """For `grpc.aio.Server.add_generic_rpc_handlers`."""
        methods = {
            "ServerLive": (Operation.OPEN, self._server_live),
            "ServerReady": (Operation.OPEN, self._server_ready),
            "ModelReady": (Operation.OPEN, self._model_ready),
            "ServerMetadata": (Operation.INFER, self._server_metadata),
            "ModelMetadata": (Operation.INFER, self._model_metadata),
            "ModelInfer": (Operation.INFER, self._infer),
            "ModelConfig": (Operation.INFER, self._model_config),
            "ModelStatistics": (Operation.METRICS, self._model_statistics),
            "RepositoryIndex": (Operation.INFER, self._repository_index),
        }
        inference = {
            name: grpc.unary_unary_rpc_method_handler(
                self._guarded(name, operation, method),
                request_deserializer=MESSAGES[f"{name}Request"].FromString,
                response_serializer=MESSAGES[f"{name}Response"].SerializeToString,
            )
            for name, (operation, method) in methods.items()
        }
        inference["ModelStreamInfer"] = grpc.stream_stream_rpc_method_handler(
            self._stream,
            request_deserializer=MESSAGES["ModelInferRequest"].FromString,
            response_serializer=MESSAGES["ModelStreamInferResponse"].SerializeToString,
        )
        check = grpc.unary_unary_rpc_method_handler(
            self._guarded("Check", Operation.OPEN, self._health),
            request_deserializer=HEALTH_MESSAGES["HealthCheckRequest"].FromString,
            response_serializer=HEALTH_MESSAGES["HealthCheckResponse"].SerializeToString,
        )
        return [
            grpc.method_handlers_generic_handler(SERVICE, inference),
            grpc.method_handlers_generic_handler(HEALTH_SERVICE, {"Check": check}),
        ]

    def _guarded(self, name: str, operation: Operation, method: Method) -> Method:
        """A method with its rights checked, its errors told and its time counted."""

        async def call(message: Any, context: Context) -> Any:
            started = time.perf_counter()
            problem: Problem | None = None
            try:
                self._check(context, operation)
                return await method(message, context)
            except Exception as error:
                problem = problem_of(error)
            finally:
                status = problem.status if problem else 200
                self._metrics.observe(f"grpc/{name}", status, time.perf_counter() - started)
            await context.abort(
                _CODES.get(problem.status, grpc.StatusCode.INTERNAL),
                problem.message,
                _retry_metadata(problem),
            )

        return call

    def _check(self, context: Context, operation: Operation) -> None:
        metadata = dict(context.invocation_metadata() or ())
        key = metadata.get("authorization")
        self._guard.check({b"authorization": key.encode()} if key else {}, operation)

    async def _infer(self, message: Any, context: Context) -> Any:
        return await self._answer(message, context.time_remaining())

    async def _answer(self, message: Any, remaining: float | None) -> Any:
        started = time.perf_counter()
        self._model.check_name(message.model_name, message.model_version)
        request = grpc_codec.decode(message, self._model.signature)
        answer, answered = await self._model.infer(request, remaining=remaining)
        response = grpc_codec.encode(answer)
        self._metrics.answered(answered, time.perf_counter() - started)
        return response

    async def _stream(self, messages: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
        """Answers a stream of requests in their order; an error does not end it."""
        response = MESSAGES["ModelStreamInferResponse"]
        try:
            self._check(context, Operation.INFER)
        except Exception as error:
            problem = problem_of(error)
            await context.abort(_CODES[problem.status], problem.message)
        async for message in messages:
            started, status = time.perf_counter(), 200
            try:
                yield response(infer_response=await self._answer(message, context.time_remaining()))
            except Exception as error:
                problem = problem_of(error)
                status = problem.status
                # The request's id goes back with the error, or its sender could not tell which.
                failed = MESSAGES["ModelInferResponse"](id=message.id)
                yield response(error_message=problem.message, infer_response=failed)
            finally:
                self._metrics.observe("grpc/ModelInfer", status, time.perf_counter() - started)

    async def _server_live(self, message: Any, context: Context) -> Any:
        return MESSAGES["ServerLiveResponse"](live=True)

    async def _server_ready(self, message: Any, context: Context) -> Any:
        return MESSAGES["ServerReadyResponse"](ready=self._model.service.ready)

    async def _model_ready(self, message: Any, context: Context) -> Any:
        self._model.check_name(message.name, message.version)
        return MESSAGES["ModelReadyResponse"](ready=self._model.service.ready)

    async def _server_metadata(self, message: Any, context: Context) -> Any:
        return MESSAGES["ServerMetadataResponse"](
            name=PLATFORM, version=__version__, extensions=EXTENSIONS
        )

    async def _model_metadata(self, message: Any, context: Context) -> Any:
        self._model.check_name(message.name, message.version)
        return MESSAGES["ModelMetadataResponse"](**self._model.metadata())

    async def _model_config(self, message: Any, context: Context) -> Any:
        self._model.check_name(message.name, message.version)
        return MESSAGES["ModelConfigResponse"](config=self._model.config(enum_names=False))

    async def _model_statistics(self, message: Any, context: Context) -> Any:
        if message.name:
            self._model.check_name(message.name, message.version)
        entry = statistics(self._model.service, self._metrics.totals)
        return MESSAGES["ModelStatisticsResponse"](model_stats=[entry])

    async def _repository_index(self, message: Any, context: Context) -> Any:
        return MESSAGES["RepositoryIndexResponse"](models=self._model.index())

    async def _health(self, message: Any, context: Context) -> Any:
        status = _SERVING if self._model.service.ready else _NOT_SERVING
        if message.service not in ("", SERVICE, NAME):
            status = _UNKNOWN
        return HEALTH_MESSAGES["HealthCheckResponse"](status=status)


def _retry_metadata(problem: Problem) -> tuple[tuple[str, str], ...]:
    if problem.retry_after is None:
        return ()
    return (("grpc-retry-pushback-ms", str(round(1e3 * problem.retry_after))),)
