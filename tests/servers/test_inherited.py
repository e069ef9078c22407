"""A listener that many processes hold, in the hands of one server; one promise a test."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from prefork.servers.inherited import InheritedSocket, inherit, is_same_address
from prefork.system.bell import Bell
from tests.children import LIMIT, Child, Link, wait_readable
from tests.street import Street, open_street

each = pytest.mark.parametrize


@pytest.fixture
def street() -> Iterator[Street]:
    with open_street() as street:
        yield street


@pytest.fixture
def bell(monkeypatch: pytest.MonkeyPatch) -> Bell:
    bell = Bell()
    monkeypatch.setattr(InheritedSocket, "bell", bell)
    return bell


def test_an_object_becomes_inherited_in_place(street: Street) -> None:
    """Whoever holds the object goes on holding the listener."""
    listener = street.listener("tcp")
    number = listener.fileno()
    assert inherit(listener) is listener
    assert (type(listener), listener.fileno()) == (InheritedSocket, number)


def test_timeouts_touch_only_pythons_side(street: Street) -> None:
    """The flag belongs to all who hold the socket; what was set is what is told."""
    listener = inherit(street.listener("tcp"))
    told = [listener.gettimeout()]
    for value in (5.0, 0.0, None):
        listener.settimeout(value)
        told.append(listener.gettimeout())
        assert not os.get_blocking(listener.fileno())
        with pytest.raises(BlockingIOError):
            listener.accept()
    listener.setblocking(False)
    assert (told, listener.getblocking()) == ([None, 5.0, 0.0, None], False)
    listener.setblocking(True)
    assert listener.getblocking()


def test_a_default_timeout_does_not_make_it_wait(street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds for the accepted connections, as the standard library has it."""
    listener = inherit(street.listener("tcp"))
    try:
        socket.setdefaulttimeout(LIMIT)
        second = InheritedSocket(fileno=os.dup(listener.fileno()))
        for each_one in (listener, second):
            with pytest.raises(BlockingIOError):
                each_one.accept()
        street.client(listener)
        wait_readable(listener)
        connection, _ = second.accept()
        assert connection.gettimeout() == LIMIT
    finally:
        socket.setdefaulttimeout(None)
    connection.close()
    second.close()


@each("kind", ["tcp", "unix"])
def test_a_connection_is_as_the_standard_library_makes_it(street: Street, kind: str) -> None:
    """Its class, its kind, its flags, its peer."""
    listener = inherit(street.listener(kind))
    client = street.client(listener)
    wait_readable(listener)
    connection, peer = listener.accept()
    with connection:
        assert type(connection) is socket.socket
        assert (connection.family, connection.type, connection.proto) == (
            listener.family,
            listener.type,
            listener.proto,
        )
        assert connection.gettimeout() is None
        assert os.get_blocking(connection.fileno())
        assert not connection.get_inheritable()
        assert peer == connection.getpeername() == client.getsockname()


def test_binding_to_its_own_address_and_listening_do_nothing(street: Street) -> None:
    """It has been done; another address is as impossible as of any bound socket."""
    listener = inherit(street.listener("tcp"))
    listener.bind(listener.getsockname())
    listener.listen(1)
    with pytest.raises(OSError):
        listener.bind(("127.0.0.1", 1))


def test_with_a_bell_accepting_waits_for_a_client(street: Street, bell: Bell) -> None:
    """A server's own loop decides when to wait, and meets a blocking socket."""
    listener = inherit(street.listener("tcp"))

    def accept(parent: Link) -> bytes:
        parent.say("accepts")
        connection, _ = listener.accept()
        return connection.recv(99)

    with Child(accept) as child:
        assert child.hear() == "accepts"
        child.wait_asleep()
        street.client(listener).sendall(b"hello")
        assert child.hear() == b"hello"


def test_with_a_bell_receiving_waits_for_a_datagram(street: Street, bell: Bell) -> None:
    """As accepting."""
    listener = inherit(street.listener("udp"))

    def receive(parent: Link) -> bytes:
        parent.say("receives")
        return listener.recvfrom(99)[0]

    with Child(receive) as child:
        assert child.hear() == "receives"
        child.wait_asleep()
        street.client(listener).send(b"hello")
        assert child.hear() == b"hello"


@each("kind", ["tcp", "udp"])
def test_a_rung_bell_ends_the_wait_but_not_what_is_there(street: Street, bell: Bell, kind: str) -> None:
    """A loop comes round and sees that it is to stop; a client that is there is served first."""
    listener = inherit(street.listener(kind))
    get = listener.accept if kind == "tcp" else lambda: listener.recvfrom(99)
    bell.ring()
    with pytest.raises(ConnectionAbortedError):
        get()
    street.client(listener).sendall(b"hello")
    wait_readable(listener)
    got, _ = get()
    if isinstance(got, socket.socket):
        got.close()


def test_with_a_bell_timeouts_count(street: Street, bell: Bell) -> None:
    """Nobody in time is a TimeoutError; no time at all is a BlockingIOError, as of any socket."""
    listener = inherit(street.listener("tcp"))
    listener.settimeout(0.001)
    with pytest.raises(TimeoutError):
        listener.accept()
    listener.settimeout(0)
    with pytest.raises(BlockingIOError):
        listener.accept()


@each(
    ("asked", "real", "is_same"),
    [
        (("127.0.0.1", 80), ("127.0.0.1", 80), True),
        (("localhost", 80), ("127.0.0.1", 80), True),
        (("127.0.0.1", 81), ("127.0.0.1", 80), False),
        (("127.0.0.2", 80), ("127.0.0.1", 80), False),
        (("", 80), ("0.0.0.0", 80), True),
        (("0.0.0.0", 80), ("::", 80, 0, 0), True),
        (("", 80), ("127.0.0.1", 80), False),
        (("::1", 80), ("::1", 80, 0, 0), True),
        (("::1", 80, 0, 0), ("::1", 80, 0, 0), True),
        ((".", 80), ("127.0.0.1", 80), False),
        ((0, 80), ("127.0.0.1", 80), False),
        (("no such host.invalid", 80), ("127.0.0.1", 80), False),
        ("/run/x", "/run/x", True),
        (b"/run/./x", "/run/x", True),
        (Path("x").name, str(Path("x").absolute()), True),
        ("/run/x", "/run/y", False),
        ("\0x", b"\0x", True),
        ("\0x/", b"\0x", False),
        ("/run/x", ("127.0.0.1", 80), False),
    ],
)
def test_an_address_is_recognised_in_the_words_of_a_constructor(asked: object, real: object, is_same: bool) -> None:
    """Wildcards, names, relative paths and abstract names."""
    assert is_same_address(asked, real) == is_same
