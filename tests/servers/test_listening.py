"""Servers on listeners that somebody else opened and many hold; one promise a test."""

import os
import socket
import socketserver
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from prefork.servers.listening import DatagramServer, StreamServer, serve_on
from tests.children import LIMIT, Child, Link, wait_readable
from tests.street import Street, open_street


class Echo(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.wfile.write(self.rfile.readline().upper())


class DatagramEcho(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        data, replies = self.request
        replies.sendto(data.upper(), self.client_address)


@pytest.fixture
def street() -> Iterator[Street]:
    with open_street() as street:
        yield street


STREAMS = ["tcp", "unix"]
DATAGRAMS = ["udp", "unixgram"]
each = pytest.mark.parametrize


def handler_for(kind: str) -> type[socketserver.BaseRequestHandler]:
    return Echo if kind in STREAMS else DatagramEcho


@each("kind", STREAMS + DATAGRAMS)
def test_a_request_is_got_handled_and_answered(street: Street, kind: str) -> None:
    """A handler of the standard library serves every kind of listener."""
    listener = street.listener(kind)
    client = street.client(listener)
    server = serve_on(listener, handler_for(kind))
    client.sendall(b"asked\n")
    wait_readable(listener)

    request, client_address = server.get_request()
    server.process_request(request, client_address)

    assert client.recv(99) == b"ASKED\n"
    server.server_close()


@each("kind", STREAMS + DATAGRAMS)
def test_where_nothing_waits_getting_a_request_says_so_at_once(street: Street, kind: str) -> None:
    """Whoever was woken for a client that somebody else has taken goes on."""
    server = serve_on(street.listener(kind), handler_for(kind))
    with pytest.raises(BlockingIOError):
        server.get_request()
    server.server_close()


@each("kind", STREAMS + DATAGRAMS)
def test_a_server_knows_its_socket_and_is_what_the_standard_library_calls_it(street: Street, kind: str) -> None:
    """Applications ask for the address, the socket, its number and the class."""
    listener = street.listener(kind)
    server = serve_on(listener, handler_for(kind))

    assert isinstance(server, socketserver.TCPServer if kind in STREAMS else socketserver.UDPServer)
    assert isinstance(server, StreamServer if kind in STREAMS else DatagramServer)
    assert server.server_address == listener.getsockname()
    assert (server.socket, server.address_family, server.fileno()) == (listener, listener.family, listener.fileno())
    server.server_close()


@each("kind", STREAMS + DATAGRAMS)
def test_the_flags_of_a_listener_are_left_alone(street: Street, kind: str) -> None:
    """They belong to all who hold the socket, so it never blocks, before, during and after a request."""
    listener = street.listener(kind)
    client = street.client(listener)
    with ExitStack() as held:
        other_holder = os.dup(listener.fileno())
        held.callback(os.close, other_holder)
        server = serve_on(listener, handler_for(kind))
        seen = [os.get_blocking(other_holder)]
        client.sendall(b"asked\n")
        wait_readable(listener)
        request, client_address = server.get_request()
        seen.append(os.get_blocking(other_holder))
        server.process_request(request, client_address)
        seen.append(os.get_blocking(other_holder))
        server.server_close()
        seen.append(os.get_blocking(other_holder))
    assert seen == [False] * 4


@each("kind", STREAMS)
def test_an_accepted_connection_blocks(street: Street, kind: str) -> None:
    """A synchronous handler reads and writes it in peace."""
    listener = street.listener(kind)
    street.client(listener)
    wait_readable(listener)
    server = serve_on(listener, Echo)

    request, _ = server.get_request()

    assert (request.getblocking(), os.get_blocking(request.fileno())) == (True, True)
    request.close()
    server.server_close()


@each("kind", STREAMS + DATAGRAMS)
def test_a_closed_server_holds_nothing(street: Street, kind: str) -> None:
    """Neither the listener nor a copy of it is left, so that the last close is the last."""
    listener = street.listener(kind)
    address = listener.getsockname()
    server = serve_on(listener, handler_for(kind))

    server.server_close()

    assert listener.fileno() == -1
    if kind.startswith("unix"):
        probe = street.make(kind)
        with pytest.raises(ConnectionRefusedError):
            probe.connect(address)
    else:
        again = socket.socket(listener.family, listener.type)
        with again:
            again.bind(address)


# Replies


@each("kind", DATAGRAMS)
def test_the_empty_datagram_is_a_request(street: Street, kind: str) -> None:
    """It has a peer that waits for its answer."""
    listener = street.listener(kind)
    client = street.client(listener)
    server = DatagramServer(listener, DatagramEcho)
    client.send(b"")
    wait_readable(listener)

    (data, _), client_address = server.get_request()

    assert (data, client_address) == (b"", client.getsockname())
    server.server_close()


def fill(listener: socket.socket, peer: str) -> int:
    """Send to the peer until its queue is full: how many were sent."""
    sent = 0
    try:
        while True:
            listener.sendto(b"earlier", peer)
            sent += 1
    except BlockingIOError:
        return sent


class Behind:
    """A Unix datagram client that has asked and whose queue is full, and a server in a child about to reply.

    The kernel counts in two ways: what a connected client has not read fills its sender's buffer; what others have not
    read fills their own queue.
    """

    def __init__(self, street: Street, *, is_connected: bool) -> None:
        self._listener = street.listener("unixgram")
        self._client = street.make("unixgram")
        self._client.settimeout(LIMIT)
        if is_connected:
            self._client.connect(self._listener.getsockname())
        self._client.sendto(b"asked", self._listener.getsockname())
        self._earlier = fill(self._listener, self._client.getsockname())

    def reply(self, parent: Link) -> str:
        server = DatagramServer(self._listener, DatagramEcho)
        request, client_address = server.get_request()
        parent.say("replies")
        server.process_request(request, client_address)
        return "replied"

    def read(self) -> bytes:
        """Catch up, then read what follows."""
        for _ in range(self._earlier):
            assert self._client.recv(99) == b"earlier"
        return self._client.recv(99)


@each("is_connected", [True, False], ids=["connected", "unconnected"])
def test_a_reply_waits_for_room_at_its_peer(street: Street, is_connected: bool) -> None:
    """A client that is behind with reading gets its reply once it has read, and no error is raised."""
    client = Behind(street, is_connected=is_connected)
    with Child(client.reply) as child:
        assert child.hear() == "replies"
        assert client.read() == b"ASKED"
        assert child.hear() == "replied"


@each("is_connected", [True, False], ids=["connected", "unconnected"])
def test_a_reply_that_waits_for_room_sleeps(street: Street, is_connected: bool) -> None:
    """Waiting costs no CPU, and signals are heard meanwhile."""
    client = Behind(street, is_connected=is_connected)
    with Child(client.reply) as child:
        assert child.hear() == "replies"
        child.wait_asleep()
        assert client.read() == b"ASKED"
        assert child.hear() == "replied"
