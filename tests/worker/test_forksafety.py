"""What a process has that is no good to those it forks: it is found, by the name its owner knows, or passed over."""

import _thread
import asyncio
import gc
import logging
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from prefork.worker import forksafety
from tests.children import Link, said_by

pool: object = None  # what a module of an application may hold


@pytest.fixture
def known() -> set[int]:
    return set(forksafety.open_sockets().values())


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def test_nothing_is_nothing() -> None:
    """A process that only runs our code has nothing to tell of."""
    code = "from prefork.worker import forksafety, mold; print(*forksafety.look(set()))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[] [] []\n"


def test_threads_are_named_and_those_of_native_code_counted() -> None:
    """Whoever started them."""

    def live(parent: Link) -> list[str]:
        gate = threading.Event()
        threading.Thread(target=gate.wait, name="refresher", daemon=True).start()
        _thread.start_new_thread(gate.wait, ())
        return forksafety.threads()

    assert said_by(live) == ["refresher", "1 of native code"]


def test_a_loop_of_asyncio_is_found_as_long_as_it_is_open() -> None:
    """One that runs elsewhere too; its own descriptors are no news beside it."""

    def live(parent: Link) -> list[object]:
        idle, running, closed = (asyncio.new_event_loop() for _ in range(3))
        closed.close()
        has_begun = threading.Event()
        running.call_soon(has_begun.set)
        threading.Thread(target=running.run_forever, daemon=True).start()
        has_begun.wait()
        found = forksafety.look(set())
        idle.close()
        return [sorted(found.loops), found.sockets]

    name = "_UnixSelectorEventLoop"
    assert said_by(live) == [[name, f"{name} (running)"], []]


def test_a_foreign_loop_is_known_by_its_epoll_set() -> None:
    """Of gevent, of libuv, in C: a fork would share it."""

    def live(parent: Link) -> bool:
        with select.epoll() as foreign:
            return f"the epoll set of descriptor {foreign.fileno()}" in forksafety.loops()

    assert said_by(live)


@pytest.fixture
def thawed() -> Iterator[None]:
    """What was there when the tests were collected is looked through as well, this module among it."""
    gc.unfreeze()
    yield
    gc.freeze()


@pytest.mark.usefixtures("thawed")
def test_a_connection_is_named_by_its_ends_and_by_who_holds_it(
    known: set[int], listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However deep in a client library's objects; what was there before is none of it."""
    known.add(next(inode for fd, inode in forksafety.open_sockets().items() if fd == listener.fileno()))
    with socket.create_connection(listener.getsockname()) as connection:
        held = SimpleNamespace(free=[SimpleNamespace(connection=connection)])
        monkeypatch.setattr("tests.worker.test_forksafety.pool", held)
        host, port = connection.getsockname()
        peer = listener.getsockname()[1]
        fd = connection.fileno()
        where = f"inet stream {host}:{port} to 127.0.0.1:{peer} (descriptor {fd}, in {__name__}.pool)"
        assert forksafety.look(known).sockets == [where]


def test_what_reaches_nobody_else_is_passed_over(known: set[int], tmp_path: Path) -> None:
    """A pair of its own, and the socket of a log that only sends."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as syslog:
        syslog.bind(str(tmp_path / "log"))
        ours, theirs = socket.socketpair()
        with ours, theirs, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as logs:
            logs.connect(str(tmp_path / "log"))
            inode = forksafety.open_sockets()[syslog.fileno()]
            assert forksafety.look(known | {inode}).sockets == []


def test_nothing_of_the_application_comes_to_life_by_being_looked_at() -> None:
    """Proxies and lazy objects answer isinstance by becoming what they stand for."""

    class Lazy:
        @property  # type: ignore[misc]
        def __class__(self) -> type:
            raise RuntimeError("woken")

    lazy = Lazy()
    loop = asyncio.new_event_loop()
    try:
        assert forksafety.look(set()).loops
    finally:
        loop.close()
    assert type(lazy) is Lazy


def test_each_kind_is_one_line_with_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    """And nothing where there is none."""
    with caplog.at_level(logging.WARNING):
        forksafety.warn(forksafety.Found([], [], []), "while importing")
        assert not caplog.records
        forksafety.warn(forksafety.Found(["a", "b"], ["loop"], ["inet stream"]), "while importing")
    assert [record.getMessage().count("worker_start") for record in caplog.records] == [1, 1, 1]
    assert "a, b" in caplog.records[0].getMessage()
