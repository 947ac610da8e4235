"""What was found on this machine, as text and as a chart."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

import numpy as np

from experiments.deeprecinfra.live import Found
from experiments.deeprecinfra.report import geomean
from experiments.plots import BLUE, GREY, INK, save


def of_oracle(found: Sequence[Found]) -> float:
    """Ours over the oracle where it is least; 0 where there is no oracle."""
    return min((one.ours / one.oracle if one.oracle else 0.0 for one in found), default=0.0)


def errors(found: Sequence[Found]) -> list[float]:
    """Simulated over measured 95th percentile, less 1."""
    tails = [tail for one in found for tail in (*one.tails, *one.equal)]
    return [tail.simulated_p95 / tail.p95 - 1 for tail in tails]


def shorter(found: Sequence[Found], name: str) -> float:
    """Ours over static, 95th or 99th percentile at equal load; geometric mean."""
    pairs = [one.equal for one in found if one.equal]
    return geomean(getattr(ours, name) / getattr(static, name) for static, ours in pairs)


def headline(found: Sequence[Found], cores: int) -> dict[str, str]:
    """For the table of all results."""
    off = np.abs(errors(found))
    return {
        f"DeepRecInfra on {cores} real cores, {len(found)} models": (
            f"{of_oracle(found):.2f} of the oracle or more; p95 / p99 at equal load "
            f"{shorter(found, 'p95') - 1:+.0%} / {shorter(found, 'p99') - 1:+.0%} against static; "
            f"simulated p95 off by {np.median(off):.0%} (median), {off.max():.0%} (most)"
        )
    }


def markdown(
    found: Sequence[Found], unmet: Sequence[str] = (), *, cores: int, table_scale: float
) -> str:
    """The whole report; `unmet` says of other models why they are not in it."""
    off = np.abs(errors(found))
    text = [
        f"# Schedulers on {cores} real cores",
        "",
        f"Queries per second within the target, measured, tables times {table_scale:g}. The oracle",
        "is the best of the settings that the simulator likes best, each measured. With few cores",
        f"static cuts queries at {1000 // cores} items, so the paper's ratios do not carry over.",
        "",
        "| model | target | static | ours | oracle | ours over static | of oracle | ours is |",
        "|---|---|---|---|---|---|---|---|",
    ]
    text += [
        f"| {x.model} | {1e3 * x.target:g} ms | {x.static:,.1f} | {x.ours:,.1f} | {x.oracle:,.1f} "
        f"| {_ratio(x.ours, x.static)} | {_ratio(x.ours, x.oracle)} | {x.ways['ours']} |"
        for x in found
    ]
    text += ["", *(f"- {one}" for one in unmet)] if unmet else []
    text += [
        "",
        "## Tail latency at equal load",
        "",
        "Both under the same queries, at 0.8 of what static carries; ours is the setting with the",
        "least simulated p95 there. Geometric means: "
        + ", ".join(f"{name} {shorter(found, name) - 1:+.0%}" for name in ("p95", "p99"))
        + ".",
        "",
        "| model | queries/s | static p95 / p99 | ours p95 / p99 | p95 | p99 | ours is |",
        "|---|---|---|---|---|---|---|",
    ]
    for x in found:
        if x.equal:
            a, b = x.equal
            text.append(
                f"| {x.model} | {a.rate:,.1f} | {1e3 * a.p95:.1f} / {1e3 * a.p99:.1f} ms "
                f"| {1e3 * b.p95:.1f} / {1e3 * b.p99:.1f} ms | {b.p95 / a.p95 - 1:+.0%} "
                f"| {b.p99 / a.p99 - 1:+.0%} | {b.way} |"
            )
    text += [
        "",
        "## Simulated and measured",
        "",
        f"95th percentile of the same queries: off by {np.median(off):.0%} in the median, and by",
        f"{off.max():.0%} where it is most.",
        "",
        "| model | setting | queries/s | measured | simulated | off by |",
        "|---|---|---|---|---|---|",
    ]
    text += [
        f"| {x.model} | {t.way} | {t.rate:,.1f} | {1e3 * t.p95:.1f} ms "
        f"| {1e3 * t.simulated_p95:.1f} ms | {t.simulated_p95 / t.p95 - 1:+.0%} |"
        for x in found
        for t in (*x.tails, *x.equal)
    ]
    return "\n".join(text) + "\n"


def plot(path: pathlib.Path, found: Sequence[Found], *, cores: int) -> pathlib.Path:
    """What each carries over static, and simulated against measured 95th percentiles."""
    import matplotlib.figure  # no pyplot: no window system, no state to clean up

    figure = matplotlib.figure.Figure(figsize=(10, 4.2), layout="constrained")
    figure.suptitle(f"DeepRecInfra on {cores} real cores", color=INK)
    left, right = figure.subplots(1, 2)
    rows = np.arange(len(found))
    for name, shift, colour in (("ours", -0.2, BLUE), ("oracle", 0.2, GREY)):
        ratios = [getattr(one, name) / one.static if one.static else 0.0 for one in found]
        left.barh(rows + shift, ratios, 0.4, color=colour, label=name)
    left.set_yticks(rows, [one.model for one in found])
    left.invert_yaxis()
    left.legend(frameon=False, fontsize=8)
    left.set_title("queries per second over static", color=INK, fontsize=10)
    tails = [tail for one in found for tail in (*one.tails, *one.equal)]
    measured = 1e3 * np.array([tail.p95 for tail in tails])
    right.loglog(measured, [1e3 * tail.simulated_p95 for tail in tails], "o", color=BLUE)
    ends = np.array([measured.min(), measured.max()])
    right.fill_between(ends, 0.9 * ends, 1.1 * ends, color=GREY, alpha=0.4, label="within 10 %")
    right.legend(frameon=False, fontsize=8)
    right.set_xlabel("measured p95, ms")
    right.set_ylabel("simulated p95, ms")
    for panel in (left, right):
        panel.spines[["top", "right"]].set_visible(False)
    return save(figure, path)


def _ratio(one: float, other: float) -> str:
    return f"{one / other:.2f}" if other else "-"
