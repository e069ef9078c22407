"""Wakeup and poll: how a signal becomes a readable descriptor, and how one place waits for all of them.

A signal handler only wakes the loop; the loop then asks the kernel what is true. It must not know what a signal means.
Invariant: a signal that arrives before a wait ends that wait at once.
"""

import contextlib
import os
import select
import signal
from collections.abc import Hashable, Iterable
from types import FrameType


def _only_wake(signum: int, frame: FrameType | None) -> None:
    """The handler of every signal we hear: the interpreter has written its number to the wakeup pipe already."""


class Wakeup:
    """The pipe into which the interpreter writes the number of each signal that arrives.

    :param signals: those to hear from now on. Their handlers do nothing.
    """

    def __init__(self, signals: Iterable[signal.Signals]) -> None:
        self.reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        # a full pipe holds 65 536 wake-ups not yet read: one more would tell nothing new
        self._before = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        self._handlers = {signum: signal.signal(signum, _only_wake) for signum in signals}

    def fileno(self) -> int:
        return self.reader

    def read(self) -> set[int]:
        """The numbers of the signals that came since the last time, of those we hear.

        Into the pipe come also those that somebody else in this process handles. Whoever had a wakeup descriptor before
        gets all of them.
        """
        heard: set[int] = set()
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self.reader, 4096):
                heard.update(chunk)
                if self._before != -1:
                    with contextlib.suppress(OSError):  # full, or closed
                        os.write(self._before, chunk)
        return heard & self._handlers.keys()

    def close(self) -> None:
        """Put wakeup descriptor and handlers back as they were, but for a handler that somebody has set meanwhile."""
        for signum, handler in self._handlers.items():
            if signal.getsignal(signum) is _only_wake:
                signal.signal(signum, handler)
        signal.set_wakeup_fd(self._before)
        os.close(self.reader)
        os.close(self._writer)


def forget_inherited_handlers() -> None:
    """In a child: no signal writes into the parent's pipe, and what the parent handled does what it does by default.

    What is ignored stays so: the interpreter ignores SIGPIPE, and a client that hangs up must not kill anybody.
    """
    signal.set_wakeup_fd(-1)
    for signum in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        if callable(signal.getsignal(signum)):
            signal.signal(signum, signal.SIG_DFL)


LONGEST_WAIT = 86400.0  # seconds: epoll_wait(2) counts milliseconds in an int; who waits longer asks again


class Poller:
    """An epoll set whose members carry a key, so that the reader of news never handles bare numbers."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._keys: dict[int, Hashable] = {}

    def add(self, fd: int, key: Hashable) -> None:
        """:raises OSError: ENOSPC or ENOMEM where the kernel allows no more watches."""
        self._epoll.register(fd, select.EPOLLIN)
        self._keys[fd] = key

    def heed(self, fd: int, *, news: bool, room: bool) -> None:
        """Whether the key comes when there is something to read, and when there is room to write.

        When the other end is gone it comes in any case.
        """
        self._epoll.modify(fd, (select.EPOLLIN if news else 0) | (select.EPOLLOUT if room else 0))

    def remove(self, fd: int) -> None:
        if self._keys.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def close(self) -> None:
        self._epoll.close()
        self._keys.clear()

    def wait(self, seconds: float | None) -> list[Hashable]:
        """The keys of what is ready, at most ``seconds`` from now; ``None`` waits without limit."""
        ready = self._epoll.poll(None if seconds is None else min(max(0.0, seconds), LONGEST_WAIT))
        return [self._keys[fd] for fd, _ in ready if fd in self._keys]
