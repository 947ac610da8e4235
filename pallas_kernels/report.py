"""What can run here."""

from __future__ import annotations

from pallas_kernels import dispatch
from pallas_kernels.affinity.api import OP as AFFINITY
from pallas_kernels.bloom_probe.api import OP as BLOOM_PROBE
from pallas_kernels.filtered_search.api import OP as FILTERED_SEARCH
from pallas_kernels.gather_dot.api import OP as GATHER_DOT
from pallas_kernels.gather_sum.api import OP as GATHER_SUM
from pallas_kernels.int8_search.api import OP as INT8_SEARCH
from pallas_kernels.top_k.api import OP as TOP_K

OPS = (AFFINITY, BLOOM_PROBE, INT8_SEARCH, FILTERED_SEARCH, GATHER_DOT, GATHER_SUM, TOP_K)


def backend_report(*, platform: str | None = None) -> list[dispatch.BackendStatus]:
    """Lists, per op, each backend, whether it can serve on `platform`, and why not.

    Args:
        platform: "cpu", "gpu" or "tpu"; None = the one in use (this touches the device).
    """
    return [row for op in OPS for row in dispatch.status(op, platform=platform)]
