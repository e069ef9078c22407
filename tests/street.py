"""A street of listeners and clients for the tests of one process: every kind, by its name.

It must not know servers. Invariant: whatever was opened is closed at the end of the street.
"""

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from tests.children import LIMIT


class Street:
    """Opens listeners and clients by the name of their kind, and closes them all when the test is over."""

    def __init__(self, directory: str, open_ones: ExitStack) -> None:
        self._directory = directory
        self._open_ones = open_ones
        self._paths = 0

    def make(self, kind: str) -> socket.socket:
        """A bound socket: ``tcp``, ``tcp6``, ``udp``, ``unix``, ``abstract`` (a Unix stream too), ``unixgram``."""
        self._paths += 1
        path = os.path.join(self._directory, str(self._paths))
        addresses: dict[str, Any] = {"unix": path, "unixgram": path, "abstract": f"\0{path}", "tcp6": ("::1", 0)}
        families = {"tcp": socket.AF_INET, "udp": socket.AF_INET, "tcp6": socket.AF_INET6}
        is_datagram = kind in ("udp", "unixgram")
        made = socket.socket(
            families.get(kind, socket.AF_UNIX), socket.SOCK_DGRAM if is_datagram else socket.SOCK_STREAM
        )
        self._open_ones.enter_context(made)
        made.bind(addresses.get(kind, ("127.0.0.1", 0)))
        return made

    def listener(self, kind: str) -> socket.socket:
        listener = self.make(kind)
        if listener.type == socket.SOCK_STREAM:
            listener.listen()
        listener.setblocking(False)
        return listener

    def client(self, listener: socket.socket) -> socket.socket:
        """Connected, and a datagram one has a name to be answered at."""
        kinds = {
            (socket.AF_INET, socket.SOCK_STREAM): "tcp",
            (socket.AF_INET6, socket.SOCK_STREAM): "tcp6",
            (socket.AF_INET, socket.SOCK_DGRAM): "udp",
            (socket.AF_UNIX, socket.SOCK_STREAM): "unix",
            (socket.AF_UNIX, socket.SOCK_DGRAM): "unixgram",
        }
        client = self.make(kinds[listener.family, listener.type])
        client.settimeout(LIMIT)
        client.connect(listener.getsockname())
        return client


@contextmanager
def open_street() -> Iterator[Street]:
    # a Unix socket's path has at most 107 bytes, and pytest's own directories are long
    with tempfile.TemporaryDirectory(prefix="prefork-") as directory, ExitStack() as open_ones:
        yield Street(directory, open_ones)
