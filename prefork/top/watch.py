"""A thread that asks the instance again and again, so that one that does not answer freezes no screen.

It must not know the terminal. Invariant: whatever goes wrong is news as well; it ends only with the process.
"""

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from prefork.control.client import Target, ask_status, connect, find
from prefork.errors import PreforkError
from prefork.system.usage import GLANCE, Census
from prefork.top.history import Seen


class Gone(NamedTuple):
    """The instance does not answer, and why."""

    why: str


def watch(target: Target, interval: float, post: Callable[[Seen | Gone | BaseException], None]) -> None:
    """Begin, an interval from now.

    :param interval: seconds from one report to the next.
    :param post: is called in the thread with each news.
    """
    threading.Thread(target=_watch, args=(target, interval, post), daemon=True).start()


def _watch(target: Target, interval: float, post: Callable[[Seen | Gone | BaseException], None]) -> None:
    try:
        census = Census()
        while True:
            time.sleep(interval)
            try:
                with connect(find(target.name, target.control), target.timeout) as connection:
                    while True:
                        begun = time.monotonic()
                        report = ask_status(connection).of(target.service)
                        at = time.monotonic()
                        post(Seen(report._replace(usage=census.look(report.pids, GLANCE)), at))
                        time.sleep(max(0.0, begun + interval - time.monotonic()))
            except (PreforkError, OSError) as error:
                post(Gone(str(error)))
    except BaseException as error:  # a fault of ours: who waits for us shall not wait for ever
        post(error)
