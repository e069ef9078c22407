"""A forked child of a test: it does one thing, and the two talk in plain values over a socket pair.

    with Child(lambda parent: parent.say(os.getpid())) as child:
        assert child.hear() == child.pid

It must not know what is tested. Whoever changes the signals, limits or user of a process does so in a child.
Invariants: nothing here waits longer than LIMIT; no child survives its ``with`` block; what a child raises fails the
test that hears it.
"""

import gc
import os
import pickle
import select
import signal
import socket
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

LIMIT = 30.0  # seconds; only a failure ever waits so long
NOBODY = 65534


class Link:
    """One end of the talk."""

    def __init__(self, end: socket.socket) -> None:
        end.settimeout(LIMIT)
        self.socket = end

    def fileno(self) -> int:
        return self.socket.fileno()

    def say(self, value: object = None) -> None:
        self.socket.send(pickle.dumps(value))

    def hear(self) -> Any:
        """The next value; EOFError where the other end is gone."""
        packet = self.socket.recv(1 << 17)
        if not packet:
            raise EOFError("the other end is gone")
        return pickle.loads(packet)


class Child:
    """A process that runs ``live`` and tells what it returned or raised.

    :param live: gets the child's end of the talk.
    """

    def __init__(self, live: Callable[[Link], object]) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = os.fork()
        if self.pid == 0:
            ours.close()
            _live(live, Link(theirs))
        theirs.close()
        self._link = Link(ours)
        self._pidfd = os.pidfd_open(self.pid)
        self._is_collected = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if not self._is_collected:
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            self.end()
        os.close(self._pidfd)
        self._link.socket.close()

    def fileno(self) -> int:
        return self._link.fileno()

    def say(self, value: object = None) -> None:
        self._link.say(value)

    def hear(self) -> Any:
        """The next value the child says, or at last returns."""
        is_well, value = self._link.hear()
        assert is_well, f"in the child: {value}"
        return value

    def send_signal(self, signum: signal.Signals) -> None:
        signal.pidfd_send_signal(self._pidfd, signum)

    def end(self) -> int:
        """Wait for its end: its exit code, or the negative number of the signal that killed it."""
        wait_readable(self._pidfd)
        self._is_collected = True
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def wait_asleep(self) -> None:
        """Until the kernel has put it to sleep, which it does where the child has nothing to do but wait."""

        def is_asleep() -> bool:
            condition = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
            assert condition != "Z", f"the child has ended: {self.hear()}"
            return condition == "S"

        wait_until(is_asleep)


class _Told(Link):
    """The child's end: what it says is marked as said in good health."""

    def say(self, value: object = None) -> None:
        super().say((True, value))


def _live(live: Callable[[Link], object], link: Link) -> None:
    code = 1
    try:
        told = _Told(link.socket)
        told.say(live(told))
        code = 0
    except BaseException:
        link.say((False, traceback.format_exc()))
    finally:
        os._exit(code)


def said_by(live: Callable[[Link], object]) -> Any:
    """What a child returns that needs no talk."""
    with Child(live) as child:
        return child.hear()


def become_nobody() -> None:
    """In a child of root: lose all privileges; others keep what they are."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


def is_readable(source: Any, limit: float = 0) -> bool:
    poll = select.poll()
    poll.register(source, select.POLLIN)
    return bool(poll.poll(limit * 1000))


def wait_readable(source: Any) -> None:
    assert is_readable(source, LIMIT), f"nothing came within {LIMIT} s"


def wait_until(is_true: Callable[[], bool]) -> None:
    """For facts of the kernel that no descriptor tells."""
    deadline = time.monotonic() + LIMIT
    while not is_true():
        assert time.monotonic() < deadline, f"not so within {LIMIT} s"
        os.sched_yield()


def descriptors() -> set[str]:
    """What this process holds open, as ``number target``. What is there later and not before has been gained.

    A target has the inode in it, so a gain is seen although its number was another's before. What is gone meanwhile
    says nothing: a thread that an earlier test left may only now close its own. What nobody can reach any more is
    closed first, for it goes whenever garbage is collected.
    """
    gc.collect()
    found = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{number} {os.readlink(f'/proc/self/fd/{number}')}")
        except FileNotFoundError:  # the one that listed them
            pass
    return found
