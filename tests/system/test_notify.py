"""What is told to a service manager arrives, in its order, and costs nobody anything; one promise a test."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from prefork.system.notify import Notifier, find_manager
from tests.children import LIMIT


class Manager:
    """The other end."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.settimeout(LIMIT)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)

    def hear(self) -> str:
        return self.socket.recv(65536).decode()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    address = f"@prefork-test-{os.getpid()}" if request.param == "abstract" else str(tmp_path / "notify")
    manager = Manager(address)
    with manager.socket:
        yield manager


def test_a_message_is_one_datagram_of_lines(manager: Manager) -> None:
    """A text of several lines could say what nobody meant."""
    notifier = Notifier(manager.address)
    notifier.say("STOPPING=1", "STATUS=given up: no\nREADY=1\r\nat all")
    notifier.close()
    assert manager.hear() == "STOPPING=1\nSTATUS=given up: no READY=1 at all"


def test_descriptors_travel_along(manager: Manager, tmp_path: Path) -> None:
    """The very file arrives."""
    notifier = Notifier(manager.address)
    with open(tmp_path / "file", "w") as file:
        notifier.say("FDSTORE=1", "FDNAME=file", fds=(file.fileno(),))
        text, (fd,), _, _ = socket.recv_fds(manager.socket, 1024, 4)
        assert (text, os.path.sameopenfile(fd, file.fileno())) == (b"FDSTORE=1\nFDNAME=file", True)
    os.close(fd)
    notifier.close()


def test_a_manager_that_has_no_room_is_told_later(manager: Manager) -> None:
    """All of it, in its order, and nobody waits meanwhile."""
    notifier = Notifier(manager.address)
    said = 0
    while not notifier.has_more:
        said += 1
        notifier.say(f"STATUS={said}")
    notifier.say("READY=1")
    heard: list[str] = []
    while len(heard) < said + 1:
        heard.append(manager.hear())
        notifier.go_on()
    assert heard == [*(f"STATUS={number}" for number in range(1, said + 1)), "READY=1"]
    assert not notifier.has_more
    notifier.close()


@pytest.mark.parametrize(
    ("text", "heard"),
    [
        ("a\0b", "a b"),  # a zero byte
        ("a\x1b[2Jb", "a [2Jb"),
        ("\udcff", "\\udcff"),
        ("ö" * 4000, "ö" * 1020 + "…"),  # more than systemd reads
    ],
)
def test_whatever_is_told_can_be_read(manager: Manager, text: str, heard: str) -> None:
    """Of a message that it cannot read systemd heeds nothing, not even that we are ready or alive."""
    notifier = Notifier(manager.address)
    notifier.say("READY=1", f"STATUS={text}", "WATCHDOG=1")
    notifier.close()
    assert manager.hear() == f"READY=1\nSTATUS={heard}\nWATCHDOG=1"


def test_a_manager_that_never_listens_costs_no_memory(manager: Manager) -> None:
    """Of what changes all the time only the last word is kept for it; all else is, and in its order."""
    notifier = Notifier(manager.address)
    filled = 0
    while not notifier.has_more:
        filled += 1
        notifier.say("filling")
    notifier.say("READY=1", "STATUS=0")
    for number in range(1, 1000):
        notifier.say("WATCHDOG=1", f"STATUS={number}")
    heard: list[str] = []
    while notifier.has_more or len(heard) < filled + 2:
        heard.append(manager.hear())
        notifier.go_on()
    assert heard[filled:] == ["READY=1", "WATCHDOG=1\nSTATUS=999"]
    notifier.close()


def test_a_manager_that_is_gone_is_told_in_vain(tmp_path: Path) -> None:
    """That is no error, and the next message is tried anew."""
    notifier = Notifier(str(tmp_path / "notify"))
    notifier.say("READY=1")
    assert not notifier.has_more
    manager = Manager(str(tmp_path / "notify"))
    with manager.socket:
        notifier.say("STATUS=here")
        assert manager.hear() == "STATUS=here"
    notifier.close()


@pytest.mark.parametrize(
    ("variables", "every"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 10.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 10.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_a_watchdog_is_fed_three_times_as_often_as_it_bites(variables: dict[str, str], every: float | None) -> None:
    """Where there is one, and where it watches us."""
    environ = {"NOTIFY_SOCKET": "/run/systemd/notify", **variables}
    notifier = find_manager(environ)
    assert notifier is not None
    assert (notifier.every, environ) == (every, {})
    notifier.close()


@pytest.mark.parametrize("address", [None, "", "vsock:2:1234", "notify"])
def test_without_a_manager_there_is_nobody_to_tell(address: str | None) -> None:
    """Also where it is none that we can speak with."""
    environ = {} if address is None else {"NOTIFY_SOCKET": address}
    assert find_manager(environ) is None
    assert environ == {}
