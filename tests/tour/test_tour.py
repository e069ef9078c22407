"""The tour, as its reader would take it: every command prints what the page says, but for figures."""

import os
import shutil
from pathlib import Path

import pytest

from tests.end_to_end.harness import ROOT
from tests.end_to_end.network import own_network
from tests.tour.stage import Stage
from tests.tour.transcript import Step, rewritten, shape, steps

PAGE = (ROOT / "docs" / "tour.md").read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has a network of its own, where nobody else's instance runs")
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_tour_is_as_the_page_says(tmp_path: Path) -> None:
    """Start, look, load, find the stuck request, dump it, recycle it, scale, break a reload, fix it, stop."""
    with own_network(), Stage(tmp_path) as stage:
        for step in steps(PAGE):
            assert shape(stage.run(step.command).output) == shape(step.output), step.command


def test_a_page_is_rewritten_by_what_commands_print() -> None:
    """And by nothing else: a page that says what they print stays as it is."""
    page = "# a\n\n```console\n$ date\nSat\n$ sleep 1 &\n$ pwd\n/srv\n```\nb\n\n```toml\n$ not this\n```\n"
    played = [Step("date", "Sat\n"), Step("sleep 1 &", ""), Step("pwd", "/srv\n")]
    assert list(steps(page)) == played
    assert rewritten(page, {step.command: step for step in played}.__getitem__) == page


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("up 3m 20s, 12 busy", "up 0.25s, 7 busy", True),
        ("  1  4711  idle", " 12   811  idle", True),
        ("1 4711 idle", "1 4711 busy", False),
        ("first\nsecond", "second\nfirst", True),
        ("idle  5.3M  order", "idle     -  order", True),
        ("idle  5.3M", "idle     -", True),
        ("shop  up 1s  memory 3M in 5 processes", "shop  up 1s  memory 2M in 4 processes, 1 not read", True),
    ],
)
def test_figures_have_no_shape(one: str, other: str, is_same: bool) -> None:
    """Words and their order have."""
    assert (shape(one) == shape(other)) is is_same
