"""Concurrency: how one worker handles its requests; one at a time, each in a thread, each in a child, or as its server
says itself.

A strategy is told of each request that was taken, calls the server's own methods in the order of ``socketserver``, and
puts it into the ledger. It must not know where requests come from, nor why the worker leaves.
Invariant: a request that was taken is ended in the ledger once, whatever its handler does, and is never dropped for
want of a thread or process: then the worker handles it in its own loop.
Read next: ``worker.py``, whose loop takes the requests; ``prefork/servers/base.py``, what handling one means.
"""

import contextlib
import logging
import os
import select
import signal
import socket
import socketserver
import threading
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NoReturn, Protocol

from prefork.address import describe_peer
from prefork.errors import RequestTimeout
from prefork.servers.base import NO_DEADLINE, Deadline, finish_one, serve_one
from prefork.servers.crew import Crew
from prefork.servers.traits import concurrency_of, overrides
from prefork.system import processes, slots, stdio
from prefork.system.bell import Bell
from prefork.system.slots import Lane
from prefork.system.sparing import Sparing
from prefork.worker import capture
from prefork.worker.deadlines import Deadlines
from prefork.worker.ledger import Ledger, SharedLedger
from prefork.worker.protocol import READ_YOUR_ORDERS

Server = Any  # of ours, the standard library's or anybody's: only its documented methods are called
Finish = Callable[[Any, Any, Deadline], BaseException | None]  # as finish_one without the server
News = Mapping[int, Callable[[], object]]  # descriptors to wait for, and what to do when one is readable

logger = logging.getLogger("prefork.worker")


class Concurrency(Protocol):
    """A strategy."""

    ledger: Ledger
    is_in_loop: bool  # whether the worker's own loop handles the requests

    @property
    def has_room(self) -> bool:
        """Whether one more request may be taken; while not, clients queue in the kernel."""
        ...

    def adopt(self, server: Server) -> None:
        """Let the server's ``process_request`` do as this strategy wants."""
        ...

    def handle(self, server: Server, request: Any, client_address: Any) -> None:
        """Handle a request that was taken, or begin to."""
        ...

    def news(self) -> News:
        """What the worker's loop should wait for besides clients."""
        ...

    def tell_children(self, signum: int, number: int) -> None:
        """Signal the children that handle requests up to this number, if there are any.

        Called in a signal handler: it may meet a child that has just been collected, or not been watched yet.
        """
        ...

    def wait_for_room(self) -> None: ...

    def finish(self) -> None:
        """Wait until nothing is under way."""
        ...


class Sync:
    """One request at a time, in the loop."""

    is_in_loop = True
    has_room = True

    def __init__(self, ledger: Ledger, deadlines: Deadlines | None = None) -> None:
        self.ledger = ledger
        self._deadline = None if deadlines is None else deadlines.in_main_thread

    def adopt(self, server: Server) -> None:
        if concurrency_of(server) != "sync":  # its mix-in would not wait for the request's end
            server.process_request = partial(socketserver.BaseServer.process_request, server)

    def handle(self, server: Server, request: Any, client_address: Any) -> None:
        lane = self.ledger.begin(client_address)
        deadline: Deadline = NO_DEADLINE
        if self._deadline is not None:
            deadline = self._deadline
            self._deadline.number = self.ledger.begun
        self.ledger.end(lane, serve_one(server, request, client_address, deadline))

    def news(self) -> News:
        return {}

    def tell_children(self, signum: int, number: int) -> None:
        """There are none."""

    def wait_for_room(self) -> None:
        """There is."""

    def finish(self) -> None:
        """Nothing is under way between two requests."""


class _Shared:
    """What strategies share that have several requests under way.

    ``process_request`` of an adopted server takes the lane of the request in hand. Where a server's own loop calls it,
    none is in hand, and the request begins there.
    """

    is_in_loop = False

    def __init__(self, ledger: SharedLedger, deadlines: Deadlines | None = None) -> None:
        self.ledger: Ledger = ledger
        self._shared = ledger
        self._deadlines = deadlines
        self._in_hand: Lane | None = None
        self._shortage = Sparing()

    @property
    def has_room(self) -> bool:
        return self._shared.has_room

    def handle(self, server: Server, request: Any, client_address: Any) -> None:
        self._in_hand = lane = self.ledger.begin(client_address)
        raised = serve_one(server, request, client_address)
        if self._in_hand is not None:  # it was refused, or failed, before anybody took it over
            self._in_hand = None
            self.ledger.end(lane, raised)

    def wait_for_room(self) -> None:
        raise NotImplementedError

    def tell_children(self, signum: int, number: int) -> None:
        """There are none."""

    def _deadline_of(self, lane: Lane | None, request: Any) -> Deadline:
        """For the calling thread, which is about to handle the request."""
        return NO_DEADLINE if self._deadlines is None or lane is None else self._deadlines.of(lane, request)

    def _take_over(self, client_address: Any) -> Lane:
        lane, self._in_hand = self._in_hand, None
        if lane is None:
            self._make_room()
            lane = self.ledger.begin(client_address)
        return lane

    def _make_room(self) -> None:
        """A loop of the server's own does not ask before it takes a request, so it waits afterwards."""
        self.wait_for_room()


class Threads(_Shared):
    """Each request in a thread; threads serve one request after another.

    :param size: as many at a time.
    """

    def __init__(self, ledger: SharedLedger, size: int, deadlines: Deadlines | None = None) -> None:
        super().__init__(ledger, deadlines)
        self._bell = Bell()
        self._crew = Crew(size, self._bell.ring)
        self._crew.keep()

    @property
    def has_room(self) -> bool:
        return self._crew.has_room  # a thread is free a moment after its request has ended

    def adopt(self, server: Server) -> None:
        finish: Finish = partial(finish_one, server)
        if overrides(server, "process_request_thread"):
            finish = partial(_let, server.process_request_thread)
        server.process_request = partial(self._process, finish)

    def _process(self, finish: Finish, request: Any, client_address: Any) -> None:
        lane = self._take_over(client_address)
        try:
            self._crew.hand_over((self._work, (finish, request, client_address, lane)), daemon=True, awaited=False)
        except (RuntimeError, MemoryError) as error:  # what threading says for want of threads
            if self._shortage.is_due():
                logger.warning("no thread for %s: %s; the worker's own serves it", describe_peer(client_address), error)
            self._work(finish, request, client_address, lane)

    def _work(self, finish: Finish, request: Any, client_address: Any, lane: Lane) -> None:
        self._shared.belong_to_thread(lane)
        raised = finish(request, client_address, self._deadline_of(lane, request))
        self._shared.belong_to_thread(None)
        self.ledger.end(lane, raised)
        if self.ledger.leaving:
            self._bell.ring()

    def news(self) -> News:
        return {self._bell.fileno(): self._bell.answer}

    def wait_for_room(self) -> None:
        self._crew.wait_for_room()

    def finish(self) -> None:
        self._crew.wait_until_idle()


def _let(
    process: Callable[[Any, Any], None], request: Any, client_address: Any, deadline: Deadline
) -> BaseException | None:
    """Let the server's own ``process_request_thread`` do it, which tells its errors itself."""
    try:
        try:
            deadline.arm()
            process(request, client_address)
        finally:
            deadline.disarm()
    except BaseException as error:
        deadline.disarm()
        logger.exception("process_request_thread failed serving %s", describe_peer(client_address))
        return error
    return None


class Children(_Shared):
    """Each request in a child process.

    :param settle: called in each child before it handles its request: it is not the worker.
    """

    def __init__(self, ledger: SharedLedger, settle: Callable[[], None], deadlines: Deadlines | None = None) -> None:
        super().__init__(ledger, deadlines)
        if deadlines is not None:
            deadlines.tell_children = self._interrupt
        self._settle = settle
        self._end_in_ledger = ledger.end  # without a line in the access log, which the child has written
        self._ends = select.epoll()  # of children: one descriptor for all
        self._lanes: dict[int, Lane] = {}  # by pidfd
        self._reaping = threading.Lock()  # loops of several servers' own may be in several threads
        self._pid = os.getpid()

    def adopt(self, server: Server) -> None:
        server.process_request = partial(self._process, server)

    def _process(self, server: Server, request: Any, client_address: Any) -> None:
        lane = self._take_over(client_address)
        stdio.flush()
        try:
            reserved = os.dup(self._ends.fileno())  # for the pidfd: a child that cannot be watched must not be born
        except OSError as error:
            self._serve_here(server, request, client_address, lane, error)
            return
        lane.cells[slots.FAILED] = 0
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            pid = os.fork()
            if pid == 0:
                self._live_as_child(server, request, client_address, lane)
        except OSError as error:
            self._serve_here(server, request, client_address, lane, error)
            return
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())
            os.close(reserved)
        self._watch(pid, lane)
        try:
            server.close_request(request)
        except Exception:  # the child has its own copy, and serves
            logger.exception("close_request failed for %s", describe_peer(client_address))

    def _watch(self, pid: int, lane: Lane) -> None:
        """Make the child's end news. Where that cannot be done, the worker waits for it."""
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            self._end(lane, processes.wait(pid))
            return
        try:
            self._ends.register(pidfd, select.EPOLLIN)
        except OSError:  # ENOSPC, ENOMEM: the kernel allows no more watches
            os.close(pidfd)
            self._end(lane, processes.wait(pid))
            return
        self._lanes[pidfd] = lane

    def _serve_here(self, server: Server, request: Any, client_address: Any, lane: Lane, error: OSError) -> None:
        if self._shortage.is_due():
            text = "no process for %s: %s; the worker's own serves it"
            logger.warning(text, describe_peer(client_address), error.strerror)
        self._shared.belong_to_thread(lane)
        raised = finish_one(server, request, client_address, self._deadline_of(lane, request))
        self._shared.belong_to_thread(None)
        self.ledger.end(lane, raised)

    def _interrupt(self, overdue: int) -> None:
        self.tell_children(READ_YOUR_ORDERS, overdue)

    def tell_children(self, signum: int, number: int) -> None:
        for pidfd, lane in list(self._lanes.items()):
            if lane.cells[slots.NUMBER] <= number:
                with contextlib.suppress(OSError):
                    processes.tell(pidfd, signum)

    def _live_as_child(self, server: Server, request: Any, client_address: Any, lane: Lane) -> NoReturn:
        """Finish the request and end; whatever happens, never return into the worker's stack."""
        try:
            self._settle()
            self.ledger.belong_to_child(lane)
            raised = finish_one(server, request, client_address, self._deadline_of(lane, request))
            self.ledger.tell(lane, raised)
            if raised is not None and os.getppid() == self._pid:  # else the lane may be a successor's by now
                lane.cells[slots.FAILED] = 1
        finally:
            stdio.flush()
            capture.end()
            os._exit(0)

    def news(self) -> News:
        return {self._ends.fileno(): self.reap}

    def reap(self) -> None:
        """Collect children that have ended."""
        with self._reaping:
            self._collect(0.0)

    def _collect(self, seconds: float | None) -> None:
        """The same; the first of them may take so long, ``None`` without limit."""
        for pidfd, _ in self._ends.poll(seconds):
            try:
                ending = processes.reap(pidfd)
            except ChildProcessError:  # the application ignores SIGCHLD, or waits for whatever child it finds
                ending = processes.Ending()
            # our copy may not be the last, and a descriptor leaves the set only with its last copy: epoll(7)
            self._ends.unregister(pidfd)
            lane = self._lanes.pop(pidfd)
            os.close(pidfd)
            self._end(lane, ending)

    def _end(self, lane: Lane, ending: processes.Ending | None) -> None:
        if ending is not None and (ending.signal or ending.code):
            request = lane.read()
            peer = "a client" if request is None else f"{request.peer} #{request.number}"
            logger.error("the child that served %s %s", peer, ending)
            self.ledger.tell(lane, ending)
            lane.cells[slots.FAILED] = 1
        lane.label(b"")  # only the child knew whether it had one
        self._end_in_ledger(lane, True if lane.cells[slots.FAILED] else None)

    def wait_for_room(self) -> None:
        with self._reaping:
            while not self.has_room:
                self._collect(None)

    def finish(self) -> None:
        with self._reaping:
            while self._lanes:
                self._collect(None)


class AsItsServerSays(_Shared):
    """The server's own ``process_request`` does it, perhaps elsewhere: the request lasts until it is closed.

    Some close by letting go of the socket, and a datagram there is nothing to close of.
    """

    def __init__(self, ledger: SharedLedger, deadlines: Deadlines | None = None) -> None:
        super().__init__(ledger, deadlines)
        self._bell = Bell()
        self._open: dict[int, tuple[object, Lane]] = {}  # by identity: a weak reference, or what cannot have one
        self._let_go: deque[int] = deque()  # identities of requests that are no more, whose books are still open
        self._pid = os.getpid()

    def adopt(self, server: Server) -> None:
        server.process_request = partial(self._process, server.process_request)
        server.close_request = partial(self._close, server.close_request)
        server.shutdown_request = partial(self._close, server.shutdown_request)  # not every one closes
        if hasattr(server, "finish_request"):
            server.finish_request = partial(self._finish, server.finish_request)

    def _make_room(self) -> None:
        """A loop of the server's own may be the one that closes requests: it must not wait for itself."""

    def _process(self, process: Callable[[Any, Any], object], request: Any, client_address: Any) -> None:
        self._settle()  # an identity may be used again
        lane = self._take_over(client_address)
        self._open[id(request)] = self._refer(request), lane
        self._shared.belong_to_thread(lane)
        try:
            process(request, client_address)
        except BaseException as error:
            self._end(request, error)
            raise
        finally:
            self._shared.belong_to_thread(None)

    def _refer(self, request: Any) -> object:
        """We do not keep alive what its server lets go of. The callback may run anywhere, so it keeps no books."""
        identity = id(request)

        def let_go(reference: object) -> None:
            self._let_go.append(identity)
            self._bell.ring()

        try:
            return weakref.ref(request, let_go)
        except TypeError:
            return request

    def _finish(self, finish: Callable[[Any, Any], object], request: Any, client_address: Any) -> None:
        _, lane = self._open.get(id(request), (None, None))
        self._shared.belong_to_thread(lane)
        deadline = self._deadline_of(lane, request)
        try:
            try:
                deadline.arm()
                finish(request, client_address)
            finally:
                deadline.disarm()
        except RequestTimeout as error:  # nobody else's business: to the server, its handler has ended
            deadline.disarm()
            logger.exception("the handler left by RequestTimeout serving %s", describe_peer(client_address))
            self._end(request, error)
        finally:
            self._shared.belong_to_thread(None)
            if isinstance(request, tuple) and isinstance(request[-1], socket.socket):  # a datagram
                self._end(request, None)

    def _close(self, close: Callable[[Any], object], request: Any) -> None:
        try:
            close(request)
        finally:
            self._end(request, None)

    def _end(self, request: Any, raised: object) -> None:
        if os.getpid() == self._pid:  # a child that the server forked itself keeps no books
            _, lane = self._open.pop(id(request), (None, None))
            if lane is not None:
                self.ledger.end(lane, raised)
                self._bell.ring()

    def _settle(self) -> None:
        while self._let_go:
            _, lane = self._open.pop(self._let_go.popleft(), (None, None))
            if lane is not None:
                self.ledger.end(lane, None)

    def _listen(self) -> None:
        self._bell.answer()
        self._settle()

    def news(self) -> News:
        return {self._bell.fileno(): self._listen}

    def wait_for_room(self) -> None:
        self._wait_until(lambda: self.has_room)

    def finish(self) -> None:
        self._wait_until(lambda: not self.ledger.under_way)

    def _wait_until(self, is_so: Callable[[], bool]) -> None:
        poll = select.poll()
        poll.register(self._bell.fileno(), select.POLLIN)
        self._settle()
        while not is_so():
            poll.poll()
            self._listen()
