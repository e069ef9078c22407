"""The loop of ``prefork top``: wait for keys, signals and news, and draw what is known now.

It is the only place that waits; threads and signals only wake it. It must not know what an instance is.
Invariant: whatever ends it, an exception and a signal too, the terminal has been put back by then.
Read next: ``dialog.py``, what keys do; ``picture.py``, what is drawn.
"""

import contextlib
import os
import queue
import select
import signal
import socket
import time
from collections.abc import Iterator

from rich.text import Text

from prefork.control.client import Target
from prefork.control.report import Report
from prefork.top.dialog import Dialog, Sight, press
from prefork.top.errands import Ended, UnderWay, send
from prefork.top.history import History, Seen
from prefork.top.keys import Keys
from prefork.top.picture import Shown, draw
from prefork.top.screen import Screen
from prefork.top.watch import Gone, watch

_ENDING = (signal.SIGTERM, signal.SIGHUP)
_HANDLED = (*_ENDING, signal.SIGINT, signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH)
_STALE = 3.0  # seconds beyond an interval after which what is shown is called old

News = Seen | Gone | BaseException | UnderWay | Ended


class Top:
    """:param first: a report, with which it begins.
    :param interval: seconds from one report to the next.
    """

    def __init__(self, screen: Screen, target: Target, interval: float, first: Report) -> None:
        self._screen = screen
        self._target = target
        self._interval = interval
        self._history = History()
        self._history.add(first, time.monotonic())
        self._dialog = Dialog()
        self._sight = Sight()
        self._gone = ""
        self._under_way: dict[str, str] = {}  # by the titles of commands, how far they are
        self._keys = Keys()
        self._news: queue.SimpleQueue[News] = queue.SimpleQueue()
        self._bell, self._button = socket.socketpair()
        self._button.setblocking(False)
        self._bell.setblocking(False)
        self._ended_by: int | None = None

    def run(self) -> int | None:
        """Until somebody quits.

        :returns: the signal that ended it, if one did.
        """
        with _signals_to(self._button), self._screen:
            watch(self._target, self._interval, self._post)
            while not self._dialog.is_over:
                self._screen.show(self._look())
                self._wait()
        return self._ended_by

    def _post(self, news: News) -> None:
        self._news.put(news)
        with contextlib.suppress(BlockingIOError):  # it is awake
            self._button.send(b"\0")

    def _look(self) -> list[Text]:
        at = time.monotonic()
        last = self._history.last
        gone = self._gone
        if not gone and last is not None and at - last.at > self._interval + _STALE:
            gone = "it does not answer"
        under_way = [text or title for title, text in self._under_way.items()]
        lines, self._sight = draw(Shown(self._history, self._dialog, gone, under_way, at), *self._screen.size)
        return lines

    def _wait(self) -> None:
        ready, _, _ = select.select([self._screen.fileno(), self._bell.fileno()], [], [], self._interval)
        if self._bell.fileno() in ready:
            for number in self._bell.recv(4096):
                self._obey(number)
            while not self._news.empty():
                self._learn(self._news.get())
        if self._screen.fileno() in ready:
            typed = self._screen.read()
            if not typed:  # the terminal is gone
                self._dialog = self._dialog._replace(is_over=True)
            for number, key in enumerate(self._keys.read(typed)):
                if number:  # it finds what the one before it has changed
                    self._look()
                self._press(key)

    def _obey(self, number: int) -> None:
        if number == signal.SIGTSTP:
            self._screen.leave()
            signal.signal(signal.SIGTSTP, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTSTP)  # and here we are stopped
            signal.signal(signal.SIGTSTP, _only_wake)
            self._screen.enter()
        elif number == signal.SIGCONT:
            self._screen.enter()  # whoever had the terminal meanwhile may have changed it
        elif number == signal.SIGINT:
            self._dialog = self._dialog._replace(is_over=True)
        elif number in _ENDING:
            self._ended_by = number
            self._dialog = self._dialog._replace(is_over=True)

    def _press(self, key: str) -> None:
        self._dialog, errand = press(self._dialog, key, self._sight)
        if errand is not None:
            self._under_way[errand.title] = ""
            send(errand, self._target, self._post)

    def _learn(self, news: News) -> None:
        match news:
            case Seen(report=report, at=at):
                self._history.add(report, at)
                self._gone = ""
            case Gone(why=why):
                self._gone = why
            case UnderWay(errand=errand, text=text):
                self._under_way[errand.title] = text
            case Ended(errand=errand, text=text, is_done=is_done):
                self._under_way.pop(errand.title, None)
                self._dialog = self._dialog.tell(errand.title, text, is_done)
            case BaseException():
                raise news


def _only_wake(number: int, frame: object) -> None:
    """The number comes through the descriptor."""


@contextlib.contextmanager
def _signals_to(button: socket.socket) -> Iterator[None]:
    descriptor = signal.set_wakeup_fd(button.fileno(), warn_on_full_buffer=False)
    handlers = {number: signal.signal(number, _only_wake) for number in _HANDLED}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(descriptor)
