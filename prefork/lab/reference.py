"""The references: what a target costs without a master, to show the price of supervision.

``bare``: so many processes, each of which accepts in a blocking call, handles and closes: no framework, no supervision,
no log. It is the least that Python can do. ``stdlib-sync``, ``stdlib-thread``, ``stdlib-fork``: the classes of the
standard library with its own loop; only the backlog is ours, or its 5 would be what is compared.

``python -m prefork.lab.reference WANTED``, a record in JSON. It says on a pipe that it serves and where, or why it does
not. It must not know loads, nor anything of a master, and imports little, for its memory is compared.
Invariant: when it is told to end, its process group ends at once, and so does it when whoever started it is gone.
Read next: ``subjects.py``, who starts it.
"""

import ctypes
import importlib
import json
import mmap
import os
import signal
import socket
import socketserver
import sys
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

from prefork.address import Address
from prefork.binds import parse
from prefork.lab.leash import PR_SET_PDEATHSIG
from prefork.system.processes import become_subreaper
from prefork.system.sockets import DEFAULT_BACKLOG

LARGEST_DATAGRAM = 65536  # bytes
WAYS = {"sync": object, "thread": socketserver.ThreadingMixIn, "fork": socketserver.ForkingMixIn}
_SERVERS: dict[str, type[socketserver.BaseServer]] = {
    "tcp": socketserver.TCPServer,
    "udp": socketserver.UDPServer,
    "unix": socketserver.UnixStreamServer,
    "unixgram": socketserver.UnixDatagramServer,
}


class Wanted(NamedTuple):
    """What is to run.

    :param children: at a time, of ``stdlib-fork``; ``None`` is as the standard library has it.
    :param news: a descriptor, of the pipe where it says how it went, in one line.
    :param counters: a descriptor, of shared memory with 8 bytes a worker: requests that ``bare`` has served.
    """

    line: str
    target: str
    bind: str
    workers: int
    handler: str
    children: int | None
    chdir: str
    pythonpath: list[str]
    news: int
    counters: int


class Unfit(Exception):
    """This reference is not for this target; others may be."""


class Unloadable(Exception):
    """The target cannot be imported, or is nothing to serve."""


class Service(NamedTuple):
    """:param place: where it listens, as ``getsockname`` says.
    :param serve: calls what it is given once all that serve are there, and does not return.
    """

    place: Any
    serve: Callable[[Callable[[], None]], object]


def main(wanted: Wanted) -> None:
    become_subreaper()  # so that all of ours are seen to be ours
    signal.signal(signal.SIGTERM, _end)
    os.set_inheritable(wanted.news, False)
    try:
        service = _prepare(wanted)
    except (Unfit, Unloadable) as error:
        _say(wanted, type(error).__name__.lower(), error)
    except OSError as error:
        _say(wanted, "failed", f"cannot listen on {wanted.bind}: {error.strerror}")
    else:
        address = parse(wanted.bind)
        shown = address if address.is_unix else address._replace(port=service.place[1])
        service.serve(lambda: _say(wanted, "ready", shown))


def _say(wanted: Wanted, word: str, rest: object) -> None:
    os.write(wanted.news, f"{word} {' '.join(str(rest).split())}".encode())
    os.close(wanted.news)


def _end(signum: int = 0, frame: object = None) -> NoReturn:
    os.killpg(0, signal.SIGKILL)
    raise SystemExit  # not reached


def _prepare(wanted: Wanted) -> Service:
    """:raises Unloadable: the target is nothing to serve.
    :raises Unfit: it is not for this line.
    :raises OSError: the address cannot be had.
    """
    if wanted.chdir:
        os.chdir(wanted.chdir)
    sys.path[:0] = [*wanted.pythonpath, os.getcwd()]
    target = _find(wanted.target)
    handler = _find(wanted.handler) if wanted.handler else None
    address = parse(wanted.bind)
    if isinstance(target, type) and issubclass(target, socketserver.BaseRequestHandler):
        return _bare(wanted, target, address) if wanted.line == "bare" else _stdlib(wanted, target, address)
    if not callable(target):
        raise Unloadable(f"{wanted.target} is nothing to serve")
    if wanted.line == "bare":
        raise Unfit("the target is no request handler class and brings a loop of its own; see the stdlib lines")
    return _as_is(wanted, target, handler, address)


def _find(text: str) -> Any:
    module, _, name = text.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except Exception as error:
        raise Unloadable(f"{type(error).__name__}: {error}") from error
    return found


def _place(address: Address) -> Any:
    """As ``bind`` wants it."""
    if not address.is_unix:
        return address.host, address.port
    return "\0" + address.path[1:] if address.is_abstract else address.path


def _family(address: Address) -> int:
    if address.is_unix:
        return socket.AF_UNIX
    return socket.AF_INET6 if ":" in address.host else socket.AF_INET


# a bare loop


class Stub:
    """What a handler of ``bare`` finds as its server."""

    def __init__(self, listener: socket.socket, handler: Any) -> None:
        self.socket = listener
        self.server_address = listener.getsockname()
        self.RequestHandlerClass = handler


def _bare(wanted: Wanted, handler: Any, address: Address) -> Service:
    listener = socket.socket(_family(address), socket.SOCK_STREAM if address.is_stream else socket.SOCK_DGRAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(_place(address))
    if address.is_stream:
        listener.listen(DEFAULT_BACKLOG)
    counters = memoryview(mmap.mmap(wanted.counters, wanted.workers * 8)).cast("Q")

    def serve(say_ready: Callable[[], None]) -> None:
        parent = os.getpid()
        for number in range(wanted.workers):
            if os.fork() == 0:
                os.close(wanted.news)
                _live(listener, Stub(listener, handler), counters, number, parent)
        say_ready()
        os.wait()  # none ends by itself
        _end()

    return Service(listener.getsockname(), serve)


def _live(listener: socket.socket, stub: Stub, counters: memoryview, number: int, parent: int) -> NoReturn:
    """A worker's life: it ends with its parent."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    try:
        is_stream = listener.type == socket.SOCK_STREAM
        while os.getppid() == parent:
            try:
                if is_stream:
                    _serve_connection(listener, stub)
                else:
                    data, peer = listener.recvfrom(LARGEST_DATAGRAM)
                    stub.RequestHandlerClass((data, listener), peer, stub)
            except Exception:
                traceback.print_exc()
            counters[number] += 1
    finally:
        os._exit(1)


def _serve_connection(listener: socket.socket, stub: Stub) -> None:
    connection, peer = listener.accept()
    try:
        stub.RequestHandlerClass(connection, peer, stub)
    finally:
        try:
            connection.shutdown(socket.SHUT_WR)
        except OSError:  # the client is gone
            pass
        connection.close()


# the standard library


def _stdlib(wanted: Wanted, handler: Any, address: Address) -> Service:
    way = WAYS[wanted.line.removeprefix("stdlib-")]
    bases = (_SERVERS[address.scheme],) if way is object else (way, _SERVERS[address.scheme])
    traits: dict[str, Any] = {"allow_reuse_address": not address.is_unix, "address_family": _family(address)}
    if wanted.children is not None:
        traits["max_children"] = wanted.children
    server: Any = type("Server", bases, traits)(_place(address), handler)
    return _with_our_backlog(server)


def _as_is(wanted: Wanted, made_by: Callable[..., Any], handler: Any, address: Address) -> Service:
    """A server class, or a function that returns a server, called as the standard library's are."""
    arguments = (_place(address),) if handler is None else (_place(address), handler)
    try:
        server = made_by(*arguments)
    except Exception as error:
        raise Unfit(f"calling the target with {len(arguments)} arguments, address first: {error}") from error
    if not hasattr(server, "serve_forever"):
        raise Unfit(f"the target made {server!r}, which has no serve_forever")
    way = next((name for name, mixin in reversed(WAYS.items()) if isinstance(server, mixin)), "sync")
    if wanted.line != f"stdlib-{way}":
        raise Unfit(f"the target's own class says how requests are handled; see stdlib-{way}")
    return _with_our_backlog(server)


def _with_our_backlog(server: Any) -> Service:
    """What is listening may be told again how much to queue, listen(2)."""
    if server.socket.type == socket.SOCK_STREAM:
        server.socket.listen(DEFAULT_BACKLOG)

    def serve(say_ready: Callable[[], None]) -> None:
        say_ready()
        server.serve_forever()

    return Service(server.socket.getsockname(), serve)


if __name__ == "__main__":
    main(Wanted(**json.loads(sys.argv[1])))
