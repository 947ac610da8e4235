"""What a load run says: latency, goodput within the target, errors, over time and in all."""

from __future__ import annotations

import collections
import json
import pathlib
from typing import Any

import numpy as np

from serving.load.driver import Outcomes
from silverjax.replace_file import replace_text

QUANTILES = (0.5, 0.95, 0.99, 0.999)


def summary(outcomes: Outcomes, target_s: float) -> dict[str, Any]:
    """Figures of a whole run; latencies in ms, of successes, from the scheduled time.

    `goodput_per_s` counts successes within `target_s`. Requests without any answer count under
    "none" in `statuses`.
    """
    seconds = outcomes.schedule.duration
    good = outcomes.statuses == 200
    latencies = 1e3 * outcomes.latencies[good]
    lags = outcomes.lags[~np.isnan(outcomes.lags)]
    statuses = collections.Counter(outcomes.statuses.tolist())
    return {
        "seconds": seconds,
        "requests": len(outcomes.schedule),
        "offered_per_s": len(outcomes.schedule) / seconds,
        "goodput_per_s": float((outcomes.latencies[good] <= target_s).sum()) / seconds,
        "rows_per_s": float(outcomes.schedule.sizes[good].sum()) / seconds,
        "target_ms": 1e3 * target_s,
        "latency_ms": _quantiles(latencies),
        "statuses": {
            str(code) if code > 0 else "none": statuses[code] + (statuses[-1] if not code else 0)
            for code in sorted({max(code, 0) for code in statuses})
        },
        # Where this is not small against the latencies, the generator was the bottleneck.
        "send_lag_p99_ms": float(1e3 * np.quantile(lags, 0.99)) if len(lags) else None,
    }


def timeline(outcomes: Outcomes, target_s: float) -> list[dict[str, Any]]:
    """The same by second of the schedule, and the mean batch where the server tells it."""
    second = np.floor(outcomes.schedule.times).astype(int)
    rows = []
    for at in range(int(np.ceil(outcomes.schedule.duration))):
        here = second == at
        good = here & (outcomes.statuses == 200)
        known = outcomes.batches[good & (outcomes.batches > 0)]
        rows.append(
            {
                "second": at,
                "offered": int(here.sum()),
                "good": int((outcomes.latencies[good] <= target_s).sum()),
                "failed": int((here & ~good).sum()),
                "latency_ms": _quantiles(1e3 * outcomes.latencies[good]),
                "batch": float(known.mean()) if len(known) else None,
            }
        )
    return rows


def write_report(folder: pathlib.Path, outcomes: Outcomes, target_s: float) -> list[pathlib.Path]:
    """Writes `load.json` and `load.png` into a folder."""
    by_second = timeline(outcomes, target_s)
    document = {"summary": summary(outcomes, target_s), "timeline": by_second}
    text, chart = folder / "load.json", folder / "load.png"
    replace_text(text, json.dumps(document, indent=1) + "\n")
    _plot(chart, by_second, target_s)
    return [text, chart]


def _quantiles(values: np.ndarray) -> dict[str, float] | None:
    if not len(values):
        return None
    found = np.quantile(values, QUANTILES)
    return {f"p{100 * q:g}": float(value) for q, value in zip(QUANTILES, found)}


def _plot(path: pathlib.Path, rows: list[dict[str, Any]], target_s: float) -> None:
    import matplotlib.figure  # no pyplot: no window system, no state to clean up

    figure = matplotlib.figure.Figure(figsize=(9, 6), layout="constrained")
    rate, latency, batch = figure.subplots(3, 1, sharex=True)
    at = [row["second"] for row in rows]
    rate.step(at, [row["offered"] for row in rows], where="post", label="offered")
    rate.step(at, [row["good"] for row in rows], where="post", label="within the target")
    rate.step(at, [row["failed"] for row in rows], where="post", label="failed")
    rate.set_ylabel("requests/s")
    for name in ("p50", "p95", "p99"):
        values = [row["latency_ms"][name] if row["latency_ms"] else np.nan for row in rows]
        latency.step(at, values, where="post", label=name)
    latency.axhline(1e3 * target_s, color="black", linewidth=0.8, linestyle="--", label="target")
    latency.set_ylabel("ms from the scheduled time")
    latency.set_yscale("log")
    batch.step(at, [np.nan if r["batch"] is None else r["batch"] for r in rows], where="post")
    batch.set_ylabel("mean batch, rows")
    batch.set_xlabel("seconds")
    rate.legend(fontsize=7)
    latency.legend(fontsize=7)
    figure.savefig(path, dpi=130)
