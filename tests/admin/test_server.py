"""The server's bounds: whatever a client does, it has gone in time, and others are answered."""

import contextlib
import logging
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue

import pytest

from prefork.admin import server as admin
from prefork.admin.server import MOST_BYTES, MOST_FEEDS, MOST_REQUESTS, Server
from tests.admin.stage import FakeMaster
from tests.children import LIMIT
from tests.end_to_end.harness import look_until

SHORT = 0.2  # seconds, instead of those that clients have


class Stage:
    def __init__(self, master: FakeMaster) -> None:
        self.master = master
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = self.listener.getsockname()
        self.server = Server(self.listener, master.watcher)
        self._thread = threading.Thread(target=self.server.serve_forever)
        self._thread.start()

    def say(self, data: bytes) -> socket.socket:
        client = socket.create_connection(self.address, LIMIT)
        with contextlib.suppress(ConnectionError):  # it was answered before its end
            client.sendall(data)
        return client

    def ask(self, data: bytes) -> bytes:
        """All that comes back until the other side closes."""
        with self.say(data) as client:
            return heard_by(client)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join(LIMIT)


def heard_by(client: socket.socket) -> bytes:
    heard = b""
    try:
        while part := client.recv(65536):
            heard += part
    except ConnectionResetError:  # it was not read to its end
        pass
    return heard


@pytest.fixture
def stage() -> Iterator[Stage]:
    with FakeMaster() as master:
        stage = Stage(master)
        yield stage
        stage.close()


@pytest.fixture
def haste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin, "LIMIT", SHORT)


@pytest.mark.usefixtures("haste")
@pytest.mark.parametrize("said", [b"", b"G", b"GET / HTTP/1.0\r\n", b"GET / HTTP/1.0\r\nHost: shop\r\n"])
def test_half_a_request_has_its_time(stage: Stage, said: bytes) -> None:
    """Then the connection is closed, without an answer."""
    assert stage.ask(said) == b""


@pytest.mark.usefixtures("haste")
def test_a_request_that_trickles_has_no_more(stage: Stage) -> None:
    """Each byte comes in time, and the request does not."""
    with stage.say(b"GET / HTTP/1.0\r\nX: ") as client:
        client.settimeout(SHORT / 10)
        for _ in range(int(LIMIT / SHORT * 10)):
            try:
                client.sendall(b"x")
                if client.recv(1) == b"":
                    return
            except TimeoutError:
                continue
            except ConnectionError:
                return
        raise AssertionError("it trickles for ever")


@pytest.mark.parametrize(
    "said",
    [
        b"GET /" + b"x" * 20_000 + b" HTTP/1.0\r\n\r\n",
        b"GET /?" + b"x" * 200_000,
        b"x" * 20_000,
        b"GET / HTTP/1.0\r\n" + b"X: %s\r\n" % (b"y" * 1000) * 40 + b"\r\n",
        b"GET / HTTP/1.0\r\n" + b"X: y\r\n" * 50_000,
        b"GET / HTTP/1.0\r\nX: " + b"y" * MOST_BYTES,
    ],
)
def test_a_request_is_read_to_its_limit(stage: Stage, caplog: pytest.LogCaptureFixture, said: bytes) -> None:
    """Then it is told so, in a line, and the log has nothing of it."""
    caplog.set_level(logging.INFO)
    head, _, body = stage.ask(said).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 431 Request Header Fields Too Large\r\n")
    assert body.count(b"\n") == 1
    assert not caplog.records


def test_a_request_may_be_as_long_as_its_limit(stage: Stage) -> None:
    """To the byte."""
    rest = b" HTTP/1.0\r\n\r\n"
    said = b"GET /?" + b"x" * (MOST_BYTES - len(rest) - 6) + rest
    assert stage.ask(said).startswith(b"HTTP/1.0 200")
    assert stage.ask(b"GET /?x" + said.removeprefix(b"GET /?")).startswith(b"HTTP/1.0 431")


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"GET / HTTP/1.0\r\n\r\n", b"200 OK"),
        (b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", b"200 OK"),
        (b"GET /healthz HTTP/1.1\r\n\r\n", b"200 OK"),
        (b"GET / HTTP/2.0\r\n\r\n", b"505 HTTP Version Not Supported"),
        (b"nonsense\r\n\r\n", b"400 Bad Request"),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"400 Bad Request"),
        (b"PUT / HTTP/1.0\r\n\r\n", b"405 Method Not Allowed"),
        (b"GET / HTTP/1.0\r\n: x\r\n\r\n", b"200 OK"),
        (b"GET / HTTP/1.0\r\n" + b"X: y\r\n" * 200 + b"\r\n", b"431 Request Header Fields Too Large"),
    ],
)
def test_every_request_has_one_answer(stage: Stage, said: bytes, status: bytes) -> None:
    """In one line where it is none that it serves."""
    head, _, body = stage.ask(said).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 " + status)
    assert b"Cache-Control: no-store" in head
    assert status == b"200 OK" or body.count(b"\n") == 1


TYPE = b"GET / HTTP/1.0\r\nContent-Type: multipart/mixed; boundary"


@pytest.mark.parametrize(
    ("said", "answers"),
    [
        (b"\0" * 1000, b"400"),
        (b"GET /\0 HTTP/1.0\r\nX\0: \0\r\n\r\n", b"404"),
        (b"GET /%zz%c0%80%ff HTTP/1.0\r\n\r\n", b"404"),
        (b"GET /?%" + b"%zz&" * 3000 + b" HTTP/1.0\r\n\r\n", b"200"),
        (b"GET \xff\xfe HTTP/1.0\r\n\xff: \xfe\r\n\r\n", b"404"),
        (b"GET http://[ HTTP/1.0\r\n\r\n", b"404"),
        (b"GET / HTTP/\xb2.\xb3\r\n\r\n", b"400"),
        (b"GET / HTTP/99999999999.1\r\n\r\n", b"400"),
        (b"GET / HTTP/0.9\r\n\r\n", b""),
        (b"GET /feed? x HTTP/1.0\r\n\r\n", b"400"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x12\x04", b"505"),
        (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + bytes(range(256)) * 2, b"400"),
        (b"_answer / HTTP/1.0\r\n\r\n", b"405"),
        (b"\r\n\r\n\r\n", b""),
        (b"GET / HTTP/1.0\r\nX: y", b"200"),
        (b"GET / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: -1\r\nTransfer-Encoding: \0\r\n\r\n", b"200"),
        (TYPE + b"*=a\0b''x\r\n\r\n", b"400"),
        (TYPE + b"*=undefined''x\r\n\r\n", b"400"),
        (TYPE + b"*" + b"9" * 5000 + b"=x\r\n\r\n", b"400"),
        (TYPE + b"*=x; boundary*0=y\r\n\r\n", b"400"),
    ],
)
def test_what_strangers_send_is_no_news(
    stage: Stage, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, said: bytes, answers: bytes
) -> None:
    """Whatever it is, also where its client hangs up in its middle: the log has nothing of it."""
    over: SimpleQueue[socket.socket] = SimpleQueue()
    monkeypatch.setattr(stage.server, "close_request", over.put)
    caplog.set_level(logging.INFO)
    with stage.say(said) as client:
        client.shutdown(socket.SHUT_WR)
        heard = heard_by(client)
        over.get(timeout=LIMIT).close()
    assert heard.startswith(b"HTTP/1.0 " + answers) or not answers
    with stage.say(said[: len(said) // 2]) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closed by a reset
    over.get(timeout=LIMIT).close()
    assert not caplog.records


def test_what_is_served_at_once_is_documented(stage: Stage) -> None:
    """In docs/admin.md, in these words."""
    page = (Path(__file__).parents[2] / "docs" / "admin.md").read_text()
    assert stage.server.max_threads == MOST_REQUESTS
    assert f"serves {MOST_REQUESTS} requests at once, of which {MOST_FEEDS} may be feeds" in page
    assert f"the {MOST_FEEDS + 1}th feed is told 503. A request of more than {MOST_BYTES // 1024} KiB" in page


def test_without_a_thread_a_client_is_closed(
    stage: Stage, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line says why; who comes when there are threads again is answered."""

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        assert stage.ask(b"GET /readyz HTTP/1.0\r\n\r\n") == b""
    [line] = caplog.messages
    assert line.startswith("no thread for 127.0.0.1:")
    assert "can't start new thread; it is closed; raise" in line
    assert stage.ask(b"GET /readyz HTTP/1.0\r\n\r\n").endswith(b"\r\n\r\nready\n")


def test_more_feeds_than_there_may_be_are_told_so(stage: Stage) -> None:
    """Pages are served all the same, and a feed that is closed makes room for another."""
    feeds = [stage.say(b"GET /feed HTTP/1.0\r\n\r\n") for _ in range(MOST_FEEDS)]
    for feed in feeds:
        assert feed.recv(5) == b"HTTP/"
    assert b"503 Service Unavailable" in stage.ask(b"GET /feed HTTP/1.0\r\n\r\n")
    assert stage.ask(b"GET /readyz HTTP/1.0\r\n\r\n").endswith(b"\r\n\r\nready\n")
    for feed in feeds:
        feed.close()
    while True:
        with stage.say(b"GET /feed HTTP/1.0\r\n\r\n") as another:
            if b"200 OK" in another.recv(65536):
                break


@pytest.mark.usefixtures("haste")
def test_a_feed_that_is_not_read_ends(stage: Stage) -> None:
    """Once what the kernel holds for it is full; the master goes on telling."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(stage.address)
        client.sendall(b"GET /feed HTTP/1.0\r\n\r\n")
        assert client.recv(5) == b"HTTP/"
        for _ in range(100):
            stage.master.tell("x" * 100_000)
        look_until(lambda: stage.server.feeds._value == MOST_FEEDS, "its place is free again")
