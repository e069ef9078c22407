"""What is done with a request, in the standard library's order, whatever its handler raises; one promise a test."""

import contextlib
import logging
import socket
import socketserver
from collections.abc import Iterator
from typing import Any

import pytest

from prefork.servers.base import serve_one
from prefork.servers.listening import StreamServer
from tests.children import LIMIT, wait_readable


class Diary:
    """Every hook of a server writes its name into a diary, and does or raises what the test says."""

    def __init__(self, *args: Any) -> None:
        self.entries: list[str] = []
        self.raises: dict[str, BaseException] = {}
        self.is_welcome = True
        super().__init__(*args)

    def write(self, entry: str) -> None:
        self.entries.append(entry)
        if entry in self.raises:
            raise self.raises[entry]

    def get_request(self) -> Any:
        self.write("get_request")
        return super().get_request()  # type: ignore[misc]

    def verify_request(self, request: Any, client_address: Any) -> bool:
        self.write("verify_request")
        return self.is_welcome

    def process_request(self, request: Any, client_address: Any) -> None:
        self.write("process_request")
        super().process_request(request, client_address)  # type: ignore[misc]

    def finish_request(self, request: Any, client_address: Any) -> None:
        self.write("finish_request")
        super().finish_request(request, client_address)  # type: ignore[misc]

    def shutdown_request(self, request: Any) -> None:
        self.write("shutdown_request")
        super().shutdown_request(request)  # type: ignore[misc]

    def close_request(self, request: Any) -> None:
        self.write("close_request")
        super().close_request(request)  # type: ignore[misc]

    def handle_error(self, request: Any, client_address: Any) -> None:
        self.write("handle_error")


class TheirServer(Diary, socketserver.TCPServer):
    pass


class OurServer(Diary, StreamServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        super().handle_error(request, client_address)
        StreamServer.handle_error(self, request, client_address)


class Handler(socketserver.BaseRequestHandler):
    """Writes into the same diary."""

    def setup(self) -> None:
        self.server.write("setup")  # type: ignore[attr-defined]

    def handle(self) -> None:
        self.server.write("handle")  # type: ignore[attr-defined]

    def finish(self) -> None:
        self.server.write("finish")  # type: ignore[attr-defined]


@pytest.fixture
def ours() -> Iterator[OurServer]:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    with OurServer(listener, Handler) as server:
        yield server


@pytest.fixture
def theirs() -> Iterator[TheirServer]:
    with TheirServer(("127.0.0.1", 0), Handler) as server:
        yield server


def serve_by_theirs(server: TheirServer) -> None:
    with socket.create_connection(server.server_address[:2], timeout=LIMIT) as client:  # type: ignore[arg-type]
        with contextlib.suppress(*(type(error) for error in server.raises.values())):
            server.handle_request()
        assert client.recv(1) == b""


def serve_by_ours(server: OurServer) -> BaseException | None:
    with socket.create_connection(server.server_address[:2], timeout=LIMIT) as client:
        wait_readable(server.socket)
        raised = serve_one(server, *server.get_request())
        assert client.recv(1) == b""
        return raised


@pytest.mark.parametrize("hook", [None, "process_request", "finish_request", "setup", "handle"])
@pytest.mark.parametrize("error", [ValueError("wrong"), SystemExit(3), KeyboardInterrupt()], ids=repr)
def test_the_hooks_are_called_in_the_order_of_the_standard_library(
    ours: OurServer, theirs: TheirServer, hook: str | None, error: BaseException
) -> None:
    """Whatever a server overrides is called as it expects, also where something raises, and the client is let go."""
    if hook is not None:
        ours.raises[hook] = theirs.raises[hook] = error

    serve_by_theirs(theirs)
    serve_by_ours(ours)

    assert ours.entries == theirs.entries


def test_an_unwelcome_client_is_let_go_in_the_order_of_the_standard_library(
    ours: OurServer, theirs: TheirServer
) -> None:
    """What verify_request refuses is shut down and never handled."""
    ours.is_welcome = theirs.is_welcome = False

    serve_by_theirs(theirs)
    assert serve_by_ours(ours) is None

    assert ours.entries == theirs.entries == ["get_request", "verify_request", "shutdown_request", "close_request"]


def test_an_error_in_verify_request_costs_its_request_only(ours: OurServer) -> None:
    """The standard library lets it end the loop and leaves the client open; here it is an error like a handler's."""
    ours.raises["verify_request"] = ValueError("wrong")

    assert serve_by_ours(ours) is ours.raises["verify_request"]

    assert ours.entries == ["get_request", "verify_request", "handle_error", "shutdown_request", "close_request"]


def test_a_request_without_trouble_goes_through_every_hook_once(ours: OurServer) -> None:
    """The order itself, for whoever reads."""
    assert serve_by_ours(ours) is None
    assert ours.entries == [
        "get_request",
        "verify_request",
        "process_request",
        "finish_request",
        "setup",
        "handle",
        "finish",
        "shutdown_request",
        "close_request",
    ]


@pytest.mark.parametrize(
    "error", [ValueError("wrong"), SystemExit(3), KeyboardInterrupt(), MemoryError(), RecursionError()], ids=repr
)
def test_what_a_handler_raises_ends_its_request_and_is_told(
    ours: OurServer, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    """It is returned, logged once with its peer and its traceback, and the request is shut down exactly once."""
    ours.raises["handle"] = error

    assert serve_by_ours(ours) is error

    (record,) = caplog.records
    assert (record.name, record.levelno) == ("prefork.server", logging.ERROR)
    assert "127.0.0.1:" in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[1] is error
    assert ours.entries.count("shutdown_request") == 1


def test_an_error_in_handle_error_itself_is_logged(ours: OurServer, caplog: pytest.LogCaptureFixture) -> None:
    """Both are told, and the request is shut down all the same."""
    ours.raises = {"handle": ValueError("first"), "handle_error": ValueError("second")}

    assert serve_by_ours(ours) is ours.raises["handle"]

    (record,) = caplog.records
    assert "handle_error itself failed" in record.getMessage()
    assert ours.entries[-2:] == ["shutdown_request", "close_request"]


def test_a_handle_error_that_raises_the_error_anew_costs_this_request_only(ours: OurServer) -> None:
    """A common way to write it: the error passes on to whoever called, which is us."""
    error = ValueError("wrong")
    ours.raises = {"handle": error, "handle_error": error}

    assert serve_by_ours(ours) is error


def test_an_error_while_shutting_down_is_logged(ours: OurServer, caplog: pytest.LogCaptureFixture) -> None:
    """What verify_request refused may fail to close, which harms nobody else."""
    ours.is_welcome = False
    ours.raises["shutdown_request"] = OSError("cannot")
    with socket.create_connection(ours.server_address[:2], timeout=LIMIT):
        wait_readable(ours.socket)
        request, client_address = ours.get_request()
        assert serve_one(ours, request, client_address) is None
        request.close()

    (record,) = caplog.records
    assert "shutdown_request failed" in record.getMessage()
