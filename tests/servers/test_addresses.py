"""Where servers listen: IPv4, IPv6 or both by the address given, paths with mode and owner, abstract names."""

import grp
import os
import pwd
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from prefork import socketserver
from prefork.system.sockets import highest_backlog
from tests.servers.serving import LIMIT, ask, serving


class Echo(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.wfile.write(self.rfile.readline())


class DatagramEcho(socketserver.DatagramRequestHandler):
    def handle(self) -> None:
        self.wfile.write(self.packet)


needs_ipv6 = pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="no IPv6 here")


@needs_ipv6
def test_an_ipv6_address_makes_an_ipv6_server() -> None:
    """The family follows the address; the class need not say it."""
    with serving(socketserver.TCPServer(("::1", 0), Echo)) as server:
        assert server.socket.family == server.address_family == socket.AF_INET6
        assert ask(server) == b"hello\n"
    assert socketserver.TCPServer.address_family == socket.AF_INET


@needs_ipv6
@pytest.mark.parametrize("is_v6only", [False, True])
def test_the_ipv6_wildcard_serves_both_unless_told_not_to(is_v6only: bool) -> None:
    """Whatever the machine's default is."""

    class Wildcard(socketserver.TCPServer):
        v6only = is_v6only

    with Wildcard(("::", 0), Echo) as server, socket.socket() as client:
        client.settimeout(LIMIT)
        refused = client.connect_ex(("127.0.0.1", server.server_address[1])) != 0
    assert refused == is_v6only


def test_the_empty_host_stays_ipv4() -> None:
    """As in the original."""
    with socketserver.TCPServer(("", 0), Echo) as server:
        assert server.server_address[0] == "0.0.0.0"


def test_the_backlog_is_sensible() -> None:
    """Not five."""
    assert socketserver.TCPServer.request_queue_size == min(2048, highest_backlog())


def test_a_long_datagram_is_noticed(caplog: pytest.LogCaptureFixture) -> None:
    """It is cut as in the original, and a warning names its sender; one that fits exactly is no news."""

    class Small(socketserver.UDPServer):
        max_packet_size = 4

    with Small(("127.0.0.1", 0), DatagramEcho) as server, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(LIMIT)
        client.bind(("127.0.0.1", 0))
        client.connect(server.server_address)
        for sent, received in ((b"1234", b"1234"), (b"12345", b"1234")):
            client.send(sent)
            server.handle_request()
            assert client.recv(100) == received
        (record,) = caplog.records
        assert f"127.0.0.1:{client.getsockname()[1]} is longer than max_packet_size" in record.getMessage()


def test_a_path_has_the_mode_and_owner_asked_for(tmp_path: Path) -> None:
    """Set before anyone but us may connect."""

    class Private(socketserver.UnixStreamServer):
        socket_mode = 0o640
        socket_owner = pwd.getpwuid(os.getuid()).pw_name
        socket_group = grp.getgrgid(os.getgid()).gr_name

    with serving(Private(str(tmp_path / "s"), Echo)) as server:
        status = (tmp_path / "s").stat()
        assert stat.S_IMODE(status.st_mode) == 0o640
        assert (status.st_uid, status.st_gid) == (os.getuid(), os.getgid())
        assert ask(server) == b"hello\n"


def test_a_mode_that_nobody_asked_for_follows_the_umask(tmp_path: Path) -> None:
    """As in the original."""
    before = os.umask(0o027)
    try:
        with socketserver.UnixStreamServer(str(tmp_path / "s"), Echo):
            assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o750
    finally:
        os.umask(before)


@pytest.mark.parametrize("kind", [socketserver.UnixStreamServer, socketserver.UnixDatagramServer])
def test_a_stale_path_is_no_obstacle_and_a_served_one_is(kind: Any, tmp_path: Path) -> None:
    """What nobody serves is replaced; whoever lives there stays."""
    path = str(tmp_path / "s")
    kind(path, Echo).server_close()
    with kind(path, Echo) as server:
        with pytest.raises(OSError, match="in use"):
            kind(path, Echo)
        assert server.server_address == path


def test_a_path_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    """A file is never replaced."""
    (tmp_path / "s").write_text("precious")
    with pytest.raises(FileExistsError):
        socketserver.UnixStreamServer(str(tmp_path / "s"), Echo)
    assert (tmp_path / "s").read_text() == "precious"


@pytest.mark.parametrize("prefix", ["@", "\0"])
def test_abstract_names(prefix: str) -> None:
    """A name without a file, written as ss(8) shows it or as the kernel wants it."""
    name = f"prefork-test-{os.getpid()}-{ord(prefix)}"
    with serving(socketserver.UnixStreamServer(prefix + name, Echo)) as server:
        assert server.server_address == b"\0" + name.encode()
        assert ask(server) == b"hello\n"


def test_a_constructor_that_fails_holds_nothing(tmp_path: Path) -> None:
    """No such group: the socket is closed, and no path was made."""

    class Lost(socketserver.UnixStreamServer):
        socket_group = "no such group"

    with pytest.raises(LookupError):
        Lost(str(tmp_path / "s"), Echo)
    assert list(tmp_path.iterdir()) == []
