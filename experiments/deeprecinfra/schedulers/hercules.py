"""A wider search than DeepRecSched's, after Hercules (HPCA 2022).

Hercules climbs over threads, batches and placement at once. Its inner workings are known to us
from its abstract only, so this is the idea and not the system: steepest ascent over batch, cores
in use, threshold, and queries joined in a launch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from experiments.deeprecinfra.bench import Bench
from experiments.deeprecinfra.plans import Fixed, Plan
from experiments.deeprecinfra.schedulers.reference import LARGEST_QUERY, achievable
from experiments.deeprecinfra.simulator import Setting
from serving.load.workload import LARGEST


def hercules(bench: Bench) -> Plan:
    """From the static setting, always to the best neighbour, while there is a better one."""
    cores = bench.machine.cores
    here = Setting(max(1, LARGEST_QUERY // cores), cores)
    rates = {here: achievable(bench, here)}
    while True:
        for near in _neighbours(here, bench):
            if near not in rates:
                rates[near] = achievable(bench, near)
        best = max(rates, key=lambda setting: rates[setting])
        if best == here:
            return Fixed(here, rates[here])
        here = best


def _neighbours(here: Setting, bench: Bench) -> Iterator[Setting]:
    def but(**fields: int | None) -> Setting:
        return dataclasses.replace(here, **fields)  # type: ignore[arg-type]

    for batch in (here.batch * 2, here.batch // 2):
        if 1 <= batch <= LARGEST:
            yield but(batch=batch)
    for workers in (
        here.workers - bench.machine.cores // 8,
        here.workers + bench.machine.cores // 8,
    ):
        if 1 <= workers <= bench.machine.cores and workers != here.workers:
            yield but(workers=workers)
    if bench.machine.accelerator is None:
        return
    if here.threshold is None:
        yield but(threshold=LARGEST_QUERY // 2)
        return
    for threshold in (here.threshold * 3 // 2, here.threshold * 2 // 3):
        yield but(threshold=threshold) if 1 <= threshold < LARGEST else but(threshold=None)
    for joined in (0, 512, LARGEST):
        if joined != here.joined:
            yield but(joined=joined)
