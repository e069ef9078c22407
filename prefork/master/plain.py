"""The plain path: a master inside somebody's program, for as long as that program serves.

The same loop, pool and rules as under ``prefork run``. There is no sub-reaper, no mold, no exec and no name; only
workers of ours are waited for; a signal is heard in the main thread only, and only where the program leaves it its
default action.
Invariant: however serving ends, the process then has the descriptors, children, signal handlers and wakeup descriptor
it had before.
Read next: ``forking.py``, how workers are forked here; ``prefork/preforking.py``, who calls.
"""

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from prefork.config.settings import Instance
from prefork.errors import Exit
from prefork.master.forking import ThisProcess
from prefork.master.hands import Child, Hands, Machine
from prefork.master.loop import Master
from prefork.system import lifeline, limits, processes, slots
from prefork.system.bell import Bell
from prefork.system.wakeup import Wakeup
from prefork.worker.protocol import READ_YOUR_ORDERS, Brief, Fork, OrderCell

_HEARD = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
now = time.monotonic


class Outcome(NamedTuple):
    """How serving ended.

    :param heard: the signals we heard meanwhile.
    :param why_failed: why the service was given up, if it was.
    """

    code: Exit
    heard: set[int]
    why_failed: str


def run(
    settings: Instance, hands: Hands, application: Any, bell: Bell, settle_in: Callable[[Brief, Fork], Brief]
) -> Outcome:
    """Serve with preforked workers until a signal, or the bell, ends it.

    :param hands: of the only service; closed when it returns.
    :param application: what ``prefork.worker.worker.live`` serves.
    :param bell: rung from any thread, or from a signal handler, it asks for a graceful stop.
    :param settle_in: called in each newborn worker; gives the brief as it holds there.
    :raises BaseException: whatever a signal handler of the program's raises; the workers are gone by then.
    """
    with contextlib.ExitStack() as undo:
        undo.callback(hands.close)
        reader, writer = lifeline.create()
        undo.callback(os.close, reader)
        molding = ThisProcess(application, settle_in)
        undo.callback(molding.close)
        descriptors = limits.raise_descriptors(0)  # raises nothing: the program's limit is its own
        machine = Machine(settings.name, reader, descriptors, molding, adopts=False)
        machine.on_close(os.close, writer)
        undo.callback(machine.close)
        machine.poller.add(bell.fileno(), bell)
        wakeup = _hear_signals()
        if wakeup is not None:
            machine.on_close(wakeup.close)
            machine.poller.add(wakeup.fileno(), wakeup)
        presence = _Presence(molding, machine, hands)
        _here.add(presence)
        undo.callback(_here.discard, presence)
        master = Master(settings, lambda: settings, machine, {hands.name: hands}, _keep_log)
        undo.callback(_end_workers, hands)  # of whom none is left, unless something was raised
        return Outcome(master.run(), master.heard, master.why_failed)


def _keep_log() -> None:
    """The log is the program's."""


def _hear_signals() -> Wakeup | None:
    """Hear what nobody in the program has a handler for; only the main thread can."""
    if threading.current_thread() is not threading.main_thread():
        return None
    free = [s for s in _HEARD if signal.getsignal(s) in (signal.SIG_DFL, signal.default_int_handler)]
    return Wakeup(free) if free else None


def _end_workers(hands: Hands) -> None:
    """A handler of the program's raised, so serving is over: workers get the quick limit, whatever the book says."""
    children = list(hands.children.values())
    try:
        for child in children:
            hands.line(child.slot).orders[slots.PHASE] = OrderCell.RETIRE
            processes.tell(child.pidfd, READ_YOUR_ORDERS)
        _wait_ended(children, hands.settings.quick_timeout)
    finally:
        for child in children:
            processes.tell(child.pidfd, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PIDFD, child.pidfd, os.WEXITED)
            hands.forget_child(child)


def _wait_ended(children: list[Child], seconds: float) -> None:
    deadline = now() + seconds
    poll = select.poll()
    left = {child.pidfd for child in children}
    for pidfd in left:
        poll.register(pidfd, select.POLLIN)
    while left and (rest := deadline - now()) > 0:
        for pidfd, _ in poll.poll(rest * 1000):
            poll.unregister(pidfd)
            left.discard(pidfd)


class _Presence:
    """What a process that the program forks for itself, while it serves, must not keep of ours.

    With the lifeline's writer it would keep our workers alive after us, and with our signal handlers it could be told
    nothing, while we would believe that we were.
    """

    def __init__(self, molding: ThisProcess, machine: Machine, hands: Hands) -> None:
        self._molding = molding
        self._machine = machine
        self._hands = hands

    def leave(self) -> None:
        if self._molding.is_forking():
            return
        for end in (self._machine.close, self._molding.close, self._hands.close):
            with contextlib.suppress(OSError, BufferError):
                end()


_here: set[_Presence] = set()


def _leave_all() -> None:
    for presence in _here:
        presence.leave()
    _here.clear()


os.register_at_fork(after_in_child=_leave_all)
