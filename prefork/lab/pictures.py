"""A comparison in pictures: throughput, latency, memory and CPU of each line, and who wins where.

It must not know where they are shown. Each picture says in words what it shows; the figures themselves stand in the
table.
Invariant: a figure in a picture is the median of the rounds, its bar goes from the least of them to the largest.
Read next: ``ink.py``, what they share; ``winning.py``, who wins.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from prefork.lab import ink
from prefork.lab.columns import latency
from prefork.lab.comparison import Cell, CellResult, Comparison
from prefork.lab.findings import verdict
from prefork.lab.ink import COLOURS, INK, MARKS, MUTED, Picture
from prefork.lab.winning import Figure, Standing, contenders, cpu, is_pool, listed, many, order, rate, standing
from prefork.report import units

NAMES = ("throughput", "latency", "cpu", "memory", "winners")
_DASHES = ("-", "--", "-.", ":")  # by the number of workers
_PERCENTILES = (("p50", "p50"), ("p90", "p90"), ("p99", "p99"), ("p99.9", "p999"), ("max", "maximum"))
_MANY_TIMES = 10  # what differs so much is read on a logarithmic scale


def pictures(comparison: Comparison, names: Iterable[str] = NAMES) -> list[Picture]:
    """Those for which there is something to show.

    :param names: of ``NAMES``, in the order in which they are wanted.
    """
    cells = sorted((cell for cell in comparison.cells if any(one.requests for one in cell.rounds)), key=_order)
    if not cells:
        return []
    has_modes = any(not cell.cell.is_reference for cell in cells)
    draw = {"throughput": throughput, "latency": latencies, "cpu": cpu_cost, "memory": memory, "winners": winners}
    return [draw[name](cells) for name in names if name != "winners" or has_modes]


def throughput(cells: Sequence[CellResult]) -> Picture:
    """Requests a second by clients, a curve for each line and number of workers."""
    title = "Requests a second, by clients"
    picture, axes = ink.sheet(title, "clients", "requests a second")
    _curves(axes, cells, rate)
    _scale(axes, cells, rate, units.rate)
    most = max(cells, key=lambda cell: cell.middle(rate) or 0)
    told = f"a curve for each of {_names(cells)}; the most is {units.rate(most.middle(rate) or 0)}, {_where(most.cell)}"
    return Picture("throughput", title, picture, f"{title}: {told}.")


def cpu_cost(cells: Sequence[CellResult]) -> Picture:
    """CPU time a request by clients, likewise."""
    title = "CPU time a request, by clients"
    picture, axes = ink.sheet(title, "clients", "CPU time a request")
    _curves(axes, cells, cpu)
    _scale(axes, cells, cpu, units.latency)
    known = [cell for cell in cells if cell.middle(cpu) is not None]
    told = f"a curve for each of {_names(cells)}"
    if known:
        least = min(known, key=lambda cell: cell.middle(cpu) or 0)
        most = max(known, key=lambda cell: cell.middle(cpu) or 0)
        told += f"; the least is {units.latency(least.middle(cpu))}, {_where(least.cell)}"
        told += f", the most {units.latency(most.middle(cpu))}, {_where(most.cell)}"
    return Picture("cpu", title, picture, f"{title}: {told}.")


def latencies(cells: Sequence[CellResult]) -> Picture:
    """From the median to the longest, a panel for each number of clients; of each line the pool that answered most."""
    title = "Latency by percentile"
    groups = {n: _best_of_lines(cells, n) for n in sorted({cell.cell.clients for cell in cells})}
    picture, panels = ink.panels(title, [many(clients) for clients in groups], "", "latency")
    for axes, best in zip(panels, groups.values(), strict=True):
        _logarithmic(axes, units.latency)
        axes.set_xticks(range(len(_PERCENTILES)), [name for name, _ in _PERCENTILES], fontsize=8)
        for cell in best:
            values = [cell.middle(latency(field)) or 0.0 for _, field in _PERCENTILES]
            axes.plot(values, **_ink_of(cell.cell.line), label=cell.cell.line)
    known: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            known.setdefault(label, handle)
    picture.legend(list(known.values()), list(known), loc="outside lower center", ncols=min(6, len(known)), fontsize=9)
    told = [
        f"at {many(clients)} p99 is {', '.join(f'{units.latency(_p99(cell))} with {cell.cell.line}' for cell in best)}"
        for clients, best in groups.items()
    ]
    return Picture("latency", title, picture, f"{title}, on a logarithmic scale: {'; '.join(told)}.")


def memory(cells: Sequence[CellResult]) -> Picture:
    """PSS of the whole tree by workers, at the most clients."""
    last = max(cell.cell.clients for cell in cells)
    title = f"Memory (PSS) of all processes, by workers, at {many(last)}"
    picture, axes = ink.sheet(title, "workers", "memory")
    at_last = [cell for cell in cells if cell.cell.clients == last]
    told = []
    for line in dict.fromkeys(cell.cell.line for cell in at_last):
        found = sorted((_workers(cell.cell), cell) for cell in at_last if cell.cell.line == line)
        _with_bars(axes, found, lambda one: one.pss_bytes / 2**20, line, _ink_of(line))
        told += [
            f"{units.size(round(cell.middle(lambda one: one.pss_bytes) or 0))} with {_short(cell.cell)}"
            for _, cell in found
        ]
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} MiB"))
    counts = sorted({_workers(cell.cell) for cell in at_last})
    axes.xaxis.set_major_locator(FixedLocator(counts))
    _legend(axes)
    return Picture("memory", title, picture, f"{title}: {', '.join(told)}.")


def winners(cells: Sequence[CellResult]) -> Picture:
    """Which of our modes answers most, by clients and workers; and its lead over the next, or why nobody does."""
    title = "Which mode answers most, and its lead over the next"
    modes = [cell.cell for cell in cells if not cell.cell.is_reference]
    clients = sorted({cell.clients for cell in modes})
    workers = sorted({cell.workers for cell in modes if is_pool(cell.line)}) or [1]
    picture, axes = ink.sheet(title, "clients", "workers", height=1.4 + 0.8 * len(workers))
    told = []
    for y, size in enumerate(workers):
        for x, number in enumerate(clients):
            found = standing(contenders(cells, number, size))
            if found is not None:
                _field(axes, x, y, found)
                told.append(f"with {size} worker{'s' * (size != 1)} at {many(number)} {verdict(found)}")
    axes.set_xlim(-0.5, len(clients) - 0.5)
    axes.set_ylim(-0.5, len(workers) - 0.5)
    axes.set_xticks(range(len(clients)), map(str, clients))
    axes.set_yticks(range(len(workers)), map(str, workers))
    axes.grid(visible=False)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return Picture("winners", title, picture, f"{title}: {'; '.join(told)}.")


def _field(axes: Axes, x: int, y: int, found: Standing) -> None:
    line = found.best.cell.line
    is_won = found.is_told and not found.is_draw
    colour, hatch = (COLOURS.get(line, MUTED), "") if is_won else (MUTED, "//")
    box = Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, facecolor=colour, alpha=0.3, hatch=hatch, edgecolor=colour, lw=0)
    axes.add_patch(box)
    if not found.is_told:
        head, below = "?", "too few rounds"
    elif found.is_draw:
        lines = list(dict.fromkeys(one.cell.line for one in (found.best, *found.level)))
        head, below = "draw", listed(lines) if len(lines) < 4 else f"of {len(lines)}"
    else:
        head, below = line, "" if found.lead is None else f"+{units.share(found.lead.median - 1)}"
    axes.text(x, y + 0.02, head, ha="center", va="bottom", weight="bold", color=INK)
    axes.text(x, y - 0.06, below, ha="center", va="top", size=8, color=INK)


# curves


def _curves(axes: Axes, cells: Sequence[CellResult], figure: Figure) -> None:
    """By clients, at even distances: 1, 8 and 64 are as far from each other as they mean to be."""
    clients = sorted({cell.cell.clients for cell in cells})
    place = {number: i for i, number in enumerate(clients)}
    for line, workers in dict.fromkeys((cell.cell.line, cell.cell.workers) for cell in cells):
        found = [(place[c.cell.clients], c) for c in cells if (c.cell.line, c.cell.workers) == (line, workers)]
        style = _ink_of(line) | {"linestyle": _dashes(cells, line, workers)}
        _with_bars(axes, found, figure, _short(Cell(line, workers, 0)), style)
    axes.set_xticks(range(len(clients)), map(str, clients))
    _legend(axes)


def _with_bars(
    axes: Axes, found: Iterable[tuple[int, CellResult]], figure: Figure, label: str, style: dict[str, Any]
) -> None:
    """A curve through the medians, with a bar from the least to the largest."""
    points = [(x, *_extent(cell, figure)) for x, cell in found if cell.middle(figure) is not None]
    if points:
        x, middle, below, above = zip(*points, strict=True)
        axes.errorbar(x, middle, yerr=(below, above), capsize=2, elinewidth=1, label=label, **style)


def _extent(cell: CellResult, figure: Figure) -> tuple[float, float, float]:
    """The median, and how far the least lies below it and the largest above."""
    values = [value for value in map(figure, cell.rounds) if value is not None]
    middle = cell.middle(figure) or 0.0
    return middle, middle - min(values), max(values) - middle


def _scale(axes: Axes, cells: Sequence[CellResult], figure: Figure, show: Callable[[float], str]) -> None:
    """From nothing, or logarithmic where the least is lost beside the most."""
    values = [value for cell in cells if (value := cell.middle(figure))]
    if values and max(values) > _MANY_TIMES * min(values):
        _logarithmic(axes, show)
    else:
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: show(value) if value else "0"))


def _logarithmic(axes: Axes, show: Callable[[float], str]) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: show(value)))


def _legend(axes: Axes) -> None:
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8, borderaxespad=0.3, handlelength=3.2)


def _ink_of(line: str) -> dict[str, Any]:
    is_reference = Cell(line, 1, 1).is_reference
    return {
        "color": COLOURS.get(line, MUTED),
        "marker": MARKS.get(line, "."),
        "linewidth": 1.2 if is_reference else 1.8,
        "markersize": 5.5,
    }


def _dashes(cells: Iterable[CellResult], line: str, workers: int) -> str:
    sizes = sorted({cell.cell.workers for cell in cells if cell.cell.line == line}, reverse=True)
    return _DASHES[sizes.index(workers) % len(_DASHES)]


# words


def _order(cell: CellResult) -> tuple[int, int, str, int]:
    return order(cell.cell)


def _workers(cell: Cell) -> int:
    return cell.workers if is_pool(cell.line) else 1


def _short(cell: Cell) -> str:
    return f"{cell.line} {cell.workers}" if is_pool(cell.line) else cell.line


def _where(cell: Cell) -> str:
    return f"{_short(cell)} at {many(cell.clients)}"


def _names(cells: Sequence[CellResult]) -> str:
    return ", ".join(dict.fromkeys(_short(cell.cell) for cell in cells))


def _best_of_lines(cells: Sequence[CellResult], clients: int) -> list[CellResult]:
    at = [cell for cell in cells if cell.cell.clients == clients and cell.middle(latency("p50")) is not None]
    return list(_best(at))


def _best(cells: Sequence[CellResult]) -> Iterator[CellResult]:
    for line in dict.fromkeys(cell.cell.line for cell in cells):
        yield max((cell for cell in cells if cell.cell.line == line), key=lambda cell: cell.middle(rate) or 0)


def _p99(cell: CellResult) -> float | None:
    return cell.middle(latency("p99"))
