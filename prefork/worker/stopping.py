"""Stopping: the ``shutdown()`` of an application's own servers, called once, beside whatever they do at the moment.

Handlers of long requests poll what it sets, and a server's own loop ends by it. It must not know why the worker leaves.
Invariant: nothing here waits for the server, and nothing takes a lock: it may be called from a signal handler.
"""

import _thread
import logging
from collections.abc import Callable, Iterable
from typing import Any

from prefork.servers.traits import overrides, runs_its_own_loop
from prefork.system.logfile import Log

logger = logging.getLogger("prefork.worker")


class Stopping:
    """:param servers: only those are told that have a ``shutdown`` or a loop of their own.
    :param log: hears of what could not be told, past the application's handlers, which may hold locks.
    """

    def __init__(self, servers: Iterable[Any], log: Log) -> None:
        told = [s for s in servers if overrides(s, "shutdown") or runs_its_own_loop(s)]
        self._calls: list[Callable[[], None]] = [server.shutdown for server in told if hasattr(server, "shutdown")]
        self._log = log
        self._wake: Callable[[], None] | None = None
        self.has_begun = False

    def when_begun(self, wake: Callable[[], None]) -> None:
        """Call this as well, at once if it has begun already."""
        self._wake = wake
        if self.has_begun:
            wake()

    def begin(self) -> None:
        """Tell them, if they have not been told yet."""
        if self.has_begun:
            return
        self.has_begun = True
        calls, self._calls = self._calls, []
        for call in calls:
            try:
                _thread.start_new_thread(_call, (call,))  # threading would take its lock, which we may have interrupted
            except RuntimeError as error:  # no more threads; it must not hit the handler that we interrupted
                text = "shutdown was not called: %s; the worker leaves without it"
                self._log.warn("prefork.worker", text, error)
        if self._wake is not None:
            self._wake()


def _call(shutdown: Callable[[], None]) -> None:
    try:
        shutdown()
    except Exception:
        logger.exception("shutdown failed; the worker leaves without it")
