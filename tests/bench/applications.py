"""The handlers whose servers are measured. What a request costs beyond them is what the server around them costs.

A request is one line, the reply is the same line. Imported by workers, so it imports nothing they do not need.
"""

import gc
import socketserver as original
import time
from typing import Any

from prefork import socketserver


class Echo(socketserver.BaseRequestHandler):
    """No file at all: the cheapest handler."""

    def handle(self) -> None:
        self.request.sendall(self.request.recv(4096))


class Waiting(socketserver.BaseRequestHandler):
    """Waits for somebody else, as most handlers do."""

    def handle(self) -> None:
        request = self.request.recv(4096)
        time.sleep(0.03)
        self.request.sendall(request)


class Capitals(socketserver.BaseRequestHandler):
    """For clients that check each reply."""

    def handle(self) -> None:
        self.request.sendall(self.request.recv(4096).upper())


class BothFiles(socketserver.StreamRequestHandler):
    """The usual stream handler."""

    def handle(self) -> None:
        self.wfile.write(self.rfile.readline())


class OneFile(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.wfile.write(self.request.recv(4096))


class NoFile(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.request.sendall(self.request.recv(4096))


class OriginalBothFiles(original.StreamRequestHandler):
    """A program that does not know of us."""

    def handle(self) -> None:
        self.wfile.write(self.rfile.readline())


class OriginalEcho(original.BaseRequestHandler):
    def handle(self) -> None:
        self.request.sendall(self.request.recv(4096))


class Datagram(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        data, reply = self.request
        reply.sendto(data, self.client_address)


class OriginalDatagram(original.BaseRequestHandler):
    def handle(self) -> None:
        data, reply = self.request
        reply.sendto(data, self.client_address)


class Collecting(socketserver.BaseRequestHandler):
    """Collects garbage first when asked: a worker that has just been born never did."""

    def handle(self) -> None:
        self.request.sendall(answer(self.request.recv(4096)))


def answer(request: bytes) -> bytes:
    if request == b"collect\n":
        gc.collect()
    return request


def heap() -> list[Any]:
    """What an application of 50 MB has loaded."""
    return [{"number": number} for number in range(190_000)]
