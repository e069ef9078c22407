"""What every server of ours does: wait for a request, get it, process it, in the standard library's order of calls.

It must not know sockets, threads or processes: a mix-in says when there is no room (``_has_room``) and what else is
news (``_news``). The class of the same name in ``socketserver`` is the last base, so that ``isinstance`` asked about
the original holds.
Invariant: a request that was got is shut down exactly once by whoever processes it, whatever its handler raises.
Read next: ``watch.py``, the wait; ``inet.py``, the servers with a socket.
"""

import logging
import select
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from prefork.address import describe_peer
from prefork.servers.traits import overrides
from prefork.servers.watch import Watch
from prefork.system.accepting import Owner, owner
from prefork.system.bell import Bell
from prefork.system.sparing import Sparing

PAUSE = 0.1  # seconds without accepting after an accept that would fail again at once

logger = logging.getLogger("prefork.server")


class BaseServer(socketserver.BaseServer):
    """A server that sleeps until there is news: a request, ``shutdown()``, or what its mix-in waits for.

    A subclass brings ``get_request``, and ``fileno``, which is readable when a request is there. One without a
    usable ``fileno`` (missing, ``None`` or NotImplementedError) is asked for a request each ``poll_interval``, and
    again at once as long as it gives one; ``get_request`` raises an OSError such as BlockingIOError for "nothing".
    """

    server_address: Any
    RequestHandlerClass: Any
    timeout: float | None = None

    def __init__(self, server_address: Any, RequestHandlerClass: Any) -> None:  # noqa: N803  the documented name
        """May be extended, not overridden."""
        socketserver.BaseServer.__init__(self, server_address, RequestHandlerClass)
        self.__is_told_to_stop = False
        self.__has_stopped = threading.Event()
        self.__has_stopped.set()
        self.__serving_thread: int | None = None
        self.__bell: Bell | None = None
        self.__resume_at = 0.0  # until the first accept that fails
        self.__shortage = Sparing()

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *raised: object) -> None:
        self.server_close()

    def server_activate(self) -> None:
        """Called by the constructor. May be overridden."""

    def server_close(self) -> None:
        """Clean up. May be overridden."""

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        """Handle requests until ``shutdown()``.

        :param poll_interval: seconds after which an overridden ``service_actions`` is called although nothing
            happened, and a server without ``fileno`` is asked. A server that needs neither sleeps without limit.
        :raises ValueError: the server is closed.
        """
        self.__serving_thread = threading.get_ident()
        self.__has_stopped.clear()
        try:
            watch = Watch()
            got_one = False
            self._heed_bell()
            while not self.__is_told_to_stop:
                listener = self.__listener()
                needs_clock = listener is None or self._has_periodic_actions()
                seconds = poll_interval if needs_clock else None
                if listener is None and got_one:
                    seconds = 0.0
                may_get_one = self.__wait(watch, listener, seconds)
                if self.__is_told_to_stop:
                    break
                got_one = may_get_one and bool(self._handle_request_noblock())
                self.service_actions()
        finally:
            self.__is_told_to_stop = False
            self.__serving_thread = None
            self.__has_stopped.set()

    def shutdown(self) -> None:
        """Tell ``serve_forever`` to stop after the request at hand, and wait until it has.

        Called by the serving thread itself, in a handler or a signal handler, it returns at once. Where nothing serves
        it returns at once as well, and is remembered: the next ``serve_forever`` stops before it takes a request.
        """
        self.__is_told_to_stop = True
        self._ring()
        if self.__serving_thread != threading.get_ident():
            self.__has_stopped.wait()

    def service_actions(self) -> None:
        """Called by ``serve_forever`` after each wake; where it is overridden, also each ``poll_interval``."""

    def handle_request(self) -> None:
        """Handle one request, or call ``handle_timeout`` after ``timeout`` seconds or the socket's own timeout.

        :raises ValueError: the server is closed.
        """
        listener = self.__listener()
        if listener is None:
            self._handle_request_noblock()
            return
        of_socket = self.socket.gettimeout() if hasattr(self, "socket") else None
        limits = [seconds for seconds in (of_socket, self.timeout) if seconds is not None]
        deadline = time.monotonic() + min(limits) if limits else None
        watch = Watch()
        self._heed_bell()
        while not self.__wait(watch, listener, None if deadline is None else deadline - time.monotonic()):
            if deadline is not None and time.monotonic() >= deadline:
                self.handle_timeout()
                return
        self._handle_request_noblock()

    def handle_timeout(self) -> None:
        """Called by ``handle_request`` when no request came within ``timeout``."""

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether to process the request. May be overridden."""
        return True

    def process_request(self, request: Any, client_address: Any) -> None:
        """Finish the request and shut it down; mix-ins do so elsewhere."""
        self.finish_request(request, client_address)
        self.shutdown_request(request)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Instantiate the handler class, which handles the request in its constructor."""
        self.RequestHandlerClass(request, client_address, self)

    def shutdown_request(self, request: Any) -> None:
        """Called when the request is done."""
        self.close_request(request)

    def close_request(self, request: Any) -> None:
        """Clean up one request."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log the exception being handled, with the peer. It costs this request only.

        A client that hung up, or was silent beyond the timeout of its connection, is no failure of the handler: that
        is one line for those who want to know.
        """
        error = sys.exception()
        if _was_silent(request, error):
            logger.info("the client %s was silent for %g s", describe_peer(client_address), request.gettimeout())
        elif isinstance(error, ConnectionError) and _has_hung_up(request):
            logger.info("the client %s hung up: %s", describe_peer(client_address), error.strerror or error)
        else:
            logger.exception("the handler failed serving %s", describe_peer(client_address))

    def _handle_request_noblock(self) -> bool:
        """Get one request and process it. False if there was none."""
        try:
            request, client_address = self.get_request()
        except OSError as error:
            self.__not_got(error)
            return False
        try:
            if self.verify_request(request, client_address):
                self.process_request(request, client_address)
                return True
        except Exception:
            try:
                self.handle_error(request, client_address)
            finally:
                self.shutdown_request(request)
        except BaseException:
            self.shutdown_request(request)
            raise
        else:
            self.shutdown_request(request)
        return True

    def _has_room(self) -> bool:
        """Whether one more request can be taken now. While not, the listener is left alone and clients queue."""
        return True

    def _news(self) -> Mapping[int, Callable[[], object]]:
        """Descriptors to wait for besides the listener, and what to do when one is readable."""
        return {}

    def _has_periodic_actions(self) -> bool:
        """Whether ``service_actions`` is somebody else's. What ours look at wakes the loop by itself."""
        return not str(getattr(self.service_actions, "__module__", "")).startswith(f"{__package__}.")

    def _ring(self) -> None:
        """End the wait: something has changed. From any thread, and from a signal handler."""
        if self.__bell is not None:
            self.__bell.ring()

    def _heed_bell(self) -> Bell:
        """From here on ``_ring`` is heard; what was said before must be looked at."""
        if self.__bell is None:
            self.__bell = Bell()
        return self.__bell

    def __listener(self) -> int | None:
        try:
            fd: int | None = self.fileno()  # type: ignore[attr-defined]  # a subclass brings it, or not
        except (AttributeError, NotImplementedError):
            return None
        if fd == -1:
            raise ValueError("the server is closed; call shutdown() before server_close()")
        return fd

    def __wait(self, watch: Watch, listener: int | None, seconds: float | None) -> bool:
        """Wait for news, at most ``seconds``. Whether a request may be there, and there is room for it."""
        bell, news = self._heed_bell(), self._news()
        pause = self.__resume_at - time.monotonic() if self.__resume_at else 0.0
        is_taking = pause <= 0 and self._has_room()
        if pause > 0:
            seconds = pause if seconds is None else min(seconds, pause)
        rung = bell.fileno()
        heard = [rung, *news]
        if is_taking and listener is not None:
            heard.append(listener)
        ready = watch.wait(heard, seconds)
        if rung in ready:
            bell.answer()
        for fd, learn in news.items():
            if fd in ready:
                learn()
        return is_taking and (listener is None or listener in ready)

    def __not_got(self, error: OSError) -> None:
        if owner(error) in (Owner.NOBODY, Owner.CONNECTION):
            return
        self.__resume_at = time.monotonic() + PAUSE
        if self.__shortage.is_due():
            logger.warning("cannot accept: %s; trying again every %g s", error.strerror, PAUSE)


def _has_hung_up(request: Any) -> bool:
    """Whether the connection is dead in both directions. Never of a datagram, or of what is no socket at all."""
    try:
        poll = select.poll()
        poll.register(request, 0)
        return any(event & (select.POLLHUP | select.POLLERR) for _, event in poll.poll(0))
    except (OSError, TypeError, ValueError):
        return False


class Deadline:
    """What may interrupt the handler of a request by raising in it, from ``arm`` on and never after ``disarm``.

    Nothing does, here. What interrupts may still come while ``disarm`` runs, and is raised by it: then it is called
    again, and again does no harm.
    """

    def arm(self) -> None: ...

    def disarm(self) -> None: ...


NO_DEADLINE = Deadline()


def _was_silent(request: Any, error: object) -> bool:
    """Whether a handler waited for its client as long as it may."""
    return isinstance(error, TimeoutError) and isinstance(request, socket.socket) and bool(request.gettimeout())


def serve_one(
    server: socketserver.BaseServer, request: Any, client_address: Any, deadline: Deadline = NO_DEADLINE
) -> BaseException | None:
    """Verify, process and shut down one request, by the calls and in the order of ``socketserver``.

    What leaves the handler and is not an ``Exception`` (SystemExit, KeyboardInterrupt) is logged: it ends the request
    and not the process. An error in ``handle_error`` itself is logged as well.

    :returns: what the handler raised, if anything.
    """
    raised: BaseException | None = None
    try:
        try:
            deadline.arm()
            if server.verify_request(request, client_address):
                server.process_request(request, client_address)
                return None
        finally:
            deadline.disarm()
    except BaseException as error:
        deadline.disarm()
        raised = error
        _tell(server, request, client_address, error)
    _shut_down(server, request, client_address)
    return raised


def finish_one(
    server: socketserver.BaseServer, request: Any, client_address: Any, deadline: Deadline = NO_DEADLINE
) -> BaseException | None:
    """What is left of ``serve_one`` for a request that is verified: what ``process_request`` lets a thread or child do.

    :returns: what the handler raised, if anything.
    """
    raised: BaseException | None = None
    try:
        try:
            deadline.arm()
            server.finish_request(request, client_address)
        finally:
            deadline.disarm()
    except BaseException as error:
        deadline.disarm()
        raised = error
        _tell(server, request, client_address, error)
    _shut_down(server, request, client_address)
    return raised


def _tell(server: socketserver.BaseServer, request: Any, client_address: Any, error: BaseException) -> None:
    """Let the server tell the error being handled; one that would end a program is told here."""
    if not isinstance(error, Exception):
        logger.exception("the handler left by %s serving %s", type(error).__name__, describe_peer(client_address))
        return
    if _was_silent(request, error) and not overrides(server, "handle_error"):
        logger.info("the client %s was silent for %g s", describe_peer(client_address), request.gettimeout())
        return
    try:
        server.handle_error(request, client_address)
    except BaseException:
        logger.exception("handle_error itself failed serving %s", describe_peer(client_address))


def _shut_down(server: socketserver.BaseServer, request: Any, client_address: Any) -> None:
    try:
        server.shutdown_request(request)
    except BaseException:
        logger.exception("shutdown_request failed serving %s", describe_peer(client_address))
