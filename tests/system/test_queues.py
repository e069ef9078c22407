"""Depths of real queues, each kind by its own call."""

import contextlib
import select
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from prefork.system import queues
from tests.children import descriptors
from tests.end_to_end.harness import look_until

Connect = Callable[[], socket.socket]


@pytest.fixture(params=["tcp", "tcp6", "unix", "abstract"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[socket.socket]:
    kinds: dict[str, tuple[socket.AddressFamily, tuple[str, int] | str]] = {
        "tcp": (socket.AF_INET, ("127.0.0.1", 0)),
        "tcp6": (socket.AF_INET6, ("::1", 0)),
        "unix": (socket.AF_UNIX, str(tmp_path / "socket")),
        "abstract": (socket.AF_UNIX, ""),
    }
    family, address = kinds[request.param]
    with socket.socket(family) as made:
        made.bind(address)
        made.listen(64)
        made.setblocking(False)
        yield made


def client_of(listener: socket.socket) -> socket.socket:
    client = socket.socket(listener.family)
    client.settimeout(10)
    client.connect(listener.getsockname())
    return client


def test_connections_nobody_has_accepted_are_counted(listener: socket.socket) -> None:
    """Exactly: one more for each client, one less for each accept."""
    assert queues.depth(listener) == 0
    clients = [client_of(listener) for _ in range(20)]
    assert queues.depth(listener) == 20
    listener.accept()[0].close()
    assert queues.depth(listener) == 19
    for client in clients:
        client.close()
    while queues.depth(listener):
        listener.accept()[0].close()


def test_the_limit_is_that_of_listen(listener: socket.socket) -> None:
    """As the kernel has cut it."""
    client = client_of(listener)
    queue = queues.measure(listener)
    assert (queue.waiting, queue.limit, queue.dropped) == (1, 64, None)
    client.close()


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_attempts_to_connect_that_found_no_room_are_counted(family: socket.AddressFamily) -> None:
    """From the first one on; they are no clients that wait."""
    with socket.socket(family) as listener, contextlib.ExitStack() as clients:
        listener.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        listener.listen(1)
        assert queues.measure(listener) == queues.Queue(0, 1, overflows=0)
        for _ in range(8):
            client = clients.enter_context(socket.socket(family))
            client.setblocking(False)
            client.connect_ex(listener.getsockname())

        def have_all_come() -> bool:
            queue = queues.measure(listener)
            return (queue.overflows or 0) >= 8 - queue.waiting > 0

        look_until(have_all_come, "each of those who do not wait has overflowed at least once")


def test_of_unix_sockets_no_overflows_are_known(tmp_path: Path) -> None:
    """There clients wait, or are told so."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.listen(1)
        assert queues.measure(listener).overflows is None


def test_datagrams_that_found_no_room_are_counted() -> None:
    """From the first one on, and it has no limit in datagrams."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        receiver.bind(("127.0.0.1", 0))
        assert queues.measure(receiver) == queues.Queue(0, None, 0)
        for _ in range(50):
            sender.sendto(b"x" * 1000, receiver.getsockname())
        queue = queues.measure(receiver)
        assert queue.dropped
        taken = 0
        receiver.setblocking(False)
        while select.select([receiver], [], [], 0)[0]:
            receiver.recv(2000)
            taken += 1
        assert queue.dropped == 50 - taken


def test_asking_leaves_no_descriptor(listener: socket.socket) -> None:
    """It is asked at every look."""
    before = descriptors()
    queues.depth(listener)
    assert not descriptors() - before


def test_a_closed_listener_is_an_error(listener: socket.socket) -> None:
    """Nobody waits there, and nobody should ask."""
    listener.close()
    with pytest.raises(OSError):
        queues.depth(listener)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
@pytest.mark.parametrize("size", [0, 10, 100, 300, 1000, 1400, 3000])
def test_datagrams_are_counted_about(family: socket.AddressFamily, size: int) -> None:
    """The kernel says what memory they take: half as many or twice as many is near enough for a ramp."""
    with socket.socket(family, socket.SOCK_DGRAM) as receiver, socket.socket(family, socket.SOCK_DGRAM) as sender:
        receiver.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        assert queues.depth(receiver) == 0
        for _ in range(12):
            sender.sendto(b"x" * size, receiver.getsockname())
        assert 6 <= queues.depth(receiver) <= 24
        for _ in range(12):
            receiver.recv(65536)
        assert queues.depth(receiver) == 0


def test_of_unix_datagrams_only_whether_there_are_any_is_known(tmp_path: Path) -> None:
    """No call counts them."""
    path = str(tmp_path / "socket")
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender,
    ):
        receiver.bind(path)
        assert queues.depth(receiver) == 0
        for _ in range(3):
            sender.sendto(b"x", path)
        assert queues.depth(receiver) == 1


def test_where_a_call_is_missing_it_is_known_whether_anybody_waits(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An emulated kernel, or a sandbox without netlink."""

    def refuse(listener: socket.socket) -> int:
        raise PermissionError

    monkeypatch.setattr(queues, "_look_tcp", refuse)
    monkeypatch.setattr(queues, "_look_unix", refuse)
    assert queues.depth(listener) == 0
    clients = [client_of(listener) for _ in range(3)]
    assert queues.depth(listener) == 1
    for client in clients:
        client.close()
