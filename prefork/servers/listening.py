"""Servers on a listening socket that somebody else opened: streams and datagrams, TCP, UDP and Unix.

They must not know who opened it, nor ever change its flags: those belong to all who hold the socket.
Invariant: getting a request never blocks; where nothing waits it raises BlockingIOError.
Read next: ``inherited.py``, the socket.
"""

import os
import socket
from typing import Any

from prefork.servers.base import BaseServer
from prefork.servers.inet import TCPServer, UDPServer
from prefork.servers.inherited import InheritedSocket, inherit


class StreamServer(TCPServer):
    """A stream server, TCP or Unix.

    :param listener: bound, listening and non-blocking; it becomes an ``InheritedSocket``.
    :param handler: a request handler class.
    """

    def __init__(self, listener: socket.socket, handler: Any) -> None:
        BaseServer.__init__(self, listener.getsockname(), handler)
        self.socket = inherit(listener)
        self.address_family = listener.family


class DatagramServer(UDPServer):
    """A datagram server, UDP or Unix.

    :param listener: bound and non-blocking; it becomes an ``InheritedSocket``.
    :param handler: a request handler class. It replies through a second object for the same socket, so that its
        timeouts touch that alone.
    """

    def __init__(self, listener: socket.socket, handler: Any) -> None:
        BaseServer.__init__(self, listener.getsockname(), handler)
        self.socket = inherit(listener)
        self.address_family = listener.family
        self._replies = InheritedSocket(fileno=os.dup(listener.fileno()))

    def get_request(self) -> Any:
        data, client_address = self._receive()
        return (data, self._replies), client_address

    def server_close(self) -> None:
        self._replies.close()
        self.socket.close()


def serve_on(listener: socket.socket, handler: Any) -> StreamServer | DatagramServer:
    """The server that fits the socket's type."""
    kind = StreamServer if listener.type == socket.SOCK_STREAM else DatagramServer
    return kind(listener, handler)
