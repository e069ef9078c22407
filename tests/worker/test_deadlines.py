"""Requests whose length scatters around their limit, interrupted by somebody who knows nothing but the scoreboard.

The worker's part runs in a child; the test is its master, which asks as fast as it can, and not once a second. What one
strike does, step by step: ``test_striking.py``.
"""

import gc
import math
import os
import random
import signal
import socketserver
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NamedTuple

import pytest

from prefork.errors import RequestTimeout
from prefork.system import processes, slots
from prefork.worker.concurrency import Sync, Threads
from prefork.worker.deadlines import Deadlines
from prefork.worker.ledger import Ledger, SharedLedger
from prefork.worker.notices import Notices
from prefork.worker.protocol import READ_YOUR_ORDERS, Brief, Fork
from tests.children import Child, Link, is_readable

LIMIT_NS = 300_000  # how long a request may take: as long as a few hundred lines of a handler
THREADS = 4
STRUCK = 5  # a cell of the header that nobody else uses: how often the worker has heard whoever interrupts it
FEW, MANY = 300, pytest.param(10_000, marks=pytest.mark.long)


class Title:
    def __init__(self, beginning: str, room: int) -> None: ...

    def show(self, rest: bytes) -> None: ...


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Iterator[slots.Scoreboard]:
    monkeypatch.setattr("prefork.worker.ledger.set_title", lambda title: None)
    monkeypatch.setattr("prefork.worker.ledger.Title", Title)
    board = slots.Scoreboard.create(1, 8)
    yield board
    board.close()


def brief(board: slots.Scoreboard) -> Brief:
    nothing: dict[str, Any] = dict.fromkeys(Brief._fields, "")
    return Brief(**{**nothing, "scoreboard": board.fd, "lanes": board.lanes, "generation": 1})


class Outcome(NamedTuple):
    """What became of requests, by their numbers.

    :param closed: those whose connection was closed.
    :param told: for each that was interrupted, what its handler was told.
    :param raised: what the books were told of those that failed.
    :param escaped: what was raised where no handler runs.
    :param early: those interrupted before they had taken too long.
    """

    done: list[int]
    closed: list[int]
    told: list[tuple[int, str]]
    raised: list[tuple[int, str]]
    escaped: list[str]
    early: list[int]

    def expect_only_the_slow_were_hit(self, count: int) -> None:
        assert self.escaped == []
        everybody = set(range(1, count + 1))
        assert set(self.closed) == everybody, "some were lost"
        assert self.early == []
        wrong = [(number, text) for number, text in [*self.told, *self.raised] if f"#{number} is" not in text]
        assert wrong == [], "another's interruption"
        for hits in (self.told, self.raised):
            assert all(times == 1 for times in Counter(number for number, _ in hits).values()), "interrupted twice"
        interrupted = {number for number, _ in self.raised}  # in the handler, or a step before or after it
        assert {number for number, _ in self.told} <= interrupted
        assert set(self.done) | interrupted == everybody, "ended, and nobody knows why"
        assert interrupted - set(self.done), "none was interrupted: the test tests nothing"
        assert set(self.done) - interrupted, "all were interrupted: the test tests nothing"


class Server(socketserver.BaseServer):
    """Its requests are numbers. Every other is handled for about as long as it may, by chance a bit less or a bit
    longer, for then its end and its interruption meet; and the next ends at once, which must not be taken for it."""

    def __init__(self) -> None:
        super().__init__("nowhere", Handler)
        self.outcome = Outcome([], [], [], [], [], [])

    def close_request(self, request: Any) -> None:
        self.outcome.closed.append(request)


class Handler(socketserver.BaseRequestHandler):
    server: Server

    def handle(self) -> None:
        outcome, number = self.server.outcome, self.request
        until: float = time.monotonic_ns() + random.randrange(LIMIT_NS * 3 // 4, LIMIT_NS * 5 // 4) if number % 2 else 0
        if number == 1:  # on a busy machine all others may be over before that one runs who interrupts
            until = math.inf
        try:
            while time.monotonic_ns() < until:
                random.choice((_compute, _look, _nap))()
            outcome.done.append(number)
        except RequestTimeout as error:
            outcome.told.append((number, str(error)))
            raise


def _compute() -> None:
    sorted(range(50), key=lambda number: -number)


def _look() -> None:
    try:
        Counter("supervisor")
    finally:
        dict.fromkeys(range(20))


def _nap() -> None:
    time.sleep(0.00002)


def interrupt(board: slots.Scoreboard, worker: Child) -> None:
    """Ask for what is overdue, again and again, until the worker tells that it has found nothing wrong."""
    slot = board.slot(1)
    pidfd = processes.open_pidfd(worker.pid)
    assert pidfd is not None
    while not is_readable(worker):
        now = time.monotonic()
        overdue = [number for number, since in slot.under_way() if now - since > LIMIT_NS / 1e9]
        if overdue:
            struck = board.header[STRUCK]
            slot.orders[slots.INTERRUPT] = max(overdue)
            processes.tell(pidfd, READ_YOUR_ORDERS)
            # on a slow machine it would be interrupted in its handler again and again, ever deeper
            while board.header[STRUCK] == struck and not is_readable(worker):
                os.sched_yield()
    os.close(pidfd)
    worker.hear()


def heed(board: slots.Scoreboard, deadlines: Deadlines) -> None:
    """In the worker: hear who interrupts, and tell that it was heard."""

    def strike(signum: int, frame: FrameType | None) -> None:
        try:
            deadlines.strike(frame)
        finally:
            board.header[STRUCK] += 1

    signal.signal(READ_YOUR_ORDERS, strike)
    gc.disable()  # what is raised in a callback of the collector, for what other tests have left, raises nowhere


class Books(Ledger):
    """A ledger that remembers who failed."""

    def end(self, lane: slots.Lane, raised: object) -> None:
        if raised is not None:
            failed.append((lane.cells[slots.NUMBER], str(raised)))
        super().end(lane, raised)


class SharedBooks(SharedLedger):
    """The same of several requests at a time."""

    def end(self, lane: slots.Lane, raised: object) -> None:
        if raised is not None:
            failed.append((lane.cells[slots.NUMBER], str(raised)))
        super().end(lane, raised)


class Watched(Deadlines):
    """Deadlines that remember who was interrupted too early, by the start that stands in the scoreboard.

    Not by one that a handler has seen: between the two its process may have been off the processor.
    """

    def tell(self, number: int) -> str:
        since = {request.number: request.since for request in self._ledger.requests_under_way()}
        if time.monotonic() - since[number] < LIMIT_NS / 1e9:
            early.append(number)
        return super().tell(number)


failed: list[tuple[int, str]] = []  # of the child that serves
early: list[int] = []


def serve_in_turn(board: slots.Scoreboard, count: int) -> Callable[[Link], None]:
    """A worker that handles one request at a time."""

    def serve(parent: Link) -> None:
        ledger = Books(brief(board), Fork(1, 1, 0), Notices(-1))
        deadlines = Watched(ledger, LIMIT_NS / 1e9, retires=False)
        heed(board, deadlines)
        server, strategy = Server(), Sync(ledger, deadlines)
        for number in range(1, count + 1):
            try:
                strategy.handle(server, number, "peer")
            except BaseException as error:
                server.outcome.escaped.append(repr(error))
        server.outcome._replace(raised=failed, early=early).expect_only_the_slow_were_hit(count)

    return serve


@pytest.mark.parametrize("count", [FEW, MANY])
def test_only_the_slow_are_interrupted_one_at_a_time(board: slots.Scoreboard, count: int) -> None:
    """None escapes into the loop, none hits another request, and every other request is whole."""
    with Child(serve_in_turn(board, count)) as worker:
        interrupt(board, worker)


def serve_in_threads(board: slots.Scoreboard, count: int) -> Callable[[Link], None]:
    """A worker whose threads handle one request after another, each on a connection of its own."""

    def serve(parent: Link) -> None:
        ledger = SharedBooks(brief(board), Fork(1, 1, 0), Notices(-1), THREADS)
        deadlines = Watched(ledger, LIMIT_NS / 1e9, retires=False)
        heed(board, deadlines)
        sys.setswitchinterval(1e-5)  # so that threads go on at any step of whoever interrupts them
        escaped: list[str] = []
        threading.excepthook = lambda hooked: escaped.append(repr(hooked.exc_value))
        server, strategy = Server(), Threads(ledger, THREADS, deadlines)
        strategy.adopt(server)
        for number in range(1, count + 1):
            strategy.wait_for_room()
            strategy.handle(server, number, "peer")
        strategy.finish()
        server.outcome._replace(raised=failed, escaped=escaped, early=early).expect_only_the_slow_were_hit(count)

    return serve


@pytest.mark.parametrize("count", [FEW, MANY])
def test_only_the_slow_are_interrupted_in_threads(board: slots.Scoreboard, count: int) -> None:
    """A thread that has gone on to another request, or to none, is never interrupted for the one before."""
    with Child(serve_in_threads(board, count)) as worker:
        interrupt(board, worker)
