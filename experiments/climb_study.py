"""Does the hill climber reach the best batch limit, and does it hold the target as load changes?

python -m experiments.climb_study            # 1,000 random curves, four systems; 20 minutes
python -m experiments.climb_study --quick    # 20 curves, one system; a minute

Everything is simulated, with the very climber that serves; see `climb_curves`, `climb_workloads`.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import itertools
import multiprocessing
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from experiments.climb_curves import Found, study_curve
from experiments.climb_plot import plot_climb
from experiments.climb_workloads import OURS, SYSTEMS, Outcome, compare
from experiments.command import run_command
from experiments.policies import Climbing
from experiments.results import FOLDER, report_result

NEAR = 0.95


@dataclasses.dataclass(frozen=True)
class Study:
    """What to simulate.

    Attributes:
        curves: Random latency curves.
        seconds: Simulated, of each workload.
        load: Peak of the workloads, as a share of the highest rate a fixed limit carries.
        workers: Processes.
        seed: Of everything.
        quick: 20 curves, one system, 30 s.
    """

    curves: int = 1_000
    seconds: float = 60.0
    load: float = 0.9
    workers: int = 2
    seed: int = 0
    quick: bool = False


def study_curves(study: Study, pool: concurrent.futures.Executor) -> Iterator[Found]:
    """All random curves."""
    first = study.seed * 10_000_000
    return pool.map(study_curve, range(first, first + study.curves), chunksize=5)


def study_system(name: str, study: Study) -> dict[str, dict[str, Outcome]]:
    """Outcomes by workload and policy; draws the climb of one that has to find its way."""
    system, outcomes = SYSTEMS[name], dict[str, dict[str, Outcome]]()
    for workload, policy_name, one, policy, run in compare(
        system, seconds=study.seconds, load=study.load, seed=study.seed
    ):
        outcomes.setdefault(workload, {})[policy_name] = one
        if (workload, policy_name) == ("x4 step", "hill climber, no warm-up"):
            assert isinstance(policy, Climbing)
            file = f"climb-{name.replace(' ', '-')}{'-quick' if study.quick else ''}.png"
            plot_climb(
                FOLDER / file, run, policy.trace, target=system.target, title=f"{name}, load x4"
            )
    return outcomes


def curve_figures(found: list[Found]) -> dict[str, Any]:
    """Shares of curves within 5 % of the best, and how far off the others are."""
    tuned = np.array([one.tuned_share for one in found])
    online = np.array([one.online_share for one in found])
    return {
        "curves": len(found),
        "tuned_within_5_percent": float(np.mean(tuned >= NEAR)),
        "online_within_5_percent": float(np.mean(online >= NEAR)),
        "tuned_mean": float(tuned.mean()),
        "online_mean": float(online.mean()),
        "tuned_first_percentile": float(np.quantile(tuned, 0.01)),
        "online_first_percentile": float(np.quantile(online, 0.01)),
    }


def relative(outcomes: Mapping[str, Outcome]) -> dict[str, float]:
    """Goodput of each policy as a share of the best fixed limit's."""
    best = max(one.goodput for name, one in outcomes.items() if name.startswith("fixed "))
    return {name: one.goodput / best for name, one in outcomes.items()}


def table(system: str, by_workload: Mapping[str, Mapping[str, Outcome]]) -> Table:
    """Goodput against the best fixed limit, and recovery after the step."""
    shown = Table("policy", *by_workload, "met again after the step", title=system)
    shares = {workload: relative(outcomes) for workload, outcomes in by_workload.items()}
    for name in next(iter(shares.values())):
        seconds = by_workload["x4 step"][name].recovery_s
        shown.add_row(
            name,
            *[f"{share[name]:.3f}" for share in shares.values()],
            "never" if seconds is None else f"{seconds:.0f} s",
        )
    return shown


def headline(figures: Mapping[str, Any], outcomes: Mapping[str, Any]) -> dict[str, str]:
    """For the README's table."""
    shares = [relative(by) for each in outcomes.values() for by in each.values()]
    ours = min(share[OURS] for share in shares)
    return {
        f"hill climber, simulated: {figures['curves']:,} random latency curves": (
            f"within 5 % of the best limit on {figures['tuned_within_5_percent']:.1%} offline, "
            f"{figures['online_within_5_percent']:.1%} while serving"
        ),
        f"hill climber, simulated: {len(shares)} workloads": (
            f"goodput at least {ours:.3f} of the best fixed limit"
        ),
    }


def main(study: Study) -> None:
    console = Console()
    systems = list(SYSTEMS)
    if study.quick:
        study = dataclasses.replace(study, curves=20, seconds=30.0)
        systems = systems[:1]
    # Not forked: this process may have started threads.
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(study.workers, mp_context=context) as pool:
        ran = study_curves(study, pool)
        compared = pool.map(study_system, systems, itertools.repeat(study))
        with Progress(console=console) as progress:
            curves = progress.track(ran, total=study.curves, description="random curves")
            figures = curve_figures(list(curves))
            each = progress.track(compared, total=len(systems), description="workloads")
            outcomes = dict(zip(systems, each))
    for name, by_workload in outcomes.items():
        console.print(table(name, by_workload))
    console.print(figures)
    relatives = {
        name: {workload: relative(one) for workload, one in by_workload.items()}
        for name, by_workload in outcomes.items()
    }
    report_result(
        "experiments.climb_study",
        study,
        {"curves": figures, "workloads": outcomes, "goodput_relative_to_best_fixed": relatives},
        console=console,
        headline=headline(figures, outcomes),
        of="quick" if study.quick else "",
    )


if __name__ == "__main__":
    run_command(main, Study, __doc__)
