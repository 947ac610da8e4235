"""What one core does in each model, and what wider SIMD gives: operator breakdown by ISA.

python -m experiments.deeprecinfra.processor --table-scale 0.05
python -m experiments.deeprecinfra.processor --models ncf dien --isas AVX2

DeepRecSys compares Broadwell (AVX2) with Skylake (AVX-512). Here XLA is held to an instruction
set on the same core, which shows the width alone: clock, caches and memory stay.
`--xla_cpu_max_isa` holds what XLA compiles and not the libraries that it calls, so matrix products
go through oneDNN, which is held by a variable of its own, and not through YNN, which cannot be.
Times by operator are XLA's own trace, told apart by the Flax module an operator is of.
"""

from __future__ import annotations

import collections
import dataclasses
import os
import pathlib
import re
import tempfile
from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.progress import track

from experiments.command import run_command
from experiments.deeprecinfra.model_config import MODELS, model_config
from experiments.deeprecinfra.profile import sample, workers
from experiments.plots import INK, save
from experiments.results import FOLDER, write_result
from silverjax.replace_file import replace_text

# As XLA names them, and as oneDNN does.
ISAS = {"SSE4_2": "SSE41", "AVX2": "AVX2", "AVX512": "AVX512_CORE"}
_CLASSES = {
    "tables": "embeddings",
    "bottom": "layers", "top": "layers", "out": "layers", "heads": "layers", "wide": "layers",
    "attention": "attention", "weight": "attention",
    "extractor": "recurrence", "evolution": "recurrence",
}  # fmt: skip
CLASSES = ("embeddings", "layers", "attention", "recurrence", "elsewhere")
_CONTAINERS = ("while", "call", "conditional")  # their parts are events of their own


@dataclasses.dataclass(frozen=True)
class Processor:
    """What to measure.

    Attributes:
        models: Of the eight.
        isas: Widest instruction set that XLA may use: SSE4_2, AVX2, AVX512.
        preset: `repo` or `paper`.
        table_scale: Share of the rows of tables.
        batch: Items; the reference's profiles are of 64.
        seconds: Of each measurement.
        folder: Where results are written.
    """

    models: tuple[str, ...] = MODELS
    isas: tuple[str, ...] = tuple(ISAS)
    preset: str = "repo"
    table_scale: float = 0.05
    batch: int = 64
    seconds: float = 1.0
    folder: pathlib.Path = FOLDER


@dataclasses.dataclass(frozen=True)
class Found:
    """One model under one instruction set.

    Attributes:
        model: Its name.
        isa: Widest instruction set.
        ms: Of a batch, median.
        shares: Of the time inside XLA, by class of operator.
    """

    model: str
    isa: str
    ms: float
    shares: dict[str, float]


def module_of(op_name: str) -> str:
    """Class of an operator, by the first Flax module in its path, such as `jit(f)/DIN/top/dot`."""
    return next((_CLASSES[part] for part in op_name.split("/") if part in _CLASSES), "elsewhere")


def operators(hlo: str) -> dict[str, str]:
    """Class of each instruction of a compiled program."""
    named = re.findall(r"%?([\w.\-]+) = [^\n]*op_name=\"([^\"]*)\"", hlo)
    return {instruction: module_of(path) for instruction, path in named}


def measure(asked: Processor, model: str, isa: str) -> Found:
    """In a process of its own, on one core."""
    flags = f"--xla_cpu_max_isa={isa} --xla_cpu_experimental_ynn_fusion_type="
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}"
    os.environ["ONEDNN_MAX_CPU_ISA"] = ISAS[isa]
    import jax  # reads them

    from experiments.deeprecinfra.models import init, predict, random_inputs

    config = model_config(model, asked.preset, table_scale=asked.table_scale)
    variables, inputs = init(config), random_inputs(config, asked.batch)
    program = predict.lower(config, variables, inputs).compile()

    def call() -> object:
        return np.asarray(program(variables, inputs))

    times = sample(call, seconds=asked.seconds)
    classes = operators(program.as_text() or "")
    spent: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            for _ in range(5):
                call()
        (path,) = pathlib.Path(folder).rglob("*.xplane.pb")
        for plane in jax.profiler.ProfileData.from_file(str(path)).planes:
            for line in plane.lines:
                for event in line.events:
                    name = dict(event.stats).get("hlo_op")
                    if isinstance(name, str) and not name.startswith(_CONTAINERS):
                        spent[classes.get(name, "elsewhere")] += event.duration_ns
    total = sum(spent.values())
    shares = {one: spent[one] / total if total else 0.0 for one in CLASSES}
    return Found(model, isa, 1e3 * float(np.median(times)), shares)


def check(asked: Processor) -> None:
    """Before anything is measured.

    Raises:
        ValueError: An instruction set that XLA does not know, a model or preset that is none.
    """
    unknown = set(asked.isas) - set(ISAS)
    if unknown or not asked.isas:
        raise ValueError(f"isas {sorted(unknown)} do not exist; there are {', '.join(ISAS)}")
    for model in asked.models:
        model_config(model, asked.preset, table_scale=asked.table_scale)


def markdown(found: Sequence[Found], asked: Processor) -> str:
    """The whole report."""
    isas = list(asked.isas)
    ms = {(one.model, one.isa): one.ms for one in found}
    text = [
        "# One core: operators and SIMD width",
        "",
        f"A batch of {asked.batch} items, {asked.preset} sizes, tables x {asked.table_scale:g}.",
        "",
        f"| model | {' | '.join(f'{isa}, ms' for isa in isas)} | {isas[-1]} over {isas[0]} |",
        "|" + "---|" * (len(isas) + 2),
    ]
    for model in dict.fromkeys(one.model for one in found):
        times = [ms[model, isa] for isa in isas]
        shown = " | ".join(f"{one:.3g}" for one in times)
        text.append(f"| {model} | {shown} | {times[0] / times[-1]:.2f} |")
    text += ["", f"Time by operator, {isas[-1]}:", "", f"| model | {' | '.join(CLASSES)} |"]
    text += ["|" + "---|" * (len(CLASSES) + 1)]
    for one in found:
        if one.isa == isas[-1]:
            shown = " | ".join(f"{one.shares[name]:.0%}" for name in CLASSES)
            text.append(f"| {one.model} | {shown} |")
    return "\n".join(text) + "\n"


def plot(path: pathlib.Path, found: Sequence[Found]) -> pathlib.Path:
    """A bar per model and instruction set, its time over that of the first, by operator."""
    import matplotlib
    import matplotlib.figure  # no pyplot: no window system, no state to clean up

    models = list(dict.fromkeys(one.model for one in found))
    first = {one.model: one.ms for one in reversed(found)}
    figure = matplotlib.figure.Figure(figsize=(7, 1.5 + 0.24 * len(found)), layout="constrained")
    panel = figure.subplots()
    shades = matplotlib.colormaps["YlGnBu"]
    left = np.zeros(len(found))
    names = [f"{one.model}, {one.isa}" for one in found]
    for place, name in enumerate(CLASSES):
        width = np.array([one.shares[name] * one.ms / first[one.model] for one in found])
        shade = shades(0.2 + 0.7 * place / (len(CLASSES) - 1))
        panel.barh(names, width, left=left, color=shade, label=name)
        left = left + width
    panel.invert_yaxis()
    panel.legend(frameon=False, fontsize=8, ncols=len(CLASSES), loc="lower right")
    panel.set_title(f"time of a batch by operator, {len(models)} models", color=INK, fontsize=10)
    panel.set_xlabel("over the first instruction set of the model")
    panel.spines[["top", "right"]].set_visible(False)
    return save(figure, path)


def main(asked: Processor) -> list[Found]:
    """Measures, prints, and writes JSON, a chart and a report."""
    console = Console()
    check(asked)
    found = []
    for model in track(asked.models, "measuring"):
        for isa in asked.isas:
            with workers(1) as pool:
                found.append(pool.submit(measure, asked, model, isa).result())
    text = markdown(found, asked)
    console.print(text, markup=False)
    write_result(
        asked.folder / "deeprecinfra-processor.json",
        study="experiments.deeprecinfra.processor",
        settings=dataclasses.asdict(asked),
        figures={"models": found},
    )
    plot(asked.folder / "deeprecinfra-processor.png", found)
    replace_text(asked.folder / "deeprecinfra-processor.md", text)
    console.print(f"written to {asked.folder}/deeprecinfra-processor.json, .md and .png")
    return found


if __name__ == "__main__":
    run_command(main, Processor, __doc__)
