"""Who looks at a running instance for a window of time: a report every second or so, by its control socket.

It must not know what is made of the looks. Invariant: what is handed over is of one instance, and all its services are
in every look; where that changed meanwhile the window was begun anew, and says so.
Read next: ``live.py``, what a window tells.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

from prefork.control.client import ConnectionEnded, Target, ask_status, connect, find
from prefork.control.report import Report
from prefork.errors import CommandError, NoInstanceError
from prefork.lab.live import Look, is_anew
from prefork.system.usage import Census

LOOK = 1.0  # seconds from one to the next; shorter only in a window that would have few
_WEIGHING = 0.5  # seconds that weighing all processes may take, at both ends
_MOST_BEGINNINGS = 5


class Watched(NamedTuple):
    """:param notes: what a reader has to know of how it was watched, in sentences."""

    looks: list[Look]
    notes: list[str]


def services(target: Target) -> list[str]:
    """Those that would be watched.

    :raises CommandError: as of ``watch``.
    """
    with connect(find(target.name, target.control), target.timeout) as connection:
        return list(ask_status(connection).of(target.service).workers)


def watch(target: Target, seconds: float, looked: Callable[[float], None], stop: Callable[[], bool]) -> Watched:
    """Look until the window is over, or somebody stops it.

    :param seconds: of the window.
    :param looked: is told of each look how far the window is, from 0 to 1.
    :raises CommandError: the instance refuses, does not answer, or begins anew again and again.
    """
    interval = min(LOOK, seconds / 20)
    looks: list[Look] = []
    notes: list[str] = []
    census = Census()
    name = target.name
    for _ in range(_MOST_BEGINNINGS):
        try:
            with connect(find(name, target.control), target.timeout) as connection:
                while True:
                    begun = time.monotonic()
                    report = ask_status(connection).of(target.service)
                    at = time.monotonic()
                    name = report.snapshot.name if target.control is None else name
                    if looks and (note := _why_anew(looks[-1].report, report)):
                        looks, notes = [], [*notes, note]
                    is_end = bool(looks) and (at - looks[0].at >= seconds or stop())
                    if not looks or is_end:
                        report = report._replace(usage=census.look(report.pids, _WEIGHING))
                    looks.append(Look(report, at))
                    looked(min(1.0, (at - looks[0].at) / seconds))
                    if is_end:
                        return Watched(looks, notes)
                    time.sleep(max(0.0, begun + interval - time.monotonic()))
        except (ConnectionEnded, NoInstanceError):
            if not looks:
                raise
            time.sleep(interval)  # a restart takes a moment
    raise CommandError(
        f"{name or target.control}: ended or began anew {_MOST_BEGINNINGS} times; watch it once it stays"
    )


def _why_anew(before: Report, after: Report) -> str:
    """Why no window can hold both; empty where one can."""
    if is_anew(before, after):
        return "the instance began anew, and so did the window"
    if before.workers.keys() != after.workers.keys():
        return "services came or went, so the window began anew"
    return ""
