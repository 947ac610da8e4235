"""Schedulers behind one interface: given a bench, choose a plan.

A new one is a function of this form and a line in `SCHEDULERS`.
"""

from __future__ import annotations

from collections.abc import Callable

from experiments.deeprecinfra.bench import Bench
from experiments.deeprecinfra.plans import Plan
from experiments.deeprecinfra.schedulers.hercules import hercules
from experiments.deeprecinfra.schedulers.joint_search import joint, oracle
from experiments.deeprecinfra.schedulers.reference import as_coded, as_published, static
from experiments.deeprecinfra.schedulers.servers import bentoml, clipper, kairos, triton

Scheduler = Callable[[Bench], Plan]

OURS = "ours"
SCHEDULERS: dict[str, Scheduler] = {
    "static": static,
    "DeepRecSched, published": as_published,
    "DeepRecSched, its code": as_coded,
    "Triton-like": triton,
    "BentoML-like": bentoml,
    "Clipper (AIMD)": clipper,
    "Kairos-like": kairos,
    "Hercules-like": hercules,
    OURS: joint,
    "oracle": oracle,
}
