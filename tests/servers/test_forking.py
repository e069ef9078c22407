"""Children: bounded without blocking, reaped when they die, nobody else's touched; over the original's servers too."""

import os
import signal
import socket
import socketserver as original
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from prefork import socketserver
from prefork.servers.children import Children
from tests.servers.serving import LIMIT, ask, connected, read_all, serving, wait

HERE = ("127.0.0.1", 0)
UNCLEAN = 1


class Pid(socketserver.BaseRequestHandler):
    """Answers with its process."""

    def handle(self) -> None:
        self.request.sendall(str(os.getpid()).encode())


class Held(socketserver.BaseRequestHandler):
    """Answers with its process, then lives until its client hangs up."""

    def handle(self) -> None:
        self.request.sendall(str(os.getpid()).encode())
        self.request.recv(1)


class Watched(socketserver.ForkingTCPServer):
    """Says when it has no child any more, and counts what it accepted."""

    accepted = 0

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.is_childless = threading.Event()

    def get_request(self) -> Any:
        self.accepted += 1
        self.is_childless.clear()
        return super().get_request()

    def collect_children(self, *, blocking: bool = False) -> None:
        super().collect_children(blocking=blocking)
        if self.active_children == set():
            self.is_childless.set()


class OverTheirs(socketserver.ForkingMixIn, original.TCPServer):
    """Our mix-in, the original's loop."""


class TheirsOver(original.ForkingMixIn, socketserver.TCPServer):
    """The original's mix-in, our loop."""


@pytest.fixture
def stranger() -> Iterator[int]:
    """A dead child of this process that the server did not fork and must leave alone."""
    pid = os.fork()
    if pid == 0:
        os._exit(72)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    yield pid
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 72


def test_each_request_has_its_own_process() -> None:
    """Neither the parent's nor each other's."""
    with serving(socketserver.ForkingTCPServer(HERE, Pid)) as server:
        pids = {ask(server) for _ in range(3)}
    assert len(pids | {str(os.getpid()).encode()}) == 4


def test_children_are_reaped_when_they_die() -> None:
    """Their end wakes the loop: no next client is needed, and no clock."""
    with serving(Watched(HERE, Pid)) as server:
        pid = int(ask(server))
        wait(server.is_childless)
        with pytest.raises(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def test_a_killed_child_costs_its_request_only() -> None:
    """It is reaped like any other, and the next client is served."""
    with serving(Watched(HERE, Held)) as server:
        with connected(server) as client:
            os.kill(int(client.recv(100)), signal.SIGKILL)
            assert read_all(client) == b""
        wait(server.is_childless)
        with connected(server) as client:
            assert client.recv(100)


def test_children_are_bounded_and_strangers_left_alone(stranger: int) -> None:
    """At max_children the loop accepts no more, waits for none, and takes nobody else's child for its own."""
    server = Watched(HERE, Held)
    server.max_children = 2
    with serving(server), connected(server) as first, connected(server) as second, connected(server) as third:
        assert first.recv(100) != second.recv(100)
        server._ring()  # a wake that is no room
        assert server.accepted == 2
        first.shutdown(socket.SHUT_RDWR)
        assert third.recv(100)


def test_a_full_server_stops_at_once() -> None:
    """shutdown() at the bound waits for no child; server_close does."""
    server = Watched(HERE, Held)
    server.max_children = 1
    with connected(server) as client:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        assert client.recv(100)
        server.shutdown()
        thread.join(LIMIT)
        assert not thread.is_alive()
        assert server.active_children
    server.server_close()
    assert server.active_children == set()


def test_a_child_closes_the_listener() -> None:
    """A child that outlives its parent does not keep the port."""

    class Listener(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(str(self.server.socket.fileno()).encode())

    with serving(socketserver.ForkingTCPServer(HERE, Listener)) as server:
        assert ask(server) == b"-1"


@pytest.mark.parametrize("failure", [ValueError, SystemExit])
def test_a_child_never_returns_into_its_parent(failure: type[BaseException]) -> None:
    """Whatever its handler raises, the child ends, and not well."""

    class Broken(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            raise failure("as planned")

    with socketserver.ForkingTCPServer(HERE, Broken) as server, connected(server) as client:
        server.handle_request()
        assert server.active_children is not None
        (pid,) = server.active_children
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert ended is not None
        assert ended.si_status == UNCLEAN
        assert read_all(client) == b""


@pytest.mark.parametrize("kind", [OverTheirs, TheirsOver])
def test_mixing_with_the_originals(kind: Any) -> None:
    """Our mix-in over the original's server, and the other way round."""
    with serving(kind(HERE, Pid), poll_interval=0.01) as server:
        assert len({ask(server) for _ in range(3)}) == 3


def test_a_bound_over_the_originals_loop(stranger: int) -> None:
    """There process_request waits, for our children alone."""
    server = OverTheirs(HERE, Pid)
    server.max_children = 1
    with serving(server, poll_interval=0.01):
        assert len({ask(server) for _ in range(5)}) == 5


def test_children_that_somebody_else_collects() -> None:
    """A program that waits for all its children takes ours too: they are gone, and that is all."""
    with socketserver.ForkingTCPServer(HERE, Pid) as server, connected(server) as client:
        server.handle_request()
        assert server.active_children is not None
        (pid,) = server.active_children
        os.waitpid(pid, 0)
        server.collect_children(blocking=True)
        assert server.active_children == set()
        assert read_all(client) == str(pid).encode()


def test_children_without_a_pidfd_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none is to be had, for want of descriptors or of the call, the loop looks each poll interval."""

    def refuse(pid: int, flags: int = 0) -> int:
        raise OSError("not here")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    with serving(Watched(HERE, Pid), poll_interval=0.001) as server:
        assert ask(server)
        wait(server.is_childless)


def test_waiting_for_children_ends_with_the_first() -> None:
    """One of two has ended: it is collected, and the other is not waited for."""
    children = Children()
    reader, writer = os.pipe()
    pids = []
    for is_held in (False, True):
        pid = os.fork()
        if pid == 0:
            os.close(writer)
            os.read(reader, 1) if is_held else None
            os._exit(0)
        pids.append(pid)
        children.add(pid)
    os.close(reader)
    assert children.wait() == {pids[0]}
    os.close(writer)
    assert children.wait() == {pids[1]}
    assert children.wait() == set()
