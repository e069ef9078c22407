"""Listening sockets of every kind, and paths that are never taken from the living; one promise a test."""

import errno
import grp
import os
import pwd
import signal
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from prefork.address import Address
from prefork.binds import parse
from prefork.system import queues, sockets
from prefork.system.sockets import Listener, Peer, held_names, hold_name, open_listener, peer_of, remove_path
from tests.children import (
    LIMIT,
    NOBODY,
    Child,
    Link,
    become_nobody,
    descriptors,
    is_readable,
    said_by,
)

BACKLOG = 8
KINDS = [socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET]
INET = [
    "tcp://127.0.0.1:0",
    "tcp://0.0.0.0:0",
    "tcp://localhost:0",
    "tcp://[::1]:0",
    "tcp://[::]:0",
    "tcp://[::]:0?v6only=0",
    "tcp://[::]:0?v6only=1",
    "udp://127.0.0.1:0",
    "udp://0.0.0.0:0",
    "udp://[::1]:0",
    "udp://[::]:0?v6only=0",
]
UNIX = ["unix:{}", "unixgram:{}"]
ABSTRACT = ["unix:@{}", "unixgram:@{}"]

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


class Street:
    """Opens listeners and clients in a directory of its own, and closes them all when the test is over."""

    def __init__(self, directory: str, open_ones: ExitStack) -> None:
        self.directory = directory
        self.path = os.path.join(directory, "socket")
        self._open_ones = open_ones

    def open(self, bind: str) -> Listener:
        """:param bind: with ``{}`` where the path belongs."""
        if "[" in bind and not has_ipv6():
            pytest.skip("no IPv6 on the loopback")
        listener = open_listener(parse(bind.format(self.path)), BACKLOG)
        self._open_ones.enter_context(listener.socket)
        return listener

    def make(self, family: socket.AddressFamily, kind: socket.SocketKind) -> socket.socket:
        opened = self._open_ones.enter_context(socket.socket(family, kind))
        opened.settimeout(LIMIT)
        return opened

    def client(self, listener: Listener) -> socket.socket:
        """A client that has connected, to the loopback where the listener takes any interface."""
        client = self.make(listener.socket.family, listener.socket.type)
        if listener.address.is_unix:
            client.connect(listener.socket.getsockname())
        else:
            loopback = "::1" if client.family == socket.AF_INET6 else "127.0.0.1"
            client.connect((loopback, listener.address.port))
        return client

    def bound(self, kind: socket.SocketKind, backlog: int = BACKLOG) -> socket.socket:
        """Somebody else's socket at our path."""
        other = self.make(socket.AF_UNIX, kind)
        other.bind(self.path)
        if kind != socket.SOCK_DGRAM:
            other.listen(backlog)
        return other

    def left_behind(self, kind: socket.SocketKind) -> None:
        """The path of a process that died without removing it."""
        self.bound(kind).close()


@pytest.fixture
def street() -> Iterator[Street]:
    # a Unix socket's path has at most 107 bytes, and pytest's own directories are long
    with tempfile.TemporaryDirectory(prefix="prefork-") as directory, ExitStack() as open_ones:
        yield Street(directory, open_ones)


def identity(path: str) -> tuple[int, int]:
    status = os.lstat(path)
    return status.st_dev, status.st_ino


def mode_of(path: str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def errno_of_opening(street: Street, bind: str) -> str:
    with pytest.raises(OSError) as raised:
        street.open(bind)
    return errno.errorcode[raised.value.errno or 0]


# Every kind of bind


def hear_first(listener: Listener) -> bytes:
    """The first thing a client asked, once the kernel has queued it."""
    assert is_readable(listener.socket, LIMIT)
    if not listener.address.is_stream:
        return listener.socket.recv(99)
    connection, _ = listener.socket.accept()
    with connection:
        connection.settimeout(LIMIT)
        return connection.recv(99)


@pytest.mark.parametrize("bind", INET + UNIX + ABSTRACT)
def test_a_client_reaches_a_listener_of_every_kind(street: Street, bind: str) -> None:
    """What is opened is bound, and a stream is listening."""
    listener = street.open(bind)
    street.client(listener).sendall(b"asked")
    assert hear_first(listener) == b"asked"


@pytest.mark.parametrize("bind", INET + UNIX + ABSTRACT)
def test_a_listener_never_blocks_and_no_program_inherits_it(street: Street, bind: str) -> None:
    """It is non-blocking from its birth, and crosses an exec only where it is handed over."""
    listener = street.open(bind).socket
    assert (os.get_blocking(listener.fileno()), os.get_inheritable(listener.fileno())) == (False, False)


@pytest.mark.parametrize("bind", INET)
def test_port_0_becomes_the_port_that_the_kernel_chose(street: Street, bind: str) -> None:
    """The address says where clients really come to, and differs in nothing else from what was asked for."""
    listener = street.open(bind)
    assert listener.address.port == listener.socket.getsockname()[1] != 0
    assert listener.address._replace(port=0) == parse(bind)
    assert listener.inode is None


@pytest.mark.parametrize("bind", ["tcp://127.0.0.1:0", "tcp://[::1]:0"])
def test_accepted_tcp_connections_send_at_once(street: Street, bind: str) -> None:
    """They inherit TCP_NODELAY from the listener, at no cost a connection."""
    listener = street.open(bind)
    street.client(listener)
    assert is_readable(listener.socket, LIMIT)
    connection, _ = listener.socket.accept()
    with connection:
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_port_with_old_connections_can_be_opened_again(street: Street) -> None:
    """A restart does not wait for connections in TIME_WAIT, which whoever closes first has."""
    listener = street.open("tcp://127.0.0.1:0")
    client = street.client(listener)
    assert is_readable(listener.socket, LIMIT)
    connection, _ = listener.socket.accept()
    connection.close()
    assert client.recv(1) == b""
    client.close()
    listener.socket.close()

    assert street.open(str(listener.address)).address == listener.address


def test_ipv6_only_leaves_ipv4_to_somebody_else(street: Street) -> None:
    """With v6only=1 the same port is free for IPv4."""
    listener = street.open("tcp://[::]:0?v6only=1")
    assert street.open(f"tcp://0.0.0.0:{listener.address.port}").address.port == listener.address.port


def test_a_dual_listener_takes_ipv4_clients_too(street: Street) -> None:
    """With v6only=0 one bind serves both."""
    listener = street.open("tcp://[::]:0?v6only=0")
    client = street.make(socket.AF_INET, socket.SOCK_STREAM)
    client.connect(("127.0.0.1", listener.address.port))
    client.sendall(b"asked")
    assert hear_first(listener) == b"asked"


@pytest.mark.parametrize("bind", ["tcp://127.0.0.1:0", "udp://127.0.0.1:0", "tcp://[::1]:0"])
def test_a_port_that_is_taken_is_refused(street: Street, bind: str) -> None:
    """Two of us never share a port."""
    assert errno_of_opening(street, str(street.open(bind).address)) == "EADDRINUSE"


@pytest.mark.parametrize("bind", ABSTRACT)
def test_an_abstract_name_that_is_taken_is_refused_and_ends_with_its_holder(street: Street, bind: str) -> None:
    """It has no file: nothing is stale, nothing to remove."""
    listener = street.open(bind)
    assert errno_of_opening(street, bind) == "EADDRINUSE"
    assert listener.inode is None
    assert os.listdir(street.directory) == []

    remove_path(listener)
    listener.socket.close()
    street.open(bind)


def test_as_many_clients_may_wait_as_were_asked_for(street: Street) -> None:
    """The backlog reaches the kernel: one more client than it does not get in (the kernel allows one beyond it)."""
    listener = street.open("unix:{}")
    for _ in range(BACKLOG + 1):
        street.client(listener)
    late = street.make(socket.AF_UNIX, socket.SOCK_STREAM)
    late.setblocking(False)
    assert late.connect_ex(street.path) == errno.EAGAIN


def test_the_default_backlog_is_one_that_the_kernel_allows() -> None:
    """Nothing is cut silently where nothing was asked for."""
    assert 0 < sockets.DEFAULT_BACKLOG <= sockets.highest_backlog()


# Paths


@pytest.mark.parametrize("bind", UNIX)
@pytest.mark.parametrize("kind", KINDS)
def test_a_path_that_nobody_serves_is_replaced(street: Street, bind: str, kind: socket.SocketKind) -> None:
    """A master that was killed does not hinder the next start."""
    street.left_behind(kind)
    listener = street.open(bind)
    street.client(listener).sendall(b"asked")
    assert hear_first(listener) == b"asked"
    assert listener.inode == identity(street.path)


@pytest.mark.parametrize("bind", UNIX)
@pytest.mark.parametrize("kind", KINDS)
def test_a_path_that_somebody_serves_is_refused(street: Street, bind: str, kind: socket.SocketKind) -> None:
    """The living keep their path, whichever kind they are, and still serve."""
    other = street.bound(kind)
    before = identity(street.path)

    assert errno_of_opening(street, bind) == "EADDRINUSE"

    assert identity(street.path) == before
    client = street.make(socket.AF_UNIX, kind)
    client.connect(street.path)
    assert os.listdir(street.directory) == ["socket"]
    other.close()


@pytest.mark.parametrize("bind", UNIX)
@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_SEQPACKET])
def test_a_path_whose_server_is_behind_with_accepting_is_refused(
    street: Street, bind: str, kind: socket.SocketKind
) -> None:
    """A full backlog is a sign of life."""
    street.bound(kind, backlog=0)
    waiting = street.make(socket.AF_UNIX, kind)
    waiting.connect(street.path)
    before = identity(street.path)

    assert errno_of_opening(street, bind) == "EADDRINUSE"

    assert identity(street.path) == before


@pytest.mark.parametrize("bind", UNIX)
def test_a_file_that_is_no_socket_is_refused_and_untouched(street: Street, bind: str) -> None:
    """A slip of the hand costs nobody a file."""
    Path(street.path).write_text("precious")

    assert errno_of_opening(street, bind) == "EEXIST"

    assert Path(street.path).read_text() == "precious"


def test_a_directory_or_a_link_is_refused_and_untouched(street: Street) -> None:
    """What is no socket is not followed either."""
    os.mkdir(street.path)
    assert errno_of_opening(street, "unix:{}") == "EEXIST"
    os.rmdir(street.path)
    os.symlink(os.path.join(street.directory, "elsewhere"), street.path)
    assert errno_of_opening(street, "unix:{}") == "EEXIST"
    assert os.listdir(street.directory) == ["socket"]


def test_a_missing_directory_is_an_error(street: Street) -> None:
    """It is not made by guessing."""
    assert errno_of_opening(street, "unix:{}/below") == "ENOENT"
    assert os.listdir(street.directory) == []


@pytest.mark.parametrize("bind", UNIX)
def test_a_path_beside_us_needs_no_directory_in_its_name(
    street: Street, bind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bare name is a path in the working directory."""
    monkeypatch.chdir(street.directory)
    listener = street.open(bind.format("beside"))
    assert os.listdir(street.directory) == ["beside"]
    remove_path(listener)


# Two starters


@pytest.mark.parametrize("bind", UNIX)
@pytest.mark.parametrize("is_stale", [True, False], ids=["stale", "new"])
def test_of_many_that_start_at_once_exactly_one_wins(street: Street, bind: str, is_stale: bool) -> None:
    """Whoever opens the path serves it; all others are refused, and none serves a path that is gone."""
    if is_stale:
        street.left_behind(socket.SOCK_STREAM)

    def start(parent: Link) -> str:
        parent.say("at the line")
        parent.hear()
        try:
            listener = street.open(bind)
        except OSError as error:
            return errno.errorcode[error.errno or 0]
        parent.say("won" if listener.inode == identity(street.path) else "lost its path")
        parent.hear()  # keeps it open
        return "stopped"

    with ExitStack() as children:
        starters = [children.enter_context(Child(start)) for _ in range(8)]
        for starter in starters:
            assert starter.hear() == "at the line"
        for starter in starters:
            starter.say("go")
        assert sorted(starter.hear() for starter in starters) == ["EADDRINUSE"] * 7 + ["won"]


def test_a_starter_that_has_bound_but_does_not_listen_yet_keeps_its_path(street: Street) -> None:
    """Between bind and listen a socket refuses clients as a stale one does; nobody else may look meanwhile."""

    def start_and_wait_before_listening(parent: Link) -> None:
        class Slow(socket.socket):
            def listen(self, backlog: int = 0, /) -> None:
                parent.say("bound")
                parent.hear()
                super().listen(backlog)

        socket.socket = Slow  # type: ignore[misc]
        listener = street.open("unix:{}")
        parent.say("won" if listener.inode == identity(street.path) else "lost its path")
        parent.hear()  # keeps it open

    with Child(start_and_wait_before_listening) as first, pytest.MonkeyPatch.context() as patch:
        assert first.hear() == "bound"
        patch.setattr(sockets, "LOCK_LIMIT", 0.01)
        assert errno_of_opening(street, "unix:{}") == "EAGAIN"
        first.say("listen")
        assert first.hear() == "won"
        assert errno_of_opening(street, "unix:{}") == "EADDRINUSE"


# Modes and owners


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666, 0o777])
def test_a_path_has_the_mode_that_was_asked_for(street: Street, mode: int, umask: int) -> None:
    """The umask neither adds nor takes away."""

    def open_with_umask(parent: Link) -> int:
        os.umask(umask)
        street.open(f"unix:{{}}?mode={mode:04o}")
        return mode_of(street.path)

    assert said_by(open_with_umask) == mode


def test_a_path_is_not_for_all_the_world_unasked(street: Street) -> None:
    """Owner and group by default."""
    street.open("unix:{}")
    assert mode_of(street.path) == 0o660


def test_until_it_has_its_owner_and_mode_a_path_is_ours_alone(street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no moment in which somebody else may connect who may not later."""
    seen: list[int] = []
    chown, chmod = os.chown, os.chmod

    def watch_chown(path: str, *args: Any) -> None:
        seen.append(mode_of(path))
        chown(path, *args)

    def watch_chmod(path: str, *args: Any) -> None:
        seen.append(mode_of(path))
        chmod(path, *args)

    monkeypatch.setattr(os, "chown", watch_chown)
    monkeypatch.setattr(os, "chmod", watch_chmod)
    before = os.umask(0)
    try:
        street.open(f"unix:{{}}?mode=0666&user={os.geteuid()}&group={os.getegid()}")
    finally:
        os.umask(before)

    assert seen == [0o600, 0o600]
    assert mode_of(street.path) == 0o666


def owner_of(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_uid, status.st_gid


@needs_root
@pytest.mark.parametrize(
    ("options", "owner"),
    [
        (f"user={NOBODY}", (NOBODY, 0)),
        (f"group={NOBODY}", (0, NOBODY)),
        (f"user={NOBODY}&group={NOBODY}", (NOBODY, NOBODY)),
        (f"user={pwd.getpwuid(NOBODY).pw_name}", (NOBODY, 0)),
        (f"group={grp.getgrgid(NOBODY).gr_name}", (0, NOBODY)),
        ("user=0&group=0", (0, 0)),
    ],
)
def test_a_path_belongs_to_whom_it_is_given(street: Street, options: str, owner: tuple[int, int]) -> None:
    """By name or by number, and what was not given stays."""
    street.open("unix:{}?" + options)
    assert owner_of(street.path) == owner


@needs_root
@pytest.mark.parametrize("group", ["0", grp.getgrgid(0).gr_name])
def test_a_path_in_a_directory_of_another_group_can_be_given_to_group_0(street: Street, group: str) -> None:
    """Number 0 is a group like any other, by its name too; a set-group-id directory shows it."""
    os.chown(street.directory, -1, NOBODY)
    os.chmod(street.directory, 0o2755)

    street.open(f"unix:{{}}?group={group}")

    assert owner_of(street.path) == (0, 0)


# What remains


@pytest.mark.parametrize("bind", UNIX)
def test_our_path_is_removed_at_the_end(street: Street, bind: str) -> None:
    """Nothing is left in the directory, neither path nor lock."""
    listener = street.open(bind)
    remove_path(listener)
    assert os.listdir(street.directory) == []
    remove_path(listener)


@pytest.mark.parametrize("bind", UNIX)
def test_a_path_that_somebody_made_meanwhile_is_left_to_them(street: Street, bind: str) -> None:
    """The end of an old instance does not cut off its successor."""
    listener = street.open(bind)
    os.unlink(street.path)
    successor = street.bound(socket.SOCK_STREAM)
    before = identity(street.path)

    remove_path(listener)

    assert identity(street.path) == before
    successor.close()


FAILURES = {
    "no such user": "unix:{}?user=no-such-user",
    "no such group": "unixgram:{}?group=no-such-group",
    "a missing directory": "unix:{}/below",
    "an address of others": "tcp://192.0.2.1:0",
    "a host that is no name": "udp://a..b:0",
}


@pytest.mark.parametrize("bind", FAILURES.values(), ids=FAILURES.keys())
def test_nothing_is_left_of_a_bind_that_failed(street: Street, bind: str) -> None:
    """Neither descriptor nor path nor lock."""

    def fail_as_nobody(parent: Link) -> list[object]:
        become_nobody()
        before = descriptors()
        try:
            street.open(bind)
        except (OSError, LookupError):
            return [descriptors() - before, os.listdir(street.directory)]
        return ["it was opened"]

    os.chmod(street.directory, 0o777)
    assert said_by(fail_as_nobody) == [set(), []]


@needs_root
def test_nothing_is_left_of_a_path_that_could_not_be_given_away(street: Street) -> None:
    """Who may bind but not give away ends with EPERM and an empty directory."""

    def give_away(parent: Link) -> list[object]:
        become_nobody()
        before = descriptors()
        return [errno_of_opening(street, "unix:{}?user=0"), descriptors() - before, os.listdir(street.directory)]

    os.chmod(street.directory, 0o777)
    assert said_by(give_away) == ["EPERM", set(), []]


def test_nothing_is_left_of_a_path_on_which_we_could_not_listen(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure after the bind removes the path again."""

    def fail(*args: object) -> None:
        raise OSError(errno.ENOBUFS, "no room")

    before = descriptors()
    monkeypatch.setattr(socket.socket, "listen", fail)

    assert errno_of_opening(street, "unix:{}") == "ENOBUFS"

    assert (descriptors() - before, os.listdir(street.directory)) == (set(), [])


# Names


def a_name() -> str:
    return f"test-{os.getpid()}"


def test_a_name_has_one_holder_until_it_is_let_go() -> None:
    """A second one is told so, in this process as in another."""
    with ExitStack() as held:
        holder = hold_name(a_name())
        assert holder is not None
        held.enter_context(holder)
        name = a_name()
        assert hold_name(name) is None
        assert said_by(lambda parent: hold_name(name)) is None
    again = hold_name(name)
    assert again is not None
    again.close()


def test_a_name_is_free_when_its_holder_is_killed() -> None:
    """No file is left to say otherwise."""
    name = a_name()

    def hold(parent: Link) -> None:
        holder = hold_name(name)
        parent.say(holder is not None)
        parent.hear()

    with Child(hold) as holder:
        assert holder.hear() is True
        assert hold_name(name) is None
        holder.send_signal(signal.SIGKILL)
        holder.end()
    again = hold_name(name)
    assert again is not None
    again.close()


@needs_root
def test_users_do_not_take_names_from_each_other() -> None:
    """The name belongs to a user."""
    name = a_name()

    def hold_as_nobody(parent: Link) -> bool:
        become_nobody()
        return hold_name(name) is not None

    holder = hold_name(name)
    assert holder is not None
    with holder:
        assert said_by(hold_as_nobody)


def test_names_that_are_held_can_be_listed() -> None:
    """With their user, and only as long as somebody holds them."""
    name = a_name()
    holder = hold_name(name)
    assert holder is not None
    with holder:
        assert (os.getuid(), name) in held_names()
    assert (os.getuid(), name) not in held_names()


# the other end


@needs_root
def test_a_stream_tells_who_is_at_the_other_end() -> None:
    """As it was when it connected, or began to listen; it cannot lie."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("")
    listener.listen()

    def call(parent: Link) -> Peer:
        become_nobody()
        client = socket.socket(socket.AF_UNIX)
        client.connect(listener.getsockname())
        return peer_of(client)

    with listener, Child(call) as child:
        connection, _ = listener.accept()
        with connection:
            assert peer_of(connection) == Peer(child.pid, NOBODY, NOBODY)
        assert child.hear() == Peer(os.getpid(), os.getuid(), os.getgid())


def test_an_address_is_what_was_asked_for(street: Street) -> None:
    """A Unix listener says the bind it was opened by."""
    assert street.open("unix:{}?mode=0600").address == Address("unix", path=street.path, mode=0o600)


# what was kept for us


@pytest.mark.parametrize("bind", [*INET, *UNIX, *ABSTRACT])
def test_what_was_kept_for_an_address_is_taken_back(bind: str, tmp_path: Path) -> None:
    """The very socket, with the path that is ours to remove."""
    if ("[" in bind) and not has_ipv6():
        pytest.skip("this machine has no IPv6")
    name = f"prefork-test-{os.getpid()}" if "@" in bind else str(tmp_path / "socket")
    kept = open_listener(parse(bind.format(name)), BACKLOG)
    address = kept.address
    found = sockets.take_back(address, kept.socket.detach(), BACKLOG)
    assert found is not None
    assert (found.address, found.inode) == (address, kept.inode)
    assert found.socket.gettimeout() == 0
    found.socket.close()
    remove_path(found)


def test_what_is_taken_back_has_the_backlog_of_now() -> None:
    """And whoever queues there already stays."""
    kept = open_listener(parse("tcp://127.0.0.1:0"), 1)
    with socket.create_connection(kept.socket.getsockname()):
        found = sockets.take_back(kept.address, kept.socket.detach(), 7)
        assert found is not None
        with found.socket as listener:
            assert queues.measure(listener)[:2] == (1, 7)


def test_a_path_that_is_gone_is_not_taken_back(tmp_path: Path) -> None:
    """Nobody could come by it; neither where somebody else has bound it since."""
    before = descriptors()
    address = parse(f"unix:{tmp_path}/socket")
    kept = open_listener(address, BACKLOG)
    remove_path(kept)
    assert sockets.take_back(address, kept.socket.detach(), BACKLOG) is None
    (tmp_path / "socket").write_text("no socket")
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "elsewhere"))
        other.listen()
        assert sockets.take_back(address, os.dup(other.fileno()), BACKLOG) is None
    assert not descriptors() - before


@pytest.mark.parametrize("scheme", ["unix", "unixgram"])
def test_a_path_that_somebody_else_has_bound_since_is_not_taken_back(scheme: str, tmp_path: Path) -> None:
    """Clients come to him, and the path is his to remove."""
    before = descriptors()
    address = parse(f"{scheme}:{tmp_path}/socket")
    kept = open_listener(address, BACKLOG)
    remove_path(kept)
    with open_listener(address, BACKLOG).socket:
        assert sockets.take_back(address, kept.socket.detach(), BACKLOG) is None
    assert not descriptors() - before


@pytest.mark.parametrize("other", ["tcp://127.0.0.2:0", "udp://127.0.0.1:0", "unix:@prefork-test-other"])
def test_what_listens_elsewhere_is_not_taken_back(other: str) -> None:
    """It is closed, and so is what is no socket."""
    before = descriptors()
    kept = open_listener(parse(other), BACKLOG)
    assert sockets.take_back(parse("tcp://127.0.0.1:0"), kept.socket.detach(), BACKLOG) is None
    assert sockets.take_back(parse("tcp://127.0.0.1:0"), os.open(os.devnull, os.O_RDONLY), BACKLOG) is None
    assert not descriptors() - before
