"""What the operator has chosen: a column, a worker, a question that waits for its answer, a text to read.

Keys change it, and some call for a command; pure, so that a test presses keys without a terminal. It must not know how
it is shown, nor how a command is carried out.
Invariant: nothing is recycled or paused that was not asked about, and an answer concerns just what the question said.
Read next: ``keys.py``, where keys come from; ``errands.py``, where commands go.
"""

from collections.abc import Sequence
from typing import NamedTuple

from prefork.control.messages import Dump, Pause, Recycle, Request, Resume, Scale, ServiceStatus
from prefork.top.rows import Row


class Errand(NamedTuple):
    """A command that was called for.

    :param title: what it is, as ``dump worker 3 of echo``.
    :param pid: of the worker it concerns, where it concerns one.
    """

    title: str
    request: Request
    pid: int | None = None


class Page(NamedTuple):
    """A text to read, in place of the table.

    :param offset: the number of the line that is shown first.
    """

    title: str
    text: tuple[str, ...]
    offset: int = 0


class Sight(NamedTuple):
    """What is on the screen when a key is pressed.

    :param rows: as they are sorted.
    :param columns: names of those that are shown.
    :param height: lines that a table or a page has.
    """

    services: Sequence[ServiceStatus] = ()
    rows: Sequence[Row] = ()
    columns: Sequence[str] = ()
    height: int = 1


class Dialog(NamedTuple):
    """:param by: the column that rows are sorted by.
    :param chosen: service and slot of the selected worker; ``None`` until somebody selects.
    :param question: what is done if it is answered by yes.
    :param note: the last news, until the next key.
    """

    by: str = "service"
    is_reversed: bool = False
    chosen: tuple[str, int] | None = None
    question: Errand | None = None
    page: Page | None = None
    is_help: bool = False
    note: str = ""
    is_over: bool = False

    def row(self, rows: Sequence[Row]) -> Row | None:
        """The selected one: who was chosen, or else another of that service, or the first of all."""
        if self.chosen is None:
            return rows[0] if rows else None
        of_service = [row for row in rows if row.service == self.chosen[0]]
        return next((row for row in of_service if row.key == self.chosen), of_service[0] if of_service else None)

    def service(self, sight: Sight) -> ServiceStatus | None:
        """The one of the selected worker."""
        row = self.row(sight.rows)
        name = row.service if row is not None else self.chosen[0] if self.chosen is not None else ""
        first = sight.services[0] if sight.services else None
        return next((service for service in sight.services if service.name == name), first)

    def tell(self, title: str, text: str, is_done: bool) -> "Dialog":
        """News of a command: a line is a note, and several are a page.

        :param is_done: so the text says what was done; else it says why not, and the title says what.
        """
        told = text.strip().splitlines()
        if len(told) > 1:
            return self._replace(page=Page(title, tuple(told)))
        return self._replace(note=text.strip() if is_done else f"{title}: {text.strip()}")


def press(dialog: Dialog, key: str, sight: Sight) -> tuple[Dialog, Errand | None]:
    """:returns: what is chosen now, and the command to carry out."""
    dialog = dialog._replace(note="")
    if dialog.question is not None:
        return _answer(dialog, dialog.question, key, sight)
    if dialog.page is not None:
        return _read(dialog, dialog.page, key, sight.height), None
    if dialog.is_help:
        return dialog._replace(is_help=False), None
    if key in _MOVES:
        return _move(dialog, key, sight), None
    if key in ("+", "-", "x", "X", "d", "p"):
        return _command(dialog, key, sight)
    return _set(dialog, key, sight), None


def _answer(dialog: Dialog, question: Errand, key: str, sight: Sight) -> tuple[Dialog, Errand | None]:
    dialog = dialog._replace(question=None)
    if key not in ("y", "Y"):
        return dialog._replace(note=f"{question.title}: not done"), None
    if question.pid is not None and question.pid not in {row.pid for row in sight.rows}:
        return dialog._replace(note=f"{question.title}: it has gone meanwhile"), None
    return dialog, question


def _read(dialog: Dialog, page: Page, key: str, height: int) -> Dialog:
    steps = {"up": -1, "down": 1, "page-up": -height, "page-down": height, " ": height}
    last = max(0, len(page.text) - height)
    if key in steps:
        return dialog._replace(page=page._replace(offset=min(last, max(0, page.offset + steps[key]))))
    if key in ("home", "end"):
        return dialog._replace(page=page._replace(offset=0 if key == "home" else last))
    return dialog._replace(page=None)


_MOVES = {"up", "down", "page-up", "page-down", "home", "end", "k", "j", "tab"}


def _move(dialog: Dialog, key: str, sight: Sight) -> Dialog:
    if key == "tab":
        names = [service.name for service in sight.services]
        here = dialog.service(sight)
        name = names[(names.index(here.name) + 1) % len(names)] if here is not None else ""
        first = next((row.key for row in sight.rows if row.service == name), (name, 0))
        return dialog._replace(chosen=first)
    row = dialog.row(sight.rows)
    if row is None:
        return dialog
    last = len(sight.rows) - 1
    at = sight.rows.index(row)
    to = {"up": at - 1, "k": at - 1, "down": at + 1, "j": at + 1, "home": 0, "end": last}
    to |= {"page-up": at - sight.height, "page-down": at + sight.height}
    return dialog._replace(chosen=sight.rows[min(last, max(0, to[key]))].key)


def _set(dialog: Dialog, key: str, sight: Sight) -> Dialog:
    match key:
        case "<" | ">" | "left" | "right" if sight.columns:
            step = 1 if key in (">", "right") else -1
            here = sight.columns.index(dialog.by) if dialog.by in sight.columns else 0
            return dialog._replace(by=sight.columns[(here + step) % len(sight.columns)], is_reversed=False)
        case "r":
            return dialog._replace(is_reversed=not dialog.is_reversed)
        case "?" | "h":
            return dialog._replace(is_help=True)
        case "q":
            return dialog._replace(is_over=True)
    return dialog


def _command(dialog: Dialog, key: str, sight: Sight) -> tuple[Dialog, Errand | None]:
    service = dialog.service(sight)
    if service is None:
        return dialog, None
    name = service.name
    match key:
        case "+" | "-":
            step = 1 if key == "+" else -1
            return dialog, Errand(f"scale {name} {step:+}", Scale(service=name, by=step))
        case "p" if service.is_paused:
            return dialog._replace(question=Errand(f"resume {name}", Resume(service=name))), None
        case "p":
            return dialog._replace(question=Errand(f"pause {name}, so that clients queue", Pause(service=name))), None
    row = dialog.row(sight.rows)
    if row is None or row.pid is None:
        return dialog._replace(note="no worker is selected" if row is None else "it is not born yet"), None
    who = f"worker {row.slot} [{row.pid}] of {name}"
    if key == "d":
        return dialog, Errand(f"dump {who}", Dump(service=name, who=row.slot), row.pid)
    request = Recycle(service=name, who=row.slot, now=key == "X", progress=True)
    title = f"recycle {who}" + (", and cut off what it is doing" if request.now else "")
    return dialog._replace(question=Errand(title, request, row.pid)), None
