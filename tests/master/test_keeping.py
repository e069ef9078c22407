"""What a master that died has left with the service manager is found again, and told; one promise a test."""

import logging
import os
import socket
import time
from pathlib import Path

import pytest

from prefork.binds import parse
from prefork.config.instance import Instance
from prefork.config.service import Service
from prefork.master.keeping import board_name, let_go, listener_name, take_listener, tell_left_behind, warn_of_unused
from prefork.system import processes
from prefork.system.activation import Passed
from prefork.system.slots import LANES, Scoreboard
from prefork.system.sockets import open_listener
from tests.children import descriptors


@pytest.mark.parametrize(
    ("bind", "name"),
    [
        ("tcp://0.0.0.0:9000", "prefork-listener-tcp%3A%2F%2F0.0.0.0%3A9000"),
        ("unix:/run/shop.sock?mode=0600", "prefork-listener-unix%3A%2Frun%2Fshop.sock%3Fmode%3D0600"),
        ("tcp://127.0.0.1:0", ""),  # another one each time
        ("fd:3", ""),
        ("systemd:shop.socket", ""),
        ("unix:/" + "ö" * 53, ""),  # too long to be kept
    ],
)
def test_a_listener_is_kept_under_a_name_of_its_own(bind: str, name: str) -> None:
    """One that a service manager takes: ASCII, without a colon."""
    assert listener_name(parse(bind)) == name


def test_the_same_address_finds_what_was_kept_for_it(tmp_path: Path) -> None:
    """And another does not; who queued meanwhile is accepted."""
    address = parse(f"unix:{tmp_path}/socket")
    kept = open_listener(address, 8)
    passed = Passed({listener_name(address): [kept.socket.detach()]})
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(address.path)
        assert take_listener(parse(f"unix:{tmp_path}/other"), passed, 8) is None
        found = take_listener(address, passed, 8)
        assert found is not None
        assert (found.address, found.inode) == (address, kept.inode)
        with found.socket:
            found.socket.accept()[0].close()
        assert passed.names == []


def board_of(pid: int, started: int) -> int:
    """A scoreboard whose worker serves its seventh request; its descriptor."""
    board = Scoreboard.create(4, lanes=2)
    board.sign()
    line = board.slot(2)
    line.take(order=5, state=1, pid=pid, started=started)
    line.totals[LANES] = 2
    line.lanes[1].begin(7, time.monotonic_ns(), b"10.0.0.7:51022")
    line.lanes[1].label(b"order 13")
    fd = os.dup(board.fd)
    board.close()
    return fd


@pytest.mark.parametrize("lives", [True, False])
def test_what_was_under_way_is_told(lives: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Whose request it was, and whether its worker has outlived its master."""
    pid, before = os.getpid(), descriptors()
    fd = board_of(pid, processes.started(pid) if lives else 1)
    with caplog.at_level(logging.WARNING, "prefork.master"):
        tell_left_behind("shop", Passed({board_name("shop"): [fd]}))
    (line,) = caplog.messages
    did = "still serves" if lives else "died serving"
    assert f"shop: the master before this one ended without a stop; its worker 2 [{pid}] {did} " in line
    assert "10.0.0.7:51022 #7 order 13" in line
    assert not descriptors() - before


def test_what_cannot_be_read_is_closed_and_nothing_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """Another version's scoreboard, one that was never signed, something else."""
    before = descriptors()
    unsigned, other = Scoreboard.create(4), Scoreboard.create(4)
    other.sign()
    os.ftruncate(other.fd, 100)
    reader, writer = os.pipe()
    for fd in (os.dup(unsigned.fd), os.dup(other.fd), reader):
        tell_left_behind("shop", Passed({board_name("shop"): [fd]}))
    tell_left_behind("shop", Passed())
    os.close(writer)
    unsigned.close()
    other.close()
    assert caplog.messages == []
    assert not descriptors() - before


def test_what_has_no_use_any_more_is_let_go_of(tmp_path: Path) -> None:
    """Whoever holds it still, nobody comes in there; what is wanted, or is no matter of ours, stays."""
    before = descriptors()
    address = f"unix:{tmp_path}/socket"
    old, held = open_listener(parse(f"unix:{tmp_path}/old"), 8), open_listener(parse("tcp://127.0.0.1:0"), 8)
    wanted, elsewhere = listener_name(parse(address)), listener_name(held.address)
    by_name = {wanted: [os.open(os.devnull, os.O_RDONLY)], "web": [os.open(os.devnull, os.O_RDONLY)]}
    kept = {listener_name(old.address): [os.dup(old.socket.fileno())], elsewhere: [os.dup(held.socket.fileno())]}
    passed = Passed({**by_name, **kept, board_name("gone"): [os.memfd_create("board")]})
    settings = Instance(service={"shop": Service(target="shop:Handler", bind=(address,))})
    assert let_go(settings, passed) == [*kept, board_name("gone")]
    assert passed.names == [wanted, "web"]
    with socket.socket(socket.AF_UNIX) as client, pytest.raises(ConnectionRefusedError):
        client.connect(f"{tmp_path}/old")
    open_listener(held.address, 8).socket.close()
    for listener in (old, held):
        listener.socket.close()
    passed.close()
    assert not descriptors() - before


def test_what_nobody_asked_for_is_closed_and_said(caplog: pytest.LogCaptureFixture) -> None:
    """A socket unit has a bind that was forgotten; what was kept twice goes silently."""
    before = descriptors()
    web, old = (os.open(os.devnull, os.O_RDONLY) for _ in range(2))
    warn_of_unused(Passed({"web": [web], "prefork-listener-old": [old]}))
    (line,) = caplog.messages
    assert "systemd passed a socket named web, and no bind names it; add systemd:web" in line
    assert not descriptors() - before
