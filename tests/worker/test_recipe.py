"""What a constructor or a factory is called with, read from its signature; one promise a test."""

import functools
import http.server
import socketserver
import xmlrpc.server
from collections.abc import Callable
from typing import Any

import pytest

from prefork.errors import TargetError
from prefork.worker.recipe import read

ADDRESS = ("127.0.0.1", 9000)
H = socketserver.BaseRequestHandler
each = pytest.mark.parametrize


class Forwarding(http.server.HTTPServer):
    def __init__(self, *args: Any, color: str = "red", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)


class ForwardingTheRest(socketserver.TCPServer):
    def __init__(self, addr: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(addr, *args, **kwargs)


class WithDefaultHandler(socketserver.TCPServer):
    def __init__(self, address: Any, handler: Any = H, **more: Any) -> None:
        super().__init__(address, handler, **more)


def called(made_by: Callable[..., Any], address: Any = ADDRESS, handler: Any = None) -> tuple[tuple[Any, ...], Any]:
    positional, named = read("shop:Shop", made_by, has_handler=handler is not None).arguments(address, handler)
    return tuple(positional), named


def refusal(made_by: Callable[..., Any], *, has_handler: bool = False) -> str:
    with pytest.raises(TargetError) as raised:
        read("shop:Shop", made_by, has_handler=has_handler)
    line = str(raised.value)
    assert "'shop:Shop'" in line
    assert len(line.splitlines()) == 1
    return line


@each(
    ("made_by", "positional", "named"),
    [
        (lambda: None, (), {}),
        (lambda **options: None, (), {}),
        (lambda debug=False: None, (), {}),
        (lambda addr: None, (ADDRESS,), {}),
        (lambda where: None, (ADDRESS,), {}),
        (lambda where, /: None, (ADDRESS,), {}),
        (lambda *args: None, (ADDRESS,), {}),
        (lambda *args, **kwargs: None, (ADDRESS,), {}),
        (lambda *, server_address: None, (), {"server_address": ADDRESS}),
        (lambda addr, bind_and_activate: None, (ADDRESS, True), {}),
        (lambda addr, handler=H, bind_and_activate=False: None, (ADDRESS,), {}),
        (lambda host, port, debug=False: None, ADDRESS, {}),
        (lambda hostname="", port=80: None, ADDRESS, {}),
        (lambda debug=False, port=80: None, (), {"port": 9000}),
        (lambda address="", port=80: None, ADDRESS, {}),
        (lambda bind=True: None, (), {}),
        (functools.partial(socketserver.TCPServer, RequestHandlerClass=H), (ADDRESS,), {}),
        (functools.partial(lambda app, addr: None, "app"), (ADDRESS,), {}),
        (xmlrpc.server.SimpleXMLRPCServer, (ADDRESS,), {}),
        (WithDefaultHandler, (ADDRESS,), {}),
    ],
)
def test_an_address_goes_where_the_signature_wants_it(
    made_by: Callable[..., Any], positional: tuple[Any, ...], named: dict[str, Any]
) -> None:
    """Constructors differ: an address, a host and a port, by position or by name, or nothing at all."""
    assert called(made_by) == (positional, named)


@each(
    ("made_by", "positional", "named"),
    [
        (lambda server_address, request_handler_class, bind_and_activate=True: None, (ADDRESS, H), {}),
        (lambda addr, handler: None, (ADDRESS, H), {}),
        (lambda where, whom: None, (ADDRESS, H), {}),
        (lambda *args: None, (ADDRESS, H), {}),
        (lambda addr, *, handler_class: None, (ADDRESS,), {"handler_class": H}),
        (lambda addr, debug=False, handler=None: None, (ADDRESS,), {"handler": H}),
        (lambda handler, host, port: None, (H, *ADDRESS), {}),
        (socketserver.TCPServer, (ADDRESS, H), {}),
        (xmlrpc.server.SimpleXMLRPCServer, (ADDRESS, H), {}),
        (WithDefaultHandler, (ADDRESS, H), {}),
        (Forwarding, (ADDRESS, H), {}),
        (ForwardingTheRest, (ADDRESS, H), {}),
    ],
)
def test_a_handler_class_goes_where_the_signature_wants_it(
    made_by: Callable[..., Any], positional: tuple[Any, ...], named: dict[str, Any]
) -> None:
    """By its name, or after the address; a default gives way; ``*args`` stands for the next constructor's."""
    assert called(made_by, handler=H) == (positional, named)


def test_without_a_listener_no_address_is_told() -> None:
    """A server that works without a network may have a default for it."""
    assert called(lambda host="", port=80, debug=False: None, address=None) == ((), {})


@each(
    "made_by", [lambda host, port, app: None, lambda where, app: None, lambda addr, *, app: None, lambda *, app: None]
)
def test_what_no_rule_fits_is_refused_with_an_example(made_by: Callable[..., Any]) -> None:
    """The line says what is wanted, prints the signature, and shows the factory that would do."""
    line = refusal(made_by)
    assert "wants app: Shop(" in line
    assert "def serve(address): return Shop(address, ...)" in line


def test_what_has_no_signature_is_refused() -> None:
    """Some things written in C do not tell."""
    assert "def serve(address)" in refusal(min)


@each("made_by", [socketserver.TCPServer, Forwarding, lambda addr, *, handler: None])
def test_a_server_class_that_wants_a_handler_and_got_none_is_refused(made_by: Callable[..., Any]) -> None:
    """It says how to give one."""
    assert "give --handler MODULE:CLASS" in refusal(made_by)


@each("made_by", [lambda: None, lambda addr: None, lambda host, port: None])
def test_a_handler_that_nobody_takes_is_refused(made_by: Callable[..., Any]) -> None:
    """It would be ignored in silence."""
    assert "leave --handler out" in refusal(made_by, has_handler=True)
