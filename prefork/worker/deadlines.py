"""Deadlines: a request that has taken too long is interrupted, by ``RequestTimeout`` raised in its handler.

The master writes the number of the newest request that is overdue into a cell and signals; the handler of that signal,
in the main thread, ends up here. It must not know clocks: when a request is overdue the master decides.
Invariant: a request is interrupted at most once, never before its handler was called nor after it has returned, and
nobody else is.
Read next: ``serve_one`` in ``prefork/servers/base.py``, which arms and disarms; ``interrupt_stuck`` in
``prefork/pool/rules.py``, who asks.
"""

from time import monotonic
from types import FrameType

from prefork.errors import RequestTimeout
from prefork.servers.base import Deadline
from prefork.worker.ledger import Ledger

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

    def strike(self, frame: FrameType | None) -> None:
        """Interrupt what is overdue, as far as that can be now; the master asks again.

        :param frame: what the main thread was doing.
        :raises RequestTimeout: its request is overdue.
        """
        self.in_main_thread.strike(self._ledger.overdue, frame)

    def tell(self, number: int) -> str:
        """What is said of a request that is interrupted now."""
        if self._retires:
            self._ledger.leave_in_peace(f"a request exceeded its limit of {self._limit:g} s")
        for request in self._ledger.requests_under_way():
            if request.number == number:
                age = monotonic() - request.since
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


def _is_spared(frame: FrameType) -> bool:
    return f"{frame.f_globals.get('__name__')}.".startswith(_SPARED)
