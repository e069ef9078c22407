"""A comparison as it is shown in a terminal, as Markdown and as CSV: whole, aligned, and steered by nobody."""

import csv
import json
from io import StringIO

import pytest
from rich.console import Console

from prefork.lab import tables
from prefork.lab.columns import COLUMNS, rows
from prefork.lab.comparison import Comparison
from prefork.lab.judging import doubts
from tests.lab.comparisons import comparison, result, usual

SMALL = comparison(
    [
        result("thread", rates=[1500.0] * 5),
        result("prefork", 4, rates=[3000.0] * 5),
        result("bare", 4, rates=[3300.0] * 5),
        result("prefork", 4, clients=1, rates=[900.0] * 5, cpu_seconds=56e-6),
        result("bare", 4, clients=1),
    ],
    left_out={"fork at 8 clients": "nothing was answered: connection refused"},
)
TERMINAL = """\
wait=1ms
a handler that waits for something else leaves its CPU to others.
4 CPUs, Some CPU, 8.0G of memory, Linux 6.18.44, Python 3.11.7, prefork 0.1.0

  line     workers  clients    rate  p50  p90  p99  p99.9   max  errors   cpu    pss
* prefork        4        1   900/s  1ms  2ms  4ms    8ms  20ms       0  56µs  20.0M
  bare           4        1  1000/s  1ms  2ms  4ms    8ms  20ms       0  50µs  20.0M

  thread         1        8  1500/s  1ms  2ms  4ms    8ms  20ms       0  50µs  20.0M
* prefork        4        8  3000/s  1ms  2ms  4ms    8ms  20ms       0  50µs  20.0M
  bare           4        8  3300/s  1ms  2ms  4ms    8ms  20ms       0  50µs  20.0M

* answers most at this number of clients, = as much within the noise; references stand
beside
at 1 client prefork with 4 workers answers most, 900/s
at 8 clients prefork with 4 workers answers most, 3000/s, 2.00 (2.00 to 2.00) times as
much as thread
prefork/bare: 1.12 (1.12 to 1.12) CPU a request at 1 client
prefork/bare: 1.00 (1.00 to 1.00) CPU a request at 8 clients
left out: fork at 8 clients: nothing was answered: connection refused
"""
HOSTILE = "a\x1b[2Jb|c\n<script>*_`"


def printed(made: Comparison, width: int, is_terminal: bool = False) -> str:
    console = Console(file=StringIO(), width=width, force_terminal=is_terminal, _environ={"TERM": "xterm-256color"})
    console.print(tables.terminal(made))
    assert isinstance(console.file, StringIO)
    return "".join(f"{line.rstrip()}\n" for line in console.file.getvalue().splitlines())


def test_a_terminal_shows_all_there_is_room_for() -> None:
    """Sorted, aligned, the best of each number of clients marked, without colour where there is no terminal."""
    assert printed(SMALL, 88) == TERMINAL


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 200])
def test_a_narrow_terminal_leaves_columns_out(width: int) -> None:
    """Nothing is wider than it; the line and how much it answers are left to the last."""
    text = printed(comparison(), width)
    assert max(map(len, text.splitlines())) <= width
    heads = [column.head for column in tables.fitting(rows(comparison()), width)]
    assert [head for head in ("line", "workers", "clients", "rate") if head in heads] == heads[: min(4, len(heads))]
    assert (len(heads) == len(COLUMNS)) == (width == 200)


def test_a_terminal_shows_the_best_in_colour() -> None:
    assert "\x1b[1;32m* prefork" in printed(SMALL, 88, is_terminal=True)


def test_doubts_stand_under_the_table() -> None:
    made = comparison([result("prefork", 4, rates=[3000.0])])
    assert printed(comparison(made.cells, doubts=doubts(made.cells)), 200).endswith(
        "doubt: each cell was measured once: chance cannot be told from a difference; give --rounds 5 or more\n"
    )


def test_what_has_nothing_measured_says_what_was_left_out() -> None:
    text = printed(comparison([], left_out={"all": "cannot be loaded"}), 80)
    assert text.endswith("left out: all: cannot be loaded\n")
    assert tables.markdown(comparison([])).startswith("## wait=1ms\n")
    assert tables.csv(comparison([])).count("\n") == 1


def test_names_do_not_steer_a_terminal() -> None:
    made = comparison([*usual(1), result(HOSTILE)], title=HOSTILE, teaches=HOSTILE, left_out={HOSTILE: HOSTILE})
    assert "\x1b" not in printed(made, 100)
    assert printed(made, 100).count("[2J") >= 4


def test_markdown_marks_the_best_and_keeps_its_columns() -> None:
    """Whatever something is called."""
    made = comparison(SMALL.cells, title=HOSTILE, command=f"prefork compare {HOSTILE}")
    text = tables.markdown(made)
    assert (
        "| **prefork** | 4 | 8 | **3000/s** | 0% | 1ms | 2ms | 4ms | 8ms | 20ms | 0 | 50µs | 2.0 | 20.0M | 0.98 |"
        in text
    )
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in table} == {len(COLUMNS) + 1}
    assert len(table) == 2 + len(SMALL.cells)
    assert "## a\\\\x1b\\[2Jb\\|c &lt;script&gt;\\*\\_\\`" in text
    assert "<script>" not in text.partition("```sh")[0]


def test_markdown_of_some_columns() -> None:
    assert tables.markdown_table(SMALL, ("line", "rate")).splitlines()[:3] == [
        "| line | requests a second |",
        "| :--- | ---: |",
        "| **prefork** | **900/s** |",
    ]


def test_csv_has_every_round_with_all_its_figures() -> None:
    """Under a head with units; what is not known is empty."""
    made = comparison(
        [result("fork", rates=[10.5, 11], switches=None, errors={"reset": 2}), result("sync", latency=None)]
    )
    lines = list(csv.DictReader(StringIO(tables.csv(made))))
    assert tuple(lines[0]) == tables.CSV_HEAD
    assert [(line["line"], line["round"]) for line in lines] == [("sync", str(n)) for n in range(1, 6)] + [
        ("fork", "1"),
        ("fork", "2"),
    ]
    assert lines[5]["rate (1/s)"] == "10.5"
    assert lines[5]["switches (1/request)"] == ""
    assert (lines[5]["errors"], json.loads(lines[5]["errors by kind (JSON)"])) == ("2", {"reset": 2})
    assert lines[0]["p999 (s)"] == ""
    assert lines[5]["p999 (s)"] == "0.008"


def test_every_column_says_what_it_means() -> None:
    assert all(column.meaning and column.title for column in COLUMNS)
    assert len({column.worth for column in COLUMNS}) == len(COLUMNS)
