"""Handlers: their files are made when they are touched, and closed when they were made."""

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from prefork import socketserver
from tests.servers.serving import LIMIT


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(LIMIT)
        yield ours, theirs


def handled(request: Any, handle: Any, base: Any = socketserver.StreamRequestHandler, **attributes: Any) -> Any:
    """The handler, after it has handled the request."""
    return type("Handler", (base,), {"handle": handle, **attributes})(request, "peer", "server")


def test_files_that_nobody_touches_are_not_made(pair: Any) -> None:
    """Neither by setup nor by finish."""
    handler = handled(pair[0], lambda self: self.connection.sendall(b"bare"))
    assert {"rfile", "wfile"} & set(vars(handler)) == set()


def test_files_are_made_once_and_closed(pair: Any) -> None:
    """The same object at each touch; closed after handle, and the connection is not."""
    pair[1].sendall(b"a\nb\n")

    def handle(self: Any) -> None:
        assert self.rfile is self.rfile
        assert self.wfile is self.wfile
        self.wfile.write(self.rfile.readline() + self.rfile.readline())

    handler = handled(pair[0], handle)
    assert handler.rfile.closed
    assert handler.wfile.closed
    assert pair[0].fileno() >= 0
    assert pair[1].recv(100) == b"a\nb\n"


def test_a_buffered_reply_leaves_at_the_end(pair: Any) -> None:
    """With wbufsize, finish flushes."""
    handled(pair[0], lambda self: self.wfile.write(b"late"), wbufsize=-1)
    assert pair[1].recv(100) == b"late"


def test_a_client_that_is_gone_at_the_last_flush_is_no_error(pair: Any) -> None:
    """As in the original for an unbuffered reply, whose flush does nothing."""

    def handle(self: Any) -> None:
        self.wfile.flush()
        pair[1].close()

    handled(pair[0], handle)


def test_files_may_be_set_instead(pair: Any) -> None:
    """A setup of one's own may bring its own files, which are closed like ours."""

    def setup(self: Any) -> None:
        super(type(self), self).setup()
        self.rfile = self.wfile = self.connection.makefile("rwb")

    handler = handled(pair[0], lambda self: self.wfile.write(b"own"), setup=setup)
    assert pair[1].recv(100) == b"own"
    assert handler.wfile.closed


@pytest.mark.parametrize("reply", [b"", b"pong"])
def test_a_datagram_is_answered_by_one_datagram(reply: bytes) -> None:
    """Also by an empty one, as in the original."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind(("127.0.0.1", 0))
        client.settimeout(LIMIT)

        class Handler(socketserver.DatagramRequestHandler):
            def handle(self) -> None:
                if reply:
                    self.wfile.write(reply + self.rfile.read())

        Handler((b"!", client), client.getsockname(), None)
        assert client.recv(100) == (reply + b"!" if reply else b"")


def test_finish_follows_a_handle_that_raised(pair: Any) -> None:
    """And the exception passes."""
    finished = threading.Event()

    def handle(self: Any) -> None:
        raise ValueError("as planned")

    with pytest.raises(ValueError, match="as planned"):
        handled(pair[0], handle, finish=lambda self: finished.set())
    assert finished.is_set()
