"""The worker: take a client, let it be handled, take the next, until it is told to leave.

It must not know other workers or how many there are. It leaves only at a safe point, when nothing that it has accepted
is left to do.
Invariant: a connection this process accepted is handed to its server before anything else is looked at.
Read next: ``wait.py``, where it waits; ``concurrency.py``, how a request is handled; ``own_loop.py``, servers that know
better.
"""

import logging
import os
import select
import signal
import socket
import time
from enum import Enum, auto
from types import FrameType
from typing import Any, NoReturn

from prefork.errors import NotLoadedError
from prefork.servers.traits import concurrency_of, overrides, runs_its_own_loop
from prefork.system import kick, lifeline, limits, stdio
from prefork.system.accepting import Owner, owner
from prefork.system.logfile import Log
from prefork.system.logs import heed_level
from prefork.system.sparing import Sparing
from prefork.system.wakeup import Wakeup, forget_inherited_handlers
from prefork.worker import application, capture, hooks, privileges, promotion
from prefork.worker.application import Application
from prefork.worker.badge import Badge
from prefork.worker.concurrency import AsItsServerSays, Children, Concurrency, Sync, Threads
from prefork.worker.deadlines import Deadlines
from prefork.worker.ledger import Ledger, SharedLedger
from prefork.worker.logs import WorkerLogs
from prefork.worker.notices import Notices
from prefork.worker.own_loop import OwnLoop
from prefork.worker.promotion import Promotion
from prefork.worker.protocol import (
    DUMP_STACKS,
    READ_YOUR_ORDERS,
    Brief,
    Broken,
    Fork,
    Left,
    OrderCell,
    Ready,
    StateCell,
    tail,
)
from prefork.worker.stacks import Stacks
from prefork.worker.stopping import Stopping
from prefork.worker.wait import PAUSE, Wait

_POLL_INTERVAL = 0.5  # seconds, as the default of socketserver's serve_forever
FAILED = 70  # exit code
ORPHAN_GRACE = 1.0  # seconds a mold leaves its workers beyond their own alarm
_HEARD = (signal.SIGTERM, READ_YOUR_ORDERS)

logger = logging.getLogger("prefork.worker")
now = time.monotonic


class Taken(Enum):
    """What came of trying a listener."""

    ONE = auto()
    NOTHING = auto()  # somebody else was faster, or the queue is empty
    LOST = auto()  # the connection died before we had it
    EXHAUSTED = auto()  # no descriptor or memory for it: it waits on


def live(brief: Brief, order: Fork, app: Application | None, log: Log) -> Promotion:
    """The life of a worker from its fork to its end. All signals are blocked when it begins.

    :param app: ``None`` where each worker loads the application itself.
    :param log: the mold's.
    :returns: what it takes along, where it is to become a mold; else it never returns.
    """
    forget_inherited_handlers()
    capture.forget()
    wakeup = Wakeup(_HEARD)
    for signum in (signal.SIGINT, signal.SIGHUP):  # a terminal's
        signal.signal(signum, signal.SIG_IGN)
    os.setpgid(0, 0)
    signal.signal(signal.SIGIO, lambda signum, frame: _die_within(brief.drain))
    brief = brief._replace(lifeline=lifeline.arm(brief.lifeline))
    if lifeline.is_cut(brief.lifeline):  # before it was armed: no signal comes for that
        _die_within(brief.drain)
    limits.limit_descriptors(brief.descriptors)
    privileges.pin(brief.privileges, order.slot)
    log.sign(brief.who("worker", order.slot))
    worker = Worker(brief, order, app, log, wakeup)
    log.reopen()  # it may have been moved since the mold opened it
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())
    return worker.live()


def _let_pass(signum: int, frame: FrameType | None) -> None:
    """Not for us."""


def _die_within(seconds: float) -> None:
    """The master is gone: finish what is under way, or die of an alarm."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))  # 0 would disarm it


class Worker:
    """One worker process. See ``live``."""

    def __init__(self, brief: Brief, order: Fork, app: Application | None, log: Log, wakeup: Wakeup) -> None:
        self._brief = brief
        self._order = order
        self._app = app
        self._log = log
        self._wakeup = wakeup
        self._notices = Notices(brief.notices)
        self._logs = WorkerLogs(log, brief, order.slot, self._notices)
        self._stacks = Stacks(log)
        self._ledger = Ledger(brief, order, self._notices, self._stacks.scratch)
        self._shortage, self._trouble = Sparing(), Sparing()
        self._deadlines: Deadlines | None = None  # known once the ledger is chosen
        self._has_declined_pause = False
        signal.signal(signal.SIGUSR1, lambda signum, frame: self._logs.reopen())

    def live(self) -> Promotion:
        self._boot()
        try:
            promoted = self._serve_until_told()
        except Exception:
            self._fail()
        if promoted is None:
            self._leave()
            self._exit(0)
        return promoted

    def _serve_until_told(self) -> Promotion | None:
        """Until it is told to leave; or to become a mold, and does."""
        if self._own_loop is not None:
            self._decline_pause()
            if self._ledger.is_wanted:
                self._own_loop.serve()
            return None
        self._serve()
        while self._is_called:
            promoted = self._answer_call()
            if promoted is not None:
                return promoted
            self._serve()
        return None

    def _fail(self) -> NoReturn:
        """The application broke the loop: what threads and children have under way is finished all the same."""
        logger.exception("the worker's loop failed; it finishes what it has, and ends")
        self._die_in_time()
        self._wait.leave()
        self._concurrency.finish()
        self._exit(FAILED)

    # booting

    def _boot(self) -> None:
        """Load and build the application. Told to leave meanwhile, the worker does so at once: it has no client yet."""
        signal.signal(READ_YOUR_ORDERS, self._leave_unless_wanted)
        self._leave_unless_wanted()
        os.environ["PREFORK_NAME"] = self._brief.instance
        os.environ["PREFORK_SLOT"] = str(self._order.slot)
        os.environ["PREFORK_GENERATION"] = str(self._brief.generation)
        try:
            if self._app is None:
                self._app = application.load_for(self._brief)
            self._servers = application.build(self._app, [_listener(fd) for _, fd in self._brief.binds])
            self._concurrency = self._choose_concurrency()
            self._logs.begin_access(self._ledger, self._servers)
            self._badge = self._pin_badge()
            privileges.enter_root(self._brief.privileges)
            hooks.start(self._app, self._servers, self._badge)
            hooks.examine(self._app, self._badge, self._brief.health)
        except NotLoadedError as error:
            self._break(str(error))
        except BaseException as error:
            self._break(application.describe(error))
        self._by_fd = {fd: server for server in self._servers if (fd := _descriptor(server)) is not None}
        self._asked = [server for server in self._servers if _descriptor(server) is None]
        self._actions = [server.service_actions for server in self._servers if overrides(server, "service_actions")]
        self._wait = Wait(
            self._by_fd.values(),
            self._brief.kick,
            self._wakeup,
            self._brief.lifeline,
            is_even=self._brief.balance == "even",
        )
        self._wait.watch(self._concurrency.news())
        self._stopping = Stopping(self._servers, self._log)
        self._own_loop = None
        if any(runs_its_own_loop(server) for server in self._servers):
            self._own_loop = OwnLoop(self._servers, self._stopping)
        signal.signal(signal.SIGIO, self._outlive_master)
        # an order to leave that comes from here on is read between requests
        signal.signal(READ_YOUR_ORDERS, self._heed_order)
        signal.signal(signal.SIGTERM, self._heed_order)
        signal.signal(signal.SIGUSR1, self._reopen_logs)
        heed_level(self._ledger.log_level)
        self._ledger.enter(StateCell.READY)
        self._notices.send(Ready(self._order.slot, self._order.order))

    def _choose_concurrency(self) -> Concurrency:
        """As configured, or else as the servers' class says, unless they have a ``process_request`` of their own."""
        brief, servers = self._brief, self._servers
        is_its_own = any(overrides(s, "process_request") or runs_its_own_loop(s) for s in servers)
        way = brief.concurrency or next((concurrency_of(server) for server in servers), "sync")
        if way == "sync" and not is_its_own:
            deadlines = self._choose_deadlines()
            concurrency: Concurrency = Sync(self._ledger, deadlines)
        else:
            size = brief.children if way == "fork" else brief.threads
            self._ledger = ledger = SharedLedger(brief, self._order, self._notices, size, self._stacks.scratch)
            deadlines = self._choose_deadlines()
            if any(overrides(server, "process_request") for server in servers) or (is_its_own and way == "sync"):
                concurrency = AsItsServerSays(ledger, deadlines)
            elif way == "thread":
                concurrency = Threads(ledger, size, deadlines)
            else:
                concurrency = Children(ledger, self._become_child, deadlines)
        for server in servers:
            concurrency.adopt(server)
        return concurrency

    def _choose_deadlines(self) -> Deadlines | None:
        brief = self._brief
        if brief.timeout:
            self._deadlines = Deadlines(self._ledger, brief.timeout, retires=not brief.keeps_timed_out)
        return self._deadlines

    def _pin_badge(self) -> Badge:
        brief = self._brief
        badge = Badge(brief.instance, brief.service, self._order.slot, brief.generation, self._ledger.label)
        for server in self._servers:
            if not hasattr(server, "worker"):  # else the name is its own
                server.worker = badge
        return badge

    def _become_child(self) -> None:
        """In a child that handles one request: it is no worker, and lives no longer than its request."""
        forget_inherited_handlers()
        for signum in _HEARD:  # whoever stops the service may tell all of its processes, and not the worker alone
            signal.signal(signum, _let_pass)  # no SIG_IGN, which a program that the handler starts would inherit
        signal.signal(signal.SIGUSR1, lambda signum, frame: self._logs.reopen())
        self._logs.belong_to_child()
        self._stacks.belong_to_child()
        capture.forget()
        if (deadlines := self._deadlines) is not None:
            signal.signal(READ_YOUR_ORDERS, lambda signum, frame: deadlines.strike_child(frame))
        signal.signal(signal.SIGIO, lambda signum, frame: _die_within(self._brief.drain))
        if lifeline.is_cut(lifeline.arm(self._brief.lifeline)):
            _die_within(self._brief.drain)
        self._close_streams()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())

    def _leave_unless_wanted(self, signum: int = 0, frame: FrameType | None = None) -> None:
        """While booting: leave if told so; on the final stop only if no client waits, for nobody else may be there.

        Whoever asks where a worker that does not become ready is gets its stacks.
        """
        self._tell_stacks()
        phase = self._ledger.phase
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

    # signals

    def _reopen_logs(self, signum: int, frame: FrameType | None) -> None:
        """At once, whatever is under way: the descriptor stays, so an interrupted write ends in the new file."""
        self._logs.reopen()
        self._concurrency.tell_children(signum, self._ledger.begun)

    def _heed_order(self, signum: int, frame: FrameType | None) -> None:
        """For whoever is in a handler, or in a loop of its own: ours reads the signal from the wakeup pipe."""
        if self._tell_stacks():  # before children do, or their lines would mix
            self._concurrency.tell_children(DUMP_STACKS, self._ledger.stacks_asked_of)
        heed_level(self._ledger.log_level)
        if signum == signal.SIGTERM or self._ledger.is_dismissed:
            self._stopping.begin()
        if self._own_loop is not None:
            self._ledger.reconsider()
            self._decline_pause()
            if self._is_called:
                promotion.decline(self._take_call(), "its server has a loop of its own")
                self._ledger.decline()
        if self._deadlines is not None:
            self._deadlines.strike(frame)  # last, for it may raise

    def _tell_stacks(self) -> bool:
        """Tell the stacks, if the master has asked for them. Whether it had."""
        if not self._stacks.is_asked(self._ledger.stacks_asked):
            return False
        self._stacks.write()
        self._ledger.tell_stacks()
        self._stacks.tell()
        return True

    def _decline_pause(self) -> None:
        """Its server takes clients by itself, whoever says what."""
        is_paused = self._ledger.is_paused
        if is_paused and not self._has_declined_pause:
            text = "pause: this worker goes on, for its server has a loop of its own"
            self._log.warn("prefork.worker", text)
        self._has_declined_pause = is_paused

    def _outlive_master(self, signum: int, frame: FrameType | None) -> None:
        """Finish what is under way, but listen no more meanwhile: the next master may want the address."""
        self._die_in_time()
        self._wait.is_orphaned = True
        if self._concurrency.is_in_loop and self._ledger.under_way:  # else the loop is about to leave by itself
            self._close_streams()
        self._stopping.begin()

    def _die_in_time(self) -> None:
        """As ``_die_within`` the drain limit, and take along children that are stuck where no signal is heard."""
        _die_within(self._brief.drain)
        if isinstance(self._concurrency, Children):
            signal.signal(signal.SIGALRM, lambda signum, frame: os.killpg(0, signal.SIGKILL))

    def _close_streams(self) -> None:
        """Listen no more. Datagrams are answered through their listener: that one stays."""
        for server in self._servers:
            listener = getattr(server, "socket", None)
            if listener is not None and listener.type == socket.SOCK_STREAM:
                listener.close()

    # serving

    def _serve(self) -> None:
        ledger, concurrency, wait, servers = self._ledger, self._concurrency, self._wait, self._by_fd
        seconds = _POLL_INTERVAL if self._actions or self._asked else None
        pause = seconds
        wait.hold(ledger.is_paused)
        while ledger.is_wanted or self._is_coming_to_rest:
            if not concurrency.is_in_loop:
                wait.heed_clients(concurrency.has_room and ledger.is_wanted)
            ready = wait.for_news(pause)
            if wait.heard:
                self._hear()
                if not ledger.is_wanted or wait.is_held:
                    continue  # whoever was woken for these clients besides us is kicked
            if wait.is_orphaned:
                ledger.leaving = "the master is gone"
                return
            # the kernel may have woken us alone for clients of several listeners
            others_may_wait = len(ready) > 1 or wait.is_kicked
            for fd in ready:
                taken = self._take(servers[fd], others_may_wait)
                if taken is Taken.ONE:
                    if not wait.is_orphaned:
                        wait.queue_up_again(fd)
                    break
                if taken is Taken.EXHAUSTED:
                    wait.pause()
                    kick.kick(self._brief.kick)
                    break
            if seconds is not None:
                pause = 0.0 if self._ask() else seconds
                for act in self._actions:
                    act()

    def _hear(self) -> None:
        """What the signals ask for; READ_YOUR_ORDERS asks to look at the order cells, which the loop does."""
        heard, self._wait.heard = self._wait.heard, set()
        if READ_YOUR_ORDERS in heard:
            self._ledger.reconsider()
            self._wait.hold(self._ledger.is_paused)
        if signal.SIGTERM in heard:
            self._ledger.leaving = "it was sent SIGTERM"

    def _ask(self) -> bool:
        """Ask the servers that nothing tells of their requests. Whether one had a request."""
        if self._wait.is_held:
            return False
        taken = [self._take(s) for s in self._asked if self._concurrency.has_room and self._ledger.is_wanted]
        return Taken.ONE in taken

    def _take(self, server: Any, others_may_wait: bool = False) -> Taken:
        """Accept one client, if one is there, and let it be handled.

        :param others_may_wait: clients may be left that nobody was woken for: let another worker see to them meanwhile.
        """
        try:
            request, client_address = server.get_request()
        except OSError as error:
            return self._not_taken(error)
        except Exception:  # a server's own: of a database, of a handshake
            if self._trouble.is_due():
                logger.exception("get_request failed; trying again every %g s", PAUSE)
            return Taken.EXHAUSTED
        if others_may_wait:
            kick.kick(self._brief.kick)
        if self._brief.idle_timeout and isinstance(request, socket.socket) and request.gettimeout() is None:
            request.settimeout(self._brief.idle_timeout)
        self._concurrency.handle(server, request, client_address)
        return Taken.ONE

    def _not_taken(self, error: OSError) -> Taken:
        match owner(error):
            case Owner.NOBODY | Owner.SHUT:
                return Taken.NOTHING
            case Owner.CONNECTION:
                return Taken.LOST
            case Owner.LISTENER:
                raise error
        if self._shortage.is_due():
            logger.warning("cannot accept: %s; trying again every %g s", error.strerror, PAUSE)
        return Taken.EXHAUSTED

    # becoming a mold

    @property
    def _is_called(self) -> bool:
        return not self._ledger.is_wanted and not self._ledger.is_dismissed and not self._wait.is_orphaned

    @property
    def _is_coming_to_rest(self) -> bool:
        """Whether to wait for the children that it has, and take nothing new meanwhile."""
        return bool(self._is_called and self._ledger.under_way and promotion.comes_to_rest(self._concurrency))

    def _take_call(self) -> promotion.Called | None:
        return promotion.take(self._brief.summons, self._order)

    def _answer_call(self) -> Promotion | None:
        """At rest, between two requests: accept or decline."""
        called = self._take_call()
        why = promotion.why_not(self._concurrency, self._brief)
        if called is None or why:
            promotion.decline(called, why)
            self._ledger.decline()
            return None
        assert self._app is not None, "it was loaded before the first request"
        self._ledger.enter(StateCell.RETIRING)
        self._wait.leave()
        self._stacks.close()
        self._logs.let_go()
        return promotion.go_through(called, self._brief, self._app, self._servers, self._badge, self._wakeup)

    # leaving

    def _leave(self) -> None:
        """Take nothing more, finish what is under way, and let the application clean up."""
        ledger = self._ledger
        ledger.enter(StateCell.RETIRING)
        if ledger.leaving:
            self._notices.send(Left(self._order.slot, self._order.order, ledger.ended, ledger.leaving, ledger.is_sound))
        self._wait.leave()
        is_final = ledger.phase == OrderCell.DRAIN
        if is_final:
            self._drain()
        if is_final or self._wait.is_orphaned:
            self._close_streams()
        self._stopping.begin()
        self._concurrency.finish()
        if not is_final and ledger.phase == OrderCell.DRAIN:
            # told of the stop meanwhile: others may have left before it, and nobody else may serve what is queued
            self._drain()
            self._close_streams()
            self._concurrency.finish()
        assert self._app is not None, "it was loaded before the first request"
        hooks.stop(self._app, self._servers, self._badge)

    def _drain(self) -> None:
        """The final stop: nothing new is admitted. Serve what is queued, and close each listener once it is empty.

        A listener that was inherited is not ours to drain: what is queued waits for whoever listens next.
        """
        ours = {fd for address, fd in self._brief.binds if not address.is_inherited}
        left = [server for server in self._servers if _descriptor(server) in ours]  # a loop of its own may bind late
        while left:
            for server in list(left):
                self._concurrency.wait_for_room()
                try:
                    taken = self._take(server)
                except OSError:  # its own loop has closed it
                    taken = Taken.NOTHING
                if taken is Taken.NOTHING:
                    left.remove(server)
                    if server.socket.type == socket.SOCK_STREAM:
                        server.socket.close()  # at once in every worker: the last close resets what came meanwhile
                elif taken is Taken.EXHAUSTED:
                    time.sleep(PAUSE)

    def _exit(self, code: int) -> NoReturn:
        """End at once: threads a handler left behind do not keep the process."""
        stdio.flush()
        capture.end()
        os._exit(code)


def _listener(fd: int) -> socket.socket:
    """The inherited socket; non-blocking on Python's side too, whatever ``setdefaulttimeout`` the application chose."""
    listener = socket.socket(fileno=fd)
    listener.setblocking(False)
    return listener


def _descriptor(server: Any) -> int | None:
    """What is readable when the server has a request; ``None`` where it must be asked."""
    try:
        fd: int | None = server.fileno()
    except (AttributeError, NotImplementedError):
        return None
    return fd
