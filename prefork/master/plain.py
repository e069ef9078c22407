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
from collections.abc import Callable, Hashable, Iterator
from typing import Any, NamedTuple

from prefork.config.instance import Instance
from prefork.errors import Exit
from prefork.master.forking import ThisProcess
from prefork.master.hands import Child, Hands, Machine
from prefork.master.loop import Master
from prefork.master.operators import Operators
from prefork.system import lifeline, limits, processes, slots
from prefork.system.bell import Bell
from prefork.system.wakeup import Poller, Wakeup
from prefork.worker.protocol import READ_YOUR_ORDERS, Brief, Fork, OrderCell

_HEARD = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCONT)
now = time.monotonic


class Outcome(NamedTuple):
    """How serving ended.

    :param heard: the signals we heard meanwhile.
    :param why_failed: why the service was given up, if it was.
    :param has_kept_door: whether listeners that were lent still admit clients.
    """

    code: Exit
    heard: set[int]
    why_failed: str
    has_kept_door: bool


@contextlib.contextmanager
def undisturbed() -> Iterator[set[int]]:
    """Let no signal arrive, so that no handler of the program's can raise between two steps of ours.

    :returns: the signals blocked before; ``run`` lets all others arrive where it waits, and nowhere else.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield {int(signum) for signum in before}
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def run(
    settings: Instance,
    hands: Hands,
    application: Any,
    bell: Bell,
    settle_in: Callable[[Brief, Fork], Brief],
    blocked: set[int],
) -> Outcome:
    """Serve with preforked workers until a signal, or the bell, ends it.

    :param hands: of the only service; closed when it returns.
    :param application: what ``prefork.worker.worker.live`` serves.
    :param bell: rung from any thread, or from a signal handler, it asks for a graceful stop.
    :param settle_in: called in each newborn worker; gives the brief as it holds there.
    :param blocked: see ``undisturbed``, inside which it is to be called.
    :raises BaseException: whatever a signal handler of the program's raises; the workers are gone by then.
    """
    with contextlib.ExitStack() as undo:
        undo.callback(hands.close)
        molding = ThisProcess(application, settle_in)
        undo.callback(molding.close)
        machine = _become_master(settings.name, hands, molding, blocked, undo)
        machine.poller.add(bell.fileno(), bell)
        master = Master(settings, lambda: settings, machine, {hands.name: hands}, Operators("", None))
        undo.callback(_end_workers, hands, blocked)  # of whom none is left, unless something was raised
        return Outcome(master.run(), master.heard, master.why_failed, master.has_kept_door)


def _become_master(
    name: str, hands: Hands, molding: ThisProcess, blocked: set[int], undo: contextlib.ExitStack
) -> Machine:
    """Take what a process that the program forks must not keep, while nobody can fork. It is given back likewise."""
    with _no_forks:
        reader, writer = lifeline.create()
        undo.callback(os.close, reader)
        descriptors = limits.raise_descriptors(0)  # raises nothing: the program's limit is its own
        machine = Machine(name, reader, descriptors, molding, adopts=False, poller=_Poller(blocked))
        machine.on_close(os.close, writer)
        presence = _Presence(molding, machine, hands)
        _here.add(presence)
        undo.callback(_cease, presence)
        if threading.current_thread() is threading.main_thread():  # no other can hear
            wakeup = Wakeup(_free_signals())
            machine.on_close(wakeup.close)
            machine.poller.add(wakeup.fileno(), wakeup)
        return machine


def _free_signals() -> list[signal.Signals]:
    """What nobody in the program handles. What somebody does wakes us too, so that the handler runs at once."""
    return [signum for signum in _HEARD if signal.getsignal(signum) in (signal.SIG_DFL, signal.default_int_handler)]


class _Poller(Poller):
    """Signals arrive while it waits, and only then."""

    def __init__(self, blocked: set[int]) -> None:
        super().__init__()
        self._blocked = blocked

    def wait(self, seconds: float | None) -> list[Hashable]:
        with _disturbed(self._blocked):
            return super().wait(seconds)


@contextlib.contextmanager
def _disturbed(blocked: set[int]) -> Iterator[None]:
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)  # what waits arrives here, and its handler may raise
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


def _end_workers(hands: Hands, blocked: set[int]) -> None:
    """A handler of the program's raised, so serving is over: workers get the quick limit, whatever the book says."""
    children = list(hands.children.values())
    try:
        for child in children:
            hands.line(child.slot).orders[slots.PHASE] = OrderCell.RETIRE
            processes.tell(child.pidfd, READ_YOUR_ORDERS)
        if children:
            with _disturbed(blocked):  # one more handler that raises, and they are killed at once
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
        self.machine = machine
        self._hands = hands

    def leave(self) -> None:
        if self._molding.is_forking():
            return
        for end in (self.machine.close, self._molding.close, self._hands.close):
            with contextlib.suppress(OSError, BufferError):
                end()


_here: set[_Presence] = set()
_no_forks = threading.RLock()  # held, no other thread of the program can fork


def _cease(presence: _Presence) -> None:
    with _no_forks:
        presence.machine.close()
        _here.discard(presence)


def _leave_all() -> None:
    _no_forks.release()
    for presence in _here:
        presence.leave()
    _here.clear()


os.register_at_fork(before=_no_forks.acquire, after_in_parent=_no_forks.release, after_in_child=_leave_all)
