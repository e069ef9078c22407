"""What a shut listener still does and does no longer, asked of the real kernel; one promise a test.

Nothing waits for time: clients and listeners talk over loopback, and each wait ends at its event or fails at LIMIT.
"""

import errno
import os
import select
import socket
import struct
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from prefork.system import draining
from prefork.system.draining import count_handshakes, refuse_new

LIMIT = 30.0  # seconds; only a failure ever waits so long
NOBODY = 65534
SO_MEMINFO, MEMINFO_DROPS = 55, 8  # how many packets a socket has dropped, from linux/sock_diag.h

Option = tuple[int, int, int | bytes]  # level, name, value

# Such a listener ignores the bare ACK that ends a handshake and waits for the first data instead: an honest SYN_RECV
# row for as long as a test wants, which the client ends by speaking.
HANDSHAKE_ENDS_WITH_DATA: Option = (socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, int(LIMIT))
DEVICE_LOOPBACK: Option = (socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo\0")
SHARED_PORT: Option = (socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")


class Door(NamedTuple):
    """A kind of listener, and the host by which its client comes (a Unix socket has neither host)."""

    name: str
    family: socket.AddressFamily
    kind: socket.SocketKind
    host: str = ""
    client_host: str = ""
    v6_only: bool = True


TCP_DOORS = [
    Door("tcp-v4", socket.AF_INET, socket.SOCK_STREAM, "127.0.0.1", "127.0.0.1"),
    Door("tcp-v4-wildcard", socket.AF_INET, socket.SOCK_STREAM, "0.0.0.0", "127.0.0.1"),
    Door("tcp-v6", socket.AF_INET6, socket.SOCK_STREAM, "::1", "::1"),
    Door("tcp-v6-wildcard", socket.AF_INET6, socket.SOCK_STREAM, "::", "::1"),
    Door("tcp-dual-stack-from-v6", socket.AF_INET6, socket.SOCK_STREAM, "::", "::1", v6_only=False),
    Door("tcp-dual-stack-from-v4", socket.AF_INET6, socket.SOCK_STREAM, "::", "127.0.0.1", v6_only=False),
]
UDP_DOORS = [
    Door("udp-v4", socket.AF_INET, socket.SOCK_DGRAM, "127.0.0.1", "127.0.0.1"),
    Door("udp-v4-wildcard", socket.AF_INET, socket.SOCK_DGRAM, "0.0.0.0", "127.0.0.1"),
    Door("udp-v6", socket.AF_INET6, socket.SOCK_DGRAM, "::1", "::1"),
    Door("udp-dual-stack-from-v6", socket.AF_INET6, socket.SOCK_DGRAM, "::", "::1", v6_only=False),
    Door("udp-dual-stack-from-v4", socket.AF_INET6, socket.SOCK_DGRAM, "::", "127.0.0.1", v6_only=False),
]
UNIX_STREAM = Door("unix-stream", socket.AF_UNIX, socket.SOCK_STREAM)
UNIX_SEQPACKET = Door("unix-seqpacket", socket.AF_UNIX, socket.SOCK_SEQPACKET)
UNIX_DATAGRAM = Door("unix-datagram", socket.AF_UNIX, socket.SOCK_DGRAM)

STREAM_DOORS = [*TCP_DOORS, UNIX_STREAM, UNIX_SEQPACKET]
DATAGRAM_DOORS = [*UDP_DOORS, UNIX_DATAGRAM]
ONE_OF_EACH = [TCP_DOORS[0], TCP_DOORS[2], UDP_DOORS[0], UDP_DOORS[2], UNIX_STREAM, UNIX_DATAGRAM]


def each(doors: list[Door]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("door", doors, ids=[door.name for door in doors])


@cache
def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


class Street:
    """Opens listeners and their clients, and closes them all when the test is over."""

    def __init__(self, directory: Path, sockets: ExitStack) -> None:
        self.directory = directory
        self.sockets = sockets
        self.paths = 0

    def listener(
        self,
        door: Door,
        *,
        options: Sequence[Option] = (),
        port: int = 0,
        backlog: int = 8,
        make: Callable[[int, int], socket.socket] = socket.socket,
    ) -> socket.socket:
        if door.family == socket.AF_INET6 and not has_ipv6():
            pytest.skip("no IPv6 on the loopback")
        listener = self.sockets.enter_context(make(door.family, door.kind))
        if door.family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(door.v6_only))
        for level, option, value in options:
            listener.setsockopt(level, option, value)
        listener.bind(self.fresh_path() if door.family == socket.AF_UNIX else (door.host, port))
        if door.kind != socket.SOCK_DGRAM:
            listener.listen(backlog)
        listener.setblocking(False)
        return listener

    def client(self, door: Door, listener: socket.socket) -> socket.socket:
        """A client that has connected; a datagram client merely has its peer, and a name to be answered at."""
        family = door.family
        if family == socket.AF_INET6 and ":" not in door.client_host:
            family = socket.AF_INET
        client = self.sockets.enter_context(socket.socket(family, door.kind))
        client.settimeout(LIMIT)
        if door.family == socket.AF_UNIX:
            if door.kind == socket.SOCK_DGRAM:
                client.bind(self.fresh_path())
            client.connect(listener.getsockname())
        else:
            client.connect((door.client_host, listener.getsockname()[1]))
        return client

    def queued_client(self, door: Door, listener: socket.socket, request: bytes = b"asked") -> socket.socket:
        """A client whose connection, or datagram, and request the kernel has queued; none has been read."""
        client = self.client(door, listener)
        client.sendall(request)
        wait_readable(listener)
        return client

    def accept(self, listener: socket.socket) -> socket.socket:
        connection = self.sockets.enter_context(listener.accept()[0])
        connection.settimeout(LIMIT)
        return connection

    def first_request(self, door: Door, listener: socket.socket) -> bytes:
        """What the first in the queue has asked, whichever kind of queue it is."""
        return (listener if door.kind == socket.SOCK_DGRAM else self.accept(listener)).recv(99)

    def fresh_path(self) -> str:
        self.paths += 1
        return str(self.directory / f"s{self.paths}")


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Street]:
    with ExitStack() as sockets:
        yield Street(tmp_path, sockets)


def wait_readable(source: socket.socket | int) -> None:
    assert is_readable(source, LIMIT), f"nothing came within {LIMIT} s"


def is_readable(source: socket.socket | int, limit: float = 0) -> bool:
    return bool(select.select([source], [], [], limit)[0])


def wait_until(is_true: Callable[[], bool]) -> None:
    """For facts of the kernel that no descriptor tells."""
    deadline = time.monotonic() + LIMIT
    while not is_true():
        assert time.monotonic() < deadline, f"not so within {LIMIT} s"
        os.sched_yield()


def dropped(listener: socket.socket) -> int:
    counters = struct.unpack("9I", listener.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 36))
    return int(counters[MEMINFO_DROPS])


def errno_of(act: Callable[[], object]) -> str:
    with pytest.raises(OSError) as raised:
        act()
    return errno.errorcode[raised.value.errno or 0]


def in_child(act: Callable[[], object], as_nobody: bool = False) -> tuple[int, int]:
    """Fork a child that writes ``started``, does `act` and writes its repr or its traceback: (pid, what to read)."""
    news, its_news = os.pipe()
    pid = os.fork()
    if pid:
        os.close(its_news)
        return pid, news
    try:
        if as_nobody:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        os.write(its_news, b"started ")
        os.write(its_news, repr(act()).encode())
    except BaseException:
        os.write(its_news, traceback.format_exc().encode())
    finally:
        os._exit(0)


def read_all(pid: int, news: int) -> str:
    """All that is still to come from a child, and its end."""
    told = b""
    try:
        while True:
            wait_readable(news)
            piece = os.read(news, 65536)
            if not piece:
                return told.decode()
            told += piece
    finally:
        os.close(news)
        os.waitpid(pid, 0)


def said_by_nobody(act: Callable[[], object]) -> str:
    return read_all(*in_child(act, as_nobody=True)).removeprefix("started ")


# Streams


@each(STREAM_DOORS)
def test_a_queued_connection_is_accepted_and_answered(street: Street, door: Door) -> None:
    """What waits in the queue when the door is shut is accepted afterwards, and talks both ways like any other."""
    listener = street.listener(door)
    client = street.queued_client(door, listener)

    assert refuse_new(listener) is True

    connection = street.accept(listener)
    assert connection.recv(99) == b"asked"
    connection.sendall(b"answered")
    assert client.recv(99) == b"answered"
    client.sendall(b"asked again")
    assert connection.recv(99) == b"asked again"


@each(STREAM_DOORS)
def test_a_new_connection_is_refused_while_another_waits(street: Street, door: Door) -> None:
    """From the moment the door is shut a new client is told so at once, also while the queue is not empty yet."""
    listener = street.listener(door)
    street.queued_client(door, listener)

    assert refuse_new(listener) is True

    assert errno_of(lambda: street.client(door, listener)) == "ECONNREFUSED"
    street.accept(listener)
    assert errno_of(lambda: street.client(door, listener)) == "ECONNREFUSED"
    assert errno_of(listener.accept) == "EAGAIN"


@each(STREAM_DOORS)
def test_an_emptied_listener_says_eagain_and_only_a_unix_one_stays_readable(street: Street, door: Door) -> None:
    """Non-blocking, every kind says EAGAIN when empty; a Unix listener polls as readable all the same, for ever."""
    listener = street.listener(door)
    street.queued_client(door, listener)
    assert refuse_new(listener) is True
    assert is_readable(listener)
    street.accept(listener)

    for _ in range(2):
        assert errno_of(listener.accept) == "EAGAIN"
        assert is_readable(listener) == (door.family == socket.AF_UNIX)


@each([UNIX_STREAM, UNIX_SEQPACKET])
def test_an_emptied_blocking_unix_listener_says_einval(street: Street, door: Door) -> None:
    """Blocking, an emptied Unix listener does not block: accept fails with EINVAL."""
    listener = street.listener(door)
    street.queued_client(door, listener)
    assert refuse_new(listener) is True
    listener.setblocking(True)
    street.accept(listener)

    assert errno_of(listener.accept) == "EINVAL"


def test_who_waits_for_a_place_in_a_full_unix_queue_is_refused_at_the_first_accept(street: Street) -> None:
    """A client asleep in connect before a full queue is not left there: the first accept sends it away."""
    listener = street.listener(UNIX_STREAM, backlog=0)
    street.queued_client(UNIX_STREAM, listener)

    def knock() -> str:
        with socket.socket(socket.AF_UNIX) as client:
            return errno_of(lambda: client.connect(listener.getsockname()))

    pid, news = in_child(knock)
    wait_readable(news)
    assert os.read(news, len("started ")) == b"started "
    wait_until(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S")

    assert refuse_new(listener) is True
    street.accept(listener)

    assert read_all(pid, news) == "'ECONNREFUSED'"
    assert errno_of(listener.accept) == "EAGAIN"


@each(TCP_DOORS)
def test_a_handshake_under_way_ends_in_the_queue(street: Street, door: Door) -> None:
    """A handshake whose last packet comes only after the door was shut becomes a connection to accept, not a reset."""
    listener = street.listener(door, options=[HANDSHAKE_ENDS_WITH_DATA])
    client = street.client(door, listener)
    assert count_handshakes([listener]) == 1

    assert refuse_new(listener) is True
    assert count_handshakes([listener]) == 1
    assert errno_of(listener.accept) == "EAGAIN"
    client.sendall(b"asked")
    wait_readable(listener)

    connection = street.accept(listener)
    assert connection.recv(99) == b"asked"
    connection.sendall(b"answered")
    assert client.recv(99) == b"answered"
    assert count_handshakes([listener]) == 0


def test_a_group_that_shares_a_port_is_shut_member_by_member(street: Street) -> None:
    """With all SO_REUSEPORT listeners of a port shut, what waited in each is accepted and a new client refused."""
    door = TCP_DOORS[0]
    first = street.listener(door, options=[SHARED_PORT], backlog=32)
    second = street.listener(door, options=[SHARED_PORT], backlog=32, port=first.getsockname()[1])
    clients = [street.client(door, first) for _ in range(32)]  # shared out by a hash of their ports

    assert [refuse_new(first), refuse_new(second)] == [True, True]

    assert errno_of(lambda: street.client(door, first)) == "ECONNREFUSED"
    for _ in clients:
        readable, _, _ = select.select([first, second], [], [], LIMIT)
        street.accept(readable[0]).sendall(b"welcome")
    assert [client.recv(99) for client in clients] == [b"welcome"] * 32


# Datagrams


@each(DATAGRAM_DOORS)
def test_a_queued_datagram_is_received_and_answered(street: Street, door: Door) -> None:
    """What waits in the queue when the door is shut is received afterwards, and the reply leaves by the same socket."""
    listener = street.listener(door)
    client = street.queued_client(door, listener)

    assert refuse_new(listener) is True

    request, sender = listener.recvfrom(99)
    assert request == b"asked"
    listener.sendto(b"answered", sender)
    assert client.recv(99) == b"answered"


@each(DATAGRAM_DOORS)
def test_the_empty_datagram_is_a_datagram(street: Street, door: Door) -> None:
    """Non-blocking, nothing is not taken for emptiness: a queued datagram of no bytes is received with its sender."""
    listener = street.listener(door)
    client = street.client(door, listener)
    client.send(b"")
    wait_readable(listener)
    assert refuse_new(listener) is True

    request, sender = listener.recvfrom(99)
    assert request == b""
    listener.sendto(b"answered", sender)
    assert client.recv(99) == b"answered"
    assert errno_of(lambda: listener.recvfrom(99)) == "EAGAIN"


@each(UDP_DOORS)
def test_a_new_udp_datagram_vanishes(street: Street, door: Door) -> None:
    """A datagram that comes after the door was shut is dropped, whether its sender was known before or not."""
    listener = street.listener(door)
    known = street.queued_client(door, listener)

    assert refuse_new(listener) is True
    known.sendall(b"too late")
    street.client(door, listener).sendall(b"too late as well")
    wait_until(lambda: dropped(listener) == 2)

    assert listener.recvfrom(99)[0] == b"asked"
    assert errno_of(lambda: listener.recvfrom(99)) == "EAGAIN"


def test_a_new_unix_datagram_is_refused_with_epipe(street: Street) -> None:
    """After the door is shut a datagram's sender gets EPIPE, whether it was known before, comes anew, or only sends."""
    listener = street.listener(UNIX_DATAGRAM)
    known = street.queued_client(UNIX_DATAGRAM, listener)

    assert refuse_new(listener) is True

    newcomer = street.client(UNIX_DATAGRAM, listener)  # to connect is still possible, and means nothing
    stranger = street.sockets.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
    assert errno_of(lambda: known.send(b"too late")) == "EPIPE"
    assert errno_of(lambda: newcomer.send(b"too late")) == "EPIPE"
    assert errno_of(lambda: stranger.sendto(b"too late", listener.getsockname())) == "EPIPE"
    assert listener.recvfrom(99)[0] == b"asked"
    assert errno_of(lambda: listener.recvfrom(99)) == "EAGAIN"


@each(DATAGRAM_DOORS)
def test_an_emptied_datagram_socket_says_eagain_and_only_a_unix_one_stays_readable(street: Street, door: Door) -> None:
    """Non-blocking, every kind says EAGAIN when empty; a Unix socket polls as readable all the same, for ever."""
    listener = street.listener(door)
    street.queued_client(door, listener)
    assert refuse_new(listener) is True
    assert is_readable(listener)
    listener.recvfrom(99)

    for _ in range(2):
        assert errno_of(lambda: listener.recvfrom(99)) == "EAGAIN"
        assert errno_of(lambda: listener.recvmsg(99)) == "EAGAIN"
        assert is_readable(listener) == (door.family == socket.AF_UNIX)


def test_an_emptied_blocking_unix_datagram_socket_says_nothing_from_nobody(street: Street) -> None:
    """Blocking, an emptied Unix datagram socket does not block: it reads as no bytes from no sender."""
    listener = street.listener(UNIX_DATAGRAM)
    street.queued_client(UNIX_DATAGRAM, listener)
    assert refuse_new(listener) is True
    listener.setblocking(True)
    listener.recvfrom(99)

    assert listener.recvfrom(99) == (b"", None)


# Who may, who may not, and whom it concerns


def assert_shut(street: Street, door: Door, listener: socket.socket) -> None:
    """A client that comes now is sent away, in the way of its kind."""
    if door.kind == socket.SOCK_STREAM:
        assert errno_of(lambda: street.client(door, listener)) == "ECONNREFUSED"
    elif door.family == socket.AF_UNIX:
        assert errno_of(lambda: street.client(door, listener).send(b"too late")) == "EPIPE"
    else:
        before = dropped(listener)
        street.client(door, listener).sendall(b"too late")
        wait_until(lambda: dropped(listener) == before + 1)


@each(ONE_OF_EACH)
def test_refusing_twice_is_refusing_once(street: Street, door: Door) -> None:
    """The order may be repeated: the second call is True as well, and the queue is as it was."""
    listener = street.listener(door)
    street.queued_client(door, listener)

    assert [refuse_new(listener), refuse_new(listener)] == [True, True]

    assert street.first_request(door, listener) == b"asked"


@needs_root
@each(ONE_OF_EACH)
def test_nobody_may_refuse_too(street: Street, door: Door) -> None:
    """No privilege is needed, nor for repeating it: a process without any shuts the door, and keeps what is queued."""
    listener = street.listener(door)
    street.queued_client(door, listener)

    assert said_by_nobody(lambda: [refuse_new(listener), refuse_new(listener)]) == "[True, True]"

    assert_shut(street, door, listener)
    assert street.first_request(door, listener) == b"asked"


@needs_root
def test_nobody_cannot_refuse_on_a_listener_bound_to_a_device(street: Street) -> None:
    """Without privilege a TCP listener that is bound to a device stays open, and the answer is False."""
    door = TCP_DOORS[0]
    listener = street.listener(door, options=[DEVICE_LOOPBACK])

    assert said_by_nobody(lambda: refuse_new(listener)) == "False"

    street.queued_client(door, listener)
    assert street.accept(listener).recv(99) == b"asked"


@each(ONE_OF_EACH)
def test_the_socket_is_shut_for_all_who_hold_it(street: Street, door: Door) -> None:
    """The call shuts the socket, not the descriptor: another descriptor of it, the original here, is shut as well."""
    listener = street.listener(door)
    street.queued_client(door, listener)
    with listener.dup() as another:
        assert refuse_new(another) is True

    assert_shut(street, door, listener)
    assert street.first_request(door, listener) == b"asked"


class Deprived(socket.socket):
    """A socket of a platform without the calls: once `lacks` is set, each of them fails with it."""

    lacks = 0

    def setsockopt(self, *args: Any) -> None:
        self._fail_if_lacking()
        super().setsockopt(*args)

    def getsockopt(self, *args: Any) -> Any:
        self._fail_if_lacking()
        return super().getsockopt(*args)

    def shutdown(self, how: int, /) -> None:
        self._fail_if_lacking()
        super().shutdown(how)

    def _fail_if_lacking(self) -> None:
        if self.lacks:
            raise OSError(self.lacks, os.strerror(self.lacks))


@pytest.mark.parametrize("lacks", [errno.ENOPROTOOPT, errno.EPERM, errno.EINVAL, errno.ENOSYS, errno.ENOMEM])
@each(ONE_OF_EACH)
def test_where_the_call_is_missing_the_answer_is_false(street: Street, door: Door, lacks: int) -> None:
    """A platform, sandbox or permission without the call is an answer, never an exception, and nothing has changed."""
    listener = street.listener(door, make=Deprived)
    assert isinstance(listener, Deprived)
    listener.lacks = lacks

    assert refuse_new(listener) is False

    street.queued_client(door, listener)
    assert street.first_request(door, listener) == b"asked"


@each(ONE_OF_EACH)
def test_elsewhere_than_on_linux_the_answer_is_false(
    street: Street, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the calls were never tried none is made: the answer is False and the listener stays open."""
    listener = street.listener(door)
    monkeypatch.setattr(draining, "sys", SimpleNamespace(platform="darwin"))

    assert refuse_new(listener) is False

    street.queued_client(door, listener)
    assert street.first_request(door, listener) == b"asked"


def test_a_kind_of_socket_nobody_tried_is_false() -> None:
    """A family we have no way for is answered False, not guessed at."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW) as listener:
        assert refuse_new(listener) is False


@each(ONE_OF_EACH)
def test_a_closed_socket_is_a_mistake(street: Street, door: Door) -> None:
    """What is no open socket any more raises: False would send the caller to accept from it."""
    listener = street.listener(door)
    listener.close()

    assert errno_of(lambda: refuse_new(listener)) == "EBADF"


# Handshakes


@each(TCP_DOORS)
def test_handshakes_are_counted_on_their_own_port_only(street: Street, door: Door) -> None:
    """A handshake counts for the listener whose port it knocks at, whatever its address; for another port it is 0."""
    listener = street.listener(door, options=[HANDSHAKE_ENDS_WITH_DATA])
    other = street.listener(door, options=[HANDSHAKE_ENDS_WITH_DATA])
    assert count_handshakes([listener, other]) == 0

    for _ in range(3):
        street.client(door, listener)

    assert count_handshakes([listener]) == 3
    assert count_handshakes([other]) == 0
    assert count_handshakes(one for one in (listener, other)) == 3


def test_established_connections_are_no_handshakes(street: Street) -> None:
    """Connections that are queued, accepted or closed count for nothing."""
    door = TCP_DOORS[0]
    listener = street.listener(door)
    for _ in range(3):
        street.queued_client(door, listener)
        street.queued_client(door, listener)
        street.accept(listener).close()

    assert count_handshakes([listener]) == 0


def test_only_tcp_has_handshakes(street: Street) -> None:
    """A UDP socket contributes nothing, even on the number of a TCP port that is being knocked at; nor does Unix."""
    tcp = street.listener(TCP_DOORS[0], options=[HANDSHAKE_ENDS_WITH_DATA])
    udp = street.listener(UDP_DOORS[0], port=tcp.getsockname()[1])
    street.client(TCP_DOORS[0], tcp)

    assert count_handshakes([udp, street.listener(UNIX_STREAM), street.listener(UNIX_DATAGRAM)]) == 0
    assert count_handshakes([udp, tcp]) == 1
    assert count_handshakes([]) == 0


def test_the_remote_port_and_other_columns_do_not_count(
    street: Street, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the state column says "handshake", and only the local port says whose."""
    listener = street.listener(TCP_DOORS[0])
    port = f"{listener.getsockname()[1]:04X}"
    rest = "00000000:00000000 01:00000032 00000000     3        0 0 1 0000000000000000 3 0 0 3 -1"
    rows = [
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode",
        f"   3: 0100007F:{port} 00000000:0000 0A {rest}",  # the listener itself
        f"   4: 0100007F:0050 0100007F:{port} 03 {rest}",  # somebody else's, from our port
        f"   5: 0100007F:{port} 0100007F:0003 01 {rest}",  # established
        f"  03: 0100007F:{port} 0100007F:0003 06 {rest}",  # long gone
        f"   6: 0100007F:{port} 0100007F:B5CE 03 {rest}",  # the one
        f"   7: {'0' * 24}01000000:{port} {'0' * 24}01000000:B5CE 03 {rest}",  # and one of v6
    ]
    table = tmp_path / "tcp"
    table.write_text("\n".join(rows) + "\n")
    monkeypatch.setattr(draining, "_TCP_TABLES", (str(table),))

    assert count_handshakes([listener]) == 2


def test_without_proc_nothing_is_counted(street: Street, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the tables are missing or closed to us the answer is 0, not an exception."""
    listener = street.listener(TCP_DOORS[0], options=[HANDSHAKE_ENDS_WITH_DATA])
    street.client(TCP_DOORS[0], listener)
    monkeypatch.setattr(draining, "_TCP_TABLES", (str(tmp_path / "missing"), str(tmp_path)))

    assert count_handshakes([listener]) == 0
