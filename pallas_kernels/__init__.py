"""Array kernels with one contract and several backends; imports jax only.

Each op is a folder: `api` (checks, dispatch), `reference` (the specification), other backends.
"""

from __future__ import annotations

from pallas_kernels.affinity.api import affinity as affinity
from pallas_kernels.bloom_probe.api import bloom_probe as bloom_probe
from pallas_kernels.bloom_probe.plan import Plan as Plan
from pallas_kernels.filtered_search.api import Exact as Exact
from pallas_kernels.filtered_search.api import filtered_search as filtered_search
from pallas_kernels.gather_dot.api import gather_dot as gather_dot
from pallas_kernels.gather_sum.api import gather_sum as gather_sum
from pallas_kernels.int8_search.api import int8_search as int8_search
from pallas_kernels.report import backend_report as backend_report
from pallas_kernels.top_k.api import top_k as top_k
