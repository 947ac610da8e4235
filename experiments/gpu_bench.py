"""GPU kernels against the device's own memory: what `make gpu` measures after the tests.

    python -m experiments.gpu_bench             # 10 million x 128 on a GPU, ends within ten minutes
    python -m experiments.gpu_bench --quick     # small, on any device; GPU kernels are interpreted

Roofline, on an H200 (copies run at about 4.3 TB/s, counting bytes read and bytes written). One pass
over 10 million codes of 128 bytes and their scales reads 1.33 GB: 0.31 ms, whatever the batch, if
each code is read once for all queries. Its int8 products take 0.001 ms per query on tensor cores,
and its scores, at about ten instructions each, 0.004 ms per query: memory is the limit up to a
batch of about 64. A filter that admits 10 % of the slots leaves 0.18 GB to read (each code is a
line of memory of its own): 0.04 ms, so that what surrounds the scan decides. `bloom_probe` reads
1.25 MB for each bit row of 10 million items; a dozen rows for each of 16 queries are 0.06 ms.

A figure is the median of turns that the backends take one after the other. Calls of a turn follow
each other without waiting, as in a server under load. Every answer is compared with the reference.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import inspect
import pathlib
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from rich.console import Console
from rich.table import Table

from experiments.gpu_cases import Case, cases
from experiments.results import FOLDER, write_result

_TURN = 0.03  # seconds of calls that follow each other
_TURNS = 7
_RESERVE = 40.0  # seconds that a case may take, compiling included; not begun with less left
_EXPENSIVE = 0.2  # seconds of a call that is timed in fewer turns


@dataclasses.dataclass
class Row:
    """What came of one backend in one case."""

    case: str
    backend: str
    milliseconds: float | None = None
    share_of_copy: float | None = None
    against_reference: float | None = None
    correct: bool | None = None
    bar: str = ""
    note: str = ""


class Clock:
    """The seconds that are left."""

    def __init__(self, seconds: float) -> None:
        self._end = time.perf_counter() + seconds

    def left(self) -> float:
        return self._end - time.perf_counter()


def copy_bandwidth(size: int) -> float:
    """Bytes per second, read and written, of a copy of `size` bytes."""
    source = jax.jit(lambda: jnp.ones(size // 4, jnp.int32))()
    # A plus that XLA cannot leave out: a true copy might be an alias.
    seconds = timed({"copy": functools.partial(jax.jit(lambda x: x + 1), source)})["copy"]
    return 2 * size / seconds


def timed(runs: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Median seconds of a call of each, taking turns; all must have run before or compile now."""
    calls, seconds = {}, {name: list[float]() for name in runs}
    for name, run in runs.items():
        jax.block_until_ready(run())
        start = time.perf_counter()
        jax.block_until_ready(run())
        one = time.perf_counter() - start
        calls[name] = max(1, int(_TURN / one))
        if one > _EXPENSIVE:
            seconds[name].append(one)
    for turn in range(_TURNS):
        for name, run in runs.items():
            if seconds[name] and max(seconds[name]) > _EXPENSIVE and turn > 1:
                continue
            start = time.perf_counter()
            for _ in range(calls[name]):
                out = run()
            jax.block_until_ready(out)
            seconds[name].append((time.perf_counter() - start) / calls[name])
    return {name: statistics.median(values) for name, values in seconds.items()}


def backend_runs(case: Case, *, platform: str, interpret: bool) -> dict[str, Any]:
    """The call by each backend; for those that cannot serve, the reason instead."""
    runs: dict[str, Any] = {}
    for backend in case.op.backends:
        reason = backend.why_not("gpu" if interpret and backend.name != "cpu" else platform)
        if reason is not None:
            runs[backend.name] = reason
            continue
        function = getattr(backend.load(), case.op.name)
        options = dict(case.options)
        if interpret and backend.name not in ("cpu", "reference"):
            if "interpret" not in inspect.signature(function).parameters:
                runs[backend.name] = "has no interpreter in JAX"
                continue
            options["interpret"] = True
        # One program, as when a server has compiled it: a backend may be several jitted functions.
        runs[backend.name] = functools.partial(
            jax.jit(functools.partial(function, **options)), *case.args
        )
    return runs


def measure(case: Case, *, copy: float, platform: str, interpret: bool) -> list[Row]:
    """Times every backend that serves and compares its answer with the reference's."""
    runs = backend_runs(case, platform=platform, interpret=interpret)
    wanted, rows, able = None, {}, {}
    for name in sorted(runs, key=lambda name: name != "reference"):
        row = rows[name] = Row(case.name, name)
        if isinstance(runs[name], str):
            row.note = runs[name]
            continue
        try:
            answer = jax.block_until_ready(runs[name]())
        except NotImplementedError as error:
            row.note = _line(error)
            continue
        except Exception as error:  # a kernel that does not compile must not stop the others
            row.correct, row.note = False, f"{type(error).__name__}: {_line(error)}"
            continue
        wanted = answer if name == "reference" else wanted
        row.correct = _equal(answer, wanted)
        able[name] = runs[name]
    seconds = timed(able)
    for name, took in seconds.items():
        row = rows[name]
        row.milliseconds = 1e3 * took
        row.share_of_copy = case.bytes / took / copy
        row.against_reference = seconds["reference"] / took
        if name != "reference":
            row.bar = _bar(row, case)
    return [rows[name] for name in runs]


def _bar(row: Row, case: Case) -> str:
    for bar, figure, text in (
        (case.share, row.share_of_copy, "{:.0%} of copy"),
        (case.speedup, row.against_reference, "{:g}x reference"),
    ):
        if bar is not None and figure is not None:
            return ("met: " if figure >= bar else "below: ") + text.format(bar)
    return ""


def _equal(answer: Any, wanted: Any) -> bool:
    pairs = zip(jax.tree.leaves(answer), jax.tree.leaves(wanted), strict=True)
    return all(bool(jnp.array_equal(one, other)) for one, other in pairs)


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:200]


def add_speedup_of_filters(rows: list[Row], *, bar: float = 3.0) -> None:
    """Notes, where all and where 10 % are admitted, how much sooner the answer comes."""
    times = {(row.case, row.backend): row.milliseconds for row in rows}
    for row in rows:
        whole = times.get((row.case.replace(", 10% ", ", 100% "), row.backend))
        if ", 10% " in row.case and whole and row.milliseconds:
            ratio = whole / row.milliseconds
            row.note = f"{ratio:.2f}x as fast as 100 %"
            if "batch 1," in row.case and row.backend != "reference":
                row.bar = f"{'met' if ratio >= bar else 'below'}: {bar:g}x all admitted"


def table(rows: list[Row], copy: float) -> Table:
    shown = Table(title=f"copy bandwidth {copy / 1e9:,.0f} GB/s, read and written")
    for column in ("call", "backend", "ms", "of copy", "x reference", "answer", "bar", "note"):
        shown.add_column(column, overflow="fold")
    for row in rows:
        shown.add_row(
            row.case,
            row.backend,
            "" if row.milliseconds is None else f"{row.milliseconds:.3f}",
            "" if row.share_of_copy is None else f"{row.share_of_copy:.0%}",
            "" if row.against_reference is None else f"{row.against_reference:.1f}",
            {None: "", True: "right", False: "WRONG"}[row.correct],
            row.bar,
            row.note,
        )
    return shown


def main(arguments: list[str] | None = None) -> int:
    """0 if every backend that ran gave the reference's answer, 1 otherwise."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, on any device")
    parser.add_argument("--seconds", type=float, default=540.0, help="cases begin only within")
    parser.add_argument("--folder", type=pathlib.Path, default=FOLDER, help="for the result")
    parser.add_argument("--commit", default="", help="what is measured, in a copy without git")
    options = parser.parse_args(arguments)
    console, clock = Console(width=None if sys.stdout.isatty() else 180), Clock(options.seconds)
    device = jax.devices()[0]
    interpret = device.platform == "cpu"
    if interpret and not options.quick:
        parser.error("JAX sees no GPU here; add --quick to try it on the CPU")
    copy = copy_bandwidth(2**22 if options.quick else 2**31)
    rows: list[Row] = []
    for name, make in cases(quick=options.quick):
        if clock.left() < (0 if options.quick else _RESERVE):
            rows.append(Row(name, "all", note="skipped: out of time"))
            continue
        case = make()
        console.print(f"{case.name} ({clock.left():.0f} s left)")
        rows += measure(case, copy=copy, platform=device.platform, interpret=interpret)
        del case  # its arrays make room for the next
    add_speedup_of_filters(rows)
    slug = device.device_kind.lower().replace(" ", "-")
    path = write_result(
        options.folder / f"gpu-bench-{slug}{'-quick' if options.quick else ''}.json",
        study="experiments.gpu_bench",
        settings={
            "quick": options.quick,
            "seconds": options.seconds,
            "commit": options.commit or None,
        },
        figures={"copy_bytes_per_second": copy, "rows": rows},
    )
    console.print(f"written to {path}")
    console.print(table(rows, copy))
    return int(any(row.correct is False for row in rows))


if __name__ == "__main__":
    sys.exit(main())
