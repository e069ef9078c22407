"""Servers on a listening socket that somebody else opened: streams and datagrams, TCP, UDP and Unix.

They must not know who opened it, nor ever change its flags: those belong to all who hold the socket.
Invariant: getting a request never blocks; where nothing waits it raises BlockingIOError.
"""

import errno
import os
import socket
import time
from typing import Any

from prefork.servers.base import BaseServer
from prefork.servers.inet import TCPServer, UDPServer

SEND_LIMIT = 10.0  # seconds a reply waits for room in the peer's queue
FIRST_PAUSE, LONGEST_PAUSE = 0.001, 0.05  # seconds between two tries, doubled each time


class StreamServer(TCPServer):
    """A stream server, TCP or Unix.

    :param listener: bound, listening and non-blocking.
    :param handler: a request handler class.
    """

    def __init__(self, listener: socket.socket, handler: Any) -> None:
        BaseServer.__init__(self, listener.getsockname(), handler)
        self.socket = listener
        self.address_family = listener.family


class Replies(socket.socket):
    """What a datagram handler replies through: a second Python object for the listener's own, non-blocking socket.

    A reply to a peer whose queue is full waits for room instead of failing, while receiving never waits. Timeouts touch
    this object alone.
    """

    _limit: float | None = SEND_LIMIT

    def settimeout(self, value: float | None, /) -> None:
        self._limit = value

    def setblocking(self, flag: bool, /) -> None:
        self._limit = None if flag else 0.0

    def gettimeout(self) -> float | None:
        return self._limit

    def sendto(self, *arguments: Any) -> int:
        """:raises TimeoutError: the peer did not make room in time."""
        deadline = None if self._limit is None else time.monotonic() + self._limit
        pause = FIRST_PAUSE
        while True:
            try:
                return super().sendto(*arguments)
            except BlockingIOError:
                if deadline is not None and time.monotonic() >= deadline:
                    raise TimeoutError(errno.ETIMEDOUT, "the peer did not read its datagrams in time") from None
            time.sleep(pause)  # poll(2) calls a Unix socket writable although its peer's queue is full
            pause = min(2 * pause, LONGEST_PAUSE)


class DatagramServer(UDPServer):
    """A datagram server, UDP or Unix.

    :param listener: bound and non-blocking.
    :param handler: a request handler class.
    """

    def __init__(self, listener: socket.socket, handler: Any) -> None:
        BaseServer.__init__(self, listener.getsockname(), handler)
        self.socket = listener
        self.address_family = listener.family
        self._replies = Replies(fileno=os.dup(listener.fileno()))
        socket.socket.setblocking(self._replies, False)  # whatever setdefaulttimeout() the application chose

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
