"""One connection at a desk: every way a request can end, each provoked by a small service. No time passes."""

import os
import queue
import resource
import socket
import struct
from collections.abc import Generator
from itertools import count
from pathlib import Path

import pytest

from prefork.errors import UsageError
from prefork.lab.aim import aim_of
from prefork.lab.connection import Connection
from prefork.lab.load import Load
from prefork.lab.wires import maker_of
from tests.children import LIMIT, said_by
from tests.lab.services import Desk, answer_once, certificate, datagrams, echo, nobody, service

NUMBERS = count()


def connected(desk: Desk, url: str, **wishes: object) -> Connection:
    load = Load(url=url, **{"send": b"hello\n", "reply": "line", **wishes})  # type: ignore[arg-type]
    return maker_of(load, aim_of(url), desk)()


def asked(desk: Desk, connection: Connection) -> tuple[str, str]:
    connection.begin(next(NUMBERS), 0.0, 0.0)
    return desk.outcome()


def one(url: str, **wishes: object) -> tuple[str, str]:
    """What comes of a single request."""
    desk = Desk()
    connection = connected(desk, url, **wishes)
    try:
        return asked(desk, connection)
    finally:
        connection.close()


def test_a_connection_each() -> None:
    """The service ends the reply by closing."""
    desk = Desk()
    with service(answer_once) as url:
        connection = connected(desk, url, reply="eof", expect=b"hello\n")
        assert [asked(desk, connection) for _ in range(3)] == [("answered", "")] * 3
    assert (desk.connections, connection.sent, connection.received) == (3, 18, 18)


@pytest.mark.parametrize(("per_connection", "connections"), [(1, 6), (4, 2), (None, 1)])
def test_a_connection_carries_as_many_requests_as_it_may(per_connection: int | None, connections: int) -> None:
    """And then the next one is made."""
    desk = Desk()
    with service(echo) as url:
        connection = connected(desk, url, per_connection=per_connection)
        assert [asked(desk, connection) for _ in range(6)] == [("answered", "")] * 6
        connection.close()
    assert (desk.connections, desk.drops) == (connections, 0)


def test_a_large_request_meets_a_large_reply() -> None:
    """Neither waits for the other to be done: the service sends back what it has while more comes."""
    body = os.urandom(1 << 22)
    with service(echo) as url:
        assert one(url, send=body, reply=f"bytes={len(body)}", expect=body) == ("answered", "")


def test_nobody_listens() -> None:
    """Neither at a port nor behind a path."""
    assert one(nobody()) == ("refused", "could not connect: connection refused")
    assert one("unix:/nowhere/to/be/found") == ("refused", "could not connect: no such file or directory")


def test_the_service_resets() -> None:
    """It closes without having read, or so that the kernel says so."""

    def reset(client: socket.socket) -> None:
        client.recv(1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with service(reset) as url:
        assert one(url) == ("reset", "could not receive: connection reset by peer")


def test_the_service_closes_before_its_reply_is_whole() -> None:
    """Whether something of it came or nothing."""

    def half(client: socket.socket) -> None:
        client.recv(4096)
        client.sendall(b"hel")

    def nothing(client: socket.socket) -> None:
        client.recv(4096)

    for behave, reply in ((half, "line"), (nothing, "line"), (nothing, "eof")):
        with service(behave) as url:
            assert one(url, reply=reply)[0] == "closed"


def test_another_reply_than_expected() -> None:
    """Both are shown."""
    with service(echo) as url:
        assert one(url, expect=b"HELLO\n") == ("wrong", r"the reply was b'hello\n' and not b'HELLO\n'")


def test_more_than_the_reply() -> None:
    """On a connection that is kept it would be taken for the next one's; on one that ends nobody minds."""

    def twice(client: socket.socket) -> None:
        client.sendall(client.recv(4096) * 2)
        client.recv(1)

    with service(twice) as url:
        assert one(url, per_connection=None)[0] == "wrong"
        assert one(url, per_connection=1)[0] == "answered"


def test_a_service_that_does_not_answer() -> None:
    """Its time is the owner's to measure. The connection is given up: what comes late meets nobody."""
    desk = Desk()
    asked_for: queue.Queue[socket.socket] = queue.Queue()
    left: queue.Queue[bool] = queue.Queue()

    def silent(client: socket.socket) -> None:
        client.recv(4096)
        asked_for.put(client)
        client.recv(1)
        left.put(True)

    with service(silent) as url:
        connection = connected(desk, url, per_connection=None)
        connection.begin(0, 0.0, 0.0)
        asked_for.get(timeout=LIMIT)
        connection.overdue()
        assert desk.outcome() == ("timeout", "no reply within the timeout")
        left.get(timeout=LIMIT)


def test_a_kept_connection_that_the_service_closes_between_requests() -> None:
    """Is made anew, and that is no error."""
    desk = Desk()
    with service(answer_once) as url:
        connection = connected(desk, url, per_connection=None)
        assert asked(desk, connection) == ("answered", "")
        desk.turn_until(lambda: desk.drops == 1)
        assert asked(desk, connection) == ("answered", "")
        connection.close()
    assert desk.connections == 2


def test_a_full_unix_queue_is_asked_again(tmp_path: Path) -> None:
    """The kernel refuses with EAGAIN and tells nothing later."""
    desk = Desk()
    path = tmp_path / "full.sock"
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(str(path))
        listener.listen(0)
        first.connect(str(path))
        connection = connected(desk, f"unix:{path}")
        connection.begin(0, 0.0, 0.0)
        desk.turn_until(lambda: desk.pauses >= 3)
        listener.accept()[0].close()
        desk.turn_until(lambda: desk.connections == 1)
        client, _ = listener.accept()
        with client:
            answer_once(client)
            assert desk.outcome() == ("answered", "")


def test_a_slow_client_sends_in_pieces() -> None:
    """As many bytes at a time as its pace allows in a tenth of a second; the service reads them one by one."""
    desk = Desk()
    pieces: list[bytes] = []

    def collect(client: socket.socket) -> None:
        while not b"".join(pieces).endswith(b"\n"):
            pieces.append(client.recv(4096))
        client.sendall(b"done\n")

    with service(collect) as url:
        connection = connected(desk, url, send=b"0123456789" * 2 + b"\n", pace=50.0, expect=b"done\n")
        connection.begin(0, 0.0, 0.0)
        assert desk.outcome() == ("answered", "")
    assert b"".join(pieces) == b"0123456789" * 2 + b"\n"
    assert desk.pauses == 4  # five pieces of five bytes, the last of one


def test_descriptors_run_out() -> None:
    """That is the generator's trouble and not the service's."""

    def starve(told: object) -> tuple[str, str]:
        desk = Desk()
        connection = connected(desk, "tcp://127.0.0.1:9")
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
        return asked(desk, connection)

    assert said_by(starve) == ("descriptors", "could not connect: too many open files")


# datagrams


@pytest.mark.parametrize("is_unix", [False, True])
def test_a_datagram_comes_back(is_unix: bool, tmp_path: Path) -> None:
    """Also to a Unix client, which has a name for that."""

    def reply(server: socket.socket) -> None:
        for _ in range(3):
            data, client = server.recvfrom(4096)
            server.sendto(data.upper(), client)

    desk = Desk()
    with datagrams(reply, tmp_path / "echo.sock" if is_unix else None) as url:
        connection = connected(desk, url, reply="datagram", per_connection=None, expect=b"HELLO\n")
        assert [asked(desk, connection) for _ in range(3)] == [("answered", "")] * 3
        connection.close()


def test_a_late_datagram_is_not_the_next_ones_reply() -> None:
    """The first request is lost; its reply comes when the second one waits."""
    desk = Desk()
    seen: queue.Queue[str] = queue.Queue()

    def late(server: socket.socket) -> None:
        _, first = server.recvfrom(4096)
        seen.put("first")
        _, second = server.recvfrom(4096)
        server.sendto(b"late", first)
        server.sendto(b"right", second)

    with datagrams(late) as url:
        connection = connected(desk, url, reply="datagram", per_connection=None, expect=b"right")
        connection.begin(0, 0.0, 0.0)
        assert seen.get(timeout=LIMIT) == "first"
        connection.overdue()
        assert desk.outcome() == ("lost", "no datagram came back within the timeout")
        assert asked(desk, connection) == ("answered", "")
        connection.close()


def test_no_reply_is_waited_for() -> None:
    """What was sent is done."""
    desk = Desk()

    def discard(server: socket.socket) -> None:
        for _ in range(2):
            server.recv(4096)

    with datagrams(discard) as url:
        connection = connected(desk, url, reply="none", per_connection=None)
        assert [asked(desk, connection) for _ in range(2)] == [("answered", "")] * 2
        connection.close()


def test_a_datagram_may_be_too_large() -> None:
    """It is the sending that fails; there is nothing to connect to."""
    with datagrams(lambda server: None) as url:
        found = one(url, reply="datagram", per_connection=None, send=bytes(1 << 16))
    assert found == ("size", "could not send: message too long")


# TLS


def test_tls(tmp_path: Path) -> None:
    """Believed by its authority or without one, over several requests and large ones; else an error of its own kind."""
    cert, context = certificate(tmp_path)
    with service(echo, context=context) as url:
        kind, text = one(url)
        assert kind == "tls"
        assert "certificate verify failed" in text
        assert one(url, insecure=True) == ("answered", "")
        assert one(url, authorities=str(cert), server_name="shop.example")[0] == "tls"
        desk = Desk()
        connection = connected(desk, url, authorities=str(cert), per_connection=None)
        assert [asked(desk, connection) for _ in range(3)] == [("answered", "")] * 3
        connection.close()
        assert desk.connections == 1
        body = os.urandom(1 << 20)
        assert one(url, insecure=True, send=body, reply=f"bytes={len(body)}", expect=body) == ("answered", "")
    with pytest.raises(UsageError, match="--ca: /nowhere: "):
        one(url, authorities="/nowhere")


def test_tls_meets_something_else() -> None:
    """A service that speaks no TLS."""

    def greet(client: socket.socket) -> None:
        client.sendall(b"220 hello, and this is no TLS\n")
        client.recv(4096)

    with service(greet) as url:
        assert one(url.replace("tcp:", "tls:"))[0] == "tls"


# scripts


def login(number: int) -> Generator[bytes, bytes, None]:
    """A dialogue in which the service speaks first."""
    assert (yield b"") == b"welcome\n"
    assert (yield b"user %d\n" % number) == b"user %d\n" % number
    assert (yield b"quit\n") == b"quit\n"


def disappointed(number: int) -> Generator[bytes, bytes, None]:
    reply = yield b"hello\n"
    raise LookupError(f"no welcome in {reply!r}")


def of_text(number: int) -> Generator[str, bytes, None]:
    yield "hello\n"


def silent(number: int) -> Generator[bytes, bytes, None]:
    yield from ()


def greeting(client: socket.socket) -> None:
    client.sendall(b"welcome\n")
    echo(client)


def test_a_script_leads_a_dialogue() -> None:
    """Its replies are framed as any; what comes together is given one by one."""
    with service(greeting) as url:
        assert one(url, script=f"{__name__}:login") == ("answered", "")
        assert one(url, script=f"{__name__}:silent") == ("answered", "")


def test_a_script_may_be_disappointed() -> None:
    """What it raises is the error; so is what it yields, if that cannot be sent, or a service that leaves too early."""
    with service(echo) as url:
        found = one(url, script=f"{__name__}:disappointed")
        assert found == ("wrong", r"the script raised LookupError: no welcome in b'hello\n'")
        assert one(url, script=f"{__name__}:of_text") == (
            "wrong",
            r"the script yielded 'hello\n'; it has to yield bytes",
        )
    with service(answer_once) as url:
        assert one(url, script=f"{__name__}:disappointed")[0] == "wrong"


def clinging(number: int) -> Generator[bytes, bytes, None]:
    try:
        yield b"hello\n"
    finally:
        yield b"bye\n"


def leaving(number: int) -> Generator[bytes, bytes, None]:
    yield b"hello\n"
    raise SystemExit("half of \udcff")


def deaf() -> Generator[bytes, bytes, None]:
    yield b"hello\n"


def mute(client: socket.socket) -> None:
    client.recv(4096)


def test_a_script_harms_its_own_request_only() -> None:
    """By speaking on when it is over, by ending the program, or with words that nobody can write."""
    with service(mute) as url:
        assert one(url, script=f"{__name__}:clinging") == ("closed", "the server closed before its reply was whole")
    with service(answer_once) as url:
        found = one(url, script=f"{__name__}:leaving")
        assert found == ("wrong", r"the script raised SystemExit: half of \udcff")


@pytest.mark.parametrize(
    "name", ["nowhere", "nowhere:script", f"{__name__}:asked", f"{__name__}:absent", f"{__name__}:deaf"]
)
def test_what_is_no_script_is_refused(name: str) -> None:
    """Before anything is sent."""
    with pytest.raises(UsageError, match="--script: "):
        connected(Desk(), nobody(), script=name)
