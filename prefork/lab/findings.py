"""What a comparison says, in sentences: who answers most at each number of clients, and what supervision costs.

It must not know how a verdict is reached (``winning.py``) or where it is shown.
Invariant: a sentence names its figure, and claims no lead that is within the noise.
"""

from collections.abc import Callable, Iterator, Sequence

from prefork.lab.comparison import CellResult, Comparison
from prefork.lab.winning import (
    Figure,
    Standing,
    called,
    contenders,
    cpu,
    listed,
    many,
    prices,
    rate,
    ratio,
    standing,
)
from prefork.report import units


def findings(comparison: Comparison) -> list[str]:
    """Lowercase, without a full stop; the most important first."""
    cells = [cell for cell in comparison.cells if cell.rounds]
    return [*_winners(cells), *_thrift(cells), *_memory(cells)]


def price_lines(comparison: Comparison) -> list[str]:
    """What a request costs beside the reference lines, one line each."""
    found = prices(comparison.cells)
    return [f"{p.line}/{p.reference}: {p.ratio} CPU a request at {many(p.clients)}" for p in found]


def _winners(cells: Sequence[CellResult]) -> Iterator[str]:
    for clients in sorted({cell.cell.clients for cell in cells}):
        found = standing(contenders(cells, clients))
        if found is not None:
            yield f"at {many(clients)} {verdict(found)}"


def verdict(found: Standing) -> str:
    most = units.rate(found.best.middle(rate) or 0)
    if not found.is_told:
        return f"{found.rounds} round{'s' * (found.rounds != 1)} cannot tell who answers most"
    if found.is_draw:
        lines = list(dict.fromkeys(one.cell.line for one in (found.best, *found.level)))
        return f"{listed(lines)} answer as much within the noise, {most}"
    best = f"{called(found.best.cell)} answers most, {most}"
    if found.next is None or found.lead is None:
        return best
    return f"{best}, {found.lead} times as much as {called(found.next.cell)}"


def _thrift(cells: Sequence[CellResult]) -> Iterator[str]:
    """Who needs the least CPU a request, and who the most, at the most clients."""
    yield from _extremes(cells, cpu, "CPU a request", units.latency)


def _memory(cells: Sequence[CellResult]) -> Iterator[str]:
    yield from _extremes(cells, lambda one: float(one.pss_bytes), "memory", lambda value: units.size(round(value)))


def _extremes(cells: Sequence[CellResult], figure: Figure, what: str, show: Callable[[float], str]) -> Iterator[str]:
    last = max((cell.cell.clients for cell in cells), default=0)
    known = [(value, cell) for cell in contenders(cells, last) if (value := cell.middle(figure))]
    if not known:
        return
    (least, light), (most, heavy) = min(known, key=lambda k: k[0]), max(known, key=lambda k: k[0])
    found = ratio(heavy, light, figure)
    if found is not None and found.is_told and not found.is_draw:
        yield (
            f"{called(light.cell)} needs the least {what} at {many(last)}, {show(least)}, and {called(heavy.cell)} the "
            f"most, {show(most)}"
        )
