"""The columns of a comparison: how each is called, what it means, and how a cell is written in it.

It must not know where a table is shown. Invariant: what is measured has one column, shown alike everywhere.
Read next: ``tables.py`` and ``html.py``, which show them; ``report/units.py``, how figures are written.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from prefork.lab.comparison import CellResult, Comparison, Measurement
from prefork.lab.judging import spread
from prefork.lab.load import Latencies
from prefork.lab.winning import Figure, cpu, is_pool, order, rate, standing
from prefork.lab.winning import contenders as contenders_of
from prefork.report import units

BEST, LEVEL = "*", "="
LEGEND = f"{BEST} answers most at this number of clients, {LEVEL} as much within the noise; references stand beside"


class Column(NamedTuple):
    """
    :param title: where there is room for more than ``head``.
    :param value: of a cell, to sort by; ``None`` is not known.
    :param show: for people.
    :param meaning: what a glossary says of it.
    :param worth: what is left out first where there is little room: the least.
    """

    head: str
    title: str
    value: Callable[[CellResult], float | str | None]
    show: Callable[[CellResult], str]
    meaning: str
    worth: int
    is_text: bool = False


class Row(NamedTuple):
    """:param mark: ``BEST``, ``LEVEL``, or nothing, as everywhere where there were too few rounds to tell."""

    result: CellResult
    mark: str


def rows(comparison: Comparison) -> list[list[Row]]:
    """Sorted by clients, line and workers, those of the same clients together."""
    cells = sorted((cell for cell in comparison.cells if cell.rounds), key=lambda one: order(one.cell))
    groups = []
    for clients in sorted({one.cell.clients for one in cells}):
        found = standing(contenders_of(cells, clients))
        if found is not None and not found.is_told:
            found = None
        level = [] if found is None else [one.cell for one in found.level]
        best = None if found is None else found.best.cell
        groups.append(
            [
                Row(one, BEST if one.cell == best else LEVEL if one.cell in level else "")
                for one in cells
                if one.cell.clients == clients
            ]
        )
    return groups


def latency(name: str) -> Figure:
    """Of a round, in seconds."""

    def read(one: Measurement) -> float | None:
        return None if one.latency is None else float(getattr(one.latency, name))

    return read


def _figure(head: str, title: str, figure: Figure, show: Callable[[float], str], meaning: str, worth: int) -> Column:
    def value(cell: CellResult) -> float | None:
        return cell.middle(figure)

    def shown(cell: CellResult) -> str:
        found = value(cell)
        return "-" if found is None else show(found)

    return Column(head, title, value, shown, meaning, worth)


def _latency(head: str, name: str, meaning: str, worth: int) -> Column:
    assert name in Latencies.__struct_fields__
    return _figure(head, head, latency(name), units.latency, meaning, worth)


def _count(head: str, value: Callable[[CellResult], int], meaning: str, worth: int) -> Column:
    return Column(head, head, value, lambda cell: str(value(cell)), meaning, worth)


def _spread(cell: CellResult) -> str:
    found = spread(cell)
    return "-" if found is None else units.share(found)


COLUMNS: Sequence[Column] = (
    Column(
        "line",
        "line",
        lambda cell: cell.cell.line,
        lambda cell: cell.cell.line,
        "how the target was run: a mode under prefork's master, or a reference: bare is a loop that accepts, handles "
        "and closes and does nothing else, stdlib-… are the standard library's servers",
        99,
        is_text=True,
    ),
    Column(
        "workers",
        "workers",
        lambda cell: cell.cell.workers if is_pool(cell.cell.line) else 1,
        lambda cell: str(cell.cell.workers) if is_pool(cell.cell.line) else "1",
        "processes that handle requests; sync, thread and fork are one",
        98,
    ),
    _count(
        "clients",
        lambda cell: cell.cell.clients,
        "requests at a time: each client sends its next when it has its reply",
        97,
    ),
    _figure(
        "rate",
        "requests a second",
        rate,
        units.rate,
        "requests answered rightly, a second; the median of the rounds, as all figures",
        96,
    ),
    Column(
        "spread",
        "spread",
        spread,
        _spread,
        "how much the rounds differ: the distance between their quartiles, as a share of the median rate",
        40,
    ),
    _latency("p50", "p50", "half of the requests took at most so long, from the connect to the end of the reply", 80),
    _latency("p90", "p90", "nine of ten did", 50),
    _latency("p99", "p99", "99 of a hundred did", 90),
    _latency("p99.9", "p999", "999 of a thousand did", 45),
    _latency("max", "maximum", "the longest", 42),
    _count("errors", lambda cell: cell.failed, "requests of all rounds that failed, for whatever reason", 70),
    _figure(
        "cpu",
        "CPU a request",
        cpu,
        units.latency,
        "CPU time that a request costs the whole tree of processes, supervision included",
        85,
    ),
    _figure(
        "switches",
        "switches a request",
        lambda one: one.switches,
        lambda value: f"{value:.1f}",
        "context switches a request, of the whole tree; a dash where children took theirs with them",
        30,
    ),
    _figure(
        "pss",
        "memory (PSS)",
        lambda one: float(one.pss_bytes),
        lambda value: units.size(round(value)),
        "memory of the whole tree, the most at the beginning, in the middle and at the end; what several processes "
        "share counts once",
        60,
    ),
    _figure(
        "fairness",
        "fairness",
        lambda one: one.fairness,
        lambda value: f"{value:.2f}",
        "how evenly workers share the requests: Jain's index, 1 is even, 1/N is one for all",
        20,
    ),
)
