from __future__ import annotations

import pathlib

import pytest

from experiments import readme
from experiments.readme import Row, rows, table, with_table
from experiments.results import write_result

LINES = [Row("a | b", "1.5 x", "python -m experiments.a"), Row("c", "0", "python -m b --x 1")]
TABLE = """\
| what | figure | command |
|---|---|---|
| a \\| b | 1.5 x | `python -m experiments.a` |
| c | 0 | `python -m b --x 1` |"""


def test_table_is_markdown() -> None:
    assert table(LINES) == TABLE


def test_with_table_leaves_the_rest_as_it_is() -> None:
    text = "# Title\n<!-- bench -->\nold\n<!-- /bench -->\nend\n"
    wanted = f"# Title\n<!-- bench -->\n{TABLE}\n<!-- /bench -->\nend\n"
    assert with_table(text, LINES) == wanted
    assert with_table(wanted, LINES) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<!-- bench -->",
        "<!-- /bench --><!-- bench -->",
        "<!-- bench --><!-- bench --><!-- /bench -->",
        "<!-- bench --><!-- /bench --><!-- /bench -->",
    ],
)
def test_with_table_rejects_a_text_without_its_markers(text: str) -> None:
    with pytest.raises(ValueError, match="once each; put them back"):
        with_table(text, LINES)


def test_write_takes_the_headlines_of_all_results(tmp_path: pathlib.Path) -> None:
    text = tmp_path / "README.md"
    text.write_text("<!-- bench --><!-- /bench -->")
    with pytest.raises(ValueError, match="no result in .* has a headline"):
        readme.write(text, tmp_path)
    for name, headline in (("b", {"two": "2"}), ("a", {"one": "1", "uno": "I"}), ("c", None)):
        path = tmp_path / f"{name}.json"
        write_result(path, study=name, settings={}, figures={}, headline=headline)
    lines = readme.write(text, tmp_path)
    assert [(row.what, row.figure) for row in lines] == [("one", "1"), ("uno", "I"), ("two", "2")]
    assert all(row.command.startswith("python") for row in lines)
    assert text.read_text() == with_table("<!-- bench --><!-- /bench -->", lines)
    assert rows(tmp_path) == lines


def test_the_projects_own_readme_has_its_markers() -> None:
    assert TABLE in with_table(readme.README.read_text(), LINES)
