"""How a server that opens its own socket comes to use the listener which its worker inherited instead.

While anybody's constructor or factory runs, binding to the address of a listener on offer turns the very socket object
into that listener; every other call goes to the kernel as it was. It must not know what the servers serve, nor how
they are made.
Invariants: a listener has one descriptor, before and after; no call in here makes it block, cuts its backlog or
removes its path.
Read next: ``prefork/servers/inherited.py``, what the socket is from then on.
"""

import _socket
import errno
import os
import socket
from collections.abc import Callable
from typing import Any

from prefork.errors import TargetError
from prefork.servers.inherited import InheritedSocket, inherit, is_same_address
from prefork.servers.traits import runs_its_own_loop

_WATCHED = ("bind", "listen", "setblocking", "settimeout")
_KEPT = (socket.SO_BROADCAST, socket.SO_KEEPALIVE)  # what a server sets before it binds, and would miss afterwards


class Adoption:
    """Stands between sockets and the kernel from ``with`` on, and beyond its end as long as a listener is on offer."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._on_offer: list[socket.socket] = []
        self._adopted: set[int] = set()  # inodes of the kernel's sockets
        self._bound_elsewhere: list[Any] = []

    def __enter__(self) -> "Adoption":
        # on the class, so that whoever said "from socket import socket" is met as well
        for name in _WATCHED:
            setattr(socket.socket, name, self._watched(name, getattr(socket.socket, name)))
        return self

    def __exit__(self, *raised: object) -> None:
        if not self._on_offer or any(raised):
            for name in _WATCHED:
                delattr(socket.socket, name)  # what stands below it, in C, is seen again

    def make(self, listener: socket.socket, make: Callable[[], Any]) -> Any:
        """The server that ``make`` returns, on the listener; one that runs its own loop may bind to it later.

        :raises TargetError: it does not use the listener, or removed its path.
        :raises BaseException: whatever making it raises.
        """
        number, family, address = listener.fileno(), listener.family, listener.getsockname()
        before = _inode(address)
        if before:
            _protect(address)
        self._bound_elsewhere.clear()
        self._on_offer.append(listener)
        try:
            server = make()
        except OSError as error:
            if error.errno == errno.EADDRINUSE and self._bound_elsewhere:
                raise self._refusal(address) from error
            raise
        if _inode(address) != before:
            raise TargetError(f"target {self._target!r} removed {address!r}, which clients use; leave the path alone")
        if listener in self._on_offer:
            if self._bound_elsewhere or not runs_its_own_loop(server):
                raise self._refusal(address)
        elif getattr(server, "socket", None) is not None:
            if server.socket.fileno() != number:
                raise self._refusal(address)
            _settle(server, family)
        return server

    def _refusal(self, address: Any) -> TargetError:
        where = f"on {self._bound_elsewhere[-1]!r} instead of" if self._bound_elsewhere else "that is not on"
        return TargetError(
            f"target {self._target!r} made a server {where} {address!r}; let it bind to the address that it is given"
        )

    def _watched(self, name: str, change: Callable[..., None]) -> Callable[..., None]:
        """The call, or what it is for a listener of ours, whatever object that is by now: an SSLSocket, perhaps."""

        def watched(sock: socket.socket, *arguments: Any) -> None:
            if sock.fileno() != -1 and os.fstat(sock.fileno()).st_ino in self._adopted:
                if name != "listen":
                    _socket.socket.setblocking(sock, False)
            elif name != "bind" or not self._adopts(sock, *arguments):
                change(sock, *arguments)

        return watched

    def _adopts(self, sock: socket.socket, address: Any) -> bool:
        """Whether binding to the address has turned the object into a listener on offer."""
        for listener in self._on_offer:
            if sock.type == listener.type and is_same_address(address, listener.getsockname()):
                self._on_offer.remove(listener)
                self._adopted.add(os.fstat(listener.fileno()).st_ino)
                _become(sock, listener)
                return True
        self._bound_elsewhere.append(address)
        return False


def _become(sock: socket.socket, listener: socket.socket) -> None:
    """The object becomes the listener, whatever family it was made for, and its own socket is no more."""
    family, kind, proto = listener.family, listener.type, listener.proto
    for option in _KEPT:
        if sock.getsockopt(socket.SOL_SOCKET, option):
            listener.setsockopt(socket.SOL_SOCKET, option, 1)
    os.close(socket.socket.detach(sock))
    socket.socket.__init__(sock, family, kind, proto, fileno=listener.detach())
    inherit(sock)


def _settle(server: Any, family: int) -> None:
    """What only the finished server shows: which socket object it uses by now, and for which family it takes itself."""
    if getattr(server, "address_family", family) != family:
        server.address_family = family
    sock = server.socket
    if not isinstance(sock, socket.socket):
        os.set_blocking(sock.fileno(), False)
    elif not runs_its_own_loop(server):
        inherit(sock)
    elif not isinstance(sock, InheritedSocket):
        # a loop that finds a timeout of 0 would spin: made anew, an object has none, and the flag is left alone
        socket.socket.__init__(sock, sock.family, sock.type, sock.proto, fileno=sock.fileno())


_protected: set[str] = set()


def _inode(address: Any) -> tuple[int, int] | None:
    """Of a Unix socket's path, where it can be seen from here."""
    if not isinstance(address, str) or not address:
        return None
    try:
        status = os.stat(address)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _protect(path: str) -> None:
    """Removing the path does nothing from here on: before it binds and after it closes, a server likes to clean up."""
    if path in _protected:  # by whom we were forked from, who was a worker itself
        return
    _protected.add(path)

    def unless_ours(remove: Callable[..., None]) -> Callable[..., None]:
        def remove_unless_ours(name: Any, **where: Any) -> None:
            if where or not is_same_address(os.fspath(name), path):
                remove(name, **where)

        return remove_unless_ours

    os.unlink, os.remove = unless_ours(os.unlink), unless_ours(os.remove)
