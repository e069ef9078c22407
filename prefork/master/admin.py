"""The admin process as its master sees it: started, started anew when it ends, and ended last but one.

It reads what strangers send, so it is a program of its own that may only look: it is heard as a client of the control
server whose requests for anything else are refused. It must not know what it serves.
Invariant: whatever becomes of the admin process, the master neither waits for it nor fails.
Read next: ``prefork/admin/__main__.py``, the other side.
"""

import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Collection, Hashable
from typing import Protocol

from msgspec import Struct

import prefork
from prefork.control import brief
from prefork.control.brief import Brief
from prefork.control.server import Client
from prefork.master.hands import Machine
from prefork.pool import backoff
from prefork.report.status import AdminView
from prefork.system import processes
from prefork.system.sockets import Listener

now = time.monotonic

PROVEN = 10.0  # seconds, after which an end is the first of its row
MERCY = 1.0  # seconds after a kill in which the kernel has to report the end
NOBODY = (0, -1)


class Desk(Protocol):
    """Where the admin process is heard, and what becomes of it is told."""

    def admit_onlooker(self, connection: socket.socket) -> Client | None:
        """:returns: ``None`` where it cannot be heard; the connection is closed then."""

    def say(self, level: int, event: str, text: str) -> None: ...


class Process(Struct, eq=False):
    """:param client: by which it hears what happens, once it asks; ``None`` where the image before us has started it.
    :param heard_at: as the client's, before it has asked.
    """

    pid: int
    pidfd: int
    started_at: float
    client: Client | None = None
    heard_at: int = -1
    killed_at: float | None = None

    @property
    def has_asked(self) -> bool:
        """Whether it is up, and hears signals."""
        return self.client is not None and self.client.heard_at != self.heard_at


class Admin:
    """:param listener: closed by whoever opened it.
    :ivar restarts: how often it ended and was started anew.
    """

    def __init__(self, listener: Listener, machine: Machine, restarts: int = 0) -> None:
        self.listener = listener
        self.restarts = restarts
        self._machine = machine
        self._process: Process | None = None
        self._failures = 0  # in a row
        self._due: float | None = now()  # when the next is to be started, while there is none
        self._owes_reopening = False

    @property
    def process(self) -> tuple[int, int]:
        """Its pid and its pidfd; ``NOBODY`` where it does not run."""
        return NOBODY if self._process is None else (self._process.pid, self._process.pidfd)

    @property
    def is_over(self) -> bool:
        """Whether it has ended, or was killed and cannot be waited for any longer."""
        process = self._process
        return process is None or (process.killed_at is not None and now() >= process.killed_at + MERCY)

    @property
    def until(self) -> float | None:
        """When to look without news."""
        if self._process is None:
            return self._due
        if self._process.killed_at is None or self.is_over:
            return None
        return self._process.killed_at + MERCY

    def view(self) -> AdminView:
        return AdminView(str(self.listener.address), self.process[0], self.restarts)

    def send_away(self, pid: int, pidfd: int) -> None:
        """The image before us has started this one: ours follows when it has gone."""
        self._process = Process(pid, pidfd, now())
        self._heed(self._process)
        self._kill(self._process)

    def go_on(self, keys: Collection[Hashable], desk: Desk, *, is_last: bool) -> None:
        """Start it, or start it anew, when that is due; or end it.

        :param keys: what the wait brought.
        :param is_last: nobody else is left.
        """
        if self._process is not None and self._process in keys:
            self._reap(self._process, desk)
        if is_last:
            self._due = None
            if self._process is not None and self._process.killed_at is None:
                self._kill(self._process)
        elif self._process is None and self._due is not None and now() >= self._due:
            self._start(desk)
        if self._owes_reopening and self._process is not None and self._process.has_asked:
            self._owes_reopening = False
            processes.tell(self._process.pidfd, signal.SIGUSR1)

    def reopen_log(self) -> None:
        """Let it open its log anew, as soon as it hears signals."""
        self._owes_reopening = self._process is not None

    def _start(self, desk: Desk) -> None:
        with contextlib.ExitStack() as always:
            try:
                self._process = self._spawn(desk, always)
            except OSError as error:
                what = f"admin: its process cannot be started: {error.strerror or error}"
                desk.say(logging.WARNING, "admin-not-started", f"{what}; {self._wait()}")
                return
        if self._process.client is None:
            what = "admin: nobody can hear its process, which is not started any more; restart for it"
            desk.say(logging.ERROR, "admin-not-started", what)
            self._due = None
            self._kill(self._process)
        else:
            desk.say(logging.INFO, "admin-started", f"admin: process {self._process.pid} serves")

    def _spawn(self, desk: Desk, always: contextlib.ExitStack) -> Process:
        """:raises OSError: EAGAIN, EMFILE and the like."""
        with contextlib.ExitStack() as on_error:
            ours: list[socket.socket] = []
            theirs: list[socket.socket] = []
            for _ in range(2):
                for end, ends, stack in zip(socket.socketpair(), (ours, theirs), (on_error, always), strict=True):
                    ends.append(end)
                    stack.callback(end.close)
            machine = self._machine
            asks, hears = theirs
            told = Brief(
                instance=machine.instance,
                listener=self.listener.socket.fileno(),
                lifeline=machine.lifeline,
                asks=asks.fileno(),
                hears=hears.fileno(),
                log_file=machine.logs.file,
                log_feed=machine.logs.feed,
                log_level=machine.logs.level,
                log_form=machine.logs.form,
                log_to=machine.logs.to,
                log_syslog=machine.logs.syslog,
                log_facility=machine.logs.facility,
            )
            keep = [told.listener, told.lifeline, told.asks, told.hears]
            keep += [told.log_feed] if told.log_feed != -1 else []
            argv = [sys.executable, *_isolation(), "-m", "prefork.admin", brief.write(told)]
            reserved = os.dup(asks.fileno())  # for the pidfd: a process that could not be watched must not be started
            try:
                pid = processes.spawn(argv, os.environ, keep)
            finally:
                os.close(reserved)
            pidfd = processes.open_pidfd(pid)
            assert pidfd is not None, "an uncollected child has a pidfd"
            on_error.pop_all()
        process = Process(pid, pidfd, now())
        self._heed(process)
        _, process.client = (desk.admit_onlooker(end) for end in ours)
        process.heard_at = -1 if process.client is None else process.client.heard_at
        return process

    def _heed(self, process: Process) -> None:
        self._machine.helpers.add(process.pid)
        self._machine.poller.add(process.pidfd, process)

    def _reap(self, process: Process, desk: Desk) -> None:
        ended = processes.reap(process.pidfd)
        if ended is None:
            return
        ended = self._machine.oom_kills.explain(ended)
        self._machine.poller.remove(process.pidfd)
        self._machine.helpers.discard(process.pid)
        os.close(process.pidfd)
        self._process = None
        if process.killed_at is not None:
            return
        if now() >= process.started_at + PROVEN:
            self._failures = 0
        self.restarts += 1
        desk.say(logging.WARNING, "admin-exited", f"admin: process {process.pid} {ended}; {self._wait()}")

    def _wait(self) -> str:
        """One more has failed.

        :returns: when the next is started.
        """
        self._failures += 1
        wait = backoff.delay(self._failures)
        self._due = now() + wait
        return f"the next is started in {wait:.2g} s" if wait else "the next is started at once"

    def _kill(self, process: Process) -> None:
        """It has nothing to finish, and must not be asked: it may be stopped."""
        process.killed_at = now()
        processes.tell(process.pidfd, signal.SIGKILL)


def _isolation() -> list[str]:
    """What lies in the working directory is imported only where we are."""
    home = os.path.dirname(os.path.dirname(os.path.abspath(prefork.__file__)))
    return [] if home == os.getcwd() else ["-P"]
