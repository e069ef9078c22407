"""Threads: reused, bounded, never lost; over the original's servers as well."""

import contextlib
import socketserver as original
import subprocess
import sys
import threading
from typing import Any

import pytest

from prefork import socketserver
from tests.servers.serving import LIMIT, ask, connected, read_all, serving, wait, within_limit

HERE = ("127.0.0.1", 0)


class Who(socketserver.BaseRequestHandler):
    """Answers with the number of its thread."""

    def handle(self) -> None:
        self.request.sendall(str(threading.get_ident()).encode())


class OverTheirs(socketserver.ThreadingMixIn, original.TCPServer):
    """Our mix-in, the original's loop."""


class TheirsOver(original.ThreadingMixIn, socketserver.TCPServer):
    """The original's mix-in, our loop."""


class Gate:
    """A handler that says when it is entered, and leaves when it is let."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.leave = threading.Semaphore(0)
        gate = self

        class Gated(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                gate.entered.release()
                assert gate.leave.acquire(timeout=LIMIT)
                self.request.sendall(b"left")

        self.handler = Gated

    def wait_entered(self) -> None:
        assert self.entered.acquire(timeout=LIMIT)


def test_threads_are_reused() -> None:
    """One client after another, each gone before the next: far fewer threads than clients."""
    with serving(socketserver.ThreadingTCPServer(HERE, Who)) as server:
        threads = {ask(server) for _ in range(50)}
        assert len(server._threads) == len(threads) < 50


def test_threads_are_bounded() -> None:
    """At max_threads the loop accepts no more; the client waits in the queue, and the loop still obeys."""
    gate = Gate()

    class Two(socketserver.ThreadingTCPServer):
        max_threads = 2
        requests = 0

        def get_request(self) -> Any:
            self.requests += 1
            return super().get_request()

    with serving(Two(HERE, gate.handler)) as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connected(server)) for _ in range(3)]
        gate.wait_entered()
        gate.wait_entered()
        server._ring()  # a wake that is no room
        assert server.requests == 2
        gate.leave.release()
        gate.wait_entered()  # the third, in the room that was made
        gate.leave.release(2)
        assert [read_all(client) for client in clients] == [b"left"] * 3


def test_a_full_server_stops_at_once() -> None:
    """shutdown() at the bound waits for no handler; server_close does."""
    gate = Gate()
    server = socketserver.ThreadingTCPServer(HERE, gate.handler)
    server.max_threads = 1
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    with connected(server) as client:
        gate.wait_entered()
        within_limit(server.shutdown)
        thread.join(LIMIT)
        gate.leave.release()
        within_limit(server.server_close)
        assert read_all(client) == b"left"
    assert len(server._threads) == 0


@pytest.mark.parametrize("failure", [ValueError, MemoryError, SystemExit, KeyboardInterrupt])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_no_exception_costs_capacity(failure: type[BaseException]) -> None:
    """With room for one, many failures in a row leave room for one."""

    class Broken(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            if self.request.recv(100) == b"fail":
                raise failure("as planned")
            self.request.sendall(b"served")

    class One(socketserver.ThreadingTCPServer):
        max_threads = 1

    with serving(One(HERE, Broken)) as server:
        assert [ask(server, b"fail") for _ in range(5)] == [b""] * 5
        assert ask(server, b"serve") == b"served"


@pytest.mark.parametrize("kind", [OverTheirs, TheirsOver])
def test_mixing_with_the_originals(kind: Any) -> None:
    """Our mix-in over the original's server, and the other way round."""
    with serving(kind(HERE, Who), poll_interval=0.01) as server:
        assert all(ask(server) for _ in range(5))


def test_a_bound_over_the_originals_loop() -> None:
    """There the loop waits in process_request, and what was accepted is served when there is room."""
    gate = Gate()
    server = OverTheirs(HERE, gate.handler)
    server.max_threads = 1
    with serving(server, poll_interval=0.01), connected(server) as first, connected(server) as second:
        gate.wait_entered()
        gate.leave.release(2)
        assert read_all(first) == read_all(second) == b"left"


def test_server_close_waits_for_busy_threads_unless_told_not_to() -> None:
    """block_on_close, as documented."""
    gate = Gate()

    class Impatient(socketserver.ThreadingTCPServer):
        block_on_close = False

    with Impatient(HERE, gate.handler) as server, connected(server) as client:
        server.handle_request()
        gate.wait_entered()
        within_limit(server.server_close)
        gate.leave.release()
        assert read_all(client) == b"left"


@pytest.mark.parametrize("is_daemon", [True, False])
def test_daemon_threads_is_the_threads_own_flag(is_daemon: bool) -> None:
    """What a handler sees, and its own threads inherit."""

    class Daemon(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(str(threading.current_thread().daemon).encode())

    server = socketserver.ThreadingTCPServer(HERE, Daemon)
    server.daemon_threads = is_daemon
    with serving(server):
        assert ask(server) == str(is_daemon).encode()


def test_idle_threads_do_not_keep_the_program() -> None:
    """A program that ends while its server serves in a daemon thread ends, though threads wait for clients."""
    program = """
import socket, threading
from prefork import socketserver

class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(self.rfile.readline())

server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo)
threading.Thread(target=server.serve_forever, daemon=True).start()
with socket.create_connection(server.server_address) as client:
    client.sendall(b"hello\\n")
    print(client.makefile().read(), end="")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=LIMIT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "hello\n", "")


def test_a_thread_that_cannot_start_costs_one_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine has no more threads: that client is closed, and the room is not lost."""
    start = threading.Thread.start
    failed = threading.Event()

    def start_but_once(self: threading.Thread) -> None:
        if "_work" in self.name and not failed.is_set():
            failed.set()
            raise RuntimeError("can't start new thread")
        start(self)

    server = socketserver.ThreadingTCPServer(HERE, Who)
    server.max_threads = 1
    monkeypatch.setattr(threading.Thread, "start", start_but_once)
    with serving(server):
        assert ask(server, b"") == b""
        wait(failed)
        assert ask(server) != b""
