"""Servers as people write them, on the standard library, for the tests of what can be a target.

They run inside the workers under test and must not know the product.
Read next: ``apps.py``, whose lines their handler answers as well.
"""

import os
import select
import socket
import socketserver
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.end_to_end import apps


class Handler(apps.Stream):
    """Answers some words about its server, and the lines of ``apps`` besides."""

    def answer(self, line: bytes) -> bytes:
        word, _, rest = line.decode().strip().partition(" ")
        server: Any = self.server
        if word == "address":
            return f"{server.server_address}\n".encode()
        if word == "until-stopped":
            apps.tell(rest)
            server.is_told.wait()
            return b"stopped politely\n"
        if word == "shutdown":
            server.shutdown()
            return b"shut down\n"
        if word == "worker":
            return f"{server.worker}\n".encode()
        return super().answer(line)


class TCP(socketserver.TCPServer):
    """Nothing of its own."""


class Pooled(socketserver.TCPServer):
    """Hands requests to a pool of its own."""

    def __init__(self, address: Any, handler: Any) -> None:
        super().__init__(address, handler)
        self.pool = ThreadPoolExecutor(3)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.pool.submit(self.process_in_thread, request, client_address)

    def process_in_thread(self, request: Any, client_address: Any) -> None:
        self.finish_request(request, client_address)
        self.shutdown_request(request)


class LettingGo(socketserver.TCPServer):
    """Never closes a request: its socket closes once nobody has it any more."""

    def process_request(self, request: Any, client_address: Any) -> None:
        threading.Thread(target=self.finish_request, args=(request, client_address)).start()


class LettingDatagramsGo(socketserver.UDPServer):
    """The same of datagrams."""

    def process_request(self, request: Any, client_address: Any) -> None:
        threading.Thread(target=self.finish_request, args=(request, client_address)).start()


class Asking(socketserver.TCPServer):
    """Its loop asks for one request after another."""

    is_running = True

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        while self.is_running:
            self.handle_request()

    def shutdown(self) -> None:
        self.is_running = False


class Extending(socketserver.TCPServer):
    """Its loop is the standard library's, with something before it."""

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        self.is_prepared = True
        super().serve_forever(poll_interval)


class ExtendingThreads(socketserver.ThreadingMixIn, Extending):
    """The same, with threads."""


class ExtendingChildren(socketserver.ForkingMixIn, Extending):
    """The same, with children."""


class Accepting(socketserver.TCPServer):
    """Its loop accepts by itself."""

    is_running = True

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        while self.is_running:
            try:
                request, client_address = self.socket.accept()
            except OSError:
                continue
            self.process_request(request, client_address)

    def shutdown(self) -> None:
        self.is_running = False


class Collecting(socketserver.TCPServer):
    """Its loop keeps every client until it has a hundred, and serves them all then: nobody else can make room."""

    is_running = True

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        self.clients: list[Any] = []
        while self.is_running:
            if select.select([self.socket], [], [], poll_interval)[0]:
                self._handle_request_noblock()  # type: ignore[attr-defined]
            if len(self.clients) >= 100:
                for request, client_address in self.clients:
                    self.finish_request(request, client_address)
                    self.shutdown_request(request)
                self.clients.clear()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.clients.append((request, client_address))

    def shutdown(self) -> None:
        self.is_running = False


class Ending(socketserver.TCPServer):
    """Its loop on the second of its addresses does not work."""

    made = 0

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        type(self).made += 1
        self.number = self.made

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        if self.number == 2 and os.path.exists(os.environ["BROKEN"]):
            raise RuntimeError("this loop does not work")
        super().serve_forever(poll_interval)


class Polite(socketserver.TCPServer):
    """Long requests look whether it was told to stop."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.is_told = threading.Event()

    def shutdown(self) -> None:
        self.is_told.set()
        super().shutdown()


class PoliteThreads(socketserver.ThreadingMixIn, Polite):
    """The same in threads."""


class Acting(socketserver.TCPServer):
    """Does something now and then."""

    def service_actions(self) -> None:
        apps.tell(os.environ["GATE"])


class ActingBadly(socketserver.ThreadingTCPServer):
    """Does something once that fails."""

    def service_actions(self) -> None:
        if os.path.exists(os.environ["BROKEN"]):
            raise RuntimeError("the action failed")


class Picky(socketserver.TCPServer):
    """Lets nobody in whose line begins with ``no``, and fails over one that begins with ``bad``."""

    def get_request(self) -> tuple[socket.socket, Any]:
        request, client_address = super().get_request()
        if request.recv(3, socket.MSG_PEEK) == b"bad":
            raise ValueError("a bad client")
        return request, client_address

    def verify_request(self, request: Any, client_address: Any) -> bool:
        return bool(request.recv(2, socket.MSG_PEEK) != b"no")


class Exiting(socketserver.TCPServer):
    """Gives up over the first error of a handler."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        sys.exit("this server gives up")


class Employing(socketserver.TCPServer):
    """Has a use of its own for a name of ours."""

    worker = "its own"


class Prepared(socketserver.TCPServer):
    """Prepares in each worker, and cleans up."""

    def worker_start(self) -> None:
        apps.tell(os.environ["GATE"], "method start")

    def worker_stop(self) -> None:
        apps.tell(os.environ["GATE"], "method stop")


class Datagrams(socketserver.UDPServer):
    """Nothing of its own."""


def make(address: Any) -> socketserver.BaseServer:
    """A factory."""
    return socketserver.ThreadingTCPServer(address, Handler)


def ignore(address: Any) -> socketserver.BaseServer:
    """A factory that has ideas of its own."""
    return socketserver.TCPServer(("127.0.0.1", 0), Handler)


def make_nothing(address: Any) -> None:
    """A factory that forgot to return what it made."""
    socketserver.TCPServer(address, Handler).fileno()


def __getattr__(name: str) -> Any:
    if name == "instance":  # made when it is asked for: importing this module opens nothing
        return socketserver.TCPServer(("127.0.0.1", 0), Handler)
    raise AttributeError(name)


NUMBER = 7
