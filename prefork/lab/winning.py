"""Which cell of a comparison is better, and whether one may say so: ratios within rounds, with their intervals.

It must not know how a cell was measured or how a verdict is printed.
Cells are compared round by round, for what disturbed one in a round disturbed the others of that round as well; the
interval lies between two of the ratios seen, as the sign test has it, and holds the true median in 94 of 100 cases or
more, whatever their law. (The bootstrap of a median holds it in 88 of 100 where rounds are seven.)
Source: Herbert David and Haikady Nagaraja, Order Statistics, 2003, section 7.1.
Invariant: nobody leads whose lead may be less than the margin, that is a draw; nor on fewer rounds than can tell.
Read next: ``judging.py``, what one should doubt of it; ``findings.py``, how it is said.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from math import comb
from statistics import median
from typing import NamedTuple

from prefork.lab.comparison import Cell, CellResult, Measurement

LINES = ("sync", "thread", "fork", "prefork", "hybrid", "bare", "stdlib-sync", "stdlib-thread", "stdlib-fork")
"""In the order in which they are shown: ours, then what they are held against."""
_IN_POOLS = {"prefork", "hybrid", "bare"}  # all others are one process, however many workers the others have
LEAST_ROUNDS = 5  # fewer cannot tell a lead: all of 4 are on one side of their median in an eighth of the cases
MARGIN = 0.02  # a lead that may be smaller is none: the best of many cells leads by a little by chance alone
_TAIL = 1 / 32  # what may lie beyond an end of an interval: five rounds can say so much, and no fewer
_HELD_AGAINST = {"prefork": "bare", "sync": "stdlib-sync", "thread": "stdlib-thread", "fork": "stdlib-fork"}

Figure = Callable[[Measurement], float | None]


class Ratio(NamedTuple):
    """How many times as much the one is as the other.

    :param low: of the interval, as ``high``.
    :param pairs: of rounds that it stands on.
    """

    median: float
    low: float
    high: float
    pairs: int

    @property
    def is_draw(self) -> bool:
        """One may not say that they differ."""
        return self.low <= 1 + MARGIN and self.high >= 1 - MARGIN

    @property
    def is_told(self) -> bool:
        """It stands on enough rounds to say anything."""
        return self.pairs >= LEAST_ROUNDS

    def __str__(self) -> str:
        if not self.is_told:
            return f"about {self.median:.2f}"
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


class Standing(NamedTuple):
    """Who is best among some cells, by requests a second.

    :param level: those that are as good within the noise, the better ones first.
    :param next: the best of another line.
    :param lead: of the best over that one.
    :param rounds: on which that stands; ``None`` where nobody else answered.
    """

    best: CellResult
    level: list[CellResult]
    next: CellResult | None
    lead: Ratio | None
    rounds: int | None

    @property
    def is_told(self) -> bool:
        """There were enough rounds to say who is best, or that nobody is."""
        return self.rounds is None or self.rounds >= LEAST_ROUNDS

    @property
    def is_draw(self) -> bool:
        """Another line is as good, be it the next by its median or one that differs more from round to round."""
        return any(other.cell.line != self.best.cell.line for other in self.level)


class Price(NamedTuple):
    """What supervision costs: one of our lines, beside the reference that does the same without it."""

    line: str
    reference: str
    clients: int
    ratio: Ratio


def order(cell: Cell) -> tuple[int, int, str, int]:
    """As they are shown: by clients, line, workers."""
    place = LINES.index(cell.line) if cell.line in LINES else len(LINES)
    return (cell.clients, place, cell.line, cell.workers)


def is_pool(line: str) -> bool:
    """It has as many processes as it is given; all others are one process."""
    return line in _IN_POOLS


def called(cell: Cell) -> str:
    """It, in words, but for its clients: ``prefork with 4 workers``, ``thread``."""
    if not is_pool(cell.line):
        return cell.line
    return f"{cell.line} with {cell.workers} worker{'s' * (cell.workers != 1)}"


def many(clients: int) -> str:
    return f"{clients} client{'s' * (clients != 1)}"


def listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def rate(one: Measurement) -> float:
    return one.rate


def cpu(one: Measurement) -> float | None:
    return one.cpu_seconds if one.requests else None


def ratio(one: CellResult, other: CellResult, figure: Figure = rate) -> Ratio | None:
    """Of two cells, by their pairs of rounds; ``None`` where no round has the figure of both."""
    return _ratio(_pairs(one, other, figure))


def standing(cells: Iterable[CellResult]) -> Standing | None:
    """Among cells of the same clients; ``None`` where nothing was answered."""
    ranked = sorted((cell for cell in cells if _middle_rate(cell)), key=lambda cell: (-_middle_rate(cell), cell.cell))
    if not ranked:
        return None
    best, *others = ranked
    following = next((other for other in others if other.cell.line != best.cell.line), None)
    level = [other for other in others if (found := ratio(best, other)) is not None and found.is_draw]
    lead = None if following is None else ratio(best, following)
    rivals = others if following is None else [following]
    return Standing(best, level, following, lead, min((len(_pairs(best, one, rate)) for one in rivals), default=None))


def contenders(cells: Iterable[CellResult], clients: int, workers: int | None = None) -> list[CellResult]:
    """Who may win: our modes. References are there to be held against.

    :param workers: of pools; a mode of one process stands beside pools of any size.
    """
    return [
        one
        for one in cells
        if one.cell.clients == clients
        and not one.cell.is_reference
        and (workers is None or not is_pool(one.cell.line) or one.cell.workers == workers)
    ]


def prices(cells: Sequence[CellResult]) -> Iterator[Price]:
    """CPU a request beside the reference, for each number of clients, over pools of all sizes."""
    by_cell = {one.cell: one for one in cells}
    for clients in sorted({cell.clients for cell in by_cell}):
        for line, reference in _HELD_AGAINST.items():
            pairs: list[tuple[float, float]] = []
            for cell in sorted(by_cell):
                other = by_cell.get(Cell(reference, cell.workers, clients))
                if (cell.line, cell.clients) == (line, clients) and other is not None:
                    pairs += _pairs(by_cell[cell], other, cpu)
            found = _ratio(pairs)
            if found is not None:
                yield Price(line, reference, clients, found)


def _middle_rate(cell: CellResult) -> float:
    return cell.middle(rate) or 0.0


def _pairs(one: CellResult, other: CellResult, figure: Figure) -> list[tuple[float, float]]:
    both = ((figure(a), figure(b)) for a, b in zip(one.rounds, other.rounds, strict=False))
    return [(a, b) for a, b in both if a and b]


def _ratio(pairs: Sequence[tuple[float, float]]) -> Ratio | None:
    if not pairs:
        return None
    ratios = sorted(a / b for a, b in pairs)
    beyond = _beyond(len(ratios))
    return Ratio(median(ratios), ratios[beyond], ratios[-1 - beyond], len(ratios))


def _beyond(count: int) -> int:
    """How many of so many ratios an interval leaves out at each end."""
    beyond, tail = 0, 1 + count
    while tail <= _TAIL * 2**count:
        beyond += 1
        tail += comb(count, beyond + 1)
    return beyond
