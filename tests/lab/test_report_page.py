"""A comparison as a page of HTML: whole in one file, in a real browser, whatever things are called."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from prefork.lab import html
from prefork.lab.columns import COLUMNS
from prefork.lab.comparison import Comparison
from prefork.lab.doubts import Doubt
from prefork.lab.judging import doubts
from tests.lab.comparisons import comparison, result, usual
from tests.page.browser import Browser, Look, Tab, needs_chromium
from tests.page.test_page import CONTRASTS

HOSTILE = "<script>document.title = 'steered'</script>\" onload=\"alert(1)"
NARROW = Look(390, 844, is_touch=True)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a page is that everything is on."""
    cells = usual()
    left_out = {"hybrid with 4 workers": "cannot be loaded: No module named 'shop'"}
    return written(comparison(cells, doubts=doubts(cells), left_out=left_out), tmp_path_factory.mktemp("report"))


def written(made: Comparison, directory: Path) -> Path:
    path = directory / "report.html"
    path.write_text(html.page(made))
    return path


def first_column(tab: Tab) -> list[str]:
    names = tab.evaluate("[...document.querySelectorAll('#table tbody th')].map(e => e.textContent.trim())")
    return [name.rstrip(" *=") for name in names]


# what is in the file


def test_the_page_needs_nothing_else(path: Path) -> None:
    """No style, script, font or picture from elsewhere: what it names with http are the names of SVG."""
    text = path.read_text()
    assert set(re.findall(r"https?://[^\"'\s)]+", text)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert not re.search(r"<link|<img|<iframe|@import|\bsrc=", text)


def test_the_same_comparison_gives_the_same_page() -> None:
    assert html.page(comparison()) == html.page(comparison())


def test_sentences_come_before_figures(path: Path) -> None:
    """Doubts first, for they say how to read the rest."""
    text = path.read_text()
    heads = [
        "What to doubt",
        "What came of it",
        "Do it again",
        "Pictures",
        "All figures",
        "Each round",
        "What the columns",
    ]
    places = [text.index(f">{head}") for head in heads]
    assert places == sorted(places)
    assert "At 8 clients prefork with 4 workers answers most" in text
    assert "Left out: hybrid with 4 workers: cannot be loaded: No module named &#39;shop&#39;" in text
    assert "prefork/bare: 1.24 (1.24 to 1.25) CPU a request at 8 clients" in text


def test_every_round_and_every_column_is_there(path: Path) -> None:
    text = path.read_text()
    assert text.count("<details>") == 24
    assert text.count('<th scope="row">') == 24 * 5
    assert text.count('<th scope="row" data-value=') == 24
    assert text.count("<dt>") == len(COLUMNS) + 1


def test_what_has_nothing_measured_is_a_page_as_well(tmp_path: Path) -> None:
    text = written(comparison([], left_out={"all": "nothing was answered"}), tmp_path).read_text()
    assert "Nothing was measured." in text
    assert "<table" not in text


# in a browser


@needs_chromium
@pytest.mark.parametrize("look", [Look(), NARROW, NARROW._replace(scheme="dark")], ids=["desk", "phone", "dark"])
def test_it_is_shown_without_complaint_and_without_scrolling_sideways(browser: Browser, path: Path, look: Look) -> None:
    """Wide things scroll by themselves."""
    with browser.open(path.as_uri(), look) as tab:
        assert tab.complaints() == []
        assert tab.evaluate("document.documentElement.scrollWidth") == look.width
        tab.evaluate("document.querySelectorAll('details').forEach(e => e.open = true)")
        assert tab.evaluate("document.documentElement.scrollWidth") == look.width
        seen = tab.text("main")
        assert "wait=1ms" in tab.text("h1")
        assert "Context switches a request, of the whole tree" in seen
        assert tab.evaluate("document.querySelectorAll('svg text').length") > 100


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.long)])
def test_everything_stands_out_from_its_ground(browser: Browser, path: Path, scheme: str) -> None:
    """By 4.5 to 1, as WCAG 2 wants it of text; the words in pictures too."""
    with browser.open(path.as_uri(), Look(scheme=scheme)) as tab:
        found = tab.evaluate(CONTRASTS)
        assert len(found) > 300
        assert [text for contrast, text in found if contrast < 4.5] == []
        inks = "[...document.querySelectorAll('svg text')].map(e => getComputedStyle(e).fill)"
        assert set(tab.evaluate(inks)) == {{"light": "rgb(28, 35, 34)", "dark": "rgb(228, 233, 234)"}[scheme]}


@needs_chromium
def test_whatever_things_are_called_they_are_text(browser: Browser, tmp_path: Path) -> None:
    """Of the title, the command, a doubt, what was left out, an error and a line."""
    cells = [result(HOSTILE, rates=[900.0] * 5, errors={HOSTILE: 1}), result("thread")]
    told = {"title": HOSTILE, "command": HOSTILE, "teaches": HOSTILE, "left_out": {HOSTILE: HOSTILE}}
    path = written(comparison(cells, doubts=[Doubt("errors", HOSTILE)], **told), tmp_path)
    with browser.open(path.as_uri()) as tab:
        assert tab.complaints() == []
        assert tab.evaluate("document.title").startswith("<script>")
        assert tab.text("h1") == HOSTILE
        assert tab.evaluate("document.scripts.length") == 1
        assert tab.evaluate("[...document.querySelectorAll('*')].some(e => e.hasAttribute('onload'))") is False
        drawn = tab.evaluate("[...document.querySelectorAll('svg text')].map(e => e.textContent)")
        assert HOSTILE in drawn


@needs_chromium
def test_the_table_can_be_sorted(browser: Browser, path: Path) -> None:
    """By a column, up and then down; what is not known stands last."""
    with browser.open(path.as_uri()) as tab:
        assert first_column(tab)[:3] == ["sync", "thread", "fork"]
        click = "document.querySelectorAll('#table button')[{}].click()"
        tab.evaluate(click.format(3))
        assert first_column(tab)[0] == "thread"
        tab.evaluate(click.format(3))
        assert first_column(tab)[0] == "prefork"
        assert tab.evaluate("document.querySelectorAll('#table th')[3].getAttribute('aria-sort')") == "descending"
        tab.evaluate(click.format(12))
        assert first_column(tab)[-3:] == ["fork"] * 3
        tab.evaluate(click.format(0))
        assert first_column(tab)[:6] == ["bare"] * 6


@needs_chromium
def test_a_screen_reader_finds_its_way(browser: Browser, path: Path) -> None:
    """Landmarks, headings, pictures in words, tables with captions and heads."""
    with browser.open(path.as_uri()) as tab:
        tree = [(role, " ".join(name.split())) for role, name in tab.accessible()]
    for role, name in (
        ("banner", ""),
        ("main", ""),
        ("contentinfo", ""),
        ("heading", "wait=1ms"),
        ("region", "What to doubt"),
        ("columnheader", "requests a second"),
        ("rowheader", "prefork *"),
    ):
        assert (role, name) in tree
    pictures = [name for role, name in tree if role == "image"]
    assert len(pictures) == 5
    assert pictures[0].startswith("Requests a second, by clients: a curve for each of sync")
    assert any(role == "table" and name.startswith("Medians of the rounds") for role, name in tree)


@needs_chromium
def test_without_scripts_everything_is_there(browser: Browser, path: Path) -> None:
    with browser.open("about:blank") as tab:
        tab.call("Emulation.setScriptExecutionDisabled", value=True)
        tab.go(path.as_uri())
        assert "requests a second" in tab.text("#table thead")
