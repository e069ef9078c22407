"""One strike at a time, by a master who is made up: whom it hits, whom it spares, and what is said of it.

What comes of strikes at any moment whatever is in ``test_deadlines.py``.
"""

import queue
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import FrameType
from typing import Any

import pytest

from prefork.errors import RequestTimeout
from prefork.system import slots
from prefork.system.slots import Lane, Request
from prefork.worker.deadlines import Deadlines, InMainThread
from tests.children import LIMIT

NUMBER = 5  # of the request that is under way
SPARED = ["logging", "logging.handlers", "prefork.servers.base", "prefork.system.slots", "prefork.worker.ledger"]
NOT_SPARED = ["shop", "__main__", "loggings", "socketserver", "prefork.servers.handlers", "prefork.workers"]


class Books:
    """What a deadline asks of the ledger."""

    def __init__(self) -> None:
        self.overdue = 0
        self.left_for: list[str] = []

    def requests_under_way(self) -> list[Request]:
        return [Request(NUMBER, 0.0, "10.0.0.7:51022")]

    def leave_in_peace(self, why: str) -> None:
        self.left_for.append(why)


def frame_in(module: str) -> FrameType:
    """As the handler of a signal gets it that has come while code of the module ran."""
    frame: FrameType = eval("sys._getframe()", {"sys": sys, "__name__": module})
    return frame


SHOP = frame_in("shop")


def lane_of(number: int) -> Lane:
    lane = Lane(memoryview(bytearray(slots.LANE)))
    lane.begin(number, 1, b"peer")
    return lane


def is_hit(deadline: InMainThread, overdue: int, frame: FrameType | None = SHOP) -> bool:
    """Whether a strike at all requests up to that number raises in the main thread."""
    try:
        deadline.strike(overdue, frame)
    except RequestTimeout:
        return True
    return False


@pytest.fixture
def books() -> Any:
    return Books()


@pytest.fixture
def deadlines(books: Any) -> Deadlines:
    return Deadlines(books, 30, retires=True)


@pytest.fixture
def armed(deadlines: Deadlines) -> InMainThread:
    """The deadline of the request that the main thread handles."""
    deadline = deadlines.of(lane_of(NUMBER), None)
    assert deadline is deadlines.in_main_thread
    deadline.arm()
    return deadlines.in_main_thread


BY_NUMBER = pytest.mark.parametrize(
    ("overdue", "expected"), [(0, False), (NUMBER - 1, False), (NUMBER, True), (NUMBER + 1, True)]
)


@BY_NUMBER
def test_the_main_thread_is_hit_by_the_number_of_its_request(armed: InMainThread, overdue: int, expected: bool) -> None:
    """The signal may arrive when the request it was meant for has ended, and the next has begun."""
    assert is_hit(armed, overdue) == expected


@pytest.mark.parametrize("module", SPARED)
def test_what_must_be_whole_is_not_interrupted(armed: InMainThread, module: str) -> None:
    """Neither our accounts nor who holds the lock of all loggers; asked again, the handler is hit."""
    assert not is_hit(armed, NUMBER, frame_in(module))
    assert is_hit(armed, NUMBER)


@pytest.mark.parametrize("module", NOT_SPARED)
def test_code_of_the_handler_is_interrupted(armed: InMainThread, module: str) -> None:
    """However its modules are called; and a server's methods, which the handler is called by."""
    assert is_hit(armed, NUMBER, frame_in(module))


def test_nobody_is_hit_where_no_code_runs(armed: InMainThread) -> None:
    """The handler of a signal gets no frame then."""
    assert not is_hit(armed, NUMBER, None)


def test_a_request_is_interrupted_once(armed: InMainThread) -> None:
    """The master repeats itself; who is busy with the exception is left alone."""
    assert [is_hit(armed, NUMBER) for _ in range(3)] == [True, False, False]


def test_a_request_that_is_over_is_not_interrupted(deadlines: Deadlines, armed: InMainThread) -> None:
    """Nor is one whose handler was not called yet, although it has its number."""
    armed.disarm()
    assert not is_hit(armed, NUMBER)
    deadlines.of(lane_of(NUMBER), None)
    assert not is_hit(armed, NUMBER)


@pytest.mark.usefixtures("armed")
def test_a_child_is_hit_by_the_same_rules(deadlines: Deadlines, books: Any) -> None:
    """It handles one request and nothing else."""
    books.overdue = NUMBER - 1
    deadlines.strike_child(SHOP)
    books.overdue = NUMBER
    deadlines.strike_child(frame_in("logging"))
    with pytest.raises(RequestTimeout):
        deadlines.strike_child(SHOP)


@pytest.mark.usefixtures("armed")
def test_all_others_are_struck_before_the_main_thread(deadlines: Deadlines, books: Any) -> None:
    """For its exception ends the strike."""
    told: list[int] = []
    deadlines.tell_children = told.append
    books.overdue = NUMBER
    with pytest.raises(RequestTimeout):
        deadlines.strike(SHOP)
    assert told == [NUMBER]


@pytest.mark.usefixtures("armed")
def test_the_handler_is_told_who_and_why(deadlines: Deadlines, books: Any) -> None:
    """Its client, its number, its limit; and the worker leaves in peace."""
    books.overdue = NUMBER
    with pytest.raises(RequestTimeout, match=rf"^10\.0\.0\.7:51022 #{NUMBER} is interrupted after .* limit is 30 s$"):
        deadlines.strike(SHOP)
    assert books.left_for == ["a request exceeded its limit of 30 s"]


class Thread:
    """A thread that handles the request, from when this object is made until it is told to end it."""

    def __init__(self, deadlines: Deadlines) -> None:
        self._deadlines = deadlines
        self._begun, self._ended = queue.SimpleQueue[None](), queue.SimpleQueue[None]()
        self._pool = ThreadPoolExecutor(1)
        self._told: Future[str] = self._pool.submit(self._handle)
        self._begun.get(timeout=LIMIT)

    def _handle(self) -> str:
        deadline = self._deadlines.of(lane_of(NUMBER), None)
        try:
            try:
                deadline.arm()
                self._begun.put(None)
                self._ended.get(timeout=LIMIT)
            finally:
                deadline.disarm()
        except RequestTimeout as error:
            deadline.disarm()
            return str(error)
        return ""

    def end(self) -> str:
        """What the handler was told; empty where it was not interrupted."""
        self._ended.put(None)
        return self._told.result(LIMIT)

    def close(self) -> None:
        self.end()
        self._pool.shutdown()


@pytest.fixture
def thread(deadlines: Deadlines) -> Iterator[Thread]:
    thread = Thread(deadlines)
    yield thread
    thread.close()


@BY_NUMBER
def test_a_thread_is_hit_by_the_number_of_its_request(
    deadlines: Deadlines, books: Any, thread: Thread, overdue: int, expected: bool
) -> None:
    """The main thread, which strikes, handles none and is not."""
    books.overdue = overdue
    deadlines.strike(SHOP)
    assert (f"#{NUMBER} is interrupted" in thread.end()) == expected


def test_a_thread_is_interrupted_once(deadlines: Deadlines, books: Any, thread: Thread) -> None:
    """As the main thread is."""
    books.overdue = NUMBER
    for _ in range(3):
        deadlines.strike(SHOP)
    assert len(books.left_for) == 1


def test_a_thread_whose_request_is_over_is_not_hit(deadlines: Deadlines, books: Any, thread: Thread) -> None:
    """And the worker does not leave for it."""
    assert thread.end() == ""
    books.overdue = NUMBER
    deadlines.strike(SHOP)
    assert (deadlines.in_threads, books.left_for) == (set(), [])
