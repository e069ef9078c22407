"""The forking strategy: each request in a child process of its own, as many at a time as ``max_children``.

It must not know what a request is, nor touch anybody else's children.
Invariant: the loop never waits for a child. At the bound it takes no request until one has ended, which wakes it.
Read next: ``children.py``, how their ends become news.
"""

import os
import signal
import socket
import socketserver
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from prefork.servers.children import Children
from prefork.servers.inet import TCPServer, UDPServer
from prefork.servers.unix import UnixDatagramServer, UnixStreamServer

if TYPE_CHECKING:
    from prefork.servers.base import BaseServer as _Server
else:
    _Server = object  # mixed with servers of ours or of the standard library


class ForkingMixIn(socketserver.ForkingMixIn, _Server):
    """Handles each request in a new process.

    :cvar max_children: requests handled at a time; further clients wait in the kernel's queue.
    :cvar block_on_close: whether ``server_close`` waits for the children.
    :ivar active_children: pids of the children that have not been collected; ``None`` before the first.
    """

    timeout: float | None = 300
    active_children: set[int] | None = None
    max_children = 40
    block_on_close = True
    # Means something only while there are active_children. In a child it is the parent's: never looked into, for that
    # would be missed there, and never closed, for the kernel does so for less
    _children: Children | None = None

    def process_request(self, request: Any, client_address: Any) -> None:
        """Fork a child that finishes the request, and close our copy of it."""
        if self._children is None or self.active_children is None:
            self._children, self.active_children = Children(), set()
        while not self._has_room():  # a loop of ours asks before; the standard library's does not
            self.active_children -= self._children.wait()
        pid = os.fork()
        if pid == 0:
            self._live_as_child(request, client_address)
        self.active_children.add(pid)
        self._children.add(pid)
        self.close_request(request)

    def collect_children(self, *, blocking: bool = False) -> None:
        """Collect our children that have ended.

        :param blocking: wait until all have.
        """
        if self._children is None or self.active_children is None:
            return
        self.active_children -= self._children.reap()
        while blocking and self._children:
            self.active_children -= self._children.wait()

    def handle_timeout(self) -> None:
        """Collect children after ``timeout`` seconds without a request. May be extended, not overridden."""
        self.collect_children()

    def service_actions(self) -> None:
        """Collect children. A loop of ours is woken by their ends; the standard library's looks now and then."""
        self.collect_children()

    def server_close(self) -> None:
        """Close the listener, and wait for the children if ``block_on_close``."""
        super().server_close()
        self.collect_children(blocking=self.block_on_close)

    def _live_as_child(self, request: Any, client_address: Any) -> NoReturn:
        """Finish the request and end; whatever happens, never return into the parent's stack."""
        status = 1
        try:
            self.active_children = None
            signal.set_wakeup_fd(-1)  # a signal of ours must not be written into the parent's pipe
            listener = getattr(self, "socket", None)
            # by the others the reply leaves; the kernel's number, for `type` looks an enum up in pages we share
            if listener is not None and listener.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_STREAM:
                listener.close()
            self.finish_request(request, client_address)
            status = 0
        except Exception:
            self.handle_error(request, client_address)
        finally:
            try:
                self.shutdown_request(request)
            finally:
                os._exit(status)

    def _has_room(self) -> bool:
        return self.active_children is None or len(self.active_children) < self.max_children

    def _has_periodic_actions(self) -> bool:
        is_asking = self._children is not None and bool(self.active_children) and self._children.must_be_asked
        return is_asking or super()._has_periodic_actions()

    def _news(self) -> Mapping[int, Callable[[], object]]:
        if self._children is None or self.active_children is None:
            return {}
        return {self._children.fileno(): self.collect_children}


class ForkingTCPServer(ForkingMixIn, TCPServer, socketserver.ForkingTCPServer):
    """TCP, a process a connection."""


class ForkingUDPServer(ForkingMixIn, UDPServer, socketserver.ForkingUDPServer):
    """UDP, a process a datagram."""


if sys.version_info >= (3, 12):

    class ForkingUnixStreamServer(ForkingMixIn, UnixStreamServer, socketserver.ForkingUnixStreamServer):
        """A Unix stream socket, a process a connection."""

    class ForkingUnixDatagramServer(ForkingMixIn, UnixDatagramServer, socketserver.ForkingUnixDatagramServer):
        """A Unix datagram socket, a process a datagram."""

else:

    class ForkingUnixStreamServer(ForkingMixIn, UnixStreamServer):
        """A Unix stream socket, a process a connection."""

    class ForkingUnixDatagramServer(ForkingMixIn, UnixDatagramServer):
        """A Unix datagram socket, a process a datagram."""
