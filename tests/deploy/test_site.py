"""The site: it builds without a complaint, needs nothing from elsewhere, and can be read on a desk and on a phone."""

import functools
import http.server
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.page.browser import Browser, Look, needs_chromium
from tests.site.shelves import ROOT

pytestmark = [pytest.mark.deployed, pytest.mark.timeout(300)]  # the build is part of the first test

DESK = Look(1280, 900)
PHONE = Look(390, 844, is_touch=True)
LIMIT = 300  # seconds for the build, on a machine that is busy
# what a page would fetch; a link that somebody may follow is none of it
FETCHED = re.compile(
    r"""<(?:script|img|source|iframe|audio|video|embed)\b[^>]*\bsrc\s*=\s*["']?([^"'\s>]+)"""
    r"""|<link\b(?=[^>]*rel=["']?(?:stylesheet|icon|preload|preconnect|prefetch|manifest))[^>]*\bhref\s*=\s*["']?([^"'\s>]+)""",
    re.IGNORECASE,
)
STYLED = re.compile(r"""url\(\s*["']?([^"')]+)|@import\s+["']([^"']+)""")
IN_SCRIPTS = {  # addresses that the theme's scripts hold, and why nobody asks them
    "https://unpkg.com/mermaid@11/dist/mermaid.min.js": "only for a page with a diagram, and there is none",
    "https://unpkg.com/resize-observer-polyfill": "only for a browser without ResizeObserver",
    "https://api.github.com/repos/": "only with a repository in the configuration, and there is none",
    "https://api.github.com/users/": "the same",
    "https://": "the beginning of those two",
}
MEASURES = """({
    width: document.scrollingElement.scrollWidth,
    broken: [...document.images].filter(image => image.complete && !image.naturalWidth).map(image => image.src),
    elsewhere: performance.getEntriesByType('resource')
        .map(entry => entry.name).filter(name => !name.startsWith(location.origin)),
    text: document.querySelector('article').innerText.length,
})"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as ``make docs`` does, into a directory of its own."""
    place = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "-f", ".mkdocs.yml", "-d", str(place)]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(build, cwd=ROOT, env=quiet, capture_output=True, text=True, timeout=LIMIT)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    return place


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """Where it is served."""
    handler = functools.partial(_Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: Any) -> None:
        """Only failures of the test are of interest."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


def pages(site: Path) -> list[str]:
    return sorted(str(path.relative_to(site)) for path in site.rglob("*.html"))


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    """No page, style or script names anything that a reader's browser would ask another machine for."""
    found = {
        (path.name, address)
        for kind, pattern in (("*.html", FETCHED), ("*.html", STYLED), ("*.css", STYLED))
        for path in site.rglob(kind)
        for groups in pattern.findall(path.read_text())
        for address in groups
        if address.startswith(("http:", "https:", "//"))
    }
    assert found == set()


def test_scripts_know_no_other_machine_that_they_would_ask(site: Path) -> None:
    """Whoever updates the theme looks at what is new here."""
    asked = re.compile(r"""["'`](https?://[^"'`\s$]*)""")
    held = {
        address
        for path in site.rglob("*.js")
        if path.parent.name != "search"
        for address in asked.findall(path.read_text())
    }
    assert held - IN_SCRIPTS.keys() == set()
    assert not any('class="mermaid"' in path.read_text() for path in site.rglob("*.html"))


@needs_chromium
def test_every_page_can_be_read(site: Path, address: str, browser: Browser) -> None:
    """Nothing is wider than the screen but what scrolls by itself, no picture is missing, no script complains."""
    shown = [page for page in pages(site) if page not in sources(site)[1:]]
    wrong: dict[str, Any] = {}
    with browser.open(f"{address}/404.html") as tab:
        for page in shown:
            tab.appear(DESK)  # before it is loaded: widening takes the theme a moment of movement
            tab.go(f"{address}/{page}")
            for look in (DESK, PHONE):
                tab.appear(look)
                measured = tab.evaluate(MEASURES)
                is_well = measured["width"] <= look.width and not measured["broken"] and not measured["elsewhere"]
                if not is_well or not measured["text"]:
                    wrong[f"{page} at {look.width}"] = measured
        assert wrong == {}
        assert tab.complaints() == []
    assert len(shown) > 50


def sources(site: Path) -> list[str]:
    """The pages of sources, which look alike: one of them will do."""
    return [page for page in pages(site) if re.fullmatch(r"source/.+\.py\.html", page)]


@needs_chromium
def test_a_search_finds_without_a_server(site: Path, browser: Browser) -> None:
    """The site is read from a disk, and the search works there too."""
    with browser.open(f"file://{site}/index.html", DESK) as tab:
        tab.evaluate("document.querySelector('[data-md-component=search-query]').focus()")
        tab.call("Input.insertText", text="graceful_timeout")
        tab.press("Shift", 16)  # the search listens to keys
        tab.wait("document.querySelectorAll('.md-search-result__link').length > 0")
        assert "settings" in tab.evaluate("document.querySelector('.md-search-result__list').innerHTML")
        assert tab.complaints() == []


@needs_chromium
def test_the_palette_follows_the_system(address: str, browser: Browser) -> None:
    """Who prefers the dark has it without asking."""
    with browser.open(f"{address}/index.html", Look(scheme="dark")) as tab:
        assert tab.evaluate("document.body.getAttribute('data-md-color-scheme')") == "slate"
    with browser.open(f"{address}/index.html", Look(scheme="light")) as tab:
        assert tab.evaluate("document.body.getAttribute('data-md-color-scheme')") == "default"


@needs_chromium
def test_a_promise_leads_to_the_line_of_its_test(address: str, browser: Browser) -> None:
    """The source is a page of the site, and the link ends where the test begins."""
    with browser.open(f"{address}/promises.html", DESK) as tab:
        href = tab.evaluate("[...document.querySelectorAll('article a')].find(a => a.href.includes('test_dying')).href")
        tab.go(href)
        line = tab.evaluate("document.querySelector(location.hash).closest('tr, pre').innerText")
        assert "def test_a_kill_costs_at_most_one_request(" in line
