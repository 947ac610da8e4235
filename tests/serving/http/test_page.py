"""The page's files: whole, as they were vendored, and nothing that a strict policy forbids."""

from __future__ import annotations

import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import serving.http
from tests.serving.http.client import call

FOLDER = Path(serving.http.__file__).parent / "page"
VENDOR = FOLDER / "vendor"


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.script = ""
        self._open = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open = tag

    def handle_data(self, data: str) -> None:
        self.script += data.strip() if self._open in ("script", "style") else ""

    def handle_endtag(self, tag: str) -> None:
        self._open = ""


@pytest.fixture(scope="module")
def tags() -> _Tags:
    parser = _Tags()
    parser.feed((FOLDER / "index.html").read_text())
    return parser


def test_vendored_files_are_those_of_the_packages() -> None:
    lines = (VENDOR / "VENDORED.txt").read_text().splitlines()
    fields = [line.split() for line in lines[lines.index("") + 2 :]]
    told = {file: digest for file, *_, digest in fields}
    code = [path for path in VENDOR.iterdir() if path.suffix in (".js", ".css")]
    assert told == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in code}
    licences = {path.name.partition(".")[0] for path in VENDOR.glob("*.LICENSE.txt")}
    assert licences == {"alpine-csp", "htmx", "uPlot", "vue-reactivity"}


def test_every_file_is_served_with_the_strict_policy(url: str) -> None:
    files = [p for p in FOLDER.rglob("*") if p.is_file()]
    assert len(files) > 15
    for path, address in [(FOLDER / "index.html", "/"), *((p, f"/page/{p.name}") for p in files)]:
        got = call(url, address)
        assert (got.status, got.body) == (200, path.read_bytes()), address
        policy = got.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
        assert got.headers["x-content-type-options"] == "nosniff"
    assert call(url, "/").headers["content-type"] == "text/html; charset=utf-8"
    assert call(url, "/page/main.js").headers["content-type"].startswith("text/javascript")


def test_a_file_that_the_browser_has_is_not_sent_again(url: str) -> None:
    tag = call(url, "/page/page.css").headers["etag"]
    again = call(url, "/page/page.css", headers={"If-None-Match": tag})
    assert (again.status, again.body) == (304, b"")
    assert call(url, "/page/page.css", headers={"If-None-Match": '"other"'}).status == 200


@pytest.mark.parametrize("name", ["x.js", "../page.py", "..%2Fpage.py", "vendor", "page.py", ""])
def test_there_is_nothing_else(url: str, name: str) -> None:
    assert call(url, f"/page/{name}").status == 404


def test_nothing_is_inline_and_all_of_it_is_of_this_server(tags: _Tags) -> None:
    assert tags.script == ""
    for tag, attributes in tags.tags:
        inline = [
            name for name in attributes if name == "style" or name.startswith(("on", "hx-on"))
        ]
        assert inline == [], (tag, attributes)
        for name in ("src", "href", "hx-post", "hx-sse:connect"):
            assert re.match(r"[/#]", attributes.get(name) or "/"), (tag, attributes)


def test_every_control_has_a_name_for_those_who_cannot_see_it(tags: _Tags) -> None:
    text = (FOLDER / "index.html").read_text()
    for control in re.findall(r"<(?:input|textarea)[^>]*>", text):
        if (of := re.search(r' id="(\w+)"', control)) is not None:
            assert f'<label for="{of[1]}"' in text
        else:
            assert re.search(rf"<label[^>]*>[^<]*{re.escape(control)}", text), control
    charts = [attributes for _, attributes in tags.tags if "data-chart" in attributes]
    assert len(charts) == 4
    assert all(chart.get("aria-label") for chart in charts)


def test_the_pages_own_files_are_short() -> None:
    for path in FOLDER.glob("*.*"):
        assert len(path.read_text().splitlines()) <= 300, path.name
