"""The page in a headless browser, against a real service under load.

Needs the package `playwright` and a Chromium: the one of the system (`CHROMIUM`, or `chromium` on
the path), or Playwright's own. Skipped, with the reason, where one of them is missing.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.config import ServiceConfig
from serving.engine import Engine
from serving.hill_climb import HillClimber
from serving.hill_climb_config import HillClimbConfig
from serving.query import Query
from serving.server import Server
from tests.serving.http.client import call
from tests.serving.running import running

api = pytest.importorskip("playwright.sync_api", reason="needs: pip install playwright")

WIDE, NARROW = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
_IN_TIME = 20_000  # milliseconds; the machine may have other things to do


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with api.sync_playwright() as playwright:
        try:
            # Debian's sandbox wants user namespaces, which containers often lack.
            started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        except api.Error as error:
            pytest.skip(f"needs a Chromium (apt-get install chromium): {str(error)[:200]}")
        yield started
        started.close()


@pytest.fixture(scope="module")
def busy(engine: Engine) -> Iterator[Server]:
    """A service that climbs, and somebody who asks all the time."""
    climber = HillClimber(HillClimbConfig(engine.buckets, 0.05))
    with running(engine, ServiceConfig(timeout_s=30.0), climber) as server:
        stopping = threading.Event()

        def ask() -> None:
            while not stopping.wait(0.02):
                call(server.urls["http"], "/v1/recommend", {"requests": [{}] * 3})

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            yield server
        finally:
            stopping.set()
            asking.join()


class Opened:
    """A tab, and what it complained about."""

    def __init__(self, browser: Any, url: str, **options: Any) -> None:
        self.tab = browser.new_page(**({"viewport": WIDE} | options))
        self.tab.set_default_timeout(_IN_TIME)
        self.complaints: list[str] = []
        self.tab.on("console", lambda said: self.complaints.append(said.text))
        self.tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        # A script that the policy stops says so to the page alone.
        self.tab.add_init_script(
            "window.violations = [];"
            "addEventListener('securitypolicyviolation', e => violations.push(e.violatedDirective))"
        )
        self.tab.goto(url)

    def text(self, selector: str) -> str:
        """What stands there; nothing where there is no such thing."""
        found = self.tab.locator(selector)
        return found.first.inner_text() if found.count() else ""

    def number(self, name: str) -> float:
        text = self.text(f"#{name}").replace(",", "")
        return float("nan") if text == "–" else float(text)

    def until(self, check: Callable[[], bool]) -> None:
        """Looks again and again; Playwright's own way needs `eval`, which the policy forbids."""
        for _ in range(_IN_TIME // 100):
            if check():
                return
            self.tab.wait_for_timeout(100)
        raise AssertionError(f"the page did not come to it:\n{self.text('body')}")

    def settled(self) -> None:
        self.until(lambda: self.text(".status") == "Serving")

    def close(self) -> None:
        assert self.tab.evaluate("violations") == []
        self.tab.close()
        assert self.complaints == []


@pytest.fixture
def opened(browser: Any, busy: Server) -> Iterator[Opened]:
    page = Opened(browser, busy.urls["http"])
    page.settled()
    yield page
    page.close()


def test_figures_move_and_the_climb_says_why(opened: Opened, busy: Server) -> None:
    tab = opened.tab
    opened.until(lambda: opened.number("qps") > 0 and opened.number("p99") > 0)
    before = opened.number("p99"), opened.number("qps")
    opened.until(lambda: (opened.number("p99"), opened.number("qps")) != before)
    assert opened.number("limit") in busy.service.versions.engine.buckets
    assert opened.number("p50") <= opened.number("p99")
    first, why = tab.locator("#decisions tbody tr").last.inner_text().split("\t")[1:]
    assert int(first) in busy.service.versions.engine.buckets
    assert why.startswith("start")
    stages = tab.locator("#funnel b").all_inner_texts()
    assert stages[0] == "300"
    counts = [float(text) for text in stages]
    assert counts == sorted(counts, reverse=True)
    assert tab.locator("[data-chart] canvas").count() == 4


def test_the_playground_answers_and_explains(opened: Opened, engine: Engine) -> None:
    tab = opened.tab
    tab.fill("[name=user]", "u3")
    tab.fill("[name=where]", "genre:1")
    tab.fill("[name=k]", "3")
    tab.click("text=Recommend")
    tab.wait_for_selector("#answer tbody tr")
    titles = tab.locator("#answer tbody button").all_inner_texts()
    answer = engine.recommend([Query(user="u3", where="genre:1", k=3)])[0]
    assert titles == [item.title for item in answer.items]
    tab.click("#answer tbody button >> nth=1")
    tab.wait_for_selector("#verdict")
    assert tab.inner_text("#verdict") == "Returned, at place 2."
    assert tab.locator(".stages .kept").count() == 6
    dropped = next(f"i{row}" for row, g in enumerate(_genres(engine)) if "1" not in g)
    tab.fill("[name=item]", dropped)
    tab.press("[name=item]", "Enter")
    opened.until(lambda: opened.text("#verdict") == "Dropped: Filter.")
    assert "it fails genre:1" in tab.inner_text(".stages .dropped")
    assert "where=genre%3A1" in tab.url
    assert f"item={dropped}" in tab.url


def test_the_address_holds_the_question(browser: Any, busy: Server) -> None:
    page = Opened(browser, f"{busy.urls['http']}/?user=u3&where=genre:1&k=3&item=i1")
    page.tab.wait_for_selector("#verdict")
    assert page.tab.locator("#answer tbody tr").count() == 3
    assert page.tab.input_value("[name=where]") == "genre:1"
    page.close()


def test_a_wrong_filter_is_said_where_it_was_typed(opened: Opened) -> None:
    opened.tab.fill("[name=where]", "colour:red")
    opened.tab.click("text=Recommend")
    opened.tab.wait_for_selector("text=the index has no feature `colour`")
    # The browser itself notes every answer of 400; nothing else may be said.
    assert all("400" in said for said in opened.complaints)
    opened.complaints.clear()


def test_the_keyboard_alone_is_enough(opened: Opened) -> None:
    tab = opened.tab
    tab.focus("[name=user]")
    tab.keyboard.type("u3")
    tab.keyboard.press("Enter")
    tab.wait_for_selector("#answer tbody tr")
    tab.focus("#answer tbody button >> nth=0")
    tab.keyboard.press("Enter")
    tab.wait_for_selector("#verdict")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_it_fits_the_window_in_either_scheme(
    browser: Any, busy: Server, size: dict[str, int], scheme: str, tmp_path: Path
) -> None:
    url = f"{busy.urls['http']}/?user=u3&item=i1"
    page = Opened(browser, url, viewport=size, color_scheme=scheme)
    page.settled()
    page.tab.wait_for_selector("#verdict")
    assert page.tab.evaluate("document.documentElement.scrollWidth") <= size["width"]
    shade = page.tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(shade.split("(")[1].split(",")[0]) < 128) == (scheme == "dark")
    shots = Path(os.environ.get("SCREENSHOTS", tmp_path))
    page.tab.screenshot(path=shots / f"{scheme}-{size['width']}.png", full_page=True)
    page.close()


def test_a_server_with_keys_shows_nothing_until_it_has_one(
    browser: Any, engine: Engine, tmp_path: Path
) -> None:
    file = tmp_path / "keys"
    file.write_text("reader-0123456789abcdef\n")
    with running(engine, api_key_file=file) as server:
        page = Opened(browser, server.urls["http"])
        page.tab.wait_for_selector("#key", state="visible")
        assert page.tab.inner_text("header").count("snapshot") == 0
        page.tab.fill("#key", "reader-0123456789abcdef")
        page.tab.click("text=Use")
        page.settled()
        assert "snapshot 00000001" in page.tab.inner_text("header")
        page.tab.click("text=Recommend")
        page.tab.wait_for_selector("#answer tbody tr")
        assert all("401" in said for said in page.complaints)
        page.complaints.clear()
        page.close()


def test_a_new_service_says_what_to_do_and_a_stopped_one_that_it_is_gone(
    browser: Any, engine: Engine
) -> None:
    with running(engine) as server:
        page = Opened(browser, server.urls["http"])
        page.settled()
        page.tab.wait_for_selector("text=No requests yet: try the playground below")
        assert f"silverjax load {server.urls['http']}" in page.tab.inner_text("body")
    page.until(lambda: page.text(".status") != "Serving")
    page.complaints.clear()  # connections that are refused
    page.close()


def _genres(engine: Engine) -> list[list[str]]:
    return engine.snapshot.catalogue.attributes["genre"]
