"""The rules of general servers and of Kairos, as plans.

Servers run one instance of the model per core and one on the accelerator; whichever is free takes
the next batch. The limit of a batch is theirs to be set, so it is tuned here.
"""

from __future__ import annotations

import functools

from experiments.deeprecinfra.bench import Bench, allowed, ceiling
from experiments.deeprecinfra.plans import Batching, Matching, Plan
from experiments.policies import BentoML, Clipper, Triton
from serving.load.workload import LARGEST

_LIMITS = (32, 64, 128, 256, 512, LARGEST)
_QUERIES, _HALVINGS = 1_024, 6


def tuned(bench: Bench, plans: list[Batching]) -> Plan:
    """The one that carries most, each measured only if it carries more than the best so far."""
    best, rate = plans[0], 0.0
    high = ceiling(bench.machine, float(bench.sizes.mean()))
    for plan in plans:
        low, top = rate, high
        if rate and _misses(bench, plan, 1.01 * rate):
            continue
        for _ in range(_HALVINGS):
            middle = (low + top) / 2
            if _misses(bench, plan, middle):
                top = middle
            else:
                best, rate, low = plan, middle, middle
    return best


def _misses(bench: Bench, plan: Plan, rate: float) -> bool:
    return bench.late(plan, rate, _QUERIES) > allowed(_QUERIES)


def triton(bench: Bench) -> Plan:
    """The dynamic batcher without a delay."""
    return tuned(bench, [Batching(f"Triton, {n}", functools.partial(Triton, n)) for n in _LIMITS])


def bentoml(bench: Bench) -> Plan:
    """The CORK dispatcher."""
    rules = [Batching(f"BentoML, {n}", functools.partial(BentoML, n)) for n in _LIMITS]
    return tuned(bench, rules)


def clipper(bench: Bench) -> Plan:
    """Additive increase, multiplicative decrease: it tunes itself."""
    return Batching("Clipper", lambda: Clipper(bench.target, largest=LARGEST, step=16))


def kairos(bench: Bench) -> Plan:
    """Matching of whole queries with executors."""
    return Matching(bench.target)
