"""What is on the screen, as lines: the instance, its services with their sparklines, the table of workers, the keys.

Pure: what was seen and what is chosen go in, lines of at most so many columns come out. It must not know the terminal.
Invariant: as many lines as the screen has, none of them wider, and nothing in them that steers a terminal.
Read next: ``rows.py``, the table; ``screen.py``, where the lines go.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.text import Text

from prefork.control.messages import ServiceStatus
from prefork.control.report import Report
from prefork.report import table
from prefork.report.units import age, latency, plain, rate, share
from prefork.top.dialog import Dialog, Errand, Page, Sight
from prefork.top.history import History, Moment
from prefork.top.rows import Row, cells, columns_of, ordered, rows
from prefork.top.sparkline import sparkline

LEAST_WIDTH, LEAST_HEIGHT = 40, 8
_HINT = "q quit  ? help  ↑↓ select  <> sort  r reverse  x recycle  d dump  +- scale  p pause"
_STATES = {"idle": "dim", "busy": "green", "starting": "cyan", "retiring": "yellow", "expelled": "red", "killed": "red"}
_PHASES = {"healthy": "green", "failed": "bold red", "degraded": "bold red"}
_HELP = Page(
    "what the keys do",
    (
        "↑ ↓ j k       select a worker; PgUp, PgDn, Home and End too",
        "Tab           go on to the next service",
        "< > ← →       sort by another column",
        "r             reverse the order",
        "x             recycle the selected worker: a successor is ready first, what it does is finished",
        "X             the same, and what it is doing is cut off",
        "d             dump the selected worker: where its threads are",
        "+ -           one worker more, or less, in the service of the selected one",
        "p             pause that service, so that clients queue; or resume it",
        "q ^C          quit",
        "",
        "Figures are of the last ten seconds, a stroke of a sparkline is one interval.",
        "rate, busy and cpu of a worker are of the last interval; pss is its share of the memory.",
        "A narrow terminal leaves columns out.",
    ),
)


class Shown(NamedTuple):
    """Everything there is to show.

    :param gone: why the instance does not answer; empty as long as it does.
    :param under_way: titles of commands, or how far they are.
    :param at: now, on the monotonic clock.
    """

    history: History
    dialog: Dialog
    gone: str
    under_way: Sequence[str]
    at: float


def draw(shown: Shown, width: int, height: int) -> tuple[list[Text], Sight]:
    """:returns: the lines, and what a key finds when it is pressed at them."""
    if width < LEAST_WIDTH or height < LEAST_HEIGHT:
        text = f"{width} by {height} is too small; {LEAST_WIDTH} by {LEAST_HEIGHT} will do"
        return _fitted([Text(text), Text("q quits")], width, height), Sight(height=height)
    report = None if shown.history.last is None else shown.history.last.report
    if report is None:
        return _fitted([Text(shown.gone or "asking the instance")], width, height), Sight(height=height)
    services = report.snapshot.services
    all_rows = rows(shown.history)
    columns = columns_of(all_rows, width)
    dialog = shown.dialog
    page = _HELP if dialog.is_help else dialog.page
    top = [_headline(report, shown)]
    if page is None:
        sight = Sight(services, ordered(all_rows, dialog.by, dialog.is_reversed), [column.name for column in columns])
        here = dialog.service(sight)
        top += _headers(shown.history, services, here.name if here is not None else "", width, height - 10)
    top.append(Text())
    room = height - len(top) - 3  # a head above, the news and the keys below
    if page is None:
        sight = sight._replace(height=room)
        body = _table(dialog, sight, cells(sight.rows, columns), room)
    else:
        sight = Sight(services, all_rows, [column.name for column in columns], room)
        body = [Text(page.title, "bold"), *(Text(plain(line)) for line in page.text[page.offset :][:room])]
    body += [Text()] * (room + 1 - len(body))
    return _fitted([*top, *body, _news(shown), _hint(page)], width, height), sight


def _fitted(lines: Sequence[Text], width: int, height: int) -> list[Text]:
    fitted = [line.copy() for line in lines[:height]]
    for line in fitted:
        line.truncate(width, overflow="ellipsis")
    return fitted + [Text()] * (height - len(fitted))


def _headline(report: Report, shown: Shown) -> Text:
    snapshot = report.snapshot
    if shown.gone:
        assert shown.history.last is not None
        ago = age(int(shown.at - shown.history.last.at))
        return Text(plain(f"{snapshot.name} [{snapshot.pid}], as it was {ago} ago: {shown.gone}"), "bold red")
    memory = "" if report.memory_bytes is None else table.memory(report, shown.at)
    return Text(plain(f"{table.instance(snapshot)}  {memory}".rstrip()), "bold")


def _headers(history: History, services: Sequence[ServiceStatus], here: str, width: int, room: int) -> list[Text]:
    """Of all services, as much as there is room for."""
    for detail in (2, 1, 0):
        found = [line for service in services for line in _header(history, service, here, width, detail)]
        if len(found) <= room:
            break
    return found[: max(1, room)]


def _header(history: History, service: ServiceStatus, here: str, width: int, detail: int) -> Iterator[Text]:
    mark = "▸ " if service.name == here else "  "
    first = Text.assemble(mark, (plain(service.name), "bold"), "  ")
    phase = table.phase(service)
    style = "bold yellow" if service.is_paused else _PHASES.get(service.phase, "yellow")
    yield first.append(phase, style).append(f"; {table.staff(service)}")
    if detail >= 1:
        recent = history.lately(service)
        waiting = [f"queue {sum(queue.waiting for queue in service.queues)}"] if service.queues else []
        parts = [*table.saturation(service), *waiting, *([] if recent is None else [table.pace(recent)])]
        yield Text(f"  {plain('; '.join(parts))}", "bold" if service.all_busy_seconds is not None else "")
        for trouble in table.troubles(service):
            yield Text(f"  {plain(trouble)}", "red")
    if detail >= 2:
        yield from _sparklines(history.moments(service.name), width)


def _sparklines(moments: Sequence[Moment], width: int) -> Iterator[Text]:
    last = moments[-1] if moments else None
    rates = ("rate", [m.rate for m in moments], None, "-" if last is None else rate(last.rate))
    p99s = ("p99", [m.p99 for m in moments], None, latency(None if last is None else last.p99))
    queues = ("queue", [float(m.waiting) for m in moments], None, "-" if last is None else str(last.waiting))
    busy = ("busy", [m.busy for m in moments], 1.0, "-" if last is None or last.busy is None else share(last.busy))
    each = (width - 4) // 2 - 16
    for pair in ((rates, p99s), (queues, busy)):
        line = Text(" ")
        for name, values, top, now in pair:
            line.append(f" {name:<5} ", "dim").append(sparkline(values, each, top), "cyan").append(f" {now:<8}")
        yield line


def _table(dialog: Dialog, sight: Sight, written: list[list[str]], room: int) -> list[Text]:
    by = "slot" if dialog.by == "service" and "service" not in sight.columns else dialog.by
    head = Text("  ")
    for name, text in zip(sight.columns, written[0], strict=True):
        head.append(text, "bold underline" if name == by else "bold").append("  ")
    head.rstrip()
    selected = dialog.row(sight.rows)
    at = sight.rows.index(selected) if selected is not None else 0
    first = max(0, min(at - room // 2, len(sight.rows) - room))
    shown = zip(sight.rows[first : first + room], written[1 + first :], strict=False)
    lines = [_line(row, text, row is selected) for row, text in shown]
    return [head, *(lines or [Text("  no worker yet", "dim")])]


def _line(row: Row, text: Sequence[str], is_selected: bool) -> Text:
    style = _STATES.get(row.state.partition(" ")[0], "")
    mark = Text("▸ " if is_selected else "  ", f"{style} reverse" if is_selected else style)
    return mark.append(plain("  ".join(text).rstrip()))


def _news(shown: Shown) -> Text:
    question: Errand | None = shown.dialog.question
    if question is not None:
        return Text(f"{plain(question.title)}? y/n", "bold yellow")
    if shown.dialog.note:
        return Text(plain(shown.dialog.note), "bold")
    return Text(plain("; ".join(f"{text} …" for text in shown.under_way)))


def _hint(page: Page | None) -> Text:
    return Text(_HINT if page is None else "↑↓ PgUp PgDn scroll, any other key returns", "dim")
