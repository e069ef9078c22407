"""An application that caches at its first request, for the tests of what workers share.

It runs inside the workers under test and must not know the product.
"""

import os
import socketserver
import threading
from typing import NamedTuple

from tests.end_to_end import apps

SIZE = 30 << 20  # bytes


class Cache(NamedTuple):
    """Much memory, and the process that filled it."""

    filled_by: int
    content: bytes


_caches: list[Cache] = []


class Caching(apps.Stream):
    """Every request needs the cache; ``filled-by`` tells whose it is."""

    def answer(self, line: bytes) -> bytes:
        if not _caches:
            _caches.append(Cache(os.getpid(), os.urandom(1) * SIZE))
        word, _, rest = line.decode().strip().partition(" ")
        if word == "filled-by":
            return f"{_caches[0].filled_by}\n".encode()
        if word == "start-thread":
            threading.Thread(target=threading.Event().wait, name=rest, daemon=True).start()
            return b"started\n"
        return super().answer(line)


class Server(socketserver.UnixStreamServer):
    """A server that cleans up behind itself, as many do."""

    def server_close(self) -> None:
        super().server_close()
        os.unlink(str(self.server_address))


class Looping(socketserver.TCPServer):
    """Has a loop of its own."""

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        super().serve_forever(poll_interval)
