"""The watcher: what is known of the master, asked for only while somebody wants to know it, at most once a second.

One thread asks, and waits for the answer as long as it takes, so that question and answer never get out of step;
whoever wants the answer waits no longer than he likes. Another thread hears what happens. It must not know HTTP.
Invariant: without anybody who wants to know, and without news, no thread of it wakes.
Read next: ``pages.py`` and ``feed.py``, who want to know.
"""

import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import cached_property

import msgspec

from prefork.control.client import Connection, ConnectionEnded, ask_status
from prefork.control.messages import Events, Told
from prefork.control.report import Report
from prefork.errors import CommandError
from prefork.system.logs import heed_level, number_of
from prefork.system.usage import Census

logger = logging.getLogger("prefork.admin")

INTERVAL = 1.0  # seconds between two questions
PATIENCE = 2.0  # seconds, after which a master does not answer
WEIGHED_EVERY = 10.0  # seconds for which a figure of memory is not looked up anew
WEIGHING = 0.05  # seconds that looking may take at a time
REMEMBERED = 100  # things that happened
MORE_THREADS = "raise `ulimit -u`, or pids.max of its control group (TasksMax= of its unit)"


class SilentError(Exception):
    """The master does not answer."""


class Seen:
    """One answer of the master.

    :param number: higher than that of the answer before.
    :param at: when it had come, on the monotonic clock.
    """

    def __init__(self, number: int, report: Report, at: float, weigh: Callable[[Report], Report]) -> None:
        self.number = number
        self.report = report
        self.at = at
        self._weigh = weigh

    @cached_property
    def weighed(self) -> Report:
        """With what its processes use."""
        return self._weigh(self.report)

    @cached_property
    def plain(self) -> bytes:
        """As JSON, as ``prefork status --json`` prints it, in one line."""
        return msgspec.json.encode(self.weighed.as_plain())


class Watcher:
    """:param asks: a connection to the master; ``hears``: another.
    :param leave: called when the master is gone, or has dropped us, or there is no thread to ask it in.
    """

    def __init__(self, asks: Connection, hears: Connection, leave: Callable[[], None]) -> None:
        self._asks = asks
        self._hears = hears
        self._leave = leave
        self._census = Census(fresh=WEIGHED_EVERY)
        self._weighing = threading.Lock()
        self._changed = threading.Condition()  # guards what follows
        self._is_wanted = False
        self._seen: Seen | None = None
        self._told: deque[tuple[int, Told]] = deque(maxlen=REMEMBERED)
        self._told_last = 0

    def start(self) -> None:
        try:
            for work in (self._ask, self._hear):
                threading.Thread(target=work, name=work.__name__.strip("_"), daemon=True).start()
        except RuntimeError as error:  # what threading says for want of threads
            logger.error("no thread to ask the master in: %s; this process ends, no other; %s", error, MORE_THREADS)
            self._leave()

    def look(self) -> Seen:
        """What the master says, or has said within the last second.

        :raises SilentError: it says nothing.
        """
        with self._changed:
            seen = self._seen
            if seen is not None and time.monotonic() < seen.at + INTERVAL:
                return seen
        return self.look_again(0 if seen is None else seen.number)

    def look_again(self, after: int, patience: float = PATIENCE) -> Seen:
        """A later answer than the one of that number.

        :raises SilentError: none came in time.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._has_seen(after), self._want(patience)):
                raise SilentError(f"the master has not answered for {patience:g} s")
            assert self._seen is not None, "it has been waited for"
            return self._seen

    def wait_news(self, after: int, told_after: int, patience: float) -> tuple[Seen | None, list[tuple[int, Told]]]:
        """The next answer of the master, or what has happened meanwhile, whatever comes first.

        :param after: the number of the last answer known; ``told_after``: of the last thing that happened.
        :param patience: seconds, after which there is none of both.
        """
        with self._changed:
            seconds = self._want(patience)
            self._changed.wait_for(lambda: self._has_seen(after) or self._told_last > told_after, seconds)
            seen = self._seen if self._has_seen(after) else None
            return seen, [(number, told) for number, told in self._told if number > told_after]

    def _want(self, patience: float) -> float:
        self._is_wanted = True
        self._changed.notify_all()
        return patience

    def _has_seen(self, after: int) -> bool:
        return self._seen is not None and self._seen.number > after

    def _ask(self) -> None:
        try:
            for number in itertools.count(1):
                self._wait_wanted()
                report = ask_status(self._asks)
                if report.snapshot.log_level:  # an operator may have changed it
                    heed_level(number_of(report.snapshot.log_level))
                with self._changed:
                    self._is_wanted = False
                    self._seen = Seen(number, report, time.monotonic(), self._weigh)
                    self._changed.notify_all()
        except CommandError as error:
            logger.info("it cannot be told how the master is, so this process ends: %s", error)
        except Exception:
            logger.exception("internal error, and this process ends; please report it")
        self._leave()

    def _wait_wanted(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._is_wanted)
            if self._seen is not None:  # whoever else wants to know by then gets the same answer
                due = self._seen.at + INTERVAL
                self._changed.wait_for(lambda: time.monotonic() >= due, max(0.0, due - time.monotonic()))

    def _hear(self) -> None:
        try:
            for reply in self._hears.ask(Events(last=REMEMBERED)):
                if isinstance(reply, Told):
                    with self._changed:
                        self._told_last += 1
                        self._told.append((self._told_last, reply))
                        self._changed.notify_all()
        except ConnectionEnded:
            self._leave()
        except CommandError as error:
            logger.warning("it cannot be told what happens: %s", error)

    def _weigh(self, report: Report) -> Report:
        with self._weighing:
            return report._replace(usage=self._census.look(report.pids, seconds=WEIGHING))
