"""Concurrency: how one worker handles its requests; one at a time, each in a thread, each in a child, or as its server
says itself.

A strategy is told of each request that was taken, calls the server's own methods in the order of ``socketserver``, and
puts it into the ledger. It must not know where requests come from, nor why the worker leaves.
Invariant: a request that was taken is ended in the ledger once, whatever its handler does, and is never dropped for
want of a thread or process: then the worker handles it in its own loop.
Read next: ``worker.py``, whose loop takes the requests; ``prefork/servers/base.py``, what handling one means.
"""

import logging
import os
import select
import signal
import socketserver
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NoReturn, Protocol

from prefork.address import describe_peer
from prefork.servers.base import finish_one, serve_one
from prefork.servers.crew import Crew
from prefork.servers.traits import concurrency_of, overrides
from prefork.system import processes, slots, stdio
from prefork.system.bell import Bell
from prefork.system.slots import Lane
from prefork.worker.ledger import Ledger, SharedLedger

Server = Any  # of ours, the standard library's or anybody's: only its documented methods are called
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

    def wait_for_room(self) -> None: ...

    def finish(self) -> None:
        """Wait until nothing is under way."""
        ...


class Sync:
    """One request at a time, in the loop."""

    is_in_loop = True
    has_room = True

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def adopt(self, server: Server) -> None:
        if concurrency_of(server) != "sync":  # its mix-in would not wait for the request's end
            server.process_request = partial(socketserver.BaseServer.process_request, server)

    def handle(self, server: Server, request: Any, client_address: Any) -> None:
        lane = self.ledger.begin(client_address)
        self.ledger.end(lane, serve_one(server, request, client_address))

    def news(self) -> News:
        return {}

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

    def __init__(self, ledger: SharedLedger) -> None:
        self.ledger: Ledger = ledger
        self._shared = ledger
        self._in_hand: Lane | None = None

    @property
    def has_room(self) -> bool:
        return self._shared.has_room

    def handle(self, server: Server, request: Any, client_address: Any) -> None:
        self._in_hand = lane = self.ledger.begin(client_address)
        raised = serve_one(server, request, client_address)
        if self._in_hand is not None:  # it was refused, or failed, before anybody took it over
            self._in_hand = None
            self.ledger.end(lane, raised)

    def _take_over(self, client_address: Any) -> Lane:
        lane, self._in_hand = self._in_hand, None
        return self.ledger.begin(client_address) if lane is None else lane


class Threads(_Shared):
    """Each request in a thread; threads serve one request after another.

    :param size: as many at a time.
    """

    def __init__(self, ledger: SharedLedger, size: int) -> None:
        super().__init__(ledger)
        self._bell = Bell()
        self._crew = Crew(size, self._bell.ring)
        self._crew.keep()

    def adopt(self, server: Server) -> None:
        finish: Callable[[Any, Any], object] = partial(finish_one, server)
        if overrides(server, "process_request_thread"):
            finish = partial(_let, server.process_request_thread)
        server.process_request = partial(self._process, finish)

    def _process(self, finish: Callable[[Any, Any], object], request: Any, client_address: Any) -> None:
        lane = self._take_over(client_address)
        try:
            self._crew.hand_over((self._work, (finish, request, client_address, lane)), daemon=True, awaited=False)
        except RuntimeError as error:  # what threading says for want of threads
            logger.warning("no thread for %s: %s; the worker's own serves it", describe_peer(client_address), error)
            self._work(finish, request, client_address, lane)

    def _work(self, finish: Callable[[Any, Any], object], request: Any, client_address: Any, lane: Lane) -> None:
        self._shared.belong_to_thread(lane)
        self.ledger.end(lane, finish(request, client_address))
        if self.ledger.leaving:
            self._bell.ring()

    def news(self) -> News:
        return {self._bell.fileno(): self._bell.answer}

    def wait_for_room(self) -> None:
        self._crew.wait_for_room()

    def finish(self) -> None:
        self._crew.wait_until_idle()


def _let(process: Callable[[Any, Any], None], request: Any, client_address: Any) -> BaseException | None:
    """Let the server's own ``process_request_thread`` do it, which tells its errors itself."""
    try:
        process(request, client_address)
    except BaseException as error:
        logger.exception("process_request_thread failed serving %s", describe_peer(client_address))
        return error
    return None


class Children(_Shared):
    """Each request in a child process.

    :param settle: called in each child before it handles its request: it is not the worker.
    """

    def __init__(self, ledger: SharedLedger, settle: Callable[[], None]) -> None:
        super().__init__(ledger)
        self._settle = settle
        self._ends = select.epoll()  # of children: one descriptor for all
        self._lanes: dict[int, Lane] = {}  # by pidfd

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
        pidfd = os.pidfd_open(pid)
        self._ends.register(pidfd, select.EPOLLIN)
        self._lanes[pidfd] = lane
        server.close_request(request)

    def _serve_here(self, server: Server, request: Any, client_address: Any, lane: Lane, error: OSError) -> None:
        text = "no process for %s: %s; the worker's own serves it"
        logger.warning(text, describe_peer(client_address), error.strerror)
        self.ledger.end(lane, finish_one(server, request, client_address))

    def _live_as_child(self, server: Server, request: Any, client_address: Any, lane: Lane) -> NoReturn:
        """Finish the request and end; whatever happens, never return into the worker's stack."""
        try:
            self._settle()
            self.ledger.belong_to_child(lane)
            if finish_one(server, request, client_address) is not None:
                lane.cells[slots.FAILED] = 1
        finally:
            stdio.flush()
            os._exit(0)

    def news(self) -> News:
        return {self._ends.fileno(): self.reap}

    def reap(self, seconds: float | None = 0.0) -> None:
        """Collect children that have ended; the first of them may take so long, ``None`` without limit."""
        for pidfd, _ in self._ends.poll(seconds):
            ending = processes.reap(pidfd)
            # our copy may not be the last, and a descriptor leaves the set only with its last copy: epoll(7)
            self._ends.unregister(pidfd)
            os.close(pidfd)
            lane = self._lanes.pop(pidfd)
            request = lane.read()
            if ending is not None and (ending.signal or ending.code):
                peer = "a client" if request is None else f"{request.peer} #{request.number}"
                logger.error("the child that served %s %s", peer, ending)
                lane.cells[slots.FAILED] = 1
            lane.label(b"")  # only the child knew whether it had one
            self.ledger.end(lane, True if lane.cells[slots.FAILED] else None)

    def wait_for_room(self) -> None:
        while not self.has_room:
            self.reap(None)

    def finish(self) -> None:
        while self._lanes:
            self.reap(None)


class AsItsServerSays(_Shared):
    """The server's own ``process_request`` does it, perhaps elsewhere: the request lasts until it is closed."""

    def __init__(self, ledger: SharedLedger) -> None:
        super().__init__(ledger)
        self._bell = Bell()
        self._open: dict[int, tuple[Any, Lane]] = {}  # by the request's identity, which holds while we hold it
        self._pid = os.getpid()

    def adopt(self, server: Server) -> None:
        server.process_request = partial(self._process, server.process_request)
        server.close_request = partial(self._close, server.close_request)
        server.shutdown_request = partial(self._close, server.shutdown_request)  # not every one closes

    def _process(self, process: Callable[[Any, Any], object], request: Any, client_address: Any) -> None:
        lane = self._take_over(client_address)
        self._open[id(request)] = request, lane
        self._shared.belong_to_thread(lane)
        try:
            process(request, client_address)
        except BaseException as error:
            if self._open.pop(id(request), None) is not None:
                self.ledger.end(lane, error)
            raise

    def _close(self, close: Callable[[Any], object], request: Any) -> None:
        try:
            close(request)
        finally:
            if os.getpid() == self._pid:  # a child that the server forked itself keeps no books
                _, lane = self._open.pop(id(request), (None, None))
                if lane is not None:
                    self.ledger.end(lane, None)
                    self._bell.ring()

    def news(self) -> News:
        return {self._bell.fileno(): self._bell.answer}

    def wait_for_room(self) -> None:
        self._wait_until(lambda: self.has_room)

    def finish(self) -> None:
        self._wait_until(lambda: not self.ledger.under_way)

    def _wait_until(self, is_so: Callable[[], bool]) -> None:
        poll = select.poll()
        poll.register(self._bell.fileno(), select.POLLIN)
        while not is_so():
            poll.poll()
            self._bell.answer()
