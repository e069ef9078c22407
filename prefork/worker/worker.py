"""The worker: accept, handle, close; one request at a time, until it is told to leave.

It must not know other workers or how many there are. It leaves only at a safe point, between two requests, so never
with an accepted connection in hand.
Invariant: a connection this process accepted is handed to the handler before anything else is looked at.
Read next: ``wait.py``, where it waits; ``prefork/servers/base.py``, what it does with a request.
"""

import errno
import logging
import os
import select
import signal
import socket
import socketserver
import time
import traceback
from enum import Enum, auto
from types import FrameType
from typing import Any, NoReturn

from prefork.address import describe_peer
from prefork.servers.base import serve_one
from prefork.system import kick, lifeline, limits, processes, slots, stdio
from prefork.system.logfile import LogFile
from prefork.system.titles import set_title
from prefork.system.wakeup import Wakeup, forget_inherited_handlers
from prefork.worker import application
from prefork.worker.notices import Notices
from prefork.worker.protocol import READ_YOUR_ORDERS, Brief, Broken, Fork, Left, OrderCell, Ready, StateCell, Wake, tail
from prefork.worker.wait import PAUSE, Wait

_WARN_EVERY = 10.0  # seconds
_REMIND_EVERY = 100  # requests after which a worn-out worker says so again
ORPHAN_GRACE = 1.0  # seconds a mold leaves its workers beyond their own alarm
_HEARD = (signal.SIGTERM, signal.SIGUSR1, READ_YOUR_ORDERS)
# accept(2): errors of this machine or process; the client still waits, and somebody else may have room
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
# after shutdown(SHUT_RD) an empty Unix listener says EINVAL
_EMPTY = frozenset({errno.EAGAIN, errno.EINVAL})
_BROKEN = frozenset({errno.EBADF, errno.ENOTSOCK, errno.EOPNOTSUPP})

logger = logging.getLogger("prefork.worker")
now = time.monotonic


class Taken(Enum):
    """What came of trying a listener."""

    SERVED = auto()
    NOTHING = auto()  # somebody else was faster, or the queue is empty
    LOST = auto()  # the connection died before we had it
    EXHAUSTED = auto()  # no descriptor or memory for it: it waits on


def live(brief: Brief, order: Fork, handler: Any, log: LogFile) -> NoReturn:
    """The life of a worker from its fork to its end. All signals are blocked when it begins.

    :param handler: the request handler class, ``None`` where each worker loads the application itself.
    :param log: the mold's.
    """
    forget_inherited_handlers()
    wakeup = Wakeup(_HEARD)
    for signum in (signal.SIGINT, signal.SIGHUP):  # a terminal's
        signal.signal(signum, signal.SIG_IGN)
    os.setpgid(0, 0)
    signal.signal(signal.SIGIO, lambda signum, frame: _die_within(brief.drain))
    brief = brief._replace(lifeline=lifeline.arm(brief.lifeline))
    if lifeline.is_cut(brief.lifeline):  # before it was armed: no signal comes for that
        _die_within(brief.drain)
    limits.limit_descriptors(brief.descriptors)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())
    log.sign(f"{brief.label} worker {order.slot}")
    log.reopen()  # it may have been moved since the mold opened it
    Worker(brief, order, handler, log, wakeup).live()


def _die_within(seconds: float) -> None:
    """The master is gone: finish what is under way, or die of an alarm."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))  # 0 would disarm it


class Worker:
    """One worker process. See ``live``."""

    def __init__(self, brief: Brief, order: Fork, handler: Any, log: LogFile, wakeup: Wakeup) -> None:
        self._brief = brief
        self._order = order
        self._handler = handler
        self._log = log
        self._wakeup = wakeup
        self._who = f"worker {brief.label} {order.slot} g{brief.generation}"
        self._board = slots.Scoreboard(brief.scoreboard, brief.lanes)
        self._header = self._board.header
        slot = self._board.slot(order.slot)
        slot.take(order.order, StateCell.STARTING, os.getpid(), processes.started(os.getpid()))
        self._orders, self._totals, self._lane = slot.orders, slot.totals, slot.lanes[0]
        self._notices = Notices(brief.notices)
        self._served = 0
        self._warn_again_at = 0.0
        self._leaving = ""  # why, once it has decided to leave by itself

    def live(self) -> NoReturn:
        set_title(f"{self._who} starting")
        self._boot()
        self._serve()
        self._totals[slots.STATE] = StateCell.RETIRING
        set_title(f"{self._who} retiring")
        if self._leaving:
            self._notices.send(Left(self._order.slot, self._order.order, self._served, self._leaving))
        self._wait.leave()
        if self._orders[slots.PHASE] == OrderCell.DRAIN:
            self._drain()
        self._exit(0)

    def _boot(self) -> None:
        """Load and build the application. Told to leave meanwhile, the worker does so at once: it has no client yet."""
        signal.signal(READ_YOUR_ORDERS, self._leave_unless_wanted)
        self._leave_unless_wanted()
        os.environ["PREFORK_NAME"] = self._brief.instance
        os.environ["PREFORK_SLOT"] = str(self._order.slot)
        os.environ["PREFORK_GENERATION"] = str(self._brief.generation)
        try:
            if self._handler is None:
                self._handler = application.load(self._brief.target)
            self._listeners = [_listener(fd) for _, fd in self._brief.binds]
            servers = application.build(self._handler, self._listeners)
            self._listeners = [server.socket for server in servers]
            self._servers = dict(zip((fd for _, fd in self._brief.binds), servers, strict=True))
        except application.TargetError as error:
            self._break(str(error))
        except BaseException:
            self._break(traceback.format_exc())
        self._wait = Wait(
            self._listeners, self._brief.kick, self._wakeup, self._brief.lifeline, is_even=self._brief.balance == "even"
        )
        self._idle_title = f"{self._who} idle"
        set_title(self._idle_title)
        signal.signal(signal.SIGIO, self._outlive_master)
        # an order to leave that comes from here on is read between requests
        signal.signal(READ_YOUR_ORDERS, _heard)
        self._leave_unless_wanted()
        self._totals[slots.STATE] = StateCell.READY
        self._notices.send(Ready(self._order.slot, self._order.order))

    def _outlive_master(self, signum: int, frame: FrameType | None) -> None:
        """Finish what is under way, but listen no more meanwhile: the next master may want the address."""
        _die_within(self._brief.drain)
        self._wait.is_orphaned = True
        if self._lane.cells[slots.SINCE_NS]:  # else the loop is about to leave by itself
            for listener in self._listeners:
                if listener.type == socket.SOCK_STREAM:  # datagrams are answered through theirs
                    listener.close()

    def _leave_unless_wanted(self, signum: int = 0, frame: FrameType | None = None) -> None:
        """While booting: leave if told so; on the final stop only if no client waits, for nobody else may be there."""
        phase = self._orders[slots.PHASE]
        if phase == OrderCell.RETIRE or (phase == OrderCell.DRAIN and not self._has_waiting_clients()):
            self._exit(0)

    def _has_waiting_clients(self) -> bool:
        poll = select.poll()
        for _, fd in self._brief.binds:
            poll.register(fd, select.POLLIN)
        # a Unix listener that refuses is readable for ever, and says so by POLLHUP: there nobody can tell
        return any(event == select.POLLIN for _, event in poll.poll(0))

    def _break(self, why: str) -> NoReturn:
        self._notices.send(Broken(self._order.slot, self._order.order, tail(why)))
        self._exit(1)

    def _serve(self) -> None:
        while self._orders[slots.PHASE] == OrderCell.SERVE and not self._leaving:
            ready = self._wait.for_news()
            if self._wait.heard:
                self._hear()
                if self._orders[slots.PHASE] != OrderCell.SERVE or self._leaving:
                    return  # whoever was woken for these clients besides us is kicked
            if self._wait.is_orphaned:
                self._leaving = "the master is gone"
                return
            # the kernel may have woken us alone for clients of several listeners
            others_may_wait = len(ready) > 1 or self._wait.is_kicked
            for fd in ready:
                taken = self._take(self._servers[fd], others_may_wait)
                if taken is Taken.SERVED:
                    if not self._wait.is_orphaned:
                        self._wait.queue_up_again(fd)
                    break
                if taken is Taken.EXHAUSTED:
                    self._wait.pause()
                    kick.kick(self._brief.kick)
                    break

    def _hear(self) -> None:
        """What the signals ask for; READ_YOUR_ORDERS asks to look at the order cells, which the loop does."""
        heard, self._wait.heard = self._wait.heard, set()
        if signal.SIGUSR1 in heard:
            self._log.reopen()
        if signal.SIGTERM in heard:
            self._leaving = "it was sent SIGTERM"

    def _take(self, server: socketserver.BaseServer, others_may_wait: bool = False) -> Taken:
        """Accept one client, if one is there, and serve it.

        :param others_may_wait: clients may be left that nobody was woken for: let another worker see to them meanwhile.
        """
        try:
            request, client_address = server.get_request()
        except OSError as error:
            return self._not_taken(error)
        if others_may_wait:
            kick.kick(self._brief.kick)
        self._served += 1
        peer = describe_peer(client_address)
        self._lane.begin(self._served, time.monotonic_ns(), peer)
        if self._header[slots.ASLEEP]:
            self._notices.send(Wake())
        set_title(f"{self._who} busy {peer} #{self._served}")
        raised = serve_one(server, request, client_address)
        self._totals[slots.BUSY_NS] += time.monotonic_ns() - self._lane.cells[slots.SINCE_NS]
        self._totals[slots.REQUESTS] = self._served
        if raised is not None:
            self._totals[slots.ERRORS] += 1
            if isinstance(raised, MemoryError):
                self._leaving = "a handler ran out of memory"
        self._lane.clear()
        set_title(self._idle_title)
        worn_for = self._served - self._order.max_requests
        if self._order.max_requests and worn_for >= 0 and worn_for % _REMIND_EVERY == 0:
            self._notices.send(Wake())
        return Taken.SERVED

    def _not_taken(self, error: OSError) -> Taken:
        """An errno has an owner: nobody, the machine, the listener, or this one connection."""
        if error.errno in _EMPTY:
            return Taken.NOTHING
        if error.errno in _EXHAUSTED:
            if now() >= self._warn_again_at:
                logger.warning("cannot accept: %s; trying again every %g s", error.strerror, PAUSE)
                self._warn_again_at = now() + _WARN_EVERY
            return Taken.EXHAUSTED
        if error.errno in _BROKEN:
            raise error
        return Taken.LOST  # ECONNABORTED, EPROTO and what the network says of a connection dead on arrival

    def _drain(self) -> None:
        """The final stop: nothing new is admitted. Serve what is queued, and close each listener once it is empty."""
        while self._servers:
            for fd, server in list(self._servers.items()):
                taken = self._take(server)
                if taken is Taken.NOTHING:
                    server.server_close()
                    del self._servers[fd]
                elif taken is Taken.EXHAUSTED:
                    time.sleep(PAUSE)

    def _exit(self, code: int) -> NoReturn:
        """End at once: threads a handler left behind do not keep the process."""
        stdio.flush()
        os._exit(code)


def _listener(fd: int) -> socket.socket:
    """The inherited socket; non-blocking on Python's side too, whatever ``setdefaulttimeout`` the application chose."""
    listener = socket.socket(fileno=fd)
    listener.setblocking(False)
    return listener


def _heard(signum: int, frame: FrameType | None) -> None:
    """The interpreter has written the signal to the wakeup pipe, which is all there is to do."""
