"""How serve_forever ends: at once, and whoever asks."""

import os
import signal
import socket
import threading
from typing import Any

import pytest

from prefork import socketserver
from tests.servers.serving import LIMIT, NEVER, ask, connected, read_all, serving, wait, within_limit

HERE = ("127.0.0.1", 0)


class Stop(socketserver.StreamRequestHandler):
    """Stops its own server, then answers."""

    def handle(self) -> None:
        self.server.shutdown()
        self.wfile.write(b"stopped")


def test_an_idle_server_stops_at_once() -> None:
    """shutdown() does not wait for the poll interval, here an hour."""
    with serving(socketserver.TCPServer(HERE, Stop)):
        pass


@pytest.mark.parametrize("kind", [socketserver.TCPServer, socketserver.ThreadingTCPServer])
def test_a_handler_may_stop_its_server(kind: Any) -> None:
    """shutdown() in a handler returns, the request is answered, and serve_forever ends after it."""
    with kind(HERE, Stop) as server:
        thread = threading.Thread(target=server.serve_forever, args=(NEVER,), daemon=True)
        thread.start()
        assert ask(server) == b"stopped"
        thread.join(LIMIT)
        assert not thread.is_alive()


def test_shutdown_before_the_first_serve_returns_and_is_remembered() -> None:
    """Nothing serves, so there is nothing to wait for; the serve_forever that comes later ends at once."""
    with socketserver.TCPServer(HERE, Stop) as server:
        within_limit(server.shutdown)
        within_limit(lambda: server.serve_forever(NEVER))


def test_a_stopped_server_may_serve_again() -> None:
    """One shutdown ends one serve_forever."""

    class Echo(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(self.rfile.readline())

    with socketserver.TCPServer(HERE, Echo) as server:
        for _ in range(2):
            thread = threading.Thread(target=server.serve_forever, args=(NEVER,), daemon=True)
            thread.start()
            assert ask(server, b"still here\n") == b"still here\n"
            within_limit(server.shutdown)
            thread.join(LIMIT)
            assert not thread.is_alive()


def test_a_signal_handler_may_stop_the_server_it_interrupts() -> None:
    """shutdown() in a signal handler, in the very thread that waits, ends the wait without an exception."""
    is_serving = threading.Event()

    class Noting(socketserver.TCPServer):
        def service_actions(self) -> None:
            is_serving.set()

    with Noting(HERE, Stop) as server:
        before = signal.signal(signal.SIGUSR1, lambda signum, frame: server.shutdown())
        try:

            def kill_when_serving() -> None:
                wait(is_serving)
                os.kill(os.getpid(), signal.SIGUSR1)

            killer = threading.Thread(target=kill_when_serving)
            killer.start()
            server.serve_forever(0.001)
            killer.join(LIMIT)
        finally:
            signal.signal(signal.SIGUSR1, before)


def test_shutdown_waits_for_the_request_at_hand() -> None:
    """It returns after serve_forever has ended, so after the handler has."""
    entered, leave, done = threading.Event(), threading.Event(), threading.Event()

    class Slow(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            entered.set()
            wait(leave)
            done.set()

    with socketserver.TCPServer(HERE, Slow) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        with connected(server):
            wait(entered)
            stopping = threading.Thread(target=server.shutdown, daemon=True)
            stopping.start()
            leave.set()
            stopping.join(LIMIT)
            assert not stopping.is_alive()
            assert done.is_set()
            thread.join(LIMIT)


def test_a_closed_server_says_so() -> None:
    """Serving what is closed is an error with a remedy, as in the original, and no endless loop."""
    server = socketserver.TCPServer(HERE, Stop)
    server.server_close()
    for serve in (server.serve_forever, server.handle_request):
        with pytest.raises(ValueError, match="closed"):
            serve()


def test_system_exit_in_a_handler_ends_serve_forever() -> None:
    """SystemExit passes through the bare framework, and its client is closed first."""

    class Exit(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            raise SystemExit(3)

    with socketserver.TCPServer(HERE, Exit) as server, connected(server) as client:
        with pytest.raises(SystemExit):
            server.serve_forever(NEVER)
        assert read_all(client) == b""
        within_limit(server.shutdown)


def test_a_forked_child_cannot_stop_its_parent() -> None:
    """shutdown() in a forked child returns at once: it is another process, as in the original. The parent serves on."""
    with serving(socketserver.ForkingTCPServer(HERE, Stop)) as server:
        assert [ask(server), ask(server)] == [b"stopped", b"stopped"]


def test_shutdown_from_many_threads() -> None:
    """However many ask, each gets its answer."""
    with socketserver.TCPServer(HERE, Stop) as server:
        serve = threading.Thread(target=server.serve_forever, args=(NEVER,), daemon=True)
        askers = [threading.Thread(target=server.shutdown, daemon=True) for _ in range(8)]
        for thread in (serve, *askers):
            thread.start()
        for thread in (serve, *askers):
            thread.join(LIMIT)
            assert not thread.is_alive()
        assert server.socket.type == socket.SOCK_STREAM
