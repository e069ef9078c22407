"""The master's end of the control socket: whatever a client does costs its own connection at most."""

import contextlib
import errno
import os
import resource
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefork.address import Address
from prefork.control import server as control
from prefork.control.client import Place, connect
from prefork.control.messages import (
    REQUEST_MAX,
    Done,
    Heard,
    Ping,
    Progress,
    Refused,
    Reload,
    Reply,
    Request,
    Status,
    encode,
    read_reply,
)
from prefork.control.server import MOST_CLIENTS, OUTPUT_MAX, Client, Server
from prefork.errors import CommandError
from prefork.system import sockets
from prefork.system.sockets import Listener
from prefork.system.wakeup import Poller
from tests.children import LIMIT, Child, Link, become_nobody, descriptors, said_by

PING = encode(Ping())


class Desk:
    """A server, and a master that answers ``Ping`` at once, ``Status`` in parts, and ``Reload`` when told.

    :param parts: of the answer to ``Status``.
    """

    def __init__(self, address: Address, parts: Callable[[], Iterator[Reply]]) -> None:
        self.address = address
        self.parts = parts
        self.poller = Poller()
        self.server = Server(sockets.open_listener(address, control.BACKLOG), self.poller)
        self.waiting: list[Client] = []
        self.heard: list[Request] = []

    @property
    def listener(self) -> Listener:
        listener = self.server.listener
        assert listener is not None, "it was opened with one"
        return listener

    def turn(self) -> bool:
        """What one turn of a master's loop does; False if nothing woke it."""
        keys = self.poller.wait(0)
        has_more = self.server.has_more
        for client, request in self.server.hear(keys):
            self.heard.append(request)
            match request:
                case Ping():
                    self.server.answer(client, Done(text="here"))
                case Status():
                    self.server.answer_in_parts(client, self.parts())
                case Reload():
                    self.waiting.append(client)
                    self.server.wait(client)
        return bool(keys) or has_more

    def settle(self) -> None:
        """Turn until nothing wakes it any more, which has to come."""
        for _ in range(10_000):
            if not self.turn():
                return
        raise AssertionError("the server never comes to rest")

    def client(self) -> "Caller":
        return Caller(self)

    def __enter__(self) -> "Desk":
        return self

    def __exit__(self, *exception: object) -> None:
        self.server.close()
        self.poller.close()


class Caller:
    """A client whose test plays the master between what it says and what it hears."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.socket = socket.socket(socket.AF_UNIX)
        path = desk.address.path
        self.socket.connect("\0" + path[1:] if desk.address.is_abstract else path)
        self.socket.settimeout(0)

    def say(self, data: bytes) -> None:
        self.socket.send(data)
        self.desk.settle()

    def hear(self) -> tuple[list[Reply], bool]:
        """What has come, and whether the connection has ended."""
        data = b""
        while True:
            self.desk.settle()
            try:
                chunk = self.socket.recv(1 << 20)
            except BlockingIOError:
                return [read_reply(line) for line in data.splitlines()], False
            except ConnectionResetError:
                chunk = b""
            if not chunk:
                return [read_reply(line) for line in data.splitlines()], True
            data += chunk

    def close(self) -> None:
        self.socket.close()
        self.desk.settle()


def three_parts() -> Iterator[Reply]:
    yield Progress(text="1")
    yield Progress(text="2")
    yield Done(text="3")


@pytest.fixture
def desk() -> Iterator[Desk]:
    with Desk(Address("unix", path=f"@prefork/test/{os.getpid()}"), three_parts) as desk:
        yield desk


HERE = ([Done(text="here")], False)


# well-behaved


def test_a_request_is_answered_and_the_connection_stays(desk: Desk) -> None:
    """As many requests as one likes, one after the other."""
    client = desk.client()
    for _ in range(3):
        client.say(PING)
        assert client.hear() == HERE


def test_a_request_may_come_in_pieces(desk: Desk) -> None:
    """Byte by byte; nothing is answered before its line ends."""
    client = desk.client()
    for byte in PING[:-1]:
        client.say(bytes([byte]))
    assert client.hear() == ([], False)
    client.say(b"\n")
    assert client.hear() == HERE


def test_requests_that_come_together_are_answered_in_turn(desk: Desk) -> None:
    """The next is looked at when the one before is answered."""
    client = desk.client()
    client.say(encode(Status()) + encode(Reload()) + PING)
    replies, has_ended = client.hear()
    assert [type(reply).__name__ for reply in replies] == ["Progress", "Progress", "Done", "Heard"]
    assert desk.heard == [Status(), Reload()]
    desk.server.answer(desk.waiting[0], Done(text="later"))
    assert client.hear() == ([Done(text="later"), Done(text="here")], False)
    assert not has_ended


def test_who_has_said_all_still_hears_the_answer(desk: Desk) -> None:
    """A shut end of the stream, as pipes into a socket leave it, is no goodbye; after the answer it is."""
    client = desk.client()
    client.socket.send(encode(Reload()) + PING)
    client.socket.shutdown(socket.SHUT_WR)
    desk.settle()
    desk.server.answer(desk.waiting[0], Done(text="later"))
    replies, has_ended = client.hear()
    assert replies[1:] == [Done(text="later"), Done(text="here")]
    assert has_ended


def test_who_goes_while_it_waits_is_forgotten(desk: Desk) -> None:
    """Its answer goes nowhere, and nobody minds; also where it had shut its end before."""
    for is_shut in (False, True):
        client = desk.client()
        client.say(encode(Reload()))
        if is_shut:
            client.socket.shutdown(socket.SHUT_WR)
            desk.settle()
        client.close()
        waiting = desk.waiting.pop()
        assert waiting.is_gone
        desk.server.answer(waiting, Done())


# misbehaving


def test_junk_is_refused_once_and_ends_the_connection(desk: Desk) -> None:
    """What follows it in the same breath is not looked at."""
    client = desk.client()
    client.say(b"GET / HTTP/1.1\r\n\r\n" + PING)
    replies, has_ended = client.hear()
    assert [type(reply) for reply in replies] == [Refused]
    assert has_ended
    assert desk.heard == []


def test_a_line_without_an_end_is_refused_at_its_limit(desk: Desk) -> None:
    """Megabytes do not gather."""
    client = desk.client()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        for _ in range(1000):
            client.say(b"x" * 4096)
    replies, has_ended = client.hear()
    assert [type(reply) for reply in replies] == [Refused]
    assert str(REQUEST_MAX) in str(replies[0])
    assert has_ended


def test_who_does_not_read_is_dropped_at_a_limit(desk: Desk) -> None:
    """News for a client that does not read them: what the kernel takes, then a little more, then the end."""
    client = desk.client()
    client.say(encode(Reload()))
    (waiting,) = desk.waiting
    told = 0
    while not waiting.is_gone:
        desk.server.tell(waiting, Progress(text="x" * 1000))
        told += 1000
        assert len(waiting.output) <= OUTPUT_MAX
        assert told < 1 << 22


def test_who_is_refused_and_talks_on_is_not_read(desk: Desk) -> None:
    """Where even the refusal finds no reader, the connection rests until it ends or makes room."""
    client = desk.client()
    client.say(encode(Reload()))
    (waiting,) = desk.waiting
    while not waiting.output:
        desk.server.tell(waiting, Progress(text="x" * 1000))
    client.socket.send(b"x" * 2 * REQUEST_MAX)
    desk.settle()
    assert (waiting.is_ending, waiting.is_gone) == (True, False)
    client.socket.send(b"x" * REQUEST_MAX)
    assert not desk.turn()
    client.close()
    assert waiting.is_gone


def test_an_answer_in_parts_waits_for_its_reader(desk: Desk) -> None:
    """No more of it is made than the reader takes, and the next one is served meanwhile."""
    made = []

    def endless() -> Iterator[Reply]:
        while True:
            made.append(1)
            yield Progress(text="x" * 10_000)

    desk.parts = endless
    stalled, other = desk.client(), desk.client()
    stalled.say(encode(Status()))
    desk.settle()
    assert 10_000 * len(made) < 1 << 22
    other.say(PING)
    assert other.hear() == HERE
    before = len(made)
    stalled.socket.recv(1 << 20)
    desk.settle()
    assert len(made) > before


def test_who_is_silent_the_longest_makes_room(desk: Desk) -> None:
    """Hundreds who say nothing keep nobody out, and who waits for an outcome is not sent away for them."""
    waiting = desk.client()
    waiting.say(encode(Reload()))
    crowd = []
    for _ in range(5 * MOST_CLIENTS):
        crowd.append(desk.client())
        desk.settle()
    assert len(desk.server._clients) == MOST_CLIENTS
    assert sum(client.hear() == ([], False) for client in crowd) == MOST_CLIENTS - 1
    client = desk.client()
    client.say(PING)
    assert client.hear() == HERE
    desk.server.answer(desk.waiting[0], Done(text="later"))
    assert waiting.hear()[0][-1] == Done(text="later")


def test_an_onlooker_never_makes_room_and_is_not_handed_on(desk: Desk) -> None:
    """It has no other way to come again; and another server would not know that it may only look."""
    ours, theirs = socket.socketpair()
    with theirs:
        onlooker = desk.server.admit_onlooker(ours)
        assert onlooker is not None
        assert onlooker.may_only_look
        others = [desk.client() for _ in range(MOST_CLIENTS + 2)]
        desk.settle()
        assert not onlooker.is_gone
        theirs.send(PING)
        desk.settle()
        assert read_reply(theirs.recv(4096)) == Done(text="here")
        assert onlooker not in desk.server.lasting
        assert len(desk.server.lasting) == MOST_CLIENTS - 1
        for other in others:
            other.socket.close()


def test_a_server_without_a_listener_serves_whom_it_admits() -> None:
    """Nobody can come to it, and nothing of it is left."""
    poller = Poller()
    server = Server(None, poller)
    ours, theirs = socket.socketpair()
    with theirs:
        client = server.admit_onlooker(ours)
        theirs.send(PING)
        assert [(who, request) for who, request in server.hear(poller.wait(LIMIT))] == [(client, Ping())]
        server.close()
        assert theirs.recv(1) == b""
    poller.close()


def test_too_many_who_wait_are_told_so(desk: Desk) -> None:
    """Nobody who waits for an outcome is sent away; the newcomer is, with a reason."""
    crowd = [desk.client() for _ in range(MOST_CLIENTS)]
    for client in crowd:
        client.say(encode(Reload()))
    replies, has_ended = desk.client().hear()
    assert [type(reply) for reply in replies] == [Refused]
    assert has_ended
    assert not any(client.is_gone for client in desk.waiting)


def test_connections_leave_nothing_behind(desk: Desk) -> None:
    """Five hundred that came, in whatever way they went."""
    desk.client().close()
    before = descriptors()
    for number in range(500):
        client = desk.client()
        match number % 5:
            case 0:
                client.say(PING)
            case 1:
                client.say(b"junk\n")
            case 2:
                client.say(PING[:5])
            case 3:
                client.say(encode(Reload()))
        client.close()
    assert not descriptors() - before


def test_another_server_goes_on_with_those_to_whom_nothing_is_half_told(desk: Desk) -> None:
    """Who waits gets its answer there, who has begun to ask is understood; who is being answered is left behind."""
    waits, asks, reads = desk.client(), desk.client(), desk.client()
    waits.say(encode(Reload()))
    asks.say(PING[:5])
    desk.parts = lambda: iter([Progress(text="x" * 1000)] * 10_000)
    reads.say(encode(Status()))
    lasting = desk.server.lasting
    assert [client.input for client in lasting] == [b"", PING[:5]]

    elsewhere = Address("unix", path=desk.address.path + "/next")
    with Desk(elsewhere, three_parts) as following:
        for client in lasting:
            connection = socket.socket(fileno=os.dup(client.connection.fileno()))
            adopted = following.server.adopt(connection, client.input, waits=client in desk.waiting)
            assert adopted is not None
            following.waiting += [adopted] if client in desk.waiting else []
        waits.desk = asks.desk = following
        following.server.answer(following.waiting[0], Done(text="at last"))
        assert waits.hear() == ([Heard(), Done(text="at last")], False)
        asks.say(PING[5:])
        assert asks.hear() == ([Done(text="here")], False)


def test_without_a_descriptor_one_is_refused_and_nothing_spins(desk: Desk) -> None:
    """The listener would be readable for ever: whoever waits there hears why, and the loop comes to rest."""

    def run_out(parent: Link) -> tuple[list[str], bool]:
        with Desk(Address("unix", path=f"@prefork/test/{os.getpid()}"), three_parts) as own:
            first, second = own.client(), own.client()
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (1 + max(int(fd.split()[0]) for fd in descriptors()), hard))
            with contextlib.suppress(OSError):
                while True:
                    os.dup(0)
            replies = [first.hear(), second.hear()]
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            last = own.client()
            last.say(PING)
            return [type(r).__name__ for got, _ in replies for r in got], last.hear() == HERE

    assert said_by(run_out) == (["Refused", "Refused"], True)


def test_where_even_that_fails_it_is_deaf_until_something_else_wakes_it(desk: Desk) -> None:
    """An accept that fails for want of memory costs one turn, not all of them."""
    listener = desk.listener.socket

    class Failing:
        def accept(self) -> tuple[socket.socket, str]:
            raise OSError(errno.ENOMEM, "no memory")

        def fileno(self) -> int:
            return listener.fileno()

    client = desk.client()
    desk.server._listener = desk.listener._replace(socket=Failing())  # type: ignore[arg-type]
    desk.settle()
    desk.server._listener = desk.listener._replace(socket=listener)
    list(desk.server.hear([]))
    client.say(PING)
    assert client.hear() == HERE


@given(st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=300)), max_size=30))
def test_no_history_of_clients_harms_the_next_one(history: list[tuple[int, bytes]]) -> None:
    """Whatever four clients say, close or leave unread: the server rests, and a fifth is served."""
    with Desk(Address("unix", path=f"@prefork/test/{os.getpid()}/h"), three_parts) as desk:
        callers: dict[int, Caller] = {}
        for who, data in history:
            caller = callers.setdefault(who, desk.client())
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                if data.startswith(b"\0"):
                    callers.pop(who).close()
                elif data.startswith(b"\x01"):
                    caller.say(PING + data)
                elif data.startswith(b"\x02"):
                    caller.socket.shutdown(socket.SHUT_WR)
                elif data:
                    caller.say(data)
            desk.settle()
        client = desk.client()
        client.say(PING)
        assert client.hear() == HERE
        for caller in [*callers.values(), client]:
            caller.socket.close()


@pytest.mark.parametrize("timeout", [0.5, 2**32 / 1000, 86400.0 * 365 * 90])
def test_a_client_may_be_as_patient_as_it_likes(desk: Desk, timeout: float) -> None:
    """Beyond what a socket counts it waits that long: counted anew from 0 it would not wait at all."""
    place = Place(desk.address, "shop", None, is_held=True)
    with connect(place, timeout) as connection:
        assert connection._connection.gettimeout() == min(timeout, sockets.LONGEST_TIMEOUT)


def test_a_client_without_patience_is_told_so(desk: Desk) -> None:
    """Nobody answers in no time."""
    place = Place(desk.address, "shop", None, is_held=True)
    with connect(place, 0.0) as connection, pytest.raises(CommandError, match="shop does not answer within 0 s"):
        next(connection.ask(Ping()))


# strangers


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_another_user_is_told_to_be_us_or_root(desk: Desk) -> None:
    """Who may connect to an abstract socket is everybody; who is served is not."""

    def ask(parent: Link) -> bytes:
        become_nobody()
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(LIMIT)
        client.connect("\0" + desk.address.path[1:])
        parent.say("connected")
        parent.hear()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            client.send(PING)
        return client.recv(4096)

    with Child(ask) as child:
        assert child.hear() == "connected"
        desk.settle()
        child.say()
        reply = read_reply(child.hear())
    assert isinstance(reply, Refused)
    assert "user 65534 may not steer an instance of user 0" in reply.why
    assert desk.heard == []


# the socket


def test_a_path_is_for_its_owner_and_goes_with_the_server(tmp_path: Path) -> None:
    """Mode 0600; removed at the end."""
    path = tmp_path / "control"
    with Desk(Address("unix", path=str(path), mode=0o600), three_parts) as desk:
        assert path.stat().st_mode & 0o777 == 0o600
        client = desk.client()
        client.say(PING)
        assert client.hear() == HERE
        assert not os.get_inheritable(desk.listener.socket.fileno())
        assert not any(os.get_inheritable(c.connection.fileno()) for c in desk.server._clients)
    assert not path.exists()


def test_a_path_that_is_somebody_elses_by_now_stays(tmp_path: Path) -> None:
    """Whoever replaced it has it."""
    path = tmp_path / "control"
    with Desk(Address("unix", path=str(path)), three_parts):
        path.unlink()
        path.write_text("mine")
    assert path.read_text() == "mine"
