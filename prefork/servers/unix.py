"""Unix servers, stream and datagram: on a path, with its mode and owner, or on an abstract name.

They must not know what runs behind the path.
Invariant: a path that somebody serves is never replaced; one that nobody serves is no obstacle.
Read next: ``prefork/system/sockets.py``, how a path is bound.
"""

import os
import socket
import socketserver
from typing import Any

from prefork.servers.inet import TCPServer, UDPServer
from prefork.system.sockets import bind_path


class _UnixBinding(TCPServer):
    """Binds to a path, or to an abstract name, which begins with ``@`` or a zero byte.

    :cvar socket_mode: permission bits of the path; ``None`` leaves them to the umask.
    :cvar socket_owner: owner of the path by name or number; empty leaves it alone.
    :cvar socket_group: group of the path by name or number; empty leaves it alone.
    """

    server_address: Any
    address_family: int = socket.AF_UNIX
    socket_mode: int | None = None
    socket_owner: str = ""
    socket_group: str = ""

    def server_bind(self) -> None:
        """Called by the constructor. May be overridden.

        :raises OSError: EADDRINUSE where somebody serves the path, EEXIST where it is no socket.
        :raises LookupError: no such owner or group.
        """
        name = os.fsdecode(self.server_address)
        if name.startswith("@"):
            name = "\0" + name[1:]
        if not name or name.startswith("\0"):  # without a name the kernel chooses an abstract one, unix(7)
            self.socket.bind(name)
        else:
            bind_path(self.socket, name, self.socket_mode, self.socket_owner, self.socket_group)
        self.server_address = self.socket.getsockname()


class UnixStreamServer(_UnixBinding, TCPServer, socketserver.UnixStreamServer):
    """A stream server on a Unix socket."""


class UnixDatagramServer(_UnixBinding, UDPServer, socketserver.UnixDatagramServer):
    """A datagram server on a Unix socket."""
