"""A listening socket that somebody else opened and many processes hold, as a server object sees it.

O_NONBLOCK and the address belong to all who hold the socket, so timeouts touch only Python's side, and binding or
listening again does nothing. It must not know who opened it, nor which server uses it.
Invariant: the kernel's socket is non-blocking before and after every call.
Read next: ``listening.py``, our servers on it; ``prefork/worker/adopting.py``, how it gets into anybody else's.
"""

import _socket
import errno
import os
import select
import socket
import time
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar
from weakref import WeakKeyDictionary

from prefork.system.bell import Bell

T = TypeVar("T")

SEND_LIMIT = 10.0  # seconds a datagram waits for room in the peer's queue, unless a timeout was set
FIRST_PAUSE, LONGEST_PAUSE = 0.001, 0.05  # seconds between two tries, doubled each time
WILDCARDS = frozenset({"", "0.0.0.0", "::"})

# plain numbers: the properties of socket.socket make an enum member each time, which costs more than accept4(2) does
_family = _socket.socket.__dict__["family"].__get__
_type = _socket.socket.__dict__["type"].__get__
_proto = _socket.socket.__dict__["proto"].__get__
_receive, _send = _socket.socket.recvfrom, _socket.socket.sendto  # super() costs a tenth of what they do


class InheritedSocket(socket.socket):
    """Getting a client from it never waits, for its worker was told that one is there.

    :cvar bell: where a server's own loop decides when to wait: what tells that the worker is stopping. While it is set,
        ``accept`` and ``recvfrom`` wait for a client as a blocking socket does, with the timeout that was set.
    """

    # its layout is that of socket.socket, so that an object of that class can become one of this: see inherit()
    __slots__ = ()
    bell: ClassVar[Bell | None] = None

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        _socket.socket.setblocking(
            self, False
        )  # on Python's side too, whatever setdefaulttimeout() the application chose

    def bind(self, address: Any, /) -> None:
        """Nothing, if it is the address it has."""
        if not is_same_address(address, self.getsockname()):
            super().bind(address)

    def listen(self, backlog: int = 0, /) -> None:
        """Nothing: whoever opened it chose the backlog."""

    def accept(self) -> tuple[socket.socket, Any]:
        """The connection, blocking as the standard library makes it, and its peer.

        :raises BlockingIOError: nobody is there.
        :raises TimeoutError: with ``bell``, nobody came in time.
        :raises ConnectionAbortedError: with ``bell``, the worker is stopping.
        """
        fd, address = self._accept() if self.bell is None else self._wait_for(self._accept)  # type: ignore[attr-defined]
        return socket.socket(_family(self), _type(self), _proto(self), fileno=fd), address

    def recvfrom(self, *arguments: Any) -> tuple[bytes, Any]:
        """As ``accept``, a datagram and its sender."""
        if self.bell is None:
            return _receive(self, *arguments)
        return self._wait_for(lambda: _receive(self, *arguments))

    def sendto(self, *arguments: Any) -> int:
        """Wait for room in the peer's queue instead of failing.

        :raises TimeoutError: the peer did not make room in time.
        """
        try:
            return _send(self, *arguments)
        except BlockingIOError:
            pass
        limit = _timeouts.get(self, SEND_LIMIT)
        deadline = None if limit is None else time.monotonic() + limit
        pause = FIRST_PAUSE
        while deadline is None or time.monotonic() < deadline:
            time.sleep(pause)  # poll(2) calls a Unix socket writable although its peer's queue is full
            pause = min(2 * pause, LONGEST_PAUSE)
            try:
                return _send(self, *arguments)
            except BlockingIOError:
                pass
        raise TimeoutError(errno.ETIMEDOUT, "the peer did not read its datagrams in time")

    def settimeout(self, value: float | None, /) -> None:
        _timeouts[self] = value

    def setblocking(self, flag: bool, /) -> None:
        _timeouts[self] = None if flag else 0.0

    def gettimeout(self) -> float | None:
        """What was set. ``None`` before, so that ``handle_request`` of the standard library waits and does not spin."""
        return _timeouts.get(self)

    def getblocking(self) -> bool:
        return self.gettimeout() != 0.0

    def _wait_for(self, get: Callable[[], T]) -> T:
        """What ``get`` gets, once somebody else is not faster."""
        timeout = self.gettimeout()
        deadline = None if timeout is None else time.monotonic() + timeout
        poll = select.poll()
        poll.register(self, select.POLLIN)
        if self.bell is not None:
            poll.register(self.bell, select.POLLIN)
        while True:
            try:
                return get()
            except BlockingIOError:
                if timeout == 0.0:
                    raise
            seconds = None if deadline is None else deadline - time.monotonic()
            if seconds is not None and seconds <= 0:
                raise TimeoutError(errno.ETIMEDOUT, "no client came in time")
            ready = poll.poll(None if seconds is None else seconds * 1000)
            if any(fd != self.fileno() for fd, _ in ready):
                raise ConnectionAbortedError(errno.ECONNABORTED, "the worker is stopping")


# what settimeout() was given: an object without slots of its own has no room for it
_timeouts: WeakKeyDictionary[InheritedSocket, float | None] = WeakKeyDictionary()


def inherit(listener: socket.socket) -> socket.socket:
    """The same object, from here on an ``InheritedSocket``; one of a foreign class keeps its class and never waits."""
    if type(listener) is socket.socket:
        listener.__class__ = InheritedSocket
    _socket.socket.setblocking(listener, False)
    return listener


def is_same_address(asked: Any, real: Any) -> bool:
    """Whether binding to ``asked`` means the address ``real``, as ``getsockname`` gave it."""
    if isinstance(asked, tuple) and isinstance(real, tuple):
        return asked[1:2] == real[1:2] and isinstance(asked[0], str) and _is_same_host(asked[0], real)
    if isinstance(asked, str | bytes) and isinstance(real, str | bytes):
        asked, real = os.fsencode(asked), os.fsencode(real)
        return asked == real or (b"\0" not in asked + real and os.path.abspath(asked) == os.path.abspath(real))
    return False


def _is_same_host(asked: str, real: tuple[Any, ...]) -> bool:
    host = real[0]
    if asked == host or (asked in WILDCARDS and host in WILDCARDS):
        return True
    try:
        return any(found[4][0] == host for found in socket.getaddrinfo(asked, real[1]))
    except (OSError, UnicodeError):  # a name that means nothing here
        return False
