"""What a line of the access log says of a request; one promise a test."""

import logging
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from prefork.errors import RequestTimeout
from prefork.system import slots
from prefork.system.logfile import Log
from prefork.system.processes import Ending
from prefork.system.slots import Lane
from prefork.worker.access import Access

End = Callable[[socket.socket, socket.socket], int | None]  # the bytes we have sent, if any


class Kept(Log):
    """Keeps what it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def last(self) -> dict[str, Any]:
        return self.records[-1].__dict__


class Books:
    def __init__(self) -> None:
        self.ended: list[object] = []

    def end(self, lane: Lane, raised: object) -> None:
        self.ended.append(raised)
        lane.clear()


class Server:
    def shutdown_request(self, request: Any) -> None:
        if isinstance(request, socket.socket):
            request.close()


@pytest.fixture
def log() -> Kept:
    return Kept()


@pytest.fixture
def lane() -> Lane:
    lane = Lane(memoryview(bytearray(slots.LANE)))
    lane.begin(1841, time.monotonic_ns(), b"10.0.0.7:51022")
    return lane


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A client, and the connection that was accepted from it."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        accepted, _ = listener.accept()
        with accepted:
            yield client, accepted


def begin(log: Kept) -> tuple[Any, Any]:
    books, server = Books(), Server()
    Access(log, books).heed(server)  # type: ignore[arg-type]
    return books, server


def test_a_request_is_told_once_it_has_ended(log: Kept, lane: Lane) -> None:
    """With its peer, number, outcome, duration and label; the ledger ends it as ever."""
    lane.label(b"the report")
    books, _ = begin(log)
    books.end(lane, None)
    assert books.ended == [None]
    assert log.last["msg"].startswith("10.0.0.7:51022 #1841 ok 0.0")
    assert log.last["msg"].endswith(" s, the report")
    assert 0 <= log.last["seconds"] < 30
    assert [log.last[key] for key in ("peer", "request", "outcome", "label")] == [
        "10.0.0.7:51022",
        1841,
        "ok",
        "the report",
    ]


@pytest.mark.parametrize(
    ("raised", "outcome", "error"),
    [
        (LookupError("gone"), "error", "LookupError"),
        (SystemExit(), "error", "SystemExit"),
        (type("RequestTimeout", (RequestTimeout,), {})(), "timeout", None),
    ],
)
def test_the_outcome_is_what_its_handler_raised(
    log: Kept, lane: Lane, raised: BaseException, outcome: str, error: str | None
) -> None:
    """By the name of its class; a limit of time has one of its own."""
    books, _ = begin(log)
    books.end(lane, raised)
    assert (log.last["outcome"], log.last.get("error")) == (outcome, error)


def test_a_request_whose_child_died_is_lost(log: Kept, lane: Lane) -> None:
    """And how it died is said."""
    books, _ = begin(log)
    books.tell(lane, Ending(signal=9))
    assert (log.last["outcome"], log.last["error"]) == ("lost", "was killed by SIGKILL")


def test_bytes_are_the_kernels(log: Kept, lane: Lane, pair: tuple[socket.socket, socket.socket]) -> None:
    """What came and what went, also what has not left yet."""
    client, accepted = pair
    books, server = begin(log)
    client.sendall(b"twelve bytes")
    accepted.recv(12, socket.MSG_WAITALL)
    accepted.setblocking(False)
    sent = accepted.send(b"x" * 3_000_000)
    server.shutdown_request(accepted)
    books.end(lane, None)
    assert (log.last["bytes_in"], log.last["bytes_out"]) == (12, sent)


def client_ends(client: socket.socket, accepted: socket.socket) -> None:
    client.shutdown(socket.SHUT_WR)
    assert accepted.recv(1) == b""


def we_end(client: socket.socket, accepted: socket.socket) -> None:
    accepted.shutdown(socket.SHUT_WR)


def we_end_and_are_heard(client: socket.socket, accepted: socket.socket) -> None:
    we_end(client, accepted)
    assert client.recv(1) == b""


def we_end_behind_much(client: socket.socket, accepted: socket.socket) -> int:
    """The client does not read it, so neither our end nor its acknowledgement is on its way."""
    accepted.setblocking(False)
    sent = accepted.send(b"x" * 3_000_000)
    accepted.setblocking(True)
    we_end(client, accepted)
    return sent


def client_resets(client: socket.socket, accepted: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    poll = select.poll()
    poll.register(accepted, 0)
    assert poll.poll(30_000)


def we_meet_the_reset(client: socket.socket, accepted: socket.socket) -> None:
    with pytest.raises(ConnectionResetError):
        accepted.recv(1)


@pytest.mark.parametrize(
    "ends",
    [
        (client_ends,),
        (client_ends, we_end),
        (client_ends, we_end_and_are_heard),
        (client_ends, we_end_behind_much),
        (we_end,),
        (we_end_and_are_heard, client_ends),
        (we_end_behind_much, client_ends),
        (client_resets,),
        (client_resets, we_meet_the_reset),
        (client_ends, client_resets),
        (we_end_and_are_heard, client_resets),
    ],
    ids=lambda ends: ", ".join(end.__name__ for end in ends),
)
def test_the_end_of_a_stream_is_no_byte(
    log: Kept, lane: Lane, pair: tuple[socket.socket, socket.socket], ends: tuple[End, ...]
) -> None:
    """Although the kernel counts it, whoever ends first; a connection that was reset has none."""
    client, accepted = pair
    books, server = begin(log)
    client.sendall(b"four")
    assert accepted.recv(4, socket.MSG_WAITALL) == b"four"
    sent = sum(end(client, accepted) or 0 for end in ends)
    server.shutdown_request(accepted)
    books.end(lane, None)
    assert (log.last["bytes_in"], log.last["bytes_out"]) == (4, sent)


@pytest.mark.parametrize("is_closed", [True, False])
def test_what_nobody_knows_is_left_out(log: Kept, lane: Lane, is_closed: bool) -> None:
    """A connection that the handler has closed, or one that is none of TCP."""
    books, server = begin(log)
    one, other = socket.socketpair()
    with one, other:
        if is_closed:
            one.close()
        server.shutdown_request(one)
    books.end(lane, None)
    assert (log.last["bytes_in"], log.last["bytes_out"]) == (None, None)
    assert "bytes" not in log.last["msg"]


def test_a_datagram_has_its_length(log: Kept, lane: Lane) -> None:
    """What is answered nobody counts."""
    books, server = begin(log)
    server.shutdown_request((b"hello", None))
    books.end(lane, None)
    assert (log.last["bytes_in"], log.last["bytes_out"]) == (5, None)


def test_bytes_are_not_those_of_the_request_before(log: Kept, lane: Lane) -> None:
    """A request that was never closed has none."""
    books, server = begin(log)
    server.shutdown_request((b"hello", None))
    books.end(lane, None)
    lane.begin(2, 1, b"peer")
    books.end(lane, None)
    assert log.last["bytes_in"] is None
