"""The books of a worker with several requests under way, in a scoreboard of the test's own."""

import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from prefork.system import slots
from prefork.worker.ledger import SharedLedger
from prefork.worker.notices import Notices
from prefork.worker.protocol import Brief, Fork, StateCell

SIZE = 3


class _Books(SharedLedger):
    """Without a title: this process is the tests'."""

    def _show(self) -> None:
        pass


@pytest.fixture
def board() -> Iterator[slots.Scoreboard]:
    board = slots.Scoreboard.create(1, SIZE)
    yield board
    os.close(board.fd)


@pytest.fixture
def ledger(board: slots.Scoreboard, monkeypatch: pytest.MonkeyPatch) -> SharedLedger:
    monkeypatch.setattr("prefork.worker.ledger.set_title", lambda title: None)
    nothing: dict[str, Any] = dict.fromkeys(Brief._fields, "")
    brief = Brief(**{**nothing, "scoreboard": board.fd, "lanes": SIZE, "generation": 1})
    return _Books(brief, Fork(1, 1, 0), Notices(-1), SIZE)


def test_each_request_under_way_has_a_lane(ledger: SharedLedger, board: slots.Scoreboard) -> None:
    """And room ends with the last of them."""
    lanes = [ledger.begin(("127.0.0.1", port)) for port in range(SIZE)]
    assert not ledger.has_room
    peers = {request.peer for request in board.slot(1).requests_under_way()}
    assert peers == {"127.0.0.1:0", "127.0.0.1:1", "127.0.0.1:2"}
    ledger.end(lanes[0], None)
    assert ledger.has_room
    assert len(board.slot(1).requests_under_way()) == SIZE - 1


def test_more_requests_than_lanes_are_counted_all_the_same(ledger: SharedLedger, board: slots.Scoreboard) -> None:
    """A loop of a server's own may take more than there is room for: nobody shows those, and nothing fails."""
    lanes = [ledger.begin(None) for _ in range(SIZE + 2)]
    assert (ledger.under_way, ledger.has_room) == (SIZE + 2, False)
    for lane in lanes:
        ledger.end(lane, ValueError())
    assert ledger.under_way == 0
    totals = board.slot(1).totals
    assert (totals[slots.REQUESTS], totals[slots.ERRORS]) == (SIZE + 2, SIZE + 2)
    again = [ledger.begin(None) for _ in range(SIZE)]
    assert len(board.slot(1).requests_under_way()) == len(again) == SIZE


def test_a_thread_labels_the_request_it_handles(ledger: SharedLedger, board: slots.Scoreboard) -> None:
    """And one that handles none, or none any more, labels nobody's."""
    first, second = ledger.begin(None), ledger.begin(None)

    def handle() -> None:
        ledger.belong_to_thread(second)
        ledger.label("mine")
        ledger.belong_to_thread(None)
        ledger.label("whose?")

    thread = threading.Thread(target=handle)
    thread.start()
    thread.join()
    ledger.label("nobody's")
    assert [request.label for request in board.slot(1).requests_under_way()] == ["", "mine"]
    ledger.end(second, None)
    ledger.end(first, None)
    assert ledger.begin(None) is first
    assert [request.label for request in board.slot(1).requests_under_way()] == [""]


def test_want_of_memory_is_a_reason_to_leave(ledger: SharedLedger) -> None:
    """Whichever of several requests it was."""
    ledger.enter(StateCell.READY)
    first, second = ledger.begin(None), ledger.begin(None)
    ledger.end(second, ValueError())
    assert ledger.is_wanted
    ledger.end(first, MemoryError())
    assert not ledger.is_wanted
    assert "memory" in ledger.leaving
