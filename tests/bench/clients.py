"""The client: one connection a request, one after another or in bursts, and nothing that fails silently."""

import socket
from contextlib import ExitStack

LINE = b"x" * 63 + b"\n"
LIMIT = 30.0  # seconds; only a failure ever waits so long
BURST = 64


def ask(port: int, request: bytes = LINE) -> None:
    """One request, one reply."""
    with _connected(port) as client:
        _finish(client, request)


def one_by_one(port: int, requests: int) -> None:
    """Each finds the server asleep."""
    for _ in range(requests):
        ask(port)


def in_bursts(port: int, requests: int) -> None:
    """Connections pile up before any of them is read: the server's queue is never empty meanwhile."""
    for _ in range(requests // BURST):
        with ExitStack() as stack:
            clients = [stack.enter_context(_connected(port)) for _ in range(BURST)]
            for client in clients:
                client.sendall(LINE)
            for client in clients:
                _read(client, LINE)


def datagrams(port: int, requests: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(LIMIT)
        client.connect(("127.0.0.1", port))
        for _ in range(requests):
            client.send(LINE)
            if client.recv(4096) != LINE:
                raise AssertionError("another reply")


def _connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), LIMIT)


def _finish(client: socket.socket, request: bytes) -> None:
    client.sendall(request)
    _read(client, request)


def _read(client: socket.socket, request: bytes) -> None:
    if client.recv(4096) != request:
        raise AssertionError("another reply, or none")
    if client.recv(1):  # the end of file: the server is done with it
        raise AssertionError("more than one reply")
