"""What tests of servers share: a server in a thread, a client, and one generous limit for failure."""

import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

LIMIT = 30.0  # seconds; only a failure ever waits so long
NEVER = 3600.0  # a poll interval that no test lives to see

Server = TypeVar("Server", bound=socketserver.BaseServer)


@contextmanager
def serving(server: Server, poll_interval: float = NEVER) -> Iterator[Server]:
    """The server serves in a thread; at the end it is shut down, which must come at once, and closed."""
    thread = threading.Thread(target=server.serve_forever, args=(poll_interval,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        within_limit(server.shutdown)
        thread.join(LIMIT)
        assert not thread.is_alive(), "serve_forever did not end"
        within_limit(server.server_close)


def within_limit(act: Callable[[], object]) -> None:
    """Do it in a thread, so that a call which never returns is a failure and not a test that hangs."""
    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    thread.join(LIMIT)
    assert not thread.is_alive(), f"{act} did not return within {LIMIT} s"


def wait(event: threading.Event) -> None:
    assert event.wait(LIMIT), f"it did not happen within {LIMIT} s"


@contextmanager
def connected(server: Any) -> Iterator[socket.socket]:
    """A client of a stream server. It hangs up by shutdown, for forked children hold copies of its end too."""
    with socket.socket(server.address_family, socket.SOCK_STREAM) as client:
        client.settimeout(LIMIT)
        client.connect(server.server_address)
        yield client
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)


def ask(server: Any, request: bytes = b"hello\n") -> bytes:
    """All that the server answers."""
    with connected(server) as client:
        client.sendall(request)
        return read_all(client)


def read_all(client: socket.socket) -> bytes:
    answer = b""
    while chunk := client.recv(4096):
        answer += chunk
    return answer
