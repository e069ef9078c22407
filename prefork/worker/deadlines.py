"""Deadlines: a request that has taken too long is interrupted, by ``RequestTimeout`` raised in its handler.

The master writes the number of the newest request that is overdue into a cell and signals; the handler of that signal,
in the main thread, ends up here. It raises where the main thread handles the request itself, throws the exception into
the thread that does, or passes the signal on to the child. It must not know clocks: when a request is overdue the
master decides. Nothing here takes a lock, for the handler may have interrupted whoever holds it.
Invariant: a request is interrupted at most once, never before its handler was called nor after it has returned, and
nobody else is.
Read next: ``serve_one`` in ``prefork/servers/base.py``, which arms and disarms; ``interrupt_stuck`` in
``prefork/pool/limits.py``, who asks.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from prefork.errors import RequestTimeout
from prefork.servers.base import Deadline
from prefork.system import slots, threads
from prefork.system.slots import Lane
from prefork.worker.ledger import Ledger

_A_MOMENT = 0.001  # seconds
# modules in which nobody is interrupted: between a handler and its accounts; and where a lock of all would stay locked
_SPARED = ("prefork.worker.", "prefork.system.", "prefork.servers.base.", "logging.")


class Deadlines:
    """Of all requests of this process.

    :param limit: seconds, as the log says it.
    :param retires: whether the worker leaves once one of its handlers was interrupted, wherever that was.
    """

    def __init__(self, ledger: Ledger, limit: float, *, retires: bool) -> None:
        self._ledger = ledger
        self._limit = limit
        self._retires = retires
        self.in_main_thread = InMainThread(self)
        self.in_threads: set[InThread] = set()  # that are armed
        self.tell_children: Callable[[int], object] | None = None  # gets what ``strike`` reads

    def of(self, lane: Lane, request: Any) -> Deadline:
        """Of the request in ``lane``, which the calling thread is about to handle."""
        number = lane.cells[slots.NUMBER]
        if threading.current_thread() is threading.main_thread():
            self.in_main_thread.number = number
            return self.in_main_thread
        return InThread(self, number, request)

    def strike(self, frame: FrameType | None) -> None:
        """Interrupt what is overdue, as far as that can be now; the master asks again.

        :param frame: what the main thread was doing.
        :raises RequestTimeout: its request is overdue.
        """
        overdue = self._ledger.overdue
        for deadline in list(self.in_threads):
            deadline.strike(overdue)
        if self.tell_children is not None:
            self.tell_children(overdue)
        self.in_main_thread.strike(overdue, frame)  # last, for it may raise

    def strike_child(self, frame: FrameType | None) -> None:
        """The same, in a child that handles one request and nothing else."""
        self.in_main_thread.strike(self._ledger.overdue, frame)

    def tell(self, number: int) -> str:
        """What is said of a request that is interrupted now."""
        if self._retires:
            self._ledger.leave_in_peace(f"a request exceeded its limit of {self._limit:g} s")
        for request in self._ledger.requests_under_way():
            if request.number == number:
                age = time.monotonic() - request.since
                return f"{request.peer} #{number} is interrupted after {age:.1f} s; its limit is {self._limit:g} s"
        return f"#{number} is interrupted; its limit is {self._limit:g} s"


class InMainThread(Deadline):
    """Of the one request that the main thread handles, if it does: the handler of the signal runs in there as well.

    :ivar number: of the request to be armed next.
    """

    def __init__(self, deadlines: Deadlines) -> None:
        self._deadlines = deadlines
        self._armed = 0
        self.number = 0

    def arm(self) -> None:
        self._armed = self.number

    def disarm(self) -> None:
        self._armed = 0

    def strike(self, overdue: int, frame: FrameType | None) -> None:
        """:raises RequestTimeout: so it is, and the main thread is not in the midst of what must be whole."""
        number = self._armed
        if 0 < number <= overdue and frame is not None and not _is_spared(frame):
            self._armed = 0
            raise RequestTimeout(self._deadlines.tell(number))


class InThread(Deadline):
    """Of one request that a thread other than the main one handles.

    There is one claim to take: by the thread when its handler has ended, and then nobody interrupts it any more; or by
    whoever interrupts it, and then the thread goes on only when it has met the exception. Taking it is one step of the
    interpreter.
    """

    def __init__(self, deadlines: Deadlines, number: int, request: Any) -> None:
        self._deadlines = deadlines
        self._number = number
        self._request = request
        self._thread = threading.get_ident()
        self._claim = [True]
        self._is_struck = False
        self._is_over = False

    def arm(self) -> None:
        self._deadlines.in_threads.add(self)

    def disarm(self) -> None:
        if self._is_over:
            return
        if not _is_taken(self._claim):
            while not self._is_struck:
                time.sleep(_A_MOMENT)
            time.sleep(0)  # the interpreter looks for what it has to raise when a call has returned, and here is one
        self._is_over = True
        self._deadlines.in_threads.discard(self)

    def strike(self, overdue: int) -> None:
        if self._number > overdue or not _is_taken(self._claim):
            return
        try:
            threads.raise_in(self._thread, _saying(self._deadlines.tell(self._number)))
            if isinstance(self._request, socket.socket):
                with contextlib.suppress(OSError):  # the client is gone, or the handler has closed it
                    socket.socket.shutdown(self._request, socket.SHUT_RDWR)  # else who waits for the client waits on
        finally:
            self._is_struck = True


def _is_taken(claim: list[bool]) -> bool:
    """Take it. Whether it was there."""
    try:
        return claim.pop()
    except IndexError:
        return False


def _saying(text: str) -> type[RequestTimeout]:
    """The class, for one time: its instance is made by the interpreter, which gives it nothing to say."""

    def __init__(self: RequestTimeout) -> None:  # noqa: N807  the name it will have
        BaseException.__init__(self, text)

    return type("RequestTimeout", (RequestTimeout,), {"__init__": __init__, "__module__": RequestTimeout.__module__})


def _is_spared(frame: FrameType) -> bool:
    return f"{frame.f_globals.get('__name__')}.".startswith(_SPARED)
