"""Prometheus metrics in base units, and on wish a mirror under Triton's names."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    UntypedMetricFamily,
)
from prometheus_client.exposition import choose_encoder

from serving.answered import Answered
from serving.oip.model import NAME
from serving.oip.statistics import Totals
from serving.service import Service

PREFIX = "silverjax"
# Seconds, a factor of about 1.6 apart where latencies usually lie.
_BUCKETS = (
    *(0.0005, 0.001, 0.0015, 0.0025, 0.004, 0.006, 0.01, 0.015, 0.025),
    *(0.04, 0.06, 0.1, 0.15, 0.25, 0.4, 0.6, 1.0, 2.5, 5.0),
)


INFERENCE_ROUTES = {"/v1/recommend", "/v2/models/{model}/infer", "grpc/ModelInfer"}
_TRITON_REASONS = {499: "CANCELED", 500: "BACKEND", 503: "REJECTED"}


class Metrics:
    """What the front ends measure, beside what the service counts itself.

    Args:
        service: Whose counters are shown.
        triton: Show the most used ones under Triton's names too.

    Attributes:
        loop_lag: Is told by how many seconds the event loop was late.
    """

    def __init__(self, service: Service, *, triton: bool = False) -> None:
        self.registry = CollectorRegistry()
        self.totals = Totals()
        self._responses = Counter(
            f"{PREFIX}_responses", "Responses sent.", ["route", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            f"{PREFIX}_request_duration_seconds",
            "From the request's headers to its answer.",
            ["route"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        stages = Histogram(
            f"{PREFIX}_stage_duration_seconds",
            "Waiting in the queue, and from there to the answer.",
            ["stage"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._queue, self._infer = stages.labels("queue"), stages.labels("infer")
        self.loop_lag = Histogram(
            f"{PREFIX}_event_loop_lag_seconds",
            "How long the event loop keeps who is ready waiting.",
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._known: dict[tuple[str, int], Any] = {}
        self._routes: dict[str, Any] = {}
        self.registry.register(_ServiceCollector(service))
        if triton:
            self.registry.register(_TritonCollector(service, self.totals))

    def observe(self, route: str, status: int, seconds: float) -> None:
        """Counts one response."""
        counter = self._known.get((route, status))
        if counter is None:
            counter = self._known[route, status] = self._responses.labels(route, str(status))
            self._routes[route] = self._seconds.labels(route)
        counter.inc()
        self._routes[route].observe(seconds)
        if status >= 400 and route in INFERENCE_ROUTES:
            reason = _TRITON_REASONS.get(status, "OTHER")
            self.totals.failed[reason] = self.totals.failed.get(reason, 0) + 1

    def answered(self, answer: Answered, seconds: float) -> None:
        """Counts one request that the service answered within so many seconds."""
        queue, infer = answer.queue_ms / 1e3, answer.infer_ms / 1e3
        self._queue.observe(queue)
        self._infer.observe(infer)
        self.totals.requests += 1
        self.totals.request_s += seconds
        self.totals.queue_s += queue
        self.totals.infer_s += infer
        self.totals.last = time.time()

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """All metrics as text, and its content type: OpenMetrics for who accepts it."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type


def _labelled(kind: Any, name: str, help: str, label: str, values: Mapping[Any, int]) -> Any:
    family = kind(f"{PREFIX}_{name}", help, labels=[label])
    for key, value in values.items():
        family.add_metric([str(key)], value)
    return family


class _ServiceCollector:
    """The service's own counters and gauges, read when they are asked for."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[Any]:
        service, stats = self._service, self._service.stats
        counters = {
            "requests": (stats.requests, "Requests understood, refused ones among them."),
            "rows": (stats.rows, "Rows of those requests."),
            "answered_rows": (stats.answered_rows, "Rows answered in time."),
            "expired": (stats.expired, "Requests let in whose time ran out."),
            "cancelled": (stats.cancelled, "Requests whose client went away."),
            "batch_failures": (stats.failed, "Requests of batches that failed."),
            "batch_rows": (stats.batch_rows, "Rows of all batches, without padding."),
            "searched_share": (stats.coverage, "Share of the items searched, summed over rows."),
            "recompiles": (service.recompiles, "Programs compiled on a request's way; must be 0."),
            "snapshot_swaps": (stats.swaps, "Snapshots put in place."),
            "refused_swaps": (stats.refused_swaps, "Snapshots that could not be put in place."),
        }
        gauges = {
            "queue_depth_rows": (service.queue_rows, "Rows that wait."),
            "batches_running": (service.batches_running, "Batches on their way."),
            "batch_limit_rows": (service.batch_limit, "Rows that a batch may have now."),
            "ready": (service.ready, "1 if requests are answered."),
            "degraded": (service.degraded is not None, "1 if the newest snapshot does not serve."),
        }
        for name, (value, help) in counters.items():
            yield CounterMetricFamily(f"{PREFIX}_{name}", help, value=value)
        for name, (value, help) in gauges.items():
            yield GaugeMetricFamily(f"{PREFIX}_{name}", help, value=float(value))
        labelled: tuple[tuple[str, str, str, Mapping[Any, int]], ...] = (
            ("shed", "Requests refused at the door.", "reason", stats.shed),
            ("batches", "Batches by compiled size.", "size", stats.batches),
            ("dispatches", "Batches by why they left.", "reason", stats.dispatches),
            ("candidates", "Items left after each stage.", "stage", stats.funnel),
        )
        for name, help, label, values in labelled:
            yield _labelled(CounterMetricFamily, name, help, label, values)
        yield InfoMetricFamily(
            f"{PREFIX}_snapshot", "The version that serves.", value={"version": service.version}
        )


class _TritonCollector:
    """Names that dashboards and autoscaling rules made for Triton look for."""

    def __init__(self, service: Service, totals: Totals) -> None:
        self._service, self._totals = service, totals

    def collect(self) -> Iterator[Any]:
        stats, totals = self._service.stats, self._totals
        done = stats.answered + stats.expired + stats.cancelled + stats.failed
        pending = stats.requests - done - sum(stats.shed.values())
        labels = {"model": NAME, "version": self._service.version}
        values = {
            "request_success": totals.requests,
            "count": stats.answered_rows,
            "exec_count": sum(stats.batches.values()),
            "pending_request_count": pending,
            "request_duration_us": 1e6 * totals.request_s,
            "queue_duration_us": 1e6 * totals.queue_s,
            "compute_input_duration_us": 0.0,
            "compute_infer_duration_us": 1e6 * totals.infer_s,
            "compute_output_duration_us": 1e6
            * (totals.request_s - totals.queue_s - totals.infer_s),
        }
        for name, value in values.items():
            # Untyped: a counter's name would have to end in `_total`.
            family = UntypedMetricFamily(f"nv_inference_{name}", "As Triton's.", labels=[*labels])
            family.add_metric([*labels.values()], value)
            yield family
        family = UntypedMetricFamily(
            "nv_inference_request_failure", "As Triton's.", labels=[*labels, "reason"]
        )
        for reason, count in totals.failed.items():
            family.add_metric([*labels.values(), reason], count)
        yield family
