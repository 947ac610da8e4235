"""The README's table of benchmarks, written from the results and from nothing else.

python -m experiments.readme    # after results were copied from another machine
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterable
from typing import NamedTuple

from experiments.results import FOLDER
from silverjax.replace_file import replace_text

README = pathlib.Path(__file__).parents[1] / "README.md"
START, END = "<!-- bench -->", "<!-- /bench -->"


class Row(NamedTuple):
    """A line of the table.

    Attributes:
        what: What was measured.
        figure: How much it is.
        command: What measures it.
    """

    what: str
    figure: str
    command: str


def rows(folder: pathlib.Path = FOLDER) -> list[Row]:
    """The headlines of all results in a folder, by study and file name."""
    found = []
    for path in sorted(folder.glob("*.json")):
        document = json.loads(path.read_text())
        found += [
            Row(what, figure, document["command"])
            for what, figure in document.get("headline", {}).items()
        ]
    return found


def table(lines: Iterable[Row]) -> str:
    """The lines as Markdown."""
    cells = [
        f"| {_cell(one.what)} | {_cell(one.figure)} | `{_cell(one.command)}` |" for one in lines
    ]
    return "\n".join(["| what | figure | command |", "|---|---|---|", *cells])


def with_table(text: str, lines: Iterable[Row]) -> str:
    """`text` with the table in place of what stands between the two markers.

    Raises:
        ValueError: `text` does not hold the two markers, once each and in order.
    """
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end or START in rest or END in after:
        raise ValueError(f"the text must hold {START} and then {END}, once each; put them back")
    return f"{before}{START}\n{table(lines)}\n{END}{after}"


def write(readme: pathlib.Path = README, folder: pathlib.Path = FOLDER) -> list[Row]:
    """Brings the README's table up to date and returns its lines.

    Raises:
        ValueError: No result has a headline, or the README lacks its markers.
    """
    lines = rows(folder)
    if not lines:
        raise ValueError(f"no result in {folder} has a headline; run: python -m experiments")
    replace_text(readme, with_table(readme.read_text(), lines))
    return lines


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    write()
