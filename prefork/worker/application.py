"""The user's code: found by its target, imported, checked against its binds, and built into servers.

It must not know processes.
Invariant: what it raises says which target and what to try; the application's own errors pass with their tracebacks.
Read next: ``recipe.py``, how a server class or a factory is called; ``adopting.py``, how its server gets the listener.
"""

import importlib
import os
import socket
import socketserver
import sys
import traceback
from collections.abc import Callable, Sequence
from enum import Enum, auto
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from prefork.address import Address
from prefork.errors import TargetError as TargetError
from prefork.servers.listening import serve_on
from prefork.worker.badge import Badge
from prefork.worker.protocol import Brief

if TYPE_CHECKING:  # it costs an import that a handler class does not need
    from prefork.worker.recipe import Recipe


_NOT_ITS_OWN = ("prefork", "importlib")  # packages at the head of every traceback of an import
Hook = Callable[[Badge], object]


class Kind(Enum):
    """What a target can be."""

    HANDLER = auto()
    SERVER = auto()
    FACTORY = auto()
    INSTANCE = auto()  # a program's own server, with its socket: it was there before its worker was born


class Application(NamedTuple):
    """What a target named.

    :param made_by: the request handler class, the server class or the factory.
    :param handler: the class of ``--handler``, for a server class or a factory that wants one.
    :param recipe: how the server class or the factory is called.
    :param on_start: called in each worker before its first request, ``on_stop`` after its last; or ``None``.
    :param health: says whether a new worker may serve; or ``None``.
    """

    target: str
    kind: Kind
    made_by: Any
    handler: Any = None
    recipe: "Recipe | None" = None
    on_start: Hook | None = None
    on_stop: Hook | None = None
    health: Hook | None = None


def enter_home(brief: Brief) -> None:
    """Put the working directory and the paths asked for at the head of ``sys.path``.

    :raises OSError: there is no such directory.
    """
    if brief.chdir:
        os.chdir(brief.chdir)
    sys.path[:0] = [path for path in (*brief.pythonpath, os.getcwd()) if path not in sys.path]


def load_for(brief: Brief) -> Application:
    """All that the brief names, fit for its binds.

    :raises TargetError: a name that is not there, or does not fit.
    :raises BaseException: whatever importing a module raises.
    """
    application = load(brief.target, brief.handler)
    refuse_unfit(application, [address for address, _ in brief.binds])
    for address, fd in brief.binds:
        if address.is_inherited and fd != -1:  # only the socket itself says of what kind it is
            _refuse_kind(application, address, brings_streams=_is_stream(fd))
    hooks = (_find_hook(what, getattr(brief, what)) for what in ("worker_start", "worker_stop", "health"))
    on_start, on_stop, health = hooks
    return application._replace(on_start=on_start, on_stop=on_stop, health=health)


def describe(error: BaseException) -> str:
    """The error with its traceback, from the application's first line on."""
    here = error.__traceback__
    while here is not None and _package(here) in _NOT_ITS_OWN:
        here = here.tb_next
    return "".join(traceback.format_exception(type(error), error, here))


def _package(here: TracebackType) -> str:
    """The top of the package whose code it is; also of a module that was started by ``-m``, which hides its name."""
    return str(here.tb_frame.f_globals.get("__package__") or "").partition(".")[0]


def _find_hook(what: str, text: str) -> Hook | None:
    if not text:
        return None
    found = _find(what, text)
    if not callable(found):
        raise TargetError(f"{what} {text!r} is not a function; give one that takes the worker as its argument")
    hook: Hook = found
    return hook


def load(target: str, handler: str = "") -> Application:
    """Import ``MODULE:NAME`` and find out what it is.

    :param target: a request handler class, a server class, or a function that returns a server.
    :param handler: a request handler class for such a server, likewise; empty for none.
    :raises TargetError: there is no such name, it is nothing that could be served, or nobody knows how to call it.
    :raises BaseException: whatever importing a module raises.
    """
    made_by = _find("target", target)
    if handler and _kind(target, made_by) is Kind.HANDLER:
        raise TargetError(f"target {target!r} is itself a request handler class; leave --handler {handler} out")
    handler_class = _find("handler", handler) if handler else None
    if handler and not isinstance(handler_class, type):
        raise TargetError(f"handler {handler!r} is not a class; give a request handler class, as MODULE:CLASS")
    return recognise(target, made_by, handler_class)


def recognise(target: str, made_by: Any, handler: Any = None) -> Application:
    """What has been found, or a program has, under the name ``target``.

    :raises TargetError: it is nothing that could be served, or nobody knows how to call it.
    """
    kind = _kind(target, made_by)
    if kind is Kind.HANDLER:
        return Application(target, kind, made_by)
    from prefork.worker.recipe import read

    return Application(target, kind, made_by, handler, read(target, made_by, has_handler=handler is not None))


def _find(what: str, text: str) -> Any:
    module_name, _, name = text.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name == error.name or module_name.startswith(error.name + ".")):
            remedy = "install it, or give its directory by pythonpath"
            raise TargetError(f"no module named {error.name!r} for {what} {text!r}; {remedy}") from None
        raise
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise TargetError(f"module {module_name!r} has no {name!r} for {what} {text!r}") from None
    return found


def _kind(target: str, found: Any) -> Kind:
    if isinstance(found, type):
        if issubclass(found, socketserver.BaseRequestHandler):
            return Kind.HANDLER
        if _is_server(found):
            return Kind.SERVER
    elif _is_server(found):
        remedy = "give its class, or a function that returns one"
        raise TargetError(f"target {target!r} is a server instance, built before its worker was born; {remedy}")
    elif callable(found):
        return Kind.FACTORY
    raise TargetError(
        f"target {target!r} is nothing to serve: give a request handler class, a subclass of BaseRequestHandler,"
        " or a server class, or a function that returns a server"
    )


def _is_server(found: Any) -> bool:
    """Whether it is a server or a server class, also one that never heard of ``socketserver``."""
    return hasattr(found, "serve_forever") or hasattr(found, "get_request")


def refuse_unfit(application: Application, binds: Sequence[Address]) -> None:
    """Say before anything forks that an application and its binds do not go together.

    :raises TargetError: streams where datagrams are served, or the other way round; an address that is wanted and not
        there, or cannot be told as it is wanted.
    """
    target, recipe = application.target, application.recipe
    if not binds and (application.kind is Kind.HANDLER or (recipe and recipe.wants_an_address)):
        raise TargetError(f"target {target!r} needs an address to serve on; give a bind, such as tcp://127.0.0.1:9000")
    for address in binds:
        if address.is_unix and recipe and recipe.wants_host_and_port:
            remedy = "bind it to tcp: or udp:, or pass a function that takes a path"
            raise TargetError(f"target {target!r} wants a host and a port, and {address} has a path; {remedy}")
        if not address.is_inherited:
            _refuse_kind(application, address, brings_streams=address.is_stream)


def _refuse_kind(application: Application, address: Address, *, brings_streams: bool) -> None:
    """:raises TargetError: streams where datagrams are served, or the other way round."""
    for part in (application.made_by, application.handler):
        if _serves_streams(part) not in (None, brings_streams):
            wrong, right = ("streams", "udp: or unixgram:") if brings_streams else ("datagrams", "tcp: or unix:")
            why = f"cannot serve {wrong} with {part.__name__}, as {address} brings"
            raise TargetError(f"target {application.target!r} {why}; bind it to {right}")


def _is_stream(fd: int) -> bool:
    with socket.socket(fileno=os.dup(fd)) as listener:
        return listener.type != socket.SOCK_DGRAM


def _serves_streams(part: Any) -> bool | None:
    """Whether a handler or server class is for streams, or else for datagrams; ``None`` where it does not say."""
    if not isinstance(part, type):
        return None
    if issubclass(part, socketserver.BaseRequestHandler):
        if issubclass(part, socketserver.StreamRequestHandler):
            return True
        return False if issubclass(part, socketserver.DatagramRequestHandler) else None
    kind = getattr(part, "socket_type", None)
    return None if kind is None else bool(kind == socket.SOCK_STREAM)


def build(application: Application, listeners: Sequence[socket.socket]) -> list[Any]:
    """One server a listener, in their order, or one without any; in the worker, so that each has the real address.

    A listener then belongs to its server: it has been made its socket, or been detached in favour of its socket.

    :raises TargetError: the factory returned no server, or one that does not use the listener.
    :raises BaseException: whatever the application raises.
    """
    if application.kind is Kind.INSTANCE:
        for listener in listeners:
            listener.detach()
        return [application.made_by]
    if application.kind is Kind.HANDLER:
        return [serve_on(listener, application.made_by) for listener in listeners]
    if not listeners:
        return [_make(application, None)]
    from prefork.worker.adopting import Adoption

    with Adoption(application.target) as adoption:
        return [adoption.make(listener, partial(_make, application, listener.getsockname())) for listener in listeners]


def _make(application: Application, address: Any) -> Any:
    """Call the server class or the factory. An IPv6 address is told as a pair, as users of the constructors do."""
    assert application.recipe is not None
    if isinstance(address, tuple):
        address = address[:2]
    positional, named = application.recipe.arguments(address, application.handler)
    server = application.made_by(*positional, **named)
    if not _is_server(server) or isinstance(server, type):
        raise TargetError(f"target {application.target!r} returned {server!r}; let it return a server")
    _let_shutdown_return(server)
    return server


def _let_shutdown_return(server: Any) -> None:
    """The standard library's ``shutdown`` waits for a loop to end, for ever where none began, as in our workers."""
    stopped = getattr(server, "_BaseServer__is_shut_down", None)
    if stopped is not None:
        stopped.set()
