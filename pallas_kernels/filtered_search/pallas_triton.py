"""`filtered_search` by the Triton kernels of the two ops that it joins."""

from __future__ import annotations

import functools

from pallas_kernels import pallas_triton
from pallas_kernels.bloom_probe.pallas_triton import bloom_probe
from pallas_kernels.filtered_search.composed import composed
from pallas_kernels.int8_search.pallas_triton import int8_search

why_not = pallas_triton.why_not

filtered_search = functools.partial(composed, bloom_probe=bloom_probe, int8_search=int8_search)
