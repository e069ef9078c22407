"""Who asked for what, and which news answers it: histories of a master that only keeps books."""

import os
from collections.abc import Iterator

import pytest

from prefork.address import Address
from prefork.control import server as control
from prefork.control.messages import (
    Done,
    Failed,
    Refork,
    Refused,
    Reload,
    Reply,
    Request,
    Snapshot,
    Status,
    Stop,
    Workers,
    encode,
)
from prefork.control.server import Server
from prefork.master.operators import Operators
from prefork.pool import events
from prefork.pool.learn import learn
from prefork.pool.records import Phase, Pool, Wanted, fixed
from prefork.system import sockets
from prefork.system.wakeup import Poller
from tests.control.test_server import Caller


class Books:
    """A master of two services that serve, without any process. It is a ``Steered``, and a ``Caller``'s desk."""

    def __init__(self) -> None:
        self.address = Address("unix", path=f"@prefork/test/{os.getpid()}/books")
        self.poller = Poller()
        self.server = Server(sockets.open_listener(self.address, control.BACKLOG), self.poller)
        self.operators = Operators("shop", self.server)
        self.pools = {name: Pool(name, Wanted(1, fixed(1))) for name in ("a", "b")}
        self.refusal = ""
        for name in self.pools:
            self.load(name, 1)
            self.learn(name, events.GenerationSettled(at=0, generation=1))

    def learn(self, name: str, event: events.Event) -> str:
        self.pools[name] = learn(self.pools[name], event)
        text = type(event).__name__
        self.operators.learn(name, event, self.pools[name], text)
        return text

    def load(self, name: str, generation: int) -> None:
        self.learn(name, events.MoldStarted(at=0, generation=generation, pid=generation))

    def reload(self) -> str:
        if not self.refusal:
            for name in self.pools:
                self.learn(name, events.ReloadAsked(at=0, configured=fixed(1)))
        return self.refusal

    def refork(self, name: str) -> str:
        if not self.refusal:
            self.learn(name, events.ReforkAsked(at=0, slot=1, order=1))
        return self.refusal

    def tell_status(self) -> Iterator[Workers | Snapshot]:
        raise RuntimeError("a fault of ours")
        yield

    def settle(self) -> None:
        while keys := self.poller.wait(0):
            self.operators.obey(keys, self)

    def ask(self, request: Request) -> "Asked":
        return Asked(self, request)

    def close(self) -> None:
        self.server.close()
        self.poller.close()


class Asked(Caller):
    """One request, and what has come of it so far."""

    def __init__(self, books: Books, request: Request) -> None:
        super().__init__(books)  # type: ignore[arg-type]
        self.say(encode(request))

    def answer(self) -> Reply | None:
        """The last reply that has come since the last time, if any has."""
        got, _ = self.hear()
        return got[-1] if got else None


@pytest.fixture
def books() -> Iterator[Books]:
    books = Books()
    yield books
    books.close()


def test_a_reload_is_done_when_every_service_has_what_was_asked_for(books: Books) -> None:
    """One service that serves is half of it."""
    asked = books.ask(Reload())
    books.load("a", 2)
    books.load("b", 2)
    books.learn("a", events.GenerationSettled(at=1, generation=2))
    assert not isinstance(asked.answer(), Done)
    books.learn("b", events.GenerationSettled(at=1, generation=2))
    assert asked.answer() == Done(text="a: GenerationSettled\nb: GenerationSettled")


def test_a_reload_fails_with_its_own_generation_and_not_with_the_one_before(books: Books) -> None:
    """Asked while another is under way, it waits for the one that follows, whatever becomes of the first."""
    first = books.ask(Reload())
    for name in books.pools:
        books.load(name, 2)
    second, third = books.ask(Reload()), books.ask(Reload())
    for name in books.pools:
        books.learn(name, events.GenerationAbandoned(at=1, generation=2, why="boom"))
    assert first.answer() == Failed(why="a: GenerationAbandoned\nb: GenerationAbandoned")
    for name in books.pools:
        books.load(name, 3)
        books.learn(name, events.GenerationSettled(at=2, generation=3))
    assert isinstance(second.answer(), Done)
    assert isinstance(third.answer(), Done)


def test_a_reload_that_is_refused_is_answered_at_once(books: Books) -> None:
    """There is nothing to wait for."""
    books.refusal = "no such setting"
    assert books.ask(Reload()).answer() == Failed(why="no such setting")


def test_a_refork_is_done_when_its_savings_are_known(books: Books) -> None:
    """The generation serves a while before; whoever waits for the other service hears nothing."""
    asked, other = books.ask(Refork(service="a")), books.ask(Refork(service="b"))
    books.learn("a", events.WorkerCalled(at=1, slot=1, order=1, generation=2))
    books.load("a", 2)
    books.learn("a", events.GenerationSettled(at=1, generation=2))
    assert not isinstance(asked.answer(), Done)
    books.operators.tell_savings("a", "much")
    assert asked.answer() == Done(text="a: GenerationSettled\na: much")
    books.learn("b", events.ReforkAbandoned(at=1, generation=0, why="boom"))
    assert other.answer() == Failed(why="b: ReforkAbandoned")


def test_a_refork_names_its_service_where_there_are_several(books: Books) -> None:
    """Nothing is done otherwise; what is refused is refused at once."""
    assert books.ask(Refork()).answer() == Refused(why="there are several services: a, b; say which")
    assert books.ask(Refork(service="c")).answer() == Refused(why="there is no service 'c'; there is a, b")
    books.refusal = "it is degraded"
    assert books.ask(Refork(service="a")).answer() == Refused(why="a: it is degraded")


def test_a_stop_ends_a_refork_by_what_has_come_of_it(books: Books) -> None:
    """Done where its generation serves, though nobody was weighed."""
    asked, other = books.ask(Refork(service="a")), books.ask(Refork(service="b"))
    books.learn("a", events.GenerationSettled(at=1, generation=2))
    books.learn("a", events.StopAsked(at=1, phase=Phase.DRAINING))
    assert asked.answer() == Done(text="a: GenerationSettled")
    assert other.answer() == Failed(why="the instance is stopping")


def test_a_stop_ends_every_reload(books: Books) -> None:
    """However it was asked for."""
    asked = books.ask(Reload())
    books.learn("a", events.StopAsked(at=1, phase=Phase.DRAINING))
    assert asked.answer() == Failed(why="the instance is stopping")
    assert books.ask(Reload()).answer() == Failed(why="the instance is stopping")


def test_who_asks_for_a_stop_hears_the_end(books: Books) -> None:
    """And not before."""
    asked = books.ask(Stop())
    assert all(pool.is_stopping for pool in books.pools.values())
    assert not isinstance(asked.answer(), Done)
    books.operators.say_farewell("stopped, exit 0")
    assert asked.answer() == Done(text="stopped, exit 0")


def test_a_fault_of_ours_costs_the_socket_and_nothing_else(books: Books, caplog: pytest.LogCaptureFixture) -> None:
    """The books go on, and whoever was connected is told by the end of the connection."""
    waiting, asked = books.ask(Reload()), books.ask(Status())
    books.operators.obey([], books)
    assert "control: internal error" in caplog.text
    assert waiting.hear()[1]
    assert asked.hear()[1]
    books.learn("a", events.StopAsked(at=1, phase=Phase.DRAINING))
    books.operators.obey([], books)
    books.operators.say_farewell("stopped, exit 0")
