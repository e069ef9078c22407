"""What the service manager is told of the pools, and when; the messages as they arrive, in their order."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from prefork.binds import parse
from prefork.master import manager
from prefork.master.keeping import listener_name
from prefork.master.manager import EXTEND_EVERY, STATUS_EVERY, ServiceManager, Stage, next_stage
from prefork.master.opening import Opened
from prefork.pool.events import GenerationSettled, ReloadAsked, StopAsked, WorkerNotForked
from prefork.pool.records import Phase, Pool
from prefork.system.notify import Notifier
from prefork.system.slots import Scoreboard
from prefork.system.sockets import open_listener
from tests.pool.simulation import service
from tests.pool.test_rules import after, loaded, ordered, ready, serving, settled

STOPPING = after(serving(2), StopAsked(at=1, phase=Phase.DRAINING))
RELOADING = after(serving(2), ReloadAsked(at=1, configured=serving(2).wanted.configured))


@pytest.mark.parametrize(
    ("stage", "pools", "then"),
    [
        (Stage.STARTING, [service(2)], Stage.STARTING),
        (Stage.STARTING, [after(service(2), loaded(1, at=0), ready(1, 1, at=0))], Stage.STARTING),
        (Stage.STARTING, [serving(2)], Stage.READY),
        (Stage.STARTING, [serving(2), service(2)], Stage.STARTING),
        (Stage.STARTING, [STOPPING], Stage.STOPPING),
        (Stage.READY, [RELOADING], Stage.READY),
        (Stage.RELOADING, [RELOADING], Stage.RELOADING),
        (Stage.RELOADING, [RELOADING, serving(2)], Stage.RELOADING),
        (Stage.RELOADING, [serving(2)], Stage.READY),
        (Stage.READY, [STOPPING, serving(2)], Stage.READY),
        (Stage.READY, [STOPPING, STOPPING], Stage.STOPPING),
        (Stage.RELOADING, [STOPPING], Stage.STOPPING),
        (Stage.STOPPING, [STOPPING], Stage.STOPPING),
    ],
)
def test_it_stands_where_its_slowest_service_stands(stage: Stage, pools: list[Pool], then: Stage) -> None:
    """Ready when all are, stopping when all are; and a reload that nobody asked for is none of the manager's."""
    assert next_stage(stage, pools) is then


class Scene:
    """A service manager's ear, a clock, and an instance of one service with a listener of its own."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch, every: float | None = None) -> None:
        self.moment = 100.0
        monkeypatch.setattr(manager, "now", lambda: self.moment)
        self._ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._ear.bind(str(directory / "notify"))
        self._ear.setblocking(False)
        self.address = parse(f"unix:{directory}/socket")
        self.listener = open_listener(self.address, 8)
        self.board = Scoreboard.create(4)
        hands = SimpleNamespace(
            settings=SimpleNamespace(addresses=(self.address,)),
            listeners=[self.listener],
            board=self.board,
            read_slots=lambda pool, moment: {},
        )
        self.opened = cast(Opened, SimpleNamespace(hands={"service": hands}, admin=None))
        self.notifier = Notifier(str(directory / "notify"), every)

    def manager(self, *, is_resumed: bool = False) -> ServiceManager:
        return ServiceManager(self.notifier, self.opened, is_resumed=is_resumed)

    def heard(self) -> list[list[str]]:
        """The messages since the last time, each as its lines; those of status and more time left out."""
        messages: list[list[str]] = []
        while True:
            try:
                text, fds, _, _ = socket.recv_fds(self._ear, 65536, 4)
            except BlockingIOError:
                return messages
            for fd in fds:
                os.close(fd)
            messages.append(text.decode().split("\n"))

    def close(self) -> None:
        self._ear.close()
        self.notifier.close()
        self.listener.socket.close()
        self.board.close()


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    scene = Scene(tmp_path, monkeypatch)
    yield scene
    scene.close()


def test_what_we_opened_is_kept(scene: Scene) -> None:
    """The listener and the scoreboard under names that say what they are, instead of what an earlier image gave."""
    scene.manager()
    listener, board = listener_name(scene.address), "prefork-scoreboard-service"
    assert scene.heard() == [
        ["FDSTOREREMOVE=1", f"FDNAME={listener}"],
        ["FDSTORE=1", f"FDNAME={listener}"],
        ["FDSTOREREMOVE=1", f"FDNAME={board}"],
        ["FDSTORE=1", f"FDNAME={board}"],
    ]


def test_it_is_ready_when_the_wanted_workers_are(scene: Scene) -> None:
    """Not before; until then it asks for time."""
    told = scene.manager()
    scene.heard()
    told.go_on({"service": service(2)})
    assert scene.heard() == [["EXTEND_TIMEOUT_USEC=15000000", "STATUS=starting: 0 of 2 workers ready"]]
    told.go_on({"service": service(2)})
    assert scene.heard() == []
    assert told.until == scene.moment + EXTEND_EVERY
    scene.moment += EXTEND_EVERY
    told.go_on({"service": service(2)})
    assert scene.heard() == [["EXTEND_TIMEOUT_USEC=15000000"]]
    told.go_on({"service": serving(2)})
    assert scene.heard() == [["READY=1", f"MAINPID={os.getpid()}", "STATUS=2 of 2 workers ready"]]
    assert told.until is None  # idle costs nothing


def test_a_start_that_nothing_of_ours_would_end_is_left_to_the_unit(scene: Scene) -> None:
    """A machine that refuses to fork may do so for ever; the line says what it waits for."""
    told = scene.manager()
    scene.heard()
    refused = WorkerNotForked(at=scene.moment, slot=1, order=1, why="EAGAIN")
    told.go_on({"service": after(service(1), loaded(1, at=0), ordered(1, 1, at=0), refused)})
    assert scene.heard() == [["STATUS=starting, the machine refuses to fork: 0 of 1 workers ready"]]
    assert told.until == scene.moment + EXTEND_EVERY


def test_a_reload_begins_and_ends(scene: Scene) -> None:
    """Also one that is refused at once, and one that follows an upgrade."""
    told = scene.manager(is_resumed=True)
    told.go_on({"service": serving(2)})
    scene.heard()
    told.begin_reload()
    ((reloading, since),) = scene.heard()
    assert (reloading, since.partition("=")[0]) == ("RELOADING=1", "MONOTONIC_USEC")
    told.go_on({"service": RELOADING})
    assert ["READY=1"] not in [message[:1] for message in scene.heard()]
    told.go_on({"service": serving(2)})
    assert scene.heard()[-1][:2] == ["READY=1", f"MAINPID={os.getpid()}"]
    told.begin_reload()
    told.go_on({"service": serving(2)})
    assert [message[0] for message in scene.heard()] == ["RELOADING=1", "READY=1"]


def test_a_reload_before_it_is_ready_or_while_it_stops_is_no_news(scene: Scene) -> None:
    """The manager would take it for one that is ready."""
    told = scene.manager()
    told.begin_reload()
    told.go_on({"service": STOPPING})
    scene.heard()
    told.begin_reload()
    assert scene.heard() == []


def test_what_a_stop_shuts_is_let_go_of_before(scene: Scene) -> None:
    """The next master would find a listener that admits nobody."""
    told = scene.manager(is_resumed=True)
    told.go_on({"service": serving(2)})
    scene.heard()
    told.go_on({"service": STOPPING})
    *let_go, last = scene.heard()
    assert let_go == [
        ["FDSTOREREMOVE=1", f"FDNAME={listener_name(scene.address)}"],
        ["FDSTOREREMOVE=1", "FDNAME=prefork-scoreboard-service"],
    ]
    assert last == ["STOPPING=1", "EXTEND_TIMEOUT_USEC=15000000", "STATUS=stopping, 2 workers left"]


def test_the_watchdog_hears_of_each_turn_that_is_due(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And only then; with it goes who is busy, and who waits."""
    scene = Scene(tmp_path, monkeypatch, every=10.0)
    told = scene.manager(is_resumed=True)
    scene.heard()
    told.go_on({"service": serving(2)})
    assert scene.heard() == [["WATCHDOG=1", "STATUS=2 of 2 workers ready, 0 busy, 0 queued"]]
    assert told.until == scene.moment + 10
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(scene.address.path)
        scene.moment += 9
        told.go_on({"service": serving(2)})
        assert scene.heard() == []
        scene.moment += 1
        told.go_on({"service": serving(2)})
        assert scene.heard() == [["WATCHDOG=1", "STATUS=2 of 2 workers ready, 0 busy, 1 queued"]]
    scene.close()


def test_a_reload_of_many_workers_is_no_flood(scene: Scene) -> None:
    """The line is renewed at most so often, and the last word is always said."""
    told = scene.manager(is_resumed=True)
    told.go_on({"service": serving(2)})
    pool: Any = service(5)
    for slot in range(1, 6):
        pool = after(pool, (loaded(1, at=0) if slot == 1 else ()), ready(slot, slot, at=0))
        told.go_on({"service": pool})
    assert [line for message in scene.heard() for line in message if line.startswith("STATUS")] == [
        "STATUS=2 of 2 workers ready"
    ]
    assert told.until == scene.moment + STATUS_EVERY
    scene.moment += STATUS_EVERY
    told.go_on({"service": after(pool, settled(1, at=0))})
    assert scene.heard() == [["STATUS=5 of 5 workers ready"]]
    assert told.until is None
    assert isinstance(settled(1, at=0), GenerationSettled)
