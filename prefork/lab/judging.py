"""What one should doubt of a comparison, in sentences that end in advice. Pure.

It must not know how a cell is measured or printed. Each rule looks at all cells and says at most a few things; a
comparison nobody need doubt has no doubts.
Invariant: a doubt names its figure, where it was seen, and what to try.
Sources: hyperfine's warnings, for the idea; Boris Iglewicz and David Hoaglin, How to Detect and Handle Outliers, 1993.
Read next: ``winning.py``, who is better, and when that may be said.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from statistics import mean, median, quantiles

from prefork.lab.comparison import CellResult, Measurement
from prefork.lab.doubts import Doubt
from prefork.lab.winning import called, contenders, cpu, listed, many, order, rate, ratio, standing
from prefork.report.units import rate as a_second
from prefork.report.units import share

LEAST_ROUNDS = 3  # fewer tell nothing of chance
NOISE = 0.10  # of the median: interquartile range of a cell's rounds
FAR = 3.5  # modified z-score: Iglewicz and Hoaglin's recommendation
NEAR = 0.05  # of the median: not far, however alike the other rounds are
DRIFT = 0.05  # by which first and last rounds differ, in most cells
GENERATOR_BUSY = 0.8  # of one CPU
MACHINE_BUSY = 0.85  # of all CPUs
FOR_P99, FOR_P999 = 1_000, 10_000  # requests, ten of which lie beyond it
NAMED = 3  # cells, of many
_JUDGED_HERE = {"noise", "outliers", "too-short", "generator-bound", "errors", "left-out", "shared-cpus"}
"""Doubts that are not told round by round."""


def doubts(cells: Sequence[CellResult], cpus: float | None = None) -> list[Doubt]:
    """In the order of their weight.

    :param cpus: that service and generator have together; ``None`` is not known.
    """
    cells = sorted((cell for cell in cells if cell.rounds), key=lambda one: order(one.cell))
    found: list[Doubt] = []
    for rule in (_errors, _generator_bound, _too_few_rounds, _noise, _outliers, _drift, _too_short):
        found += rule(cells)
    found += _shared(cells, cpus)
    return [*found, *_draws(cells), *_of_rounds(cells)]


def spread(cell: CellResult, figure: Callable[[Measurement], float | None] = rate) -> float | None:
    """Interquartile range by median of a cell's rounds; ``None`` where they are too few."""
    values = [value for value in map(figure, cell.rounds) if value is not None]
    if len(values) < LEAST_ROUNDS or not median(values):
        return None
    first, _, third = quantiles(values, n=4, method="inclusive")
    return (third - first) / median(values)


def far(values: Sequence[float]) -> list[int]:
    """Which of them lie far from the others, by the modified z-score.

    Where more than half are equal the mean deviation stands for the median one, as in IBM's SPSS.
    """
    middle = median(values)
    away = [abs(value - middle) for value in values]
    scale = median(away) / 0.6745 or mean(away) * 1.2533
    return [i for i, distance in enumerate(away) if distance > max(FAR * scale, NEAR * abs(middle))]


def _errors(cells: Sequence[CellResult]) -> Iterator[Doubt]:
    kinds: dict[str, int] = {}
    for one in (one for cell in cells for one in cell.rounds):
        for kind, count in one.errors.items():
            kinds[kind] = kinds.get(kind, 0) + count
    failed = [cell for cell in cells if cell.failed]
    if failed:
        worst = max(failed, key=lambda cell: cell.failed)
        told = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items(), key=lambda item: -item[1]) if count)
        yield Doubt(
            "errors",
            f"{sum(kinds.values())} requests failed ({told}), most of them with {_where(worst)}: figures are of the "
            "others; try fewer --clients or a longer --timeout, or leave out the line that cannot bear them",
        )


def _generator_bound(cells: Sequence[CellResult]) -> Iterator[Doubt]:
    bound = _worst(cells, lambda cell: cell.middle(lambda one: one.generator_share), GENERATOR_BUSY)
    if bound:
        yield Doubt(
            "generator-bound",
            f"the generator was busy with {_named(bound, share)}: the generator, not the service, may be the limit; "
            "add --processes, or believe these rates as lower bounds only",
        )


def _too_few_rounds(cells: Sequence[CellResult]) -> Iterator[Doubt]:
    few = [cell for cell in cells if len(cell.rounds) < LEAST_ROUNDS]
    if few:
        times = "once" if len(few[0].rounds) == 1 else "twice"
        which = "each cell" if len(few) == len(cells) else _names(few)
        yield Doubt(
            "rounds",
            f"{which} was measured {times}: chance cannot be told from a difference; give --rounds 5 or more",
        )


def _noise(cells: Sequence[CellResult]) -> Iterator[Doubt]:
    noisy = _worst(cells, spread, NOISE)
    if noisy:
        yield Doubt(
            "noise",
            f"rounds differ by more than {share(NOISE)} of their median, quartile to quartile, with "
            f"{_named(noisy, share)}: quiet the machine, or raise --rounds and --duration",
        )


def _outliers(cells: Sequence[CellResult]) -> Iterator[Doubt]:
    found = []
    for cell in cells:
        rates = [one.rate for one in cell.rounds]
        if len(rates) > LEAST_ROUNDS:
            usual = a_second(median(rates))
            found += [f"round {i + 1} of {_where(cell)} ({a_second(rates[i])}, usual {usual})" for i in far(rates)]
    if found:
        yield Doubt(
            "outliers",
            f"far from the others: {_some(found)}: something else may have run; medians bear it, but look what it was, "
            "or measure again",
        )


def _drift(cells: Sequence[CellResult]) -> Iterator[Doubt]:
    gains = []
    for cell in cells:
        rates = [one.rate for one in cell.rounds]
        third = len(rates) // 3
        if third and median(rates[-third:]):
            gains.append(median(rates[:third]) / median(rates[-third:]) - 1)
    if len(gains) < LEAST_ROUNDS or abs(median(gains)) < DRIFT:
        return
    alike = sum(gain * median(gains) > 0 for gain in gains) / len(gains)
    if alike < 0.8:
        return
    if median(gains) < 0:
        what, advice = "slower", "the warm-up may be too short, raise --warm-up, or let the machine settle first"
    else:
        what, advice = "faster", "the machine slows down, by heat or by a neighbour; let it rest, and measure again"
    yield Doubt("drift", f"first rounds were {what} than the last, by {share(abs(median(gains)))}: {advice}")


def _too_short(cells: Sequence[CellResult]) -> Iterator[Doubt]:
    for percentile, needed, others in (("p99", FOR_P99, "p90 at most"), ("p99.9", FOR_P999, "p99 at most")):
        short = [cell for cell in cells if _least_requests(cell) < needed]
        if short and not (percentile == "p99.9" and all(_least_requests(cell) < FOR_P99 for cell in short)):
            least = min(short, key=_least_requests)
            yield Doubt(
                "too-short",
                f"{percentile} stands on fewer than ten requests beyond it in {len(short)} of {len(cells)} cells, the "
                f"least {_least_requests(least)} requests a round with {_where(least)}: raise --duration, or believe "
                f"{others}",
            )


def _least_requests(cell: CellResult) -> int:
    return min(one.requests for one in cell.rounds)


def _shared(cells: Sequence[CellResult], cpus: float | None) -> Iterator[Doubt]:
    if not cpus:
        return
    full = _worst(cells, _busy_cpus, MACHINE_BUSY * cpus)
    if full:
        yield Doubt(
            "shared-cpus",
            f"CPUs are shared: generator and service together have {cpus:g}, and in {len(full)} of {len(cells)} cells "
            "used nearly all of them; compare the lines with each other, and load from another machine to know a rate",
        )


def _busy_cpus(cell: CellResult) -> float | None:
    """Of service and busiest generator together, seconds a second."""
    service = cell.middle(lambda one: (cpu(one) or 0.0) * one.rate) or 0.0
    return service + (cell.middle(lambda one: one.generator_share) or 0.0)


def _draws(cells: Sequence[CellResult]) -> Iterator[Doubt]:
    for clients in sorted({cell.cell.clients for cell in cells}):
        found = standing(contenders(cells, clients))
        if found is None or found.lead is None or not found.is_draw or found.lead.pairs < LEAST_ROUNDS:
            continue
        level = [other for other in found.level if other.cell.line != found.best.cell.line]
        lines = list(dict.fromkeys(one.cell.line for one in (found.best, *level)))
        gap = max(1 - 1 / one.median for other in level if (one := ratio(found.best, other)) is not None)
        differ = share(gap) if gap >= 0.01 else "less than 1%"
        yield Doubt(
            "draw",
            f"{listed(lines)} differ by {differ} at {many(clients)}, no more than chance may do: call it a draw, or "
            "raise --rounds",
        )


def _of_rounds(cells: Sequence[CellResult]) -> Iterator[Doubt]:
    """What was doubted of single rounds, once for each kind."""
    found: dict[str, list[tuple[str, str]]] = {}
    for cell in cells:
        for number, one in enumerate(cell.rounds, start=1):
            for doubt in one.doubts:
                if doubt.kind not in _JUDGED_HERE:
                    found.setdefault(doubt.kind, []).append((f"round {number} of {_where(cell)}", doubt.text))
    for kind, seen in found.items():
        where, text = seen[0]
        more = f" (and {len(seen) - 1} more of this kind)" if len(seen) > 1 else ""
        yield Doubt(kind, f"{where}{more}: {text}")


# words


def _where(cell: CellResult) -> str:
    return f"{called(cell.cell)} at {many(cell.cell.clients)}"


def _worst(
    cells: Iterable[CellResult], figure: Callable[[CellResult], float | None], limit: float
) -> list[tuple[float, CellResult]]:
    """Those beyond the limit, the worst first."""
    found = [(value, cell) for cell in cells if (value := figure(cell)) is not None and value > limit]
    return sorted(found, key=lambda pair: -pair[0])


def _named(found: Sequence[tuple[float, CellResult]], show: Callable[[float], str]) -> str:
    return _some([f"{_where(cell)} ({show(value)})" for value, cell in found])


def _names(cells: Sequence[CellResult]) -> str:
    return _some([_where(cell) for cell in cells])


def _some(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
