"""A call reaches the worker that it names, and is declined where the process cannot be forked from."""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from prefork.system.privileges import Privileges
from prefork.system.summons import Summons
from prefork.system.wakeup import Wakeup
from prefork.worker import adopting, promotion
from prefork.worker.badge import Badge
from prefork.worker.concurrency import AsItsServerSays, Children, Sync, Threads
from prefork.worker.protocol import PROTOCOL, Brief, Call, Declined, Fork, decode, encode
from tests.children import Link, said_by

BRIEF = Brief(PROTOCOL, "shop", "echo", 1, "app:Handler")
US = Fork(slot=1, order=7, max_requests=0)


@pytest.fixture
def giver() -> Iterator[Summons]:
    giver = Summons()
    yield giver
    giver.close()


def call(giver: Summons, slot: int, order: int) -> socket.socket:
    """The master's end of the pair that comes with it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(30)
    takers = giver.takers
    assert takers >= 0
    giver.give(encode(Call(slot, order, generation=2)), theirs.fileno())
    theirs.close()
    return ours


def test_a_call_to_somebody_who_is_no_more_is_thrown_away(giver: Summons) -> None:
    """Its pair ends, so that the master learns of it; the one behind it is for us."""
    stale, fresh = call(giver, slot=1, order=6), call(giver, slot=1, order=7)
    called = promotion.take(giver.takers, US)
    assert called is not None
    assert called.generation == 2
    assert stale.recv(100) == b""
    promotion.decline(called, "not now")
    assert decode(fresh.recv(100)) == Declined("not now")
    assert fresh.recv(100) == b""
    assert promotion.take(giver.takers, US) is None


def test_nobody_is_told_of_what_nobody_asked() -> None:
    """The call was taken back meanwhile."""
    promotion.decline(None, "not now")


def made(kind: type[Any]) -> Any:
    """A strategy that does nothing."""
    return object.__new__(kind)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Sync, ""),
        (Children, ""),
        (Threads, "it handles requests in threads, and only one"),
        (AsItsServerSays, "it handles requests as its server says, and only one"),
    ],
)
def test_only_what_comes_to_rest_can_be_forked_from(kind: type[Any], reason: str) -> None:
    """The others have threads, now or at their next request."""
    assert said_by(lambda parent: promotion.why_not(made(kind), BRIEF)).startswith(reason)
    assert not reason or promotion.comes_to_rest(made(kind)) is False


def test_who_has_changed_its_root_cannot_be_forked_from() -> None:
    """The privilege to do so is given up by then."""
    rooted = BRIEF._replace(privileges=Privileges(chroot="/srv"))
    assert promotion.why_not(made(Sync), rooted).startswith("it has changed its root")


def test_threads_are_named() -> None:
    """Whatever the strategy."""

    def live(parent: Link) -> str:
        gate = threading.Event()
        for _ in range(2):
            threading.Thread(target=gate.wait, name="ticker", daemon=True).start()
        return promotion.why_not(made(Sync), BRIEF)

    assert said_by(live) == "it has threads besides its main one: ticker (2 times)"


def test_a_path_is_protected_once_however_often_a_worker_became_a_mold() -> None:
    """Else each removal of any file would go through one call more for each of them."""

    def live(parent: Link) -> bool:
        adopting._protect("/run/shop.sock")
        remove = os.unlink
        adopting._protect("/run/shop.sock")
        return os.unlink is remove

    assert said_by(live)


def test_an_answer_to_a_master_that_is_gone_is_no_error(giver: Summons) -> None:
    """The lifeline tells the worker."""
    call(giver, slot=1, order=7).close()
    called = promotion.take(giver.takers, US)
    assert called is not None
    promotion.decline(called, "not now")
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(called.pair.fileno())


def test_a_reopening_of_logs_ends_nobody_between_two_lives(giver: Summons) -> None:
    """No worker any more, and no mold yet: whatever is sent meanwhile is for somebody else."""
    master = call(giver, slot=1, order=7)

    def live(parent: Link) -> str:
        called = promotion.take(giver.takers, US)
        assert called is not None
        badge = Badge("shop", "echo", 1, 1, lambda text: None)
        app: Any = SimpleNamespace(on_stop=None)
        promotion.go_through(called, BRIEF, app, [], badge, Wakeup({signal.SIGUSR1}))
        signal.raise_signal(signal.SIGUSR1)
        return "alive"

    assert said_by(live) == "alive"
    master.close()
