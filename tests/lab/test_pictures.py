"""Pictures of a comparison: the same each time, and readable in the dark, without colours, and by ear."""

import re
import subprocess
import sys
from collections import Counter
from xml.etree import ElementTree

import pytest

from prefork.lab import ink
from prefork.lab.comparison import CellResult
from prefork.lab.pictures import NAMES, pictures, winners
from prefork.lab.winning import LINES
from tests.lab.comparisons import comparison, result, usual

DRAW = """
import hashlib
from prefork.lab.pictures import pictures
from tests.lab.comparisons import comparison
for one in pictures(comparison()):
    print(hashlib.sha256(one.svg.encode()).hexdigest())
"""


@pytest.fixture(scope="module")
def drawn() -> dict[str, ink.Picture]:
    return {one.name: one for one in pictures(comparison())}


def texts(svg: str) -> list[str]:
    return ["".join(node.itertext()) for node in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_all_are_drawn(drawn: dict[str, ink.Picture]) -> None:
    assert tuple(drawn) == NAMES


@pytest.mark.long
def test_the_same_comparison_gives_the_same_bytes() -> None:
    """In another process as well: nothing goes by a hash, a clock or an address."""
    told = [subprocess.check_output([sys.executable, "-c", DRAW], text=True) for _ in range(2)]
    assert told[0] == told[1]
    assert len(set(told[0].split())) == len(NAMES)


def test_drawing_twice_changes_nothing(drawn: dict[str, ink.Picture]) -> None:
    """A PNG between them neither, which stands on white."""
    one = drawn["throughput"]
    before = one.svg
    assert ink.as_png(one.figure).startswith(b"\x89PNG")
    assert one.svg == before


@pytest.mark.parametrize("name", NAMES)
def test_text_is_text(drawn: dict[str, ink.Picture], name: str) -> None:
    """It can be searched, and it is drawn in the ink of its ground, light or dark."""
    svg = drawn[name].svg
    assert drawn[name].title in texts(svg)
    assert "prefers-color-scheme:dark" in svg
    assert not re.search(r"#1c2322|#000000|#ffffff", svg.replace(svg[svg.index("<style>") : svg.index("</style>")], ""))


def test_pictures_on_one_page_have_identifiers_of_their_own(drawn: dict[str, ink.Picture]) -> None:
    """And what they refer to is there."""
    page = "".join(one.svg for one in drawn.values())
    counted = Counter(re.findall(r'\bid="([^"]+)"', page))
    assert counted.most_common(1)[0][1] == 1
    assert {*re.findall(r'href="#([^"]+)"', page), *re.findall(r"url\(#([^)]+)\)", page)} <= set(counted)


def test_a_picture_says_what_it_shows(drawn: dict[str, ink.Picture]) -> None:
    """With its figures, in words of a screen reader."""
    assert drawn["throughput"].description == (
        "Requests a second, by clients: a curve for each of sync, thread, fork, prefork 2, prefork 4, bare 2, bare 4, "
        "stdlib-sync; the most is 3225/s, prefork 4 at 64 clients."
    )
    assert "17.0M with prefork 4" in drawn["memory"].description
    assert "p99 is 213ms with sync, 73.8ms with thread" in drawn["latency"].description
    root = ElementTree.fromstring(ink.as_svg(drawn["cpu"].figure, 'a "b" <c>', "x"))
    assert (root.get("role"), root.get("aria-label")) == ("img", 'a "b" <c>')


def test_lines_differ_by_mark_and_colour() -> None:
    """Those who see no colours see marks."""
    assert set(LINES) == set(ink.COLOURS) == set(ink.MARKS)
    assert len(set(ink.COLOURS.values())) == len(set(ink.MARKS.values())) == len(LINES)


def test_a_field_names_who_wins_with_his_lead_or_that_it_is_a_draw(drawn: dict[str, ink.Picture]) -> None:
    """Modes of one process stand beside pools of each size."""
    found = texts(drawn["winners"].svg)
    assert Counter(found)["thread"] == Counter(found)["prefork"] == Counter(found)["draw"] == 2
    assert {"+61%", "+24%", "of 4"} <= set(found)


def test_two_that_are_level_are_both_named() -> None:
    cells = [result("prefork", 4, rates=[3000.0] * 5), result("thread", rates=[2990.0] * 5)]
    assert "prefork and thread" in texts(winners(cells).svg)


def test_the_winners_are_open_where_rounds_were_too_few() -> None:
    picture = winners(usual(4))
    assert "too few rounds" in texts(picture.svg)
    assert not {"sync", "thread", "fork", "prefork"} & {*texts(picture.svg)}
    assert "with 2 workers at 8 clients 4 rounds cannot tell who answers most" in picture.description


@pytest.mark.parametrize(
    "cells",
    [
        [result("sync", clients=1, rates=[900.0])],
        [result("bare", 4)],
        [result("of its own", 2), result("sync", latency=None, switches=None, fairness=None)],
        [result("sync", rates=[0.0] * 5, latency=None), result("thread")],
        usual(1, lines=LINES),
    ],
    ids=["one round", "references alone", "unheard of", "nothing answered", "every line"],
)
def test_whatever_was_measured_can_be_drawn(cells: list[CellResult]) -> None:
    drawn = pictures(comparison(cells))
    assert tuple(one.name for one in drawn) == NAMES[: 4 if cells[0].cell.line == "bare" else 5]
    assert all(texts(one.svg) for one in drawn)


def test_nothing_is_drawn_of_nothing() -> None:
    assert pictures(comparison([])) == []
    assert pictures(comparison([result("sync", rates=[0.0] * 5, latency=None)])) == []


def test_what_others_draw_without_the_style_is_readable_in_the_dark() -> None:
    """A legend has no white ground, black is the ink."""
    figure, axes = ink.sheet("a", "x", "y")
    axes.plot([1, 2], color="black", label="<b>")
    axes.legend()
    svg = ink.as_svg(figure, "a line")
    assert "<b>" in texts(svg)
    assert "#ffffff" not in svg
    assert "stroke: currentColor" in svg
