"""The admin process as its master starts it, starts it anew and ends it, by a program that only waits in its place."""

import contextlib
import os
import select
import signal
import socket
import sys
from collections.abc import Iterator

import pytest

from prefork.binds import parse
from prefork.control.server import Client, Server
from prefork.master import admin
from prefork.master.admin import NOBODY, Admin
from prefork.master.hands import Machine
from prefork.master.molding import FreshInterpreters
from prefork.system import lifeline, processes, sockets
from tests.children import LIMIT, descriptors

WAITS = ["/bin/sh", "-c", "exec sleep 1000"]


class Desk:
    def __init__(self, machine: Machine) -> None:
        self.server: Server | None = Server(None, machine.poller)
        self.said: list[str] = []

    def say(self, level: int, event: str, text: str) -> None:
        self.said.append(event)

    def admit_onlooker(self, connection: socket.socket) -> Client | None:
        if self.server is None:
            connection.close()
            return None
        return self.server.admit_onlooker(connection)


class Stage:
    """A master that has nothing but an admin process, and a clock that the test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(admin, "now", lambda: self.now)
        monkeypatch.setattr(sys, "executable", WAITS[0])
        monkeypatch.setattr(admin, "_isolation", lambda: WAITS[1:])
        self.ends = lifeline.create()
        self.machine = Machine("shop", self.ends[0], 1024, FreshInterpreters())
        self.listener = sockets.open_listener(parse("tcp://127.0.0.1:0"), 5)
        self.desk = Desk(self.machine)
        self.admin = Admin(self.listener, self.machine)

    def turn(self, seconds: float = 0.0, *, is_last: bool = False) -> None:
        keys = self.machine.poller.wait(seconds)
        if self.desk.server is not None:
            assert list(self.desk.server.hear(keys)) == []
        self.admin.go_on(keys, self.desk, is_last=is_last)

    def end(self) -> None:
        """Nobody else is left."""
        while not self.admin.is_over:
            self.turn(LIMIT, is_last=True)

    def pid(self) -> int:
        pid, _ = self.admin.process
        return pid

    def kill(self) -> None:
        """Kill it, and let the master see that."""
        pid, pidfd = self.admin.process
        os.kill(pid, signal.SIGKILL)
        assert select.select([pidfd], [], [], LIMIT)[0]
        self.turn()


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    before = descriptors()
    stage = Stage(monkeypatch)
    yield stage
    stage.turn(is_last=True)
    stage.end()
    if stage.desk.server is not None:
        stage.desk.server.close()
    stage.listener.socket.close()
    stage.machine.poller.close()
    for end in stage.ends:
        os.close(end)
    assert not descriptors() - before


def test_the_sleeper_stands_where_the_interpreter_would(stage: Stage) -> None:
    """It is started once, is nobody's stranger, and hears nothing of the working directory's."""
    stage.turn()
    pid = stage.pid()
    assert pid in stage.machine.helpers
    stage.turn()
    assert stage.pid() == pid
    assert stage.admin.until is None


def test_a_row_of_ends_is_followed_ever_more_slowly(stage: Stage) -> None:
    """The first at once, then after 0.1 s, 0.15 s and so on; one that has lasted ends the row."""
    waits = []
    for _ in range(4):
        stage.turn()
        assert stage.pid()
        stage.kill()
        due = stage.admin.until or stage.now
        assert (stage.admin.process == NOBODY) == (due > stage.now)
        waits.append(round(due - stage.now, 3))
        stage.now = due
    assert waits == [0.0, 0.1, 0.15, 0.225]
    assert stage.admin.restarts == 4
    assert stage.desk.said[:3] == ["admin-started", "admin-exited", "admin-started"]
    stage.turn()
    stage.now += admin.PROVEN
    stage.kill()
    assert stage.pid(), "it had lasted, so the next came at once"


def test_the_wait_has_a_bound(stage: Stage) -> None:
    """However often."""
    for _ in range(60):
        stage.admin._wait()
    assert stage.admin.until == stage.now + 30


def test_what_cannot_be_started_is_tried_again(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without processes costs no more than a wait, and no descriptor."""

    def refuse(*arguments: object) -> int:
        raise OSError(11, "Resource temporarily unavailable")

    with monkeypatch.context() as context:
        context.setattr(processes, "spawn", refuse)
        held = descriptors()
        stage.turn()
        stage.turn()
        assert not descriptors() - held
        assert stage.admin.process == NOBODY
    assert stage.admin.until == pytest.approx(stage.now + 0.1)
    assert stage.admin.restarts == 0
    stage.now += 0.1
    stage.turn()
    assert stage.pid()


def test_an_end_that_is_ours_is_no_restart(stage: Stage) -> None:
    """Also where it stands still; and none follows."""
    stage.turn()
    os.kill(stage.pid(), signal.SIGSTOP)
    stage.turn(is_last=True)
    assert not stage.admin.is_over
    stage.end()
    assert (stage.admin.process, stage.admin.restarts, stage.admin.until) == (NOBODY, 0, None)


def test_who_cannot_be_waited_for_is_not(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that the kernel does not let die holds a stop for a second, and then nobody."""
    stage.turn()
    with monkeypatch.context() as context:
        context.setattr(processes, "tell", lambda pidfd, signum: True)
        stage.turn(is_last=True)
    assert stage.admin.until == stage.now + admin.MERCY
    stage.now += admin.MERCY
    assert stage.admin.is_over
    assert stage.admin.until is None
    os.kill(stage.pid(), signal.SIGKILL)
    stage.now -= admin.MERCY  # so that it is seen to go after all


def test_the_one_of_the_image_before_is_replaced(stage: Stage) -> None:
    """Killed first, for it speaks the old version; that is no restart."""
    with contextlib.closing(sockets.open_listener(parse("tcp://127.0.0.1:0"), 5).socket):
        pid = os.posix_spawn(WAITS[0], WAITS, {})
        stage.admin.send_away(pid, os.pidfd_open(pid))
        while stage.pid() in (0, pid):
            stage.turn(LIMIT)
        assert stage.admin.restarts == 0


def test_one_that_nobody_hears_is_not_started_again(stage: Stage) -> None:
    """After a fault of ours there is nobody to ask."""
    assert stage.desk.server is not None
    stage.desk.server.close()
    stage.desk.server = None
    stage.turn()
    while stage.pid():
        stage.turn(LIMIT)
    assert (stage.admin.process, stage.admin.until) == (NOBODY, None)
    assert stage.desk.said == ["admin-not-started"]
