"""Rounds: each cell of a comparison is measured once a round, in an order drawn anew, so that what changes with time
on the machine changes for all of them.

A cell is started, warmed up, loaded, read from outside and stopped, each time. It must not know how the load is sent
(``generators.py``), nor judge or print what it finds.
Invariant: a cell that cannot be measured is left out with its reason, and costs the others nothing; whenever it is
stopped, what was measured until then is a comparison.
Read next: ``subjects.py``, what is started; ``meter.py``, what is read.
"""

import random
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

import msgspec
from msgspec.structs import replace

from prefork.errors import CommandError, TargetError
from prefork.lab import generators, judging
from prefork.lab.comparison import Cell, CellResult, Comparison, Measurement
from prefork.lab.load import Load
from prefork.lab.machine import this_machine
from prefork.lab.meter import Meter, Reading, Window, jain
from prefork.lab.subjects import DEFAULT_BIND, ONE_PROCESS, OURS, Subject, UnfitError

OVERHEAD = 1.0  # seconds a cell takes beside its load: to start and stop it, and the generators


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is compared, and how.

    :param load: what is sent; address, clients, duration, warm-up and seed are said here.
    :param workers: of lines that have as many as they are told; ``clients`` of all.
    :param duration: seconds that a cell is measured in a round; ``warm_up`` before that.
    :param seed: of the order, and of what is random in the load.
    :param threads: and all that follows as of ``Subject.start``.
    :param title: and ``teaches`` and ``command`` as of ``Comparison``.
    """

    title: str
    teaches: str = ""
    command: str
    target: str
    load: Load
    lines: tuple[str, ...]
    workers: tuple[int, ...]
    clients: tuple[int, ...]
    rounds: int
    duration: float
    warm_up: float
    seed: int = 1
    bind: str = DEFAULT_BIND
    handler: str = ""
    threads: int | None = None
    children: int | None = None
    chdir: str = ""
    pythonpath: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()

    @property
    def cells(self) -> list[Cell]:
        return [
            Cell(line, workers, clients)
            for line in self.lines
            for workers in ((1,) if line in ONE_PROCESS else self.workers)
            for clients in self.clients
        ]

    @property
    def seconds(self) -> float:
        """What it takes, roughly."""
        return len(self.cells) * self.rounds * (self.duration + self.warm_up + OVERHEAD)

    def order(self, number: int) -> list[Cell]:
        """The cells in their order in the round of that number."""
        cells = self.cells
        random.Random(f"{self.seed}/{number}").shuffle(cells)
        return cells


class Rounds:
    """See the module.

    :param watch: told of each cell before it is measured, and in which round, from 1 on.
    :param after_round: told that a round is over, to save what there is.
    """

    def __init__(
        self,
        plan: Plan,
        watch: Callable[[int, Cell], object] = lambda *_: None,
        after_round: Callable[[Comparison], object] = lambda _: None,
    ) -> None:
        self._plan = plan
        self._watch = watch
        self._after_round = after_round
        self._made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._machine = this_machine()
        self._found: dict[Cell, list[Measurement]] = {cell: [] for cell in plan.cells}
        self._left_out: dict[str, str] = {}
        self._unfit: set[str] = set()  # lines
        self._failed: set[Cell] = set()

    def comparison(self) -> Comparison:
        """Of what was measured so far."""
        cells = [CellResult(cell, list(rounds)) for cell, rounds in self._found.items() if rounds]
        return Comparison(
            title=self._plan.title,
            teaches=self._plan.teaches,
            made=self._made,
            command=self._plan.command,
            machine=self._machine,
            cells=cells,
            left_out=dict(self._left_out),
            doubts=judging.doubts(cells, self._machine.cpus),
        )

    def run(self) -> Comparison:
        """Measure all of it.

        :raises TargetError: the target cannot be loaded under our master.
        :raises UsageError: an argument or the load is wrong.
        :raises BindError: the address cannot be had.
        :raises CommandError: no cell could be measured.
        """
        for number in range(1, self._plan.rounds + 1):
            for cell in self._plan.order(number):
                self._watch(number, cell)
                if cell.line not in self._unfit and cell not in self._failed:
                    self._measure(cell)
            self._after_round(self.comparison())
        if not any(self._found.values()):
            where, why = next(iter(self._left_out.items()))
            raise CommandError(f"nothing could be measured; {where}: {why}")
        return self.comparison()

    def _measure(self, cell: Cell) -> None:
        try:
            self._found[cell].append(measure(self._plan, cell))
        except UnfitError as error:
            self._unfit.add(cell.line)
            self._left_out[cell.line] = str(error)
        except (TargetError, CommandError) as error:
            if isinstance(error, TargetError) and cell.line in OURS:
                raise
            self._failed.add(cell)
            self._left_out[shown(cell)] = str(error)


def shown(cell: Cell) -> str:
    """``prefork, 4 workers, 8 clients``."""
    return f"{cell.line}, {_many(cell.workers, 'worker')}, {_many(cell.clients, 'client')}"


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def measure(plan: Plan, cell: Cell) -> Measurement:
    """One round of a cell.

    :raises CommandError: it did not start, or answered nothing.
    :raises TargetError: and others as of ``Subject.start``.
    """
    with Subject.start(
        cell.line,
        plan.target,
        cell.workers,
        bind=plan.bind,
        handler=plan.handler,
        threads=plan.threads,
        children=plan.children,
        chdir=plan.chdir,
        pythonpath=plan.pythonpath,
        extra=plan.extra,
    ) as subject:
        load = replace(
            plan.load,
            url=subject.url,
            clients=cell.clients,
            processes=min(plan.load.processes, cell.clients),
            duration=plan.duration,
            warm_up=plan.warm_up,
            seed=plan.seed,
        )
        measurement = _load(subject, load)
        return replace(measurement, doubts=[*measurement.doubts, *subject.stop()])


def _load(subject: Subject, load: Load) -> Measurement:
    """What it uses is read from the beginning to the end of the measured time, and so are its requests, which go on
    before it; so of each as much is in it that began before as is not that ended after.

    :raises CommandError: nothing was answered.
    """
    meter = Meter(subject.pid)
    counts: list[Mapping[int, int] | None] = []

    def look_and_ask() -> Reading:
        reading = meter.reading()
        counts.append(_served(subject))
        return reading

    with Window((look_and_ask, meter.reading, look_and_ask), load.duration) as window:
        result, _ = generators.run(load, begun=window.begin)
        first, *_, last = readings = window.readings()
    if not result.requests:
        raise CommandError(f"nothing was answered: {result.first_error or 'no reply came'}")
    if not last.processes:
        raise CommandError("the service ended under the load; run it by prefork run, load it, and look why")
    use = last.since(first)
    requests = (result.requests + result.failed) / result.seconds * use.seconds
    return Measurement(
        seconds=result.seconds,
        requests=result.requests,
        rate=result.rate,
        latency=result.latency,
        errors=result.errors,
        cpu_seconds=use.cpu_seconds / requests,
        switches=None if use.switches is None else use.switches / requests,
        pss_bytes=max(reading.pss_bytes for reading in readings),
        fairness=fairness(*counts),
        generator_share=max((one.cpu_seconds / one.seconds for one in result.generators if one.seconds), default=0.0),
        doubts=result.doubts,
    )


def _served(subject: Subject) -> Mapping[int, int] | None:
    with suppress(CommandError):  # the load was too much for it, which its figures show
        return subject.served()
    return None


def fairness(before: Mapping[int, int] | None, after: Mapping[int, int] | None) -> float | None:
    """Among workers, of what each had served before and after; ``None`` where one came or went meanwhile, too."""
    if before is None or after is None or before.keys() != after.keys():
        return None
    return jain([after[worker] - count for worker, count in before.items()])
