"""The loop: the original's order of calls, no wake without news, and what is asked when."""

import socketserver as original
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from prefork import socketserver
from prefork.servers import watch
from tests.servers.serving import LIMIT, NEVER, ask, connected, read_all, serving, wait

HERE = ("127.0.0.1", 0)
HOOKS = (
    "server_bind",
    "server_activate",
    "get_request",
    "verify_request",
    "process_request",
    "finish_request",
    "handle_error",
    "shutdown_request",
    "close_request",
    "handle_timeout",
    "server_close",
)


class Echo(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.wfile.write(self.rfile.readline())


def recording(kind: Any) -> Any:
    """A subclass whose hooks write down their names, and a list of them."""
    calls: list[str] = []

    def record(name: str) -> Any:
        def hook(self: Any, *arguments: Any) -> Any:
            calls.append(name)
            return getattr(super(cls, self), name)(*arguments)

        return hook

    cls: Any = type("Recording", (kind,), {name: record(name) for name in HOOKS})
    cls.calls = calls
    return cls


def history(module: Any, failure: type[BaseException] | None, is_welcome: bool) -> list[str]:
    """What one server does with one client and then with none."""

    class Handler(module.StreamRequestHandler):  # type: ignore[misc]  # of either module
        def setup(self) -> None:
            self.server.calls.append("setup")
            super().setup()

        def handle(self) -> None:
            self.server.calls.append("handle")
            if failure:
                raise failure("as planned")

        def finish(self) -> None:
            self.server.calls.append("finish")
            super().finish()

    kind = recording(module.TCPServer)
    kind.timeout = 0
    kind.handle_error = lambda self, request, client_address: kind.calls.append("handle_error")
    kind.verify_request = lambda self, request, client_address: kind.calls.append("verify_request") or is_welcome
    with kind(HERE, Handler) as server:
        with connected(server):
            server.timeout = LIMIT
            try:
                server.handle_request()
            except BaseException as error:
                server.calls.append(f"raised {type(error).__name__}")
        server.timeout = 0
        server.handle_request()
    calls: list[str] = server.calls
    return calls


@pytest.mark.parametrize("is_welcome", [True, False])
@pytest.mark.parametrize("failure", [None, ValueError, MemoryError, RecursionError, SystemExit, KeyboardInterrupt])
def test_the_order_of_calls_is_the_originals(failure: type[BaseException] | None, is_welcome: bool) -> None:
    """The same hooks in the same order, whatever the handler raises, and the same exceptions leave."""
    assert history(socketserver, failure, is_welcome) == history(original, failure, is_welcome)


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """The limit of each wait of any server."""
    waits: list[float | None] = []
    wait_really = watch.Watch.wait

    def wait_noted(self: watch.Watch, descriptors: Any, seconds: float | None) -> Sequence[int]:
        waits.append(seconds)
        return wait_really(self, descriptors, seconds)

    monkeypatch.setattr(watch.Watch, "wait", wait_noted)
    return waits


@pytest.mark.parametrize(
    "kind", [socketserver.TCPServer, socketserver.ThreadingTCPServer, socketserver.ForkingTCPServer]
)
def test_an_idle_server_waits_without_limit(kind: Any, limits: list[float | None]) -> None:
    """Nothing but news ends the wait of a server that overrides nothing."""
    with serving(kind(HERE, Echo), poll_interval=0.01) as server:
        assert ask(server) == b"hello\n"
    assert set(limits) == {None}


@pytest.mark.parametrize("mixin", [object, original.ForkingMixIn])
def test_overridden_service_actions_are_called_each_poll_interval(mixin: Any, limits: list[float | None]) -> None:
    """Who overrides service_actions, the original's mix-in included, counts on its clock."""
    often = threading.Event()
    calls: list[None] = []

    def service_actions(self: Any) -> None:
        calls.append(None)
        if len(calls) == 3:
            often.set()

    bases = (socketserver.TCPServer,) if mixin is object else (mixin, socketserver.TCPServer)
    kind = type("Periodic", bases, {"service_actions": service_actions})
    with serving(kind(HERE, Echo), poll_interval=0.001):
        wait(often)
    assert set(limits) == {0.001}


def test_service_actions_come_after_each_request() -> None:
    """After the handler, once a wake."""
    calls: list[str] = []

    class Noting(socketserver.TCPServer):
        def service_actions(self) -> None:
            calls.append("actions")

        def verify_request(self, request: Any, client_address: Any) -> bool:
            calls.append("request")
            return True

    with serving(Noting(HERE, Echo)) as server:
        ask(server)
        ask(server)
    assert calls == ["request", "actions"] * 2


def test_a_server_without_a_descriptor_is_asked() -> None:
    """Work that comes from anywhere: all that is there at once, then a question each poll interval."""
    rows = list(range(5))
    done: list[int] = []
    empty, again = threading.Event(), threading.Event()

    class Rows(socketserver.BaseServer):
        def get_request(self) -> tuple[Any, Any]:
            if rows:
                return rows.pop(0), "table"
            (again if empty.is_set() else empty).set()
            raise BlockingIOError

        def finish_request(self, request: Any, client_address: Any) -> None:
            done.append(request)

    with serving(Rows(None, None), poll_interval=0.001):
        wait(again)
    assert done == [0, 1, 2, 3, 4]


def test_all_rows_are_taken_without_waiting(limits: list[float | None]) -> None:
    """A server without a descriptor is asked again at once as long as it has something."""
    rows = list(range(5))
    empty = threading.Event()

    class Rows(socketserver.BaseServer):
        def get_request(self) -> tuple[Any, Any]:
            if not rows:
                empty.set()
                raise BlockingIOError
            return rows.pop(), "table"

        def finish_request(self, request: Any, client_address: Any) -> None:
            pass

    with serving(Rows(None, None), poll_interval=0.001):
        wait(empty)
    assert limits[1:6] == [0.0] * 5


@pytest.mark.parametrize(("own", "of_socket"), [(0, None), (None, 0), (0, NEVER), (NEVER, 0), (0.001, None)])
def test_handle_request_times_out(own: float | None, of_socket: float | None) -> None:
    """The smaller of the server's and the socket's timeout ends in handle_timeout."""
    timed_out: list[None] = []

    class Patient(socketserver.TCPServer):
        timeout = own

        def handle_timeout(self) -> None:
            timed_out.append(None)

    with Patient(HERE, Echo) as server:
        server.socket.settimeout(of_socket)
        server.handle_request()
    assert len(timed_out) == 1


def test_verify_request_that_raises_costs_one_client(caplog: pytest.LogCaptureFixture) -> None:
    """It is handled like an error of the handler; the original's loop ends of it."""

    class Picky(socketserver.TCPServer):
        is_first = True

        def verify_request(self, request: Any, client_address: Any) -> bool:
            was_first, self.is_first = self.is_first, False
            if was_first:
                raise ValueError("no")
            return True

    with serving(Picky(HERE, Echo)) as server:
        with connected(server) as client:
            assert read_all(client) == b""
        assert ask(server) == b"hello\n"
    assert "the handler failed serving 127.0.0.1:" in caplog.text
