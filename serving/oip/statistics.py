"""The protocol's statistics: sums since the start, which clients subtract from one another."""

from __future__ import annotations

import dataclasses
from typing import Any

from serving.oip.model import NAME
from serving.service import Service


@dataclasses.dataclass
class Totals:
    """What the front ends have answered since the start.

    Attributes:
        requests: Answered.
        request_s: Seconds from the request's arrival to its encoded answer, summed.
        queue_s: Of that, waiting for a batch.
        infer_s: Of that, in batches.
        last: When the last one was answered; seconds since the epoch.
        failed: Not answered, by Triton's words for why.
    """

    requests: int = 0
    request_s: float = 0.0
    queue_s: float = 0.0
    infer_s: float = 0.0
    last: float = 0.0
    failed: dict[str, int] = dataclasses.field(default_factory=dict)


def statistics(service: Service, totals: Totals) -> dict[str, Any]:
    """One entry of `model_stats`.

    A batch's inputs are put together by the thread that starts it: `compute_input` is 0, and
    within `compute_infer`.
    """
    stats = service.stats
    output_s = totals.request_s - totals.queue_s - totals.infer_s

    def duration(count: int, seconds: float) -> dict[str, int]:
        return {"count": count, "ns": int(1e9 * max(0.0, seconds))}

    count = totals.requests
    return {
        "name": NAME,
        "version": service.version,
        "last_inference": int(1e3 * totals.last),
        "inference_count": stats.answered_rows,
        "execution_count": sum(stats.batches.values()),
        "inference_stats": {
            "success": duration(count, totals.request_s),
            "fail": duration(sum(totals.failed.values()), 0.0),
            "queue": duration(count, totals.queue_s),
            "compute_input": duration(count, 0.0),
            "compute_infer": duration(count, totals.infer_s),
            "compute_output": duration(count, output_s),
        },
        "batch_stats": [
            {
                "batch_size": size,
                "compute_input": duration(batches, 0.0),
                "compute_infer": duration(batches, stats.batch_seconds[size]),
                "compute_output": duration(batches, 0.0),
            }
            for size, batches in sorted(stats.batches.items())
        ],
    }
