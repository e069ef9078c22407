"""A comparison, as records: the same target in several modes, each cell measured in several rounds.

It must not know how a cell is measured (``rounds.py``), judged (``judging.py``) or printed.
Invariant: rounds are kept each by itself; what is said of a cell is computed from them.
"""

from collections.abc import Callable
from statistics import median

import msgspec

from prefork.lab.doubts import Doubt
from prefork.lab.load import Latencies


class Cell(msgspec.Struct, frozen=True, order=True):
    """What is measured: one way to run the target, under one load.

    :param line: a mode (``sync``, ``thread``, ``fork``, ``prefork``, ``hybrid``) under our master, or a reference:
        ``bare`` (a bare accept loop) or ``stdlib-sync``, ``stdlib-thread``, ``stdlib-fork`` (the standard library's).
    :param workers: processes.
    :param clients: requests at a time.
    """

    line: str
    workers: int
    clients: int

    @property
    def is_reference(self) -> bool:
        return self.line == "bare" or self.line.startswith("stdlib")


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """One round of a cell.

    :param rate: requests answered rightly, a second.
    :param latency: ``None`` where nothing was answered.
    :param errors: by kind, as in ``load.Result``.
    :param cpu_seconds: of the whole tree, a request.
    :param switches: context switches of the whole tree, a request; ``None`` where children took theirs with them.
    :param pss_bytes: of the whole tree, the most that was seen under the load.
    :param fairness: among workers, Jain's index of the requests each served: 1 is even, 1/N is one for all; ``None``
        where there is one worker, one was replaced meanwhile, or nobody counts.
    :param generator_share: the busiest generator's share of its CPU, 1 is all of it.
    """

    seconds: float
    requests: int
    rate: float
    latency: Latencies | None
    errors: dict[str, int]
    cpu_seconds: float
    switches: float | None
    pss_bytes: int
    fairness: float | None
    generator_share: float
    doubts: list[Doubt] = []


class CellResult(msgspec.Struct, frozen=True):
    """The rounds of a cell, in the order in which they were measured."""

    cell: Cell
    rounds: list[Measurement]

    def middle(self, figure: Callable[[Measurement], float | None]) -> float | None:
        """The median over the rounds that have the figure; ``None`` where none has it."""
        known = [value for value in map(figure, self.rounds) if value is not None]
        return median(known) if known else None

    @property
    def failed(self) -> int:
        return sum(sum(one.errors.values()) for one in self.rounds)


class Machine(msgspec.Struct, frozen=True):
    """Where it was measured: figures of another machine are other figures."""

    cpus: float
    model: str
    memory_bytes: int
    kernel: str
    python: str
    prefork: str


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """See above.

    :param title: the target, or the workload with its parameter.
    :param teaches: what one can learn of a built-in workload; empty for a target.
    :param made: when, ISO 8601, UTC.
    :param command: that does it again.
    :param left_out: cells that could not be measured, with the reason.
    """

    title: str
    teaches: str
    made: str
    command: str
    machine: Machine
    cells: list[CellResult]
    left_out: dict[str, str]
    doubts: list[Doubt]
