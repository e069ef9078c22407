"""Strategies at the limits of the machine, in this process, with books that only count."""

import errno
import gc
import os
import select
import signal
import socket
import socketserver
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from prefork.system import slots
from prefork.system.slots import Lane
from prefork.worker.concurrency import Children, Threads
from tests.children import LIMIT

SIZE = 2


class Books:
    """As many lanes as are asked for."""

    leaving = ""

    def __init__(self) -> None:
        self.begun = 0
        self.raised: list[object] = []

    @property
    def under_way(self) -> int:
        return self.begun - len(self.raised)

    @property
    def has_room(self) -> bool:
        return self.under_way < SIZE

    def begin(self, client_address: Any) -> Lane:
        self.begun += 1
        lane = Lane(memoryview(bytearray(slots.LANE)))
        lane.begin(self.begun, 1, b"peer")
        return lane

    def end(self, lane: Lane, raised: object) -> None:
        self.raised.append(raised)

    def belong_to_thread(self, lane: Lane | None) -> None:
        pass

    def belong_to_child(self, lane: Lane) -> None:
        pass

    def tell(self, lane: Lane, raised: object) -> None:
        pass


class Server(socketserver.BaseServer):
    """Its requests are sockets; each handler says its process, then waits for the other end."""

    def __init__(self) -> None:
        super().__init__("nowhere", Answer)

    def close_request(self, request: Any) -> None:
        request.close()


class Answer(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.send(str(os.getpid()).encode())
        self.request.recv(1)


@pytest.fixture
def books() -> Books:
    return Books()


@pytest.fixture
def request_and_client() -> Iterator[tuple[socket.socket, socket.socket]]:
    request, client = socket.socketpair()
    client.settimeout(LIMIT)
    with request, client:
        yield request, client


def fail(number: int) -> Any:
    def call(*arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    return call


@pytest.mark.parametrize(
    ("where", "number"), [("os.fork", errno.EAGAIN), ("os.fork", errno.ENOMEM), ("os.dup", errno.EMFILE)]
)
def test_a_request_without_a_child_is_handled_by_the_worker(
    where: str,
    number: int,
    books: Any,
    request_and_client: tuple[socket.socket, socket.socket],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Where the machine has no process or descriptor left, the client is served all the same, and the log says so."""
    request, client = request_and_client
    strategy, server = Children(books, lambda: None), Server()
    strategy.adopt(server)
    monkeypatch.setattr(where, fail(number))
    client.send(b"x")
    strategy.handle(server, request, "peer")
    assert int(client.recv(16)) == os.getpid()
    assert books.raised == [None]
    assert os.strerror(number) in caplog.text
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


@pytest.mark.parametrize("where", ["os.pidfd_open", "epoll"])
def test_a_child_that_cannot_be_watched_is_waited_for(
    where: str, books: Any, request_and_client: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its client keeps its connection, its end is in the books, and no descriptor is left."""
    request, client = request_and_client
    strategy, server = Children(books, lambda: None), Server()
    strategy.adopt(server)
    gc.collect()  # what tests before this one left
    before = len(os.listdir("/proc/self/fd"))
    if where == "epoll":
        monkeypatch.setattr(strategy, "_ends", Unwilling())
        before += 1
    else:
        monkeypatch.setattr(where, fail(errno.ENFILE))
    client.send(b"x")
    strategy.handle(server, request, "peer")
    assert int(client.recv(16)) != os.getpid()
    assert books.raised == [None]
    assert len(os.listdir("/proc/self/fd")) == before - 1  # that of the request
    strategy.finish()


class Unwilling:
    """An epoll set with no room."""

    def __init__(self) -> None:
        self._epoll = select.epoll()

    def fileno(self) -> int:
        return self._epoll.fileno()

    register = staticmethod(fail(errno.ENOSPC))


def test_a_child_that_somebody_else_collected_is_over(
    books: Any, request_and_client: tuple[socket.socket, socket.socket]
) -> None:
    """An application that waits for any child takes the news away, and nothing fails for it."""
    request, client = request_and_client
    strategy, server = Children(books, lambda: None), Server()
    strategy.adopt(server)
    strategy.handle(server, request, "peer")
    pid = int(client.recv(16))
    client.send(b"x")
    os.waitpid(pid, 0)
    strategy.finish()
    assert books.raised == [None]


def test_a_request_without_a_thread_is_handled_by_the_worker(
    books: Any,
    request_and_client: tuple[socket.socket, socket.socket],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The same of threads, and the next one gets a thread again."""
    request, client = request_and_client
    strategy, server = Threads(books, SIZE), Server()
    strategy.adopt(server)

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        client.send(b"x")
        strategy.handle(server, request, "peer")
    assert client.recv(16)
    assert books.raised == [None]
    assert "can't start new thread" in caplog.text
    assert strategy.has_room
    strategy.finish()


def test_a_loop_that_does_not_ask_waits_for_room(books: Any) -> None:
    """Where the server's own loop calls process_request, no more requests are under way than there is room for."""
    strategy, server = Children(books, lambda: None), Server()
    strategy.adopt(server)
    pairs = [socket.socketpair() for _ in range(5)]
    for number, (request, _) in enumerate(pairs):
        if number >= SIZE:
            pairs[number - SIZE][1].send(b"x")
        server.process_request(request, "peer")
        assert books.under_way <= SIZE
    for _, client in pairs[-SIZE:]:
        client.send(b"x")
    strategy.finish()
    assert books.raised == [None] * 5
    for _, client in pairs:
        client.close()
