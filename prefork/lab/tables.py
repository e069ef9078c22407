"""A comparison as a table: in a terminal, as Markdown, as CSV, and what it shows for JSON.

It must not know how anything was measured, nor judge it: what is said under a table comes from ``findings.py`` and from
the comparison's doubts.
Invariants: whatever a target or an error is called, a terminal is not steered and a Markdown table keeps its columns;
CSV has every round of every cell, and every figure of it.
Read next: ``columns.py``.
"""

import json
from collections.abc import Iterator, Sequence
from csv import writer
from io import StringIO

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from prefork.lab.columns import BEST, COLUMNS, LEGEND, LEVEL, Column, Row, rows
from prefork.lab.comparison import CellResult, Comparison, Machine, Measurement
from prefork.lab.findings import findings, price_lines
from prefork.report.units import plain, size

_GAP = 2  # characters between two columns
_EMPHASISED = ("line", "rate")  # of the best
_STYLES = {BEST: "bold green", LEVEL: "green"}


def machine_line(machine: Machine) -> str:
    """Where it was measured."""
    found = (
        f"{machine.cpus:g} CPU{'s' * (machine.cpus != 1)}",
        machine.model,
        f"{size(machine.memory_bytes)} of memory",
        f"Linux {machine.kernel}",
        f"Python {machine.python}",
        f"prefork {machine.prefork}",
    )
    return plain(", ".join(part for part in found if part.strip()))


# terminal


def terminal(comparison: Comparison) -> RenderableType:
    """The table with what follows from it, as narrow as the terminal is."""
    return _Sheet(comparison)


class _Sheet:
    """Chooses its columns when it is told how wide it may be."""

    def __init__(self, comparison: Comparison) -> None:
        self._comparison = comparison

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        made = self._comparison
        yield Text(plain(made.title), style="bold")
        if made.teaches:
            yield Text(plain(made.teaches))
        yield Text(machine_line(made.machine), style="dim")
        yield Text()
        groups = rows(made)
        if groups:
            yield _table(groups, options.max_width)
            yield Text()
            yield Text(LEGEND, style="dim")
        for text in (*findings(made), *price_lines(made)):
            yield Text(plain(text))
        for where, why in made.left_out.items():
            yield Text(plain(f"left out: {where}: {why}"), style="yellow")
        for doubt in made.doubts:
            yield Text(plain(f"doubt: {doubt}"), style="yellow")


def _table(groups: Sequence[Sequence[Row]], width: int) -> Table:
    shown = fitting(groups, width)
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold")
    for column in shown:
        table.add_column(
            Text(f"  {column.head}" if column.is_text else column.head),
            justify="left" if column.is_text else "right",
            no_wrap=True,
        )
    for number, group in enumerate(groups):
        if number:
            table.add_row()
        for row in group:
            table.add_row(*(Text(_marked(column, row)) for column in shown), style=_STYLES.get(row.mark, ""))
    return table


def fitting(groups: Sequence[Sequence[Row]], width: int) -> list[Column]:
    """The columns for which there is room: what is worth least goes first."""
    shown = list(COLUMNS)
    widths = {
        column.head: max(len(column.head), *(len(_marked(column, row)) for group in groups for row in group))
        for column in COLUMNS
    }
    while len(shown) > 1 and sum(widths[column.head] + _GAP for column in shown) - _GAP > width:
        shown.remove(min(shown, key=lambda column: column.worth))
    return shown


def _marked(column: Column, row: Row) -> str:
    text = plain(column.show(row.result))
    return f"{row.mark or ' '} {text}" if column.is_text else text


# Markdown

_ESCAPED = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;"} | {character: f"\\{character}" for character in "\\`*_[]|"}
)


def markdown(comparison: Comparison) -> str:
    """A page of GitHub's Markdown: what was compared, what came of it, the table, the doubts."""
    made = comparison
    parts = [f"## {_inline(made.title)}", _inline(made.teaches), as_markdown(findings(made)), markdown_table(made)]
    parts += [as_markdown(price_lines(made))]
    parts += [as_markdown([f"left out: {where}: {why}" for where, why in made.left_out.items()])]
    parts += [as_markdown([f"doubt: {doubt}" for doubt in made.doubts])]
    parts += [f"Measured {_inline(made.made)} with {_inline(machine_line(made.machine))}. To do it again:"]
    parts += ["```sh\n" + plain(made.command).replace("```", "") + "\n```"]
    return "\n\n".join(part for part in parts if part) + "\n"


def markdown_table(comparison: Comparison, heads: Sequence[str] = ()) -> str:
    """:param heads: of the columns that are shown; empty are all."""
    shown = [column for column in COLUMNS if not heads or column.head in heads]
    lines = [
        _line(column.title for column in shown),
        _line(":---" if column.is_text else "---:" for column in shown),
    ]
    groups = rows(comparison)
    for row in (row for group in groups for row in group):
        lines.append(_line(_cell(column, row) for column in shown))
    return "\n".join(lines) if groups else ""


def _cell(column: Column, row: Row) -> str:
    text = _inline(column.show(row.result))
    return f"**{text}**" if row.mark == BEST and column.head in _EMPHASISED else text


def _line(cells: Iterator[str] | Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def as_markdown(sentences: Sequence[str]) -> str:
    """Sentences as a list."""
    return "\n".join(f"- {_inline(sentence)}" for sentence in sentences)


def _inline(text: str) -> str:
    """As text of one line, whatever it says."""
    text = plain(" ".join(text.split()))
    return text.translate(_ESCAPED)


# JSON


def figures(comparison: Comparison) -> dict[str, object]:
    """What a table shows: sentences, and of each cell its medians, unrounded, in seconds, bytes, requests a second."""
    return {
        "findings": findings(comparison),
        "prices": price_lines(comparison),
        "table": [
            {column.head: column.value(row.result) for column in COLUMNS} | {"mark": row.mark}
            for group in rows(comparison)
            for row in group
        ],
    }


# CSV

_LATENCIES = ("mean", "p50", "p90", "p99", "p999", "maximum")
CSV_HEAD = (
    *("line", "workers", "clients", "round", "seconds", "requests", "rate (1/s)"),
    *(f"{name} (s)" for name in _LATENCIES),
    *("errors", "errors by kind (JSON)", "cpu (s/request)", "switches (1/request)", "pss (bytes)", "fairness (0..1)"),
    *("generator share (0..1)", "generators (CPUs)", "doubts"),
)


def csv(comparison: Comparison) -> str:
    """A line for each round of each cell; what is not known is empty."""
    out = StringIO()
    table = writer(out, lineterminator="\n")
    table.writerow(CSV_HEAD)
    for group in rows(comparison):
        for row in group:
            for number, one in enumerate(row.result.rounds, start=1):
                table.writerow(_csv_row(row.result, number, one))
    return out.getvalue()


def _csv_row(result: CellResult, number: int, one: Measurement) -> list[object]:
    cell, latency = result.cell, one.latency
    return [
        *(cell.line, cell.workers, cell.clients, number, one.seconds, one.requests, one.rate),
        *("" if latency is None else getattr(latency, name) for name in _LATENCIES),
        *(sum(one.errors.values()), json.dumps(one.errors, sort_keys=True), one.cpu_seconds),
        *("" if one.switches is None else one.switches, one.pss_bytes),
        *("" if one.fairness is None else one.fairness, one.generator_share),
        *("" if one.generator_cpus is None else one.generator_cpus, "; ".join(map(str, one.doubts))),
    ]
