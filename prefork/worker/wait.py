"""The one place where a worker waits: for clients, kicks, signals and the end of the master.

An epoll set made after the fork, with every listener and the kick in it exclusively (``EPOLLEXCLUSIVE``: one idle
worker wakes for one client), the wakeup pipe of the signals and the lifeline. It must not know what is done with the
news.
Invariant: a worker that waits here wakes for nothing but news, and for what was asked to be done periodically.
Sources: epoll_ctl(2) on exclusive wake-ups; an exclusive entry cannot be modified, so pausing is removing.
"""

import select
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Protocol

from prefork.system import kick
from prefork.system.wakeup import Wakeup

_EXCLUSIVE = select.EPOLLIN | select.EPOLLEXCLUSIVE
PAUSE = 0.1  # seconds without accepting after the machine had no descriptor or memory for a client


class HasDescriptor(Protocol):
    def fileno(self) -> int: ...


class Wait:
    """:param listeners: to wait on.
    :param is_even: whether to queue up anew after each client, so that idle workers take turns.
    """

    def __init__(
        self, listeners: Iterable[HasDescriptor], kick_fd: int, wakeup: Wakeup, lifeline: int, *, is_even: bool
    ) -> None:
        self.heard: set[int] = set()
        self.is_orphaned = False
        self.is_kicked = False
        self._listening = {listener.fileno() for listener in listeners}
        self._kick = kick_fd
        self._wakeup = wakeup
        self._lifeline = lifeline
        self._is_even = is_even
        self._is_listening = False
        self.is_held = False
        self._paused_until: float | None = None
        self._news: dict[int, Callable[[], object]] = {}
        self._members = len(self._listening) + 3
        self._epoll = select.epoll()
        self._epoll.register(wakeup.fileno(), select.EPOLLIN)
        self._epoll.register(lifeline, select.EPOLLIN)
        self._listen()

    def watch(self, news: Mapping[int, Callable[[], object]]) -> None:
        """Wait for these descriptors as well, and do what is given when one is readable."""
        for fd in news:
            self._epoll.register(fd, select.EPOLLIN)
        self._members += len(news)
        self._news.update(news)

    def for_news(self, seconds: float | None = None) -> Collection[int]:
        """Wait, then say which listeners may have a client: those the kernel named, or after a kick all of them.

        Signals are collected in ``heard``; ``is_orphaned`` and ``is_kicked`` say what else this wait brought.

        :param seconds: at most so long; ``None`` without limit.
        """
        if self._paused_until is not None:
            pause = max(0.0, self._paused_until - time.monotonic())
            seconds = pause if seconds is None else min(seconds, pause)
        ready = self._epoll.poll(seconds, self._members)
        if len(ready) == 1 and (first := ready[0][0]) in self._listening:  # nearly always
            self.is_kicked = False
            return (first,)
        self.is_kicked = False
        news = {fd for fd, _ in ready}
        if self._wakeup.reader in news:
            self.heard |= self._wakeup.read()
        if self._lifeline in news:
            self.is_orphaned = True
        for fd in self._news.keys() & news:
            self._news[fd]()
        if not self._is_listening:
            if self._paused_until is not None and time.monotonic() >= self._paused_until:
                self._paused_until = None
                self.heed_clients(True)
            return set()
        if self._kick in news and kick.answer(self._kick):
            self.is_kicked = True
            return set(self._listening)
        return news & self._listening

    def queue_up_again(self, listener: int) -> None:
        """After a client, where the balance is even: go to the end of the line. DEL and ADD cost less than 1 µs."""
        if self._is_even and self._is_listening and listener in self._listening:
            self._epoll.unregister(listener)
            self._epoll.register(listener, _EXCLUSIVE)

    def pause(self) -> None:
        """Leave all listeners alone for a moment, so that an accept that cannot succeed does not spin."""
        self._ignore()
        self._paused_until = time.monotonic() + PAUSE

    def heed_clients(self, has_room: bool) -> None:
        """Leave all listeners alone while there is no room for a client; clients queue, or others take them."""
        is_heeding = has_room and not self.is_held
        if self._paused_until is None and is_heeding is not self._is_listening:
            if is_heeding:
                self._listen()
            else:
                self._ignore()
                kick.kick(self._kick)  # we may have been woken alone for one that we do not take now

    def hold(self, is_held: bool) -> None:
        """Leave all listeners alone until it is told otherwise; what is asked again is not done again."""
        if is_held is not self.is_held:
            self.is_held = is_held
            self.heed_clients(not is_held)

    def leave(self) -> None:
        """Take no more clients: out of every listener's line, and somebody else may take what we were woken for."""
        self._epoll.close()
        kick.kick(self._kick)

    def _listen(self) -> None:
        self._is_listening = True
        self._epoll.register(self._kick, _EXCLUSIVE)
        for fd in self._listening:
            self._epoll.register(fd, _EXCLUSIVE)

    def _ignore(self) -> None:
        if self._is_listening:
            self._is_listening = False
            for fd in self._listening:
                self._epoll.unregister(fd)
            self._epoll.unregister(self._kick)
