"""An accept that fails: whose fault it is, and that the loop neither spins nor ends nor tells of it in vain."""

import contextlib
import errno
import logging
import os
import resource
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from prefork import socketserver
from prefork.servers import watch
from prefork.servers.base import PAUSE
from tests.servers.serving import LIMIT, ask, connected, read_all, serving, wait

HERE = ("127.0.0.1", 0)
SHORTAGES = [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM]
LOSSES = [errno.ECONNABORTED, errno.EPROTO, errno.EAGAIN, errno.ENETDOWN]


class Echo(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.wfile.write(self.rfile.readline())


class Failing(socketserver.TCPServer):
    """Its first accept fails with ``errno`` while the client waits on."""

    errno = 0

    def get_request(self) -> Any:
        number, self.errno = self.errno, 0
        if number:
            raise OSError(number, os.strerror(number))
        return super().get_request()


def failing(number: int) -> Failing:
    server = Failing(HERE, Echo)
    server.errno = number
    return server


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, float | None]]:
    """How many descriptors each wait of a server watched, and its limit."""
    noted: list[tuple[int, float | None]] = []
    wait_really = watch.Watch.wait

    def wait_noted(self: watch.Watch, descriptors: Any, seconds: float | None) -> Sequence[int]:
        noted.append((len(descriptors), seconds))
        return wait_really(self, descriptors, seconds)

    monkeypatch.setattr(watch.Watch, "wait", wait_noted)
    return noted


@pytest.mark.parametrize("number", SHORTAGES, ids=errno.errorcode.get)
def test_a_shortage_pauses_accepting(
    number: int, waits: list[tuple[int, float | None]], caplog: pytest.LogCaptureFixture
) -> None:
    """For a moment the listener is not even watched; then the client that waited is served. One warning."""
    with serving(failing(number)) as server:
        assert ask(server) == b"hello\n"
    (count, pause), *_ = [wait for wait in waits if wait[1] is not None]
    assert count == 1
    assert pause is not None
    assert 0 < pause <= PAUSE
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert os.strerror(number) in caplog.text


@pytest.mark.parametrize("number", LOSSES, ids=errno.errorcode.get)
def test_a_lost_connection_is_nobodys_news(
    number: int, waits: list[tuple[int, float | None]], caplog: pytest.LogCaptureFixture
) -> None:
    """A connection that died before it was accepted costs no pause and no line in the log."""
    with serving(failing(number)) as server:
        assert ask(server) == b"hello\n"
    assert {seconds for _, seconds in waits} == {None}
    assert caplog.records == []


def test_real_exhaustion_of_descriptors_is_survived(caplog: pytest.LogCaptureFixture) -> None:
    """With not one descriptor left the client waits in the queue, and is served once there is one."""
    has_warned = threading.Event()

    class Noting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            has_warned.set()

    is_idle = threading.Event()

    class Idle(socketserver.TCPServer):
        def service_actions(self) -> None:
            is_idle.set()

    noting = Noting()
    with serving(Idle(HERE, Echo)) as server:
        ask(server)
        wait(is_idle)  # its descriptor is free again
        with socket.socket() as client:
            client.settimeout(LIMIT)
            logging.getLogger("prefork.server").addHandler(noting)
            try:
                with no_descriptors_left():
                    client.connect(server.server_address)
                    client.sendall(b"patient\n")
                    wait(has_warned)
                assert read_all(client) == b"patient\n"
            finally:
                logging.getLogger("prefork.server").removeHandler(noting)


@contextlib.contextmanager
def no_descriptors_left() -> Iterator[None]:
    """This process may open nothing more: the lowest free number is beyond its limit."""
    lowest_free = os.dup(0)
    os.close(lowest_free)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_client_that_reset_before_it_was_accepted_makes_no_noise(caplog: pytest.LogCaptureFixture) -> None:
    """Dead on arrival: no traceback and no warning, only a line for those who want to know; the next is served."""
    with socketserver.TCPServer(HERE, Echo) as server:
        with connected(server) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()  # by a reset
        with caplog.at_level(logging.INFO):
            server.handle_request()
    assert [record.levelno for record in caplog.records] == [logging.INFO]
    assert "hung up" in caplog.text


def test_a_failed_handler_is_logged_with_its_peer(caplog: pytest.LogCaptureFixture) -> None:
    """By logging, with the traceback and whose request it was; the server serves on."""

    class Broken(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            raise ConnectionError("to some other server")

    with serving(socketserver.TCPServer(HERE, Broken)) as server:
        with connected(server) as client:
            host, port = client.getsockname()
            assert read_all(client) == b""
        assert ask(server, b"") == b""
    first, second = caplog.records
    assert first.getMessage() == f"the handler failed serving {host}:{port}"
    assert first.exc_info is not None
    assert second.name == "prefork.server"


def test_a_listener_that_does_not_listen_does_not_spin(waits: list[tuple[int, float | None]]) -> None:
    """Bound and never activated: the loop says so and pauses, instead of trying as fast as it can."""
    has_paused = threading.Event()

    class Inactive(socketserver.TCPServer):
        def server_activate(self) -> None:
            pass

        def service_actions(self) -> None:
            if len(waits) == 2:
                has_paused.set()

    with serving(Inactive(HERE, Echo)):
        wait(has_paused)
    assert waits[1][0] == 1
