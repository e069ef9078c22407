"""Request handlers: one instance a request, whose constructor handles it.

They must not know which server, process or thread calls them.
Invariant: ``finish`` is called once ``handle`` was, whatever that raised; a file that was never touched was never made.
"""

import io
import socket
import socketserver
from collections.abc import Callable
from typing import Any, ClassVar, Generic, TypeVar

T = TypeVar("T")


class BaseRequestHandler(socketserver.BaseRequestHandler):
    """Subclass it and define ``handle``; the request is ``self.request``."""

    server: Any

    def __init__(self, request: Any, client_address: Any, server: Any) -> None:
        self.request = request
        self.client_address = client_address
        self.server = server
        self.setup()
        try:
            self.handle()
        finally:
            self.finish()

    def setup(self) -> None:
        """Called before ``handle``. May be overridden."""

    def handle(self) -> None:
        """Serve the request. To be overridden."""

    def finish(self) -> None:
        """Called after ``handle``. May be overridden."""


class _WhenTouched(Generic[T]):
    """An attribute that is made when it is first read, and may be set instead."""

    # functools.cached_property does the same, under a lock of the whole class before Python 3.12

    def __init__(self, make: Callable[[Any], T]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self
        made = self._make(instance)
        vars(instance)[self._name] = made  # from here on found before this descriptor, which has no __set__
        return made


class StreamRequestHandler(BaseRequestHandler, socketserver.StreamRequestHandler):
    """Reads the request from ``rfile`` and writes the reply to ``wfile``.

    :cvar rbufsize: buffer of ``rfile``; -1 is the default size.
    :cvar wbufsize: buffer of ``wfile``; 0 sends each write at once and whole.
    :cvar timeout: seconds, of each operation on the connection.
    :cvar disable_nagle_algorithm: for buffered replies that should leave at once.
    """

    rbufsize = -1
    wbufsize = 0
    timeout: ClassVar[float | None] = None
    disable_nagle_algorithm = False

    def setup(self) -> None:
        self.connection = self.request
        if self.timeout is not None:
            self.connection.settimeout(self.timeout)
        if self.disable_nagle_algorithm:
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)

    @_WhenTouched
    def rfile(self) -> io.BufferedIOBase:
        """The request."""
        return self.connection.makefile("rb", self.rbufsize)  # type: ignore[no-any-return]  # any kind of connection

    @_WhenTouched
    def wfile(self) -> io.BufferedIOBase:
        """The reply."""
        if self.wbufsize == 0:
            return _SocketWriter(self.connection)
        return self.connection.makefile("wb", self.wbufsize)  # type: ignore[no-any-return]  # as rfile

    def finish(self) -> None:
        made = vars(self)
        if "wfile" in made:
            wfile = self.wfile
            if type(wfile) is not _SocketWriter and not wfile.closed:
                try:
                    wfile.flush()
                except OSError:  # the client is gone
                    pass
            wfile.close()
        if "rfile" in made:
            self.rfile.close()


class _SocketWriter(io.BufferedIOBase):
    """Sends each write at once and whole; there is nothing to flush."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._connection.sendall(data)
        if type(data) is bytes:  # nearly always
            return len(data)
        with memoryview(data) as view:
            return view.nbytes

    def fileno(self) -> int:
        return self._connection.fileno()


class DatagramRequestHandler(BaseRequestHandler, socketserver.DatagramRequestHandler):
    """Reads the datagram from ``rfile``; what was written to ``wfile`` is the reply, one datagram, perhaps empty."""

    def setup(self) -> None:
        self.packet, self.socket = self.request

    @_WhenTouched
    def rfile(self) -> io.BytesIO:
        """The datagram."""
        return io.BytesIO(self.packet)

    @_WhenTouched
    def wfile(self) -> io.BytesIO:
        """The reply."""
        return io.BytesIO()

    def finish(self) -> None:
        reply = self.wfile.getvalue() if "wfile" in vars(self) else b""
        self.socket.sendto(reply, self.client_address)
