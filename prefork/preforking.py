"""Preforked workers in your own program: ``PreforkingTCPServer(address, Handler).serve_forever()``, and ``serve``.

The framework's third way to handle requests beside ``ForkingMixIn`` and ``ThreadingMixIn``. The calling process becomes
the master for as long as it serves; what it serves runs in processes forked from it.
Invariant: a listener that the program made is, after ``shutdown()``, as it was before ``serve_forever()``, its queue
included.
Read next: ``docs/library.md``; ``prefork/master/plain.py``, what ``serve_forever`` does.
"""

import contextlib
import inspect
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from prefork.address import Address
from prefork.config.instance import Instance
from prefork.config.service import NO_BIND, SIZING, Service
from prefork.config.settings import convert, no_setting
from prefork.errors import Exit, NotLoadedError, UsageError
from prefork.master import opening, plain
from prefork.master.hands import LANES, SLOTS, Hands
from prefork.master.scale import scale_for
from prefork.servers.inet import TCPServer, UDPServer
from prefork.servers.inherited import inherit
from prefork.servers.unix import UnixDatagramServer, UnixStreamServer
from prefork.system import slots
from prefork.system.activation import Passed
from prefork.system.bell import Bell
from prefork.system.sockets import Listener
from prefork.worker.application import Application, Kind, recognise, refuse_unfit
from prefork.worker.notices import Notices
from prefork.worker.protocol import Brief, Fork, OrderCell, Stop

logger = logging.getLogger("prefork.master")

_SETTINGS = (
    "workers",
    "concurrency",
    "threads",
    "children",
    "balance",
    "max_requests",
    "max_requests_jitter",
    "max_age",
    "max_age_jitter",
    "memory_soft",
    "memory_hard",
    "memory_measure",
    "max_surge",
    "graceful_timeout",
    "quick_timeout",
    "boot_timeout",
    "timeout",
    "on_timeout",
    "request_slow",
    "request_hard",
    "idle_timeout",
    "keepalive",
)
_OF_SERVE = (*_SETTINGS, "mode", "backlog", *SIZING)
# as attributes of a server; the one that the standard library has a meaning for is called differently there
_ATTRIBUTES = {"request_timeout" if name == "timeout" else name: name for name in _SETTINGS}
_TARGET = "program:target"  # where a setting wants a MODULE:NAME, and we have the thing itself


class _Switch:
    """Whether a server is told to stop, and who has to hear of it."""

    def __init__(self) -> None:
        self.is_told_to_stop = False
        self.bell: Bell | None = None  # while it serves
        self.thread: int | None = None  # the one that serves
        self.pid = 0  # and its process
        self.has_stopped = threading.Event()
        self.tell_master: Notices | None = None  # in a worker
        self.orders: memoryview | None = None  # in a worker
        self.is_refusing = False  # its socket admits nobody any more
        self.bound: tuple[int, int] | None = None  # the socket that its own server_bind bound, by device and inode

    def turn_off(self) -> None:
        if self.tell_master is not None:
            assert self.orders is not None
            if self.orders[slots.PHASE] == OrderCell.SERVE:  # a worker that leaves anyway stops nobody
                self.tell_master.send(Stop())
            return
        self.is_told_to_stop = True
        bell = self.bell
        if bell is not None:
            bell.ring()
        if self.bell is not None and self.pid == os.getpid() and self.thread != threading.get_ident():
            self.has_stopped.wait()

    @contextlib.contextmanager
    def serving(self) -> Iterator[Bell]:
        if self.bell is not None and self.pid == os.getpid():
            raise RuntimeError("this server serves already, in another thread; call shutdown() first")
        self.has_stopped.clear()
        self.thread, self.pid = threading.get_ident(), os.getpid()
        self.bell = bell = Bell()
        try:
            yield bell
        finally:
            self.is_told_to_stop = False
            self.bell = self.thread = None
            self.has_stopped.set()


def _switch_of(server: Any) -> _Switch:
    """Also of a server whose class never called our constructor; one for all threads."""
    switch: _Switch = server.__dict__.setdefault("_prefork_switch", _Switch())
    return switch


class PreforkingMixIn:
    """Handle requests in preforked worker processes: ``class Server(PreforkingMixIn, TCPServer)``.

    Over our servers or the standard library's, and beside their ``ThreadingMixIn`` or ``ForkingMixIn``. Settings are
    class attributes, or keyword arguments of the constructor. Times are seconds, or text with a unit: ``"250ms"``.

    :cvar workers: worker processes.
    :cvar concurrency: ``sync``, ``thread`` or ``fork``: how a worker handles requests; ``None`` as the class says.
    :cvar threads: requests at a time in a worker with threads.
    :cvar children: requests at a time in a worker that forks.
    :cvar balance: idle workers get clients ``warm``, the one that served last first, or ``even``, in turn.
    :cvar max_requests: replace a worker after as many requests; 0 is never.
    :cvar max_requests_jitter: up to as many more, at random for each worker.
    :cvar max_age: replace a worker that has served as long; 0 is never.
    :cvar max_age_jitter: up to so much longer, at random for each worker.
    :cvar memory_soft: replace a worker that uses more: bytes, or text with a unit, ``"300MiB"``; 0 is never.
    :cvar memory_hard: kill a worker that uses more; 0 is never.
    :cvar memory_measure: what counts: ``uss``, the memory that a worker has alone, or ``pss``, shares of it as well.
    :cvar max_surge: replace at most as many at a time; ``None`` is a quarter of the workers.
    :cvar graceful_timeout: what a worker that leaves has to finish its request.
    :cvar quick_timeout: what INT leaves.
    :cvar boot_timeout: what a worker has until it is ready.
    :cvar request_timeout: interrupt a request that takes longer, by ``RequestTimeout``; ``None`` is never. ``timeout``
        is the standard library's, and means the wait of ``handle_request``.
    :cvar on_timeout: whether the worker of such a request should ``retire``, or ``keep`` serving.
    :cvar request_slow: put the stacks of a worker into the log whose request takes longer; ``None`` is never.
    :cvar request_hard: kill a worker whose request takes longer; ``None`` is never.
    :cvar idle_timeout: what an operation on a connection may take that waits for its client; ``None`` is for ever.
    :cvar keepalive: probe TCP clients that are silent as long; ``None`` is never.
    """

    workers: int = 4
    concurrency: Literal["sync", "thread", "fork"] | None = None
    threads: int | None = None
    children: int | None = None
    balance: Literal["warm", "even"] = "warm"
    max_requests: int = 0
    max_requests_jitter: int = 0
    max_age: float | str = 0.0
    max_age_jitter: float | str = 0.0
    memory_soft: int | str = 0
    memory_hard: int | str = 0
    memory_measure: Literal["uss", "pss"] = "uss"
    max_surge: int | None = None
    graceful_timeout: float | str = 30.0
    quick_timeout: float | str = 1.0
    boot_timeout: float | str = 60.0
    request_timeout: float | str | None = None
    on_timeout: Literal["retire", "keep"] = "retire"
    request_slow: float | str | None = None
    request_hard: float | str | None = None
    idle_timeout: float | str | None = None
    keepalive: float | str | None = None

    def __init__(self, *arguments: Any, **named: Any) -> None:
        """Take the settings among the arguments; all others go to the server's own constructor.

        :raises UsageError: a setting is wrong, or there is none of that name. Nothing was touched.
        """
        own = _parameters(super().__init__)
        for name in list(named):
            if own is not None and name in own:
                continue  # the server's, also where it is called like one of ours
            if name in _ATTRIBUTES:
                setattr(self, name, named.pop(name))
            elif own is not None:
                raise no_setting(name, _ATTRIBUTES, type(self).__name__)
        _service_of(self)
        super().__init__(*arguments, **named)

    def server_bind(self) -> None:
        """Called by the constructor. May be overridden."""
        super().server_bind()  # type: ignore[misc]
        _switch_of(self).bound = _identity(self.fileno())  # type: ignore[attr-defined]

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        """Serve with preforked workers until ``shutdown()``, TERM or INT.

        Signals are heard in the main thread only, and only those that the program has no handler for: TERM stops
        gracefully and for good, INT quickly, HUP replaces the workers one by one. In other threads there is
        ``shutdown()``.

        :param poll_interval: as in ``socketserver``; nothing here is polled.
        :raises KeyboardInterrupt: INT arrived; the workers are gone.
        :raises NotLoadedError: the first workers never became ready.
        :raises UsageError: a setting is wrong, or threads were started by the constructor.
        """
        if _switch_of(self).tell_master is not None:  # a worker serves alone
            super().serve_forever(poll_interval)  # type: ignore[misc]
            return
        outcome = _serve_instance(self, _service_of(self))
        if outcome is None:
            return
        if outcome.why_failed:
            raise NotLoadedError(f"{type(self).__name__} cannot serve: {outcome.why_failed}")
        if signal.SIGINT in outcome.heard:
            raise KeyboardInterrupt

    def shutdown(self) -> None:
        """Stop gracefully: workers finish what they have and leave; whoever is queued waits for the next who serves.

        It waits until ``serve_forever`` has returned. Called by the serving thread itself, in a signal handler, or by a
        handler in a worker, it returns at once. Where nothing serves it returns at once as well, and is remembered: the
        next ``serve_forever`` returns before it has forked anybody.
        """
        _switch_of(self).turn_off()


class PreforkingTCPServer(PreforkingMixIn, TCPServer):
    """A stream server with preforked workers."""


class PreforkingUDPServer(PreforkingMixIn, UDPServer):
    """A datagram server with preforked workers."""


class PreforkingUnixStreamServer(PreforkingMixIn, UnixStreamServer):
    """A stream server on a Unix socket with preforked workers."""


class PreforkingUnixDatagramServer(PreforkingMixIn, UnixDatagramServer):
    """A datagram server on a Unix socket with preforked workers."""


def serve(target: Any, *, bind: str | Sequence[str] = (), handler: Any = None, **settings: Any) -> Exit:
    """Serve ``target`` with preforked workers until it is stopped by TERM or INT.

    Signals are heard as by ``PreforkingMixIn.serve_forever``; after INT this returns.

    :param target: a request handler class, a server class, a function that returns a server, or a server that has its
        own socket.
    :param bind: URLs to listen on, such as ``tcp://0.0.0.0:9000``; none where the target is a server.
    :param handler: a request handler class, for a server class that wants one.
    :param settings: ``workers`` and the other settings of a service, ``docs/configuration.md``; times are seconds or
        text with a unit.
    :returns: how it ended, as ``docs/exit-codes.md`` tells: ``sys.exit(serve(...))``.
    :raises UsageError: a setting is wrong. Nothing was touched.
    :raises TargetError: the target is nothing that could be served on such binds.
    :raises BindError: an address cannot be bound.
    """
    for name in settings:
        if name not in _OF_SERVE:
            raise no_setting(name, ("bind", "handler", *_OF_SERVE), "serve")
    binds = [bind] if isinstance(bind, str) else list(bind)
    if not isinstance(target, type) and hasattr(target, "serve_forever"):
        if binds or handler is not None:
            raise UsageError("serve: a server has its own socket and handler; leave bind and handler out")
        outcome = _serve_instance(target, _service(settings, NO_BIND, "serve"))
        return Exit.STOPPED if outcome is None else outcome.code
    name = _name(getattr(target, "__name__", type(target).__name__))
    application = recognise(name, target, handler)
    if application.kind is Kind.HANDLER and handler is not None:
        raise UsageError(f"serve: {name} is itself a request handler class; leave handler out")
    service = _service(settings, tuple(binds), "serve")
    refuse_unfit(application, service.addresses)
    instance = _instance(name, service)
    _warn_of_threads()
    with plain.undisturbed() as blocked, opening.open_all(instance, Passed()) as all_hands:
        (hands,) = all_hands.values()
        return plain.run(instance, hands, application, Bell(), lambda brief, fork: brief, blocked).code


def _serve_instance(server: Any, service: Service) -> plain.Outcome | None:
    """:returns: ``None`` where it was told to stop before it began."""
    _refuse_threads(server)
    switch = _switch_of(server)
    if switch.is_refusing:
        raise RuntimeError("this server was stopped for good by SIGTERM, and its socket refuses clients; make another")
    with plain.undisturbed() as blocked, switch.serving() as bell:
        if switch.is_told_to_stop:
            return None
        _warn_of_threads()
        with _non_blocking(server) as listeners:
            name = _name(type(server).__name__)
            board = slots.Scoreboard.create(SLOTS, max(LANES, *service.at_once))
            hands = Hands(name, service, listeners, board, is_lent=True, scale=scale_for(service))
            application = Application(name, Kind.INSTANCE, server)

            def settle_in(brief: Brief, fork: Fork) -> Brief:
                hands.close_listeners()
                switch.bell = None
                switch.tell_master, switch.orders = Notices(brief.notices), hands.line(fork.slot).orders
                if not isinstance(server, PreforkingMixIn):
                    server.shutdown = switch.turn_off  # the standard library's would wait for a loop that never runs
                _share(server)
                return brief._replace(binds=[(address, server.fileno()) for address, _ in brief.binds])

            outcome = plain.run(_instance(name, service), hands, application, bell, settle_in, blocked)
            switch.is_refusing = not outcome.has_kept_door
            return outcome


# settings


def _parameters(constructor: Any) -> set[str] | None:
    """The names a constructor takes; ``None`` where it takes any."""
    try:
        parameters = inspect.signature(constructor).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return {parameter.name for parameter in parameters}


def _service_of(server: PreforkingMixIn) -> Service:
    settings = {name: getattr(server, attribute) for attribute, name in _ATTRIBUTES.items()}
    return _service(settings, NO_BIND, type(server).__name__)


def _service(settings: dict[str, Any], bind: tuple[str, ...], place: str) -> Service:
    given = {name: value for name, value in settings.items() if value is not None}
    service: Service = convert({**given, "target": _TARGET, "bind": bind}, Service, place)
    return service


def _instance(name: str, service: Service) -> Instance:
    program = os.path.basename(sys.argv[0] if sys.argv else "").removesuffix(".py")
    return Instance(service={name: service}, name=_name(program))


def _name(text: str) -> str:
    """What titles and log lines call something, whatever it is called."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "-" for c in text)[:30] or "program"


# threads do not survive a fork


def _refuse_threads(server: Any) -> None:
    """:raises UsageError: the server has threads, which no worker would have."""
    own = (threading.current_thread(), threading.main_thread())
    for name, value in vars(server).items():
        is_thread = isinstance(value, threading.Thread) and value.is_alive() and value not in own
        if is_thread or (type(value).__name__ == "ThreadPoolExecutor" and getattr(value, "_threads", None)):
            raise UsageError(
                f"{type(server).__name__}.{name} has threads already, which do not survive a fork; start them in the"
                " worker: at its first request, or in the hook that begins a worker"
            )


def _warn_of_threads() -> None:
    own = (threading.current_thread(), threading.main_thread())
    threads = [thread.name for thread in threading.enumerate() if thread not in own]
    if threads:
        text = "threads of this program that no worker will have: %s; a lock they hold at a fork stays locked there"
        logger.warning(text, ", ".join(threads))


# the server's own socket


@contextlib.contextmanager
def _non_blocking(server: Any) -> Iterator[list[Listener]]:
    """The server's listener, non-blocking for as long as workers share it, then as it was."""
    if not hasattr(server, "socket"):  # its work comes from elsewhere
        yield []
        return
    fd = server.fileno()
    if fd == -1:
        raise ValueError("the server is closed; call shutdown() before server_close()")
    was_blocking, timeout = os.get_blocking(fd), server.socket.gettimeout()
    server.socket.setblocking(False)
    try:
        copy = socket.socket(fileno=os.dup(fd))
        copy.setblocking(False)
        yield [Listener(_address(server, copy), copy)]
    finally:
        if server.fileno() != -1:
            server.socket.settimeout(timeout)
            os.set_blocking(fd, was_blocking)


def _identity(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


def _address(server: Any, listener: socket.socket) -> Address:
    """Where it listens; a socket that came from elsewhere may be held elsewhere, and is never shut."""
    is_stream = listener.type == socket.SOCK_STREAM
    name = listener.getsockname()
    if _switch_of(server).bound != _identity(listener.fileno()):
        return Address("fd", fd=listener.fileno())
    if listener.family == socket.AF_UNIX:
        path = os.fsdecode(name)
        return Address("unix" if is_stream else "unixgram", path="@" + path[1:] if path.startswith("\0") else path)
    return Address("tcp" if is_stream else "udp", host=name[0], port=name[1])


def _share(server: Any) -> None:
    """In a worker: what the server's socket is there, non-blocking, while timeouts touch only Python's side of it."""
    listener = getattr(server, "socket", None)
    if type(listener) is socket.socket:
        server.socket = inherit(listener)
