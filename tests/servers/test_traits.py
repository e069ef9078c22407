"""What somebody overrode, and where requests are handled; one promise a test."""

import http.server
import socketserver
import xmlrpc.server
from typing import Any

import pytest

import prefork.socketserver
from prefork.servers.traits import concurrency_of, overrides, runs_its_own_loop

each = pytest.mark.parametrize


class Looping(http.server.HTTPServer):
    def serve_forever(self, poll_interval: float = 0.5) -> None:
        """Not the standard library's."""


class Mixed(socketserver.ThreadingMixIn, Looping):
    pass


@each("kind", [socketserver.TCPServer, http.server.ThreadingHTTPServer, xmlrpc.server.SimpleXMLRPCServer])
def test_the_standard_librarys_loop_is_nobodys_own(kind: type) -> None:
    """Neither is ours, nor that of a duck without one."""
    assert not runs_its_own_loop(kind)
    assert not runs_its_own_loop(prefork.socketserver.ThreadingTCPServer)
    assert not runs_its_own_loop(object)


@each("kind", [Looping, Mixed])
def test_a_loop_of_somebody_else_is_found(kind: Any) -> None:
    """Asked of the class, of a class derived from it, and of an instance."""
    assert runs_its_own_loop(kind)
    assert runs_its_own_loop(kind(("", 0), socketserver.BaseRequestHandler, bind_and_activate=False))


def test_what_is_set_on_the_instance_is_overridden() -> None:
    """As on a class."""
    with prefork.socketserver.TCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler) as server:
        assert not overrides(server, "get_request")
        server.get_request = list
        assert overrides(server, "get_request")


@each(
    ("kind", "concurrency"),
    [
        (socketserver.TCPServer, "sync"),
        (http.server.ThreadingHTTPServer, "thread"),
        (socketserver.ForkingUDPServer, "fork"),
        (prefork.socketserver.TCPServer, "sync"),
        (prefork.socketserver.ThreadingTCPServer, "thread"),
        (prefork.socketserver.ForkingTCPServer, "fork"),
        (Mixed, "thread"),
        (object, "sync"),
    ],
)
def test_concurrency_is_told_by_the_mix_in(kind: type, concurrency: str) -> None:
    """The standard library's stands below ours as well, so one question is enough."""
    assert concurrency_of(kind) == concurrency
