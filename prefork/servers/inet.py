"""TCP and UDP servers, IPv4 or IPv6 by the address given.

They must not know who else holds their socket, nor ever change its flags after the start.
Invariant: a server whose constructor raised holds no socket.
Read next: ``unix.py``, the same on a path; ``listening.py``, the same on a listener that somebody else opened.
"""

import logging
import socket
import socketserver
from typing import Any

from prefork.address import describe_peer
from prefork.servers.base import BaseServer
from prefork.system.sockets import DEFAULT_BACKLOG

logger = logging.getLogger("prefork.server")


class TCPServer(BaseServer, socketserver.TCPServer):
    """A stream server.

    :cvar request_queue_size: connections the kernel may hold for us, cut to ``net.core.somaxconn``.
    :cvar v6only: whether an IPv6 wildcard (``::``) refuses IPv4 clients.
    """

    address_family: int = socket.AF_INET
    socket_type: int = socket.SOCK_STREAM
    request_queue_size: int = DEFAULT_BACKLOG
    allow_reuse_address = False
    allow_reuse_port = False
    v6only = False

    def __init__(
        self,
        server_address: Any,
        RequestHandlerClass: Any,  # noqa: N803  the documented name
        bind_and_activate: bool = True,
    ) -> None:
        """May be extended, not overridden."""
        BaseServer.__init__(self, server_address, RequestHandlerClass)
        if self.address_family == socket.AF_INET and _is_ipv6(server_address):
            self.address_family = socket.AF_INET6
        self.socket = socket.socket(self.address_family, self.socket_type)
        if bind_and_activate:
            try:
                self.server_bind()
                self.server_activate()
            except BaseException:
                self.server_close()
                raise

    def server_bind(self) -> None:
        """Called by the constructor. May be overridden."""
        if self.allow_reuse_address:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self.allow_reuse_port:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if self.address_family == socket.AF_INET6:  # whatever net.ipv6.bindv6only says
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(self.v6only))
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def server_activate(self) -> None:
        """Listen. Called by the constructor; may be overridden."""
        self.socket.listen(self.request_queue_size)

    def server_close(self) -> None:
        """Close the listener. May be overridden."""
        self.socket.close()

    def fileno(self) -> int:
        """The descriptor that is readable when a request is there."""
        return self.socket.fileno()

    def get_request(self) -> Any:
        """Accept a connection: it and its peer. May be overridden."""
        return self.socket.accept()

    def shutdown_request(self, request: Any) -> None:
        """Say that no more will be sent, and close. A mere close would wait for other holders of the connection."""
        try:
            request.shutdown(socket.SHUT_WR)
        except OSError:  # the client is gone
            pass
        self.close_request(request)

    def close_request(self, request: Any) -> None:
        """Close our end of the connection."""
        request.close()


class UDPServer(TCPServer, socketserver.UDPServer):
    """A datagram server: a request is the data and the socket to answer by.

    :cvar max_packet_size: what is longer is cut, with a warning.
    """

    socket_type: int = socket.SOCK_DGRAM
    allow_reuse_address = False
    allow_reuse_port = False
    max_packet_size = 8192

    def server_activate(self) -> None:
        """Nothing: datagrams need no listening."""

    def get_request(self) -> Any:
        """Receive a datagram: the data with the socket, and its sender."""
        data, client_address = self._receive()
        return (data, self.socket), client_address

    def shutdown_request(self, request: Any) -> None:
        """Nothing to shut down."""
        self.close_request(request)

    def close_request(self, request: Any) -> None:
        """Nothing to close."""

    def _receive(self) -> tuple[bytes, Any]:
        # one byte more than wanted tells that there was more, at a tenth of what recvmsg and MSG_TRUNC cost
        data, client_address = self.socket.recvfrom(self.max_packet_size + 1)
        if len(data) > self.max_packet_size:
            logger.warning(
                "a datagram from %s is longer than max_packet_size and was cut to %d bytes",
                describe_peer(client_address),
                self.max_packet_size,
            )
            data = data[: self.max_packet_size]
        return data, client_address


def _is_ipv6(server_address: Any) -> bool:
    return isinstance(server_address, tuple) and isinstance(server_address[0], str) and ":" in server_address[0]
