"""The table of workers: a row each, its columns, and how it is sorted.

It must not know the terminal, nor which row is selected.
Invariant: a table sorted by a column is sorted by what that column says, not by how it is written; who is equal stays
in the order of services and slots.
"""

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

from prefork.control.messages import ServiceStatus, WorkerStatus
from prefork.report.table import busy_so_far, now, state
from prefork.report.units import age, rate, share, size
from prefork.system.usage import Usage
from prefork.top.history import History, Pace, Seen


class Row(NamedTuple):
    """One worker, with what is known of it.

    :param running: seconds that its oldest request has been under way.
    :param now: what it is doing.
    """

    service: str
    slot: int
    pid: int | None
    gen: int
    state: str
    age: float | None
    requests: int
    errors: int
    rate: float | None
    busy: float | None
    cpu: float | None
    pss: int | None
    running: float | None
    now: str

    @property
    def key(self) -> tuple[str, int]:
        """Whose row it is."""
        return self.service, self.slot


class Column(NamedTuple):
    """:param order: what a row is sorted by; ``None`` is not known.
    :param is_text: stands to the left.
    :param is_descending: the most comes first, unless reversed.
    """

    name: str
    write: Callable[[Row], str]
    order: Callable[[Row], Any]
    is_text: bool = False
    is_descending: bool = True


def _number(name: str, write: Callable[[Any], str] = str) -> Column:
    field = attrgetter(name)
    return Column(name, lambda row: "-" if field(row) is None else write(field(row)), field)


def _ascending(column: Column) -> Column:
    return column._replace(is_descending=False)


COLUMNS = (
    Column("service", attrgetter("service"), attrgetter("key"), is_text=True, is_descending=False),
    _ascending(_number("slot")),
    _ascending(_number("pid")),
    _number("gen"),
    Column("state", attrgetter("state"), attrgetter("state"), is_text=True, is_descending=False),
    _number("age", lambda seconds: age(int(seconds))),
    _number("requests"),
    _number("errors"),
    _number("rate", rate),
    _number("busy", share),
    _number("cpu", share),
    _number("pss", size),
    Column("now", attrgetter("now"), attrgetter("running"), is_text=True),
)
_LEAST_TELLING = ("cpu", "requests", "age", "gen", "errors", "pss", "rate")
ROOM_FOR_NOW = 36  # characters: how long, a peer with its port, its number, a word of a label
GAP = 2  # between columns
COLUMN = {column.name: column for column in COLUMNS}


def rows(history: History) -> list[Row]:
    """Of all services, in their order and that of slots."""
    seen = history.last
    if seen is None:
        return []
    return [
        _row(service, worker, seen, history.paces)
        for service in seen.report.snapshot.services
        for worker in seen.report.workers[service.name]
    ]


def _row(service: ServiceStatus, worker: WorkerStatus, seen: Seen, paces: Mapping[int, Pace]) -> Row:
    usage: Usage | None = seen.report.usage.get(worker.pid or 0)
    pace = paces.get(worker.pid or 0)
    if pace is not None:
        busy: float | None = min(1.0, pace.busy / service.at_once)
    else:  # one report: of its whole life
        busy = min(1.0, busy_so_far(worker) / worker.age_seconds / service.at_once) if worker.age_seconds else None
    return Row(
        service=service.name,
        slot=worker.slot,
        pid=worker.pid,
        gen=worker.generation,
        state=state(worker),
        age=worker.age_seconds,
        requests=worker.requests,
        errors=worker.errors,
        rate=None if pace is None else pace.rate,
        busy=busy,
        cpu=None if pace is None else pace.cpu,
        pss=None if usage is None else usage.pss,
        running=max((request.age_seconds for request in worker.current), default=None),
        now=now(worker),
    )


def ordered(table: Sequence[Row], by: str, is_reversed: bool) -> list[Row]:
    """Sorted by a column; rows of which it is not known come last.

    :param by: its name.
    """
    column = COLUMN[by]
    known = [row for row in table if column.order(row) is not None]
    unknown = [row for row in table if column.order(row) is None]
    return sorted(known, key=column.order, reverse=column.is_descending != is_reversed) + unknown


def columns_of(table: Sequence[Row], width: int) -> list[Column]:
    """All that tell rows apart: not a service or generation that all have, nor what nobody has.

    Where there is no room for what workers are doing, the least telling go.

    :param width: of the screen.
    """
    hidden = {name for name in ("service", "gen") if len({COLUMN[name].write(row) for row in table}) < 2}
    hidden |= {name for name in ("cpu", "pss") if all(COLUMN[name].order(row) is None for row in table)}
    shown = [column for column in COLUMNS if column.name not in hidden]
    for name in _LEAST_TELLING:
        if sum(map(_width_of(table), shown[:-1])) + ROOM_FOR_NOW <= width:
            break
        shown = [column for column in shown if column.name != name]
    return shown


def _width_of(table: Sequence[Row]) -> Callable[[Column], int]:
    return lambda column: GAP + max(len(column.name), *(len(column.write(row)) for row in table), 0)


def cells(table: Sequence[Row], columns: Sequence[Column]) -> list[list[str]]:
    """Written and aligned, with a head."""
    written = [[column.name for column in columns], *([column.write(row) for column in columns] for row in table)]
    widths = [max(map(len, column)) for column in zip(*written, strict=True)]
    return [
        [
            text.ljust(width) if column.is_text else text.rjust(width)
            for column, text, width in zip(columns, line, widths, strict=True)
        ]
        for line in written
    ]
