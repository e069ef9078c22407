"""Whose an error is, by real listeners where the kernel can be made to say it."""

import errno
import socket

import pytest

from prefork.system.accepting import Owner, owner


def error_of(listener: socket.socket) -> OSError:
    with pytest.raises(OSError) as raised:
        listener.accept()
    return raised.value


def test_an_empty_queue_is_nobodys() -> None:
    """Who lost a race hears the same."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        assert owner(error_of(listener)) is Owner.NOBODY


def test_a_socket_that_never_listened_is_shut() -> None:
    with socket.socket() as listener:
        assert owner(error_of(listener)) is Owner.SHUT


def test_a_datagram_socket_and_a_closed_one_are_no_listeners() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as listener:
        assert owner(error_of(listener)) is Owner.LISTENER
    assert owner(error_of(listener)) is Owner.LISTENER


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_a_want_of_descriptors_or_memory_is_the_machines(number: int) -> None:
    """The client still waits, and somebody else may have room."""
    assert owner(OSError(number, "")) is Owner.MACHINE


@pytest.mark.parametrize("number", [errno.ECONNABORTED, errno.EPROTO, errno.ENETDOWN, errno.EHOSTUNREACH])
def test_what_the_network_says_is_of_one_connection(number: int) -> None:
    """It died before we had it."""
    assert owner(OSError(number, "")) is Owner.CONNECTION


def test_a_server_may_say_that_it_has_nothing() -> None:
    """One without a socket has no number to give."""
    assert owner(BlockingIOError()) is Owner.NOBODY
    assert owner(OSError("a handshake failed")) is Owner.CONNECTION
