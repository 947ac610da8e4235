"""What the command line prints: tables and funnels that a person wants to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from silverjax.catalogue import Catalogue
from silverjax.filter_language import And, Expression, Not, Or, Term, parse

console = Console()


def table(title: str, *columns: str, numbers_from: int = 1) -> Table:
    """An empty table; columns from `numbers_from` on are right-aligned."""
    made = Table(title=title, title_justify="left", header_style="bold")
    for place, column in enumerate(columns):
        made.add_column(column, justify="right" if place >= numbers_from else "left")
    return made


def figures(title: str, rows: Mapping[str, str]) -> Table:
    """Two columns: what, and how much."""
    made = table(title, "", "")
    made.show_header = False
    for name, figure in rows.items():
        made.add_row(name, figure)
    return made


def data_summary(dataset: Any) -> RenderableType:
    """Sizes, tasks and the most frequent values of each filter feature of a `Dataset`."""
    done = dataset.interactions
    rows = {
        "users": f"{dataset.schema.users:,}",
        "items": f"{dataset.schema.items:,}",
        "interactions": f"{len(done.user):,}",
    }
    for task, share in zip(dataset.schema.tasks, done.labels.mean(axis=0)):
        rows[f"task {task}"] = f"{share:.1%} of the interactions"
    features = table("Filter features", "feature", "values", "items with one", "most frequent")
    features.columns[3].justify = "left"
    for name, values in dataset.attributes.items():
        counts: dict[str, int] = {}
        for item in values:
            for value in item:
                counts[value] = counts.get(value, 0) + 1
        top = sorted(counts, key=lambda value: -counts[value])[:5]
        having = sum(bool(item) for item in values) / max(len(values), 1)
        features.add_row(
            name,
            f"{len(counts):,}",
            f"{having:.0%}",
            ", ".join(f"{name}:{value} ({counts[value]})" for value in top),
        )
    return Group(figures(f"Data: {dataset.name}", rows), features)


def funnel_line(funnel: Mapping[str, int], coverage: float) -> Text:
    """`1,682 live > 1,010 probed > ...` in one line."""
    stages = " → ".join(f"{count:,} {name}" for name, count in funnel.items())
    return Text(f"{stages}   (searched {coverage:.0%} of the catalogue)", style="dim")


def recommendations(reply: Any, catalogue: Catalogue, where: str, title: str) -> RenderableType:
    """A `Reply` with the reason why each stage kept each item.

    Under a title stand the values that the filter asked about; `search` is the place among the
    candidates of the int8 search and `sim` its inner product; then the probability of each
    task, and the value they make.
    """
    tasks = list(reply.items[0].probabilities) if reply.items else []
    asked = features_of(parse(where))
    made = table(title, "", "title", "search", "sim", *tasks, "value", numbers_from=2)
    made.box, made.padding = None, (0, 2, 0, 0)
    for column in made.columns:
        column.no_wrap = True
    # The titles get what the numbers leave of the line.
    numbers = 2 + 7 + 6 + sum(max(len(task), 5) for task in tasks) + 6
    made.columns[1].width = max(24, min(60, console.width - numbers - 2 * len(made.columns)))
    for number, item in enumerate(reply.items, 1):
        made.add_row(
            str(number),
            _with_values(item.title, {f: catalogue.attributes[f][item.row] for f in asked}),
            f"{item.place}/{reply.funnel['candidates']}",
            f"{item.similarity:.2f}",
            *(f"{p:.3f}" for p in item.probabilities.values()),
            Text(f"{item.value:.3f}", "bold"),
        )
    parts: list[RenderableType] = [made, funnel_line(reply.funnel, reply.coverage)]
    if not reply.items:
        parts.append(Text("Nothing passes this filter.", style="yellow"))
    return Group(*parts, "")


def _with_values(title: str, values: Mapping[str, Sequence[object]]) -> Text:
    text = Text(title)
    if values:
        shown = " · ".join(f"{name}: {', '.join(map(str, v)) or '-'}" for name, v in values.items())
        text.append(f"\n{shown}", style="dim")
    return text


def features_of(expression: Expression) -> list[str]:
    """The features that a filter names, in order."""
    match expression:
        case Term(feature, _):
            return [feature]
        case Not(part):
            return features_of(part)
        case And(parts) | Or(parts):
            return list(dict.fromkeys(name for part in parts for name in features_of(part)))
    return []


def quality(rows: Mapping[str, Mapping[str, float]], metrics: Sequence[str], title: str) -> Table:
    """Methods by metrics; the best of each metric in bold."""
    made = table(title, "method", *metrics)
    best = {metric: max(row.get(metric, 0.0) for row in rows.values()) for metric in metrics}
    for method, row in rows.items():
        cells = []
        for metric in metrics:
            figure = row.get(metric)
            bold = figure is not None and figure == best[metric]
            cells.append(Text("-" if figure is None else f"{figure:.4f}", "bold" if bold else ""))
        made.add_row(method, *cells)
    return made


def tuning(points: Sequence[Any], chosen: Any, candidates: int, batch: int) -> Table:
    """Points of `silverjax.tuning`, the chosen one in bold."""
    made = table(
        "Recall against brute force, and time of the whole function",
        *("clusters", f"recall@{candidates}", f"ms for a batch of {batch}", "requests/s"),
        numbers_from=0,
    )
    for point in points:
        speed = 1e3 * batch / point.latency_ms
        cells = (f"{point.probes}", f"{point.recall:.4f}", f"{point.latency_ms:.2f}")
        style = "bold" if point == chosen else ""
        made.add_row(*cells, f"{speed:,.0f}", style=style)
    return made


def signature(wanted: Any, bits_now: int) -> Text:
    """One line about the width of the Bloom signature."""
    line = (
        f"Bloom signature of {wanted.bits} bits: {wanted.false_positives:.2%} false positives per "
        f"term, index of {megabytes(wanted.index_bytes)}"
    )
    if wanted.bits != bits_now:
        line += f" (now {bits_now} bits; build with --model.index.bloom-bits {wanted.bits})"
    return Text(line)


def megabytes(size: float) -> str:
    return f"{size / 2**20:,.1f} MiB"
