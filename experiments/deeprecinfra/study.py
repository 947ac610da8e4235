"""Every scheduler on every model at every target, with and without an accelerator."""

from __future__ import annotations

import dataclasses
import pathlib
import time
from collections.abc import Iterator, Mapping

from rich.progress import Progress

from experiments.deeprecinfra.bench import Bench, ceiling, sustained
from experiments.deeprecinfra.plans import Batching, Fixed, Plan
from experiments.deeprecinfra.profiles import Machine, Profile
from experiments.deeprecinfra.published import published_machine
from experiments.deeprecinfra.schedulers import SCHEDULERS
from experiments.deeprecinfra.workload import latency_target
from experiments.results import Cache, fingerprint

_HERE = pathlib.Path(__file__).parent
# What a result depends on; reports may change without a new run.
_SOURCES = [_HERE / f"{name}.py" for name in ("bench", "plans", "profiles", "published")]
_SOURCES += [_HERE / f"{name}.py" for name in ("simulator", "workload")]
_SOURCES += [_HERE / "schedulers", _HERE.parent / "policies.py", _HERE.parent / "serving_lane.py"]


@dataclasses.dataclass(frozen=True)
class Cell:
    """One scheduler in one situation.

    Attributes:
        model: Of the eight.
        level: Of the target.
        accelerator: Its name; empty: cores alone.
        scheduler: By name.
        qps: Queries per second that its plan carries within the target; 0: it misses the target
            at any rate that is worth a measurement.
        spent: Queries it measured to choose.
        seconds: That choosing took.
        plan: What it chose.
        ceiling: Queries per second that no scheduler can exceed there.
    """

    model: str
    level: str
    accelerator: str
    scheduler: str
    qps: float
    spent: int
    seconds: float
    plan: dict[str, object]
    ceiling: float


@dataclasses.dataclass(frozen=True)
class Situation:
    """A model, a target, and a machine."""

    model: str
    level: str
    accelerator: str
    machine: Machine

    @property
    def target(self) -> float:
        """Seconds."""
        return latency_target(self.model, self.level)


def situations(
    models: tuple[str, ...],
    levels: tuple[str, ...],
    *,
    cpu: str,
    accelerator: str,
    measured: Mapping[str, Profile] | None = None,
    cores: int = 1,
) -> Iterator[Situation]:
    """Without an accelerator first, then with it; measured cores stand alone.

    Args:
        cpu: A published processor, unless profiles are given.
        accelerator: A published one; empty: none.
        measured: Profiles by model, of one core.
        cores: Of the measured machine.

    Raises:
        ValueError: A model that there is no profile of.
    """
    for beside in dict.fromkeys(["", *([] if measured else [accelerator])]):
        for model in models:
            if measured is None:
                machine = published_machine(model, cpu, beside or None)
            elif model in measured:
                machine = Machine(f"measured-{cores}", cores, measured[model])
            else:
                raise ValueError(
                    f"model {model!r} has no measured profile; there are {', '.join(measured)}"
                )
            for level in levels:
                yield Situation(model, level, beside, machine)


def run(
    cases: list[Situation],
    schedulers: tuple[str, ...],
    cache: Cache,
    *,
    workload: str,
    seed: int,
    progress: Progress,
) -> list[Cell]:
    """All cells; those that an earlier run finished are taken from the cache."""
    task = progress.add_task("cells", total=len(cases) * len(schedulers))
    sources = fingerprint(*_SOURCES)
    cells = []
    for case in cases:
        for name in schedulers:
            progress.update(
                task, description=f"{case.model} {case.level} {case.accelerator or 'cores'}: {name}"
            )
            key = f"{case.model}/{case.level}/{case.machine.name}/{name}/{workload}/{seed}"
            mark = fingerprint(sources, case.machine)
            found = cache.get(key, mark)
            if found is None:
                cell = measure(case, name, workload=workload, seed=seed)
                cache.put(key, mark, cell)
            else:
                cell = Cell(**found)
            cells.append(cell)
            progress.advance(task)
    return cells


def measure(case: Situation, scheduler: str, *, workload: str, seed: int) -> Cell:
    """Lets a scheduler choose, then measures what its plan carries."""
    bench = Bench(case.machine, case.target, workload=workload, seed=seed)
    start = time.perf_counter()
    plan = SCHEDULERS[scheduler](bench)
    took = time.perf_counter() - start
    qps = sustained(case.machine, plan, case.target, workload=workload)
    return Cell(
        model=case.model,
        level=case.level,
        accelerator=case.accelerator,
        scheduler=scheduler,
        qps=qps,
        spent=bench.spent,
        seconds=took,
        plan=_plain(plan),
        ceiling=ceiling(case.machine, float(bench.sizes.mean())),
    )


def _plain(plan: Plan) -> dict[str, object]:
    if isinstance(plan, Fixed):
        return {"claimed_qps": plan.claimed, **dataclasses.asdict(plan.setting)}
    return {"rule": plan.name if isinstance(plan, Batching) else type(plan).__name__}
