"""`bloom_probe`: which slots of the probed clusters pass each query's filter."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from pallas_kernels.bloom_probe.plan import AND as AND
from pallas_kernels.bloom_probe.plan import BLOCK as BLOCK
from pallas_kernels.bloom_probe.plan import COMPLEMENT as COMPLEMENT
from pallas_kernels.bloom_probe.plan import NO_OP as NO_OP
from pallas_kernels.bloom_probe.plan import ONES as ONES
from pallas_kernels.bloom_probe.plan import OR as OR
from pallas_kernels.bloom_probe.plan import ROWS as ROWS
from pallas_kernels.bloom_probe.plan import STACK_DEPTH as STACK_DEPTH
from pallas_kernels.bloom_probe.plan import ZEROS as ZEROS
from pallas_kernels.bloom_probe.plan import Plan as Plan
from pallas_kernels.bloom_probe.plan import check_plan
from pallas_kernels.bloom_probe.plan import evaluate as evaluate
from pallas_kernels.checks import check_array
from pallas_kernels.dispatch import Backend, Op

OP = Op(
    "bloom_probe",
    (
        Backend("cpu", "pallas_kernels.bloom_probe.cpu", default_on=("cpu",)),
        Backend("reference", "pallas_kernels.bloom_probe.reference", default_on=("*",)),
        Backend("pallas_triton", "pallas_kernels.bloom_probe.pallas_triton"),
        Backend("jax_triton", "pallas_kernels.bloom_probe.jax_triton"),
    ),
)


def bloom_probe(
    words: jax.Array, plan: Plan, clusters: jax.Array | None, *, backend: str | None = None
) -> jax.Array:
    """Evaluates one boolean program per query over the bit rows of the clusters it probes.

    Only probed clusters are read: probe first, filter second (SilverTorch, arXiv 2511.14881,
    co-design of Bloom index and ANN). The answer is as exact as the rows: a Bloom row gives a
    superset, and a plan must not complement one.

    Args:
        words: uint32 [R, C, W]; bit s % 32 of words[r, c, s // 32] is slot s of cluster c. Row 0
            holds the live slots. A row of all clusters is one run of memory: whoever asks what
            passes in each of them reads at the speed of the memory.
        plan: The programs, B of them; row numbers below R (others are read as the nearest row).
        clusters: int32 [B, N], those each query probes; -1 (or any id outside the index) gives
            zeros. None = all, N = C.
        backend: One backend by name; None = the platform's default.

    Returns:
        uint32 [B, N, W]: bits as in `words`, AND-ed with row 0.

    Raises:
        ValueError: A wrong dtype or shape.
        NotImplementedError: The chosen backend cannot serve here.
    """
    _check(words, plan, clusters)
    result: jax.Array = OP(words, plan, clusters, backend=backend)
    return result


def _check(words: jax.Array, plan: Plan, clusters: jax.Array | None) -> None:
    check_array("words", words, jnp.uint32, ("R", "C", "W"))
    if 0 in words.shape:
        raise ValueError(
            f"words has shape {words.shape}, limit: at least one row, cluster and word; row 0 "
            "holds the live slots"
        )
    check_plan(plan)
    batch = plan.program.shape[0]
    if clusters is not None:
        check_array("clusters", clusters, jnp.int32, ("B", "N"))
        if clusters.shape[0] != batch:
            raise ValueError(
                f"clusters has {clusters.shape[0]} rows, limit: B = {batch}, the queries of the "
                "plan; pass one row of clusters per query"
            )
