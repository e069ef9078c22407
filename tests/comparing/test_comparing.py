"""The page of comparisons: its places are those of the runs, and a run fills them without anything else."""

import json
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from prefork.cli import compare as cli
from prefork.lab.comparison import Comparison
from prefork.lab.doubts import Doubt
from tests import marks
from tests.comparing import page
from tests.comparing.__main__ import kept
from tests.comparing.runs import MODES, RUNS
from tests.end_to_end.harness import ROOT
from tests.lab.comparisons import comparison, result, usual

PAGE = ROOT / "docs" / "comparing.md"


def made_up() -> dict[str, Comparison]:
    return {name: comparison(usual(5), title=run.workload) for name, run in RUNS.items()}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A copy of the page."""
    place = tmp_path / "comparing.md"
    place.write_text(PAGE.read_text())
    return place


def test_the_page_has_a_place_for_each_run_and_for_what_follows() -> None:
    """In the order of the runs, the short of it first."""
    assert [*marks.parts(PAGE.read_text())] == [page.SUMMARY, *RUNS]


def test_the_pictures_of_the_page_are_beside_it() -> None:
    """Those that are shown, and no others."""
    shown = re.findall(r"\]\((comparing/[\w.-]+\.svg)\)", PAGE.read_text())
    assert {*shown} == {f"comparing/{path.name}" for path in (PAGE.parent / "comparing").glob("*")}


@pytest.mark.long
def test_a_run_fills_its_place_and_leaves_the_prose(place: Path) -> None:
    """Twice is the same as once."""
    before = place.read_text()
    page.write(place, RUNS, made_up())
    once = place.read_text()
    pictures = sorted(path.name for path in (place.parent / "comparing").iterdir())
    assert pictures == sorted(f"{run.name}-{picture}.svg" for run in RUNS.values() for picture in run.pictures)
    assert all(f"(comparing/{name})" in once for name in pictures)
    page.write(place, RUNS, made_up())
    assert place.read_text() == once
    empty = marks.filled(once, dict.fromkeys([page.SUMMARY, *RUNS], "")).replace("-->\n\n\n<!-- end", "-->\n<!-- end")
    assert empty == marks.filled(before, dict.fromkeys([page.SUMMARY, *RUNS], "")).replace(
        "-->\n\n\n<!-- end", "-->\n<!-- end"
    )


@pytest.mark.long
def test_what_was_not_measured_keeps_what_it_has(place: Path) -> None:
    page.write(place, RUNS, made_up())
    before = place.read_text()
    one = {"mixed": comparison(usual(5, noise=0.02), title="mixed")}
    page.write(place, RUNS, one)
    after = place.read_text()
    changed = [name for name in (page.SUMMARY, *RUNS) if _part(before, name) != _part(after, name)]
    assert changed == ["mixed"]


def test_a_section_tells_findings_prices_doubts_and_the_command() -> None:
    made = replace(made_up()["echo"], doubts=[Doubt("noise", "too much: quiet it")], left_out={"fork": "no *"})
    text = page.section(made, ["![a](b.svg)"])
    for told in (
        "![a](b.svg)\n\n- at 1 client",
        "- at 64 clients prefork with 4 workers answers most",
        "- prefork/bare: 1.2",
        "- left out: fork: no \\*",
        "| line | workers | clients | requests a second | p50 | p99 | errors | CPU a request | memory (PSS) |",
        "What to doubt of it:\n\n- too much: quiet it",
        "```sh\nprefork compare wait=1ms",
    ):
        assert told in text


def test_the_short_of_it_names_winners_and_draws() -> None:
    """By figures alone: nothing is said that was not measured."""
    won = [result("prefork", 4, 8, [3000.0] * 5), result("fork", 1, 8, [1500.0] * 5)]
    drawn = [result("prefork", 4, 1, [900.0] * 5), result("thread", 1, 1, [901.0] * 5)]
    text = page.summary([comparison([*won, *drawn], title="echo")])
    assert text == (
        "| workload | few clients | many clients |\n|---|---|---|\n"
        "| `echo` | 1 client: a draw of thread, prefork | 8 clients: **prefork with 4 workers**, 2.00 times fork |\n\n"
        "- sync answers most nowhere here\n"
        "- thread as much as any with echo at 1 client\n"
        "- fork answers most nowhere here\n"
        "- prefork answers most with echo at 8 clients; as much as any with echo at 1 client\n\n"
        "Measured with 4 CPUs, Some CPU, 8.0G of memory, Linux 6.18.44, Python 3.11.7, prefork 0.1.0.\n"
    )


def test_the_short_of_it_claims_nothing_of_few_rounds() -> None:
    text = page.summary([comparison(usual(4), title="echo")])
    assert "| `echo` | 1 client: too few rounds to tell | 64 clients: too few rounds to tell |" in text
    assert text.count("answers most nowhere here") == len(MODES)


def test_a_run_is_one_command_with_the_four_modes() -> None:
    for run in RUNS.values():
        assert set(MODES) <= set(run.lines)
        assert run.arguments[:2] == ["compare", run.workload]
    assert RUNS["cpu"].arguments[2:8] == [
        *("--lines", "sync,thread,fork,prefork", "--workers", "2,4", "--clients", "1,16"),
    ]


def test_all_runs_take_ten_minutes_at_most() -> None:
    """By the time that the command itself announces."""
    plans = []
    for run in RUNS.values():
        _, target, *flags = run.arguments
        with cli.compare.make_context("compare", [target, *flags]) as context:
            plans.append(cli._plan(target, cli.FULL, context.params))
    assert sum(plan.seconds for plan in plans) <= 10 * 60


def test_what_was_kept_is_written_without_measuring(place: Path) -> None:
    """By the program itself."""
    saved = place.parent / "saved"
    saved.mkdir()
    (saved / "mixed.json").write_bytes(msgspec.json.encode(made_up()["mixed"]))
    command = [sys.executable, "-m", "tests.comparing", "--render", "--saved", str(saved), "--write", str(place)]
    subprocess.run(command, cwd=ROOT, check=True)
    assert list(kept(saved)) == ["mixed"]
    assert "comparing/mixed-latency.svg" in place.read_text()
    assert json.loads((saved / "mixed.json").read_text())["title"] == "mixed"


def _part(text: str, name: str) -> str:
    return text.partition(f"<!-- made: {name} -->")[2].partition("<!-- end -->")[0]
