"""`filtered_search` for Hopper GPUs: the Mosaic GPU search behind the Triton filter."""

from __future__ import annotations

import functools

from pallas_kernels.bloom_probe.pallas_triton import bloom_probe
from pallas_kernels.filtered_search.composed import composed
from pallas_kernels.int8_search import pallas_mosaic_gpu

why_not = pallas_mosaic_gpu.why_not

filtered_search = functools.partial(
    composed, bloom_probe=bloom_probe, int8_search=pallas_mosaic_gpu.int8_search
)
