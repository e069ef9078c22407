"""Who asked for what, and which news answers it: histories of a master that only keeps books."""

import logging
import os
import socket
import time
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from prefork.address import Address
from prefork.config.service import Service
from prefork.control import server as control
from prefork.control.messages import (
    Done,
    Dump,
    Events,
    Failed,
    Heard,
    LogLevel,
    Pause,
    Ping,
    Pong,
    Progress,
    Recycle,
    Refork,
    Refused,
    Reload,
    ReopenLogs,
    Reply,
    Request,
    Resume,
    Scale,
    Snapshot,
    Status,
    Stop,
    Told,
    Upgrade,
    Workers,
    encode,
    read_reply,
)
from prefork.control.server import MOST_CLIENTS, Server
from prefork.master.chronicle import REMEMBERED
from prefork.master.hands import Hands
from prefork.master.operators import Operators
from prefork.pool import events
from prefork.pool.learn import learn
from prefork.pool.orders import Cause
from prefork.pool.records import Phase, Pool, Wanted, fixed
from prefork.system import sockets
from prefork.system.slots import Scoreboard
from prefork.system.wakeup import Poller
from tests.control.test_server import Caller

SERVICE = Service(target="app:Echo", bind=("tcp://127.0.0.1:9000",))


class Books:
    """A master of two services that serve, without any process. It is a ``Steered``, and a ``Caller``'s desk."""

    def __init__(self) -> None:
        self.address = Address("unix", path=f"@prefork/test/{os.getpid()}/books")
        self.poller = Poller()
        self.server = Server(sockets.open_listener(self.address, control.BACKLOG), self.poller)
        self.operators = Operators("shop", self.server)
        self.pools = {name: Pool(name, Wanted(1, fixed(1))) for name in ("a", "b")}
        self.hands: dict[str, Hands] = {}
        self.reopened = False
        self.log_level = ""
        self.refusal = ""
        for name in self.pools:
            self.load(name, 1)
            self.learn(name, events.MoldLoaded(at=0, generation=1))
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

    def upgrade(self) -> str:
        return self.refusal

    def reopen_logs(self) -> None:
        self.reopened = True

    def set_log_level(self, level: str) -> None:
        self.log_level = level

    def tell_status(self) -> Iterator[Workers | Snapshot]:
        raise RuntimeError("a fault of ours")
        yield

    def settle(self) -> None:
        while (keys := self.poller.wait(0)) or self.operators.has_more:
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


def test_an_upgrade_that_is_refused_at_once_was_not_tried(books: Books) -> None:
    """The answer says so: nothing was done, exit 1."""
    books.refusal = "the instance is stopping"
    assert books.ask(Upgrade()).answer() == Refused(why="upgrade refused: the instance is stopping")


def test_all_who_asked_for_an_upgrade_hear_why_it_failed(books: Books) -> None:
    """However many they are it is one upgrade; who wants to know how far it is hears that too."""
    asked, watching = books.ask(Upgrade()), books.ask(Upgrade(progress=True))
    books.operators.tell_upgrade("it passed")
    assert (asked.answer(), watching.answer()) == (Heard(), Progress(text="it passed"))
    books.operators.refuse_upgrade("boom")
    failed = Failed(why="upgrade refused, everything serves on as it was: boom")
    assert (asked.answer(), watching.answer()) == (failed, failed)


@pytest.mark.parametrize("is_good", [True, False])
def test_an_upgrade_is_answered_by_its_reload(is_good: bool, books: Books) -> None:
    """By what became of the generation of the new code, after what was done before."""
    asked = books.ask(Upgrade())
    books.reload()
    books.operators.go_on(dict(books.operators.upgrading), "2 after 1", "", books.pools)
    for name in books.pools:
        books.load(name, 2)
        event = events.GenerationSettled(at=1, generation=2)
        books.learn(name, event if is_good else events.GenerationAbandoned(at=1, generation=2, why="boom"))
    if is_good:
        assert asked.answer() == Done(text="2 after 1\na: GenerationSettled\nb: GenerationSettled")
    else:
        assert asked.answer() == Failed(why="2 after 1\na: GenerationAbandoned\nb: GenerationAbandoned")


def test_an_upgrade_whose_reload_is_refused_says_both(books: Books) -> None:
    asked = books.ask(Upgrade())
    books.operators.go_on(dict(books.operators.upgrading), "2 after 1", "no such setting", books.pools)
    assert asked.answer() == Failed(why="2 after 1; no such setting")


def test_a_reload_waits_for_the_probation_of_what_it_asked_for(books: Books) -> None:
    """It serves, but it is not settled yet; a newer one that is given up meanwhile answers only who asked for that."""
    first = books.ask(Reload())
    for name in books.pools:
        books.learn(name, events.MoldStarted(at=1, generation=2, pid=2))
        books.learn(name, events.MoldLoaded(at=1, generation=2))
        books.learn(name, events.GenerationSettled(at=1, generation=2, probation=30))
    assert not isinstance(first.answer(), Done)
    second = books.ask(Reload())
    for name in books.pools:
        books.load(name, 3)
        books.learn(name, events.GenerationAbandoned(at=2, generation=3, why="boom"))
    assert second.answer() == Failed(why="a: GenerationAbandoned\nb: GenerationAbandoned")
    assert first.answer() is None
    books.learn("a", events.ProbationEnded(at=31, generation=2))
    books.learn("b", events.GenerationRolledBack(at=31, generation=2, back_to=1, why="boom"))
    assert first.answer() == Failed(why="b: GenerationRolledBack")


def test_a_reload_is_told_which_services_are_given_up(books: Books) -> None:
    """The others reload all the same; one that is given up meanwhile fails the reload, and ends no other's."""
    asked = books.ask(Reload())
    books.learn("a", events.ServiceFailed(at=1, why="boom"))
    books.load("b", 2)
    books.learn("b", events.GenerationSettled(at=1, generation=2))
    assert asked.answer() == Failed(why="a: ServiceFailed")
    again = books.ask(Reload())
    books.load("b", 3)
    books.learn("b", events.GenerationSettled(at=2, generation=3))
    assert again.answer() == Failed(why="a: it was given up; restart for it")
    books.learn("b", events.ServiceFailed(at=3, why="boom"))
    assert books.ask(Reload()).answer() == Failed(
        why="a: it was given up; restart for it\nb: it was given up; restart for it"
    )


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


def test_logs_are_steered_at_once(books: Books) -> None:
    """Files are opened anew, and the level changes; one that is none is refused."""
    assert isinstance(books.ask(ReopenLogs()).answer(), Done)
    assert books.reopened
    assert isinstance(books.ask(LogLevel(level="debug")).answer(), Done)
    assert books.log_level == "debug"
    assert isinstance(books.ask(LogLevel(level="loud")).answer(), Refused)


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (Dump(who=1), "there are several services: a, b; say which"),
        (Dump(service="c", who=1), "there is no service 'c'; there is a, b"),
        (Dump(service="a", who=7), "a has no worker 7, by slot or by pid; status tells which it has"),
    ],
)
def test_who_is_not_there_cannot_be_dumped(books: Books, request_: Dump, why: str) -> None:
    """The reason says what there is."""
    books.hands = {name: Hands(name, SERVICE, [], Scoreboard.create(1)) for name in books.pools}
    assert books.ask(request_).answer() == Refused(why=why)
    for hands in books.hands.values():
        hands.close()


def with_workers(books: Books, count: int) -> None:
    """Service a gets as many that are ready, in slots from 1, with pids from 101."""
    for slot in range(1, count + 1):
        books.learn("a", events.WorkerOrdered(at=0, slot=slot, order=slot, generation=1, cause=Cause.FRESH))
        books.learn("a", events.WorkerBorn(at=0, slot=slot, order=slot, pid=100 + slot))
        books.learn("a", events.WorkerReady(at=0, slot=slot, order=slot))


def test_a_recycle_is_done_when_all_that_were_meant_are_gone(books: Books) -> None:
    """And not when others are; whoever looks on hears of each."""
    with_workers(books, 3)
    asked, one = books.ask(Recycle(service="a", progress=True)), books.ask(Recycle(service="a", who=102, now=True))
    workers = books.pools["a"].workers
    assert [(worker.is_recycled, worker.is_urgent) for worker in workers.values()] == [
        (True, False),
        (True, True),
        (True, False),
    ]
    books.learn("a", events.WorkerExited(at=1, slot=1, order=1, how="exited"))
    assert asked.answer() == Progress(text="a: 1 of 3 workers replaced", service="a", done=1, total=3)
    books.learn("a", events.WorkerKilled(at=2, slot=2, order=2, why="stuck"))
    assert not isinstance(one.answer(), Done)
    books.learn("a", events.WorkerExited(at=2, slot=2, order=2, how="was killed"))
    assert one.answer() == Done(text="a: worker 2 [102] was replaced, it had to be killed")
    books.learn("a", events.WorkerExited(at=2, slot=3, order=3, how="exited"))
    assert asked.answer() == Done(text="a: 3 workers were replaced, 1 had to be killed")


def test_a_slot_wins_over_a_pid_and_nobody_is_refused_by_name(books: Books) -> None:
    """So what status shows in its first column is always meant."""
    with_workers(books, 2)
    pid = events.WorkerOrdered(at=0, slot=101, order=3, generation=1, cause=Cause.FRESH)
    books.learn("a", pid)
    assert books.ask(Recycle(service="a", who=101)).answer() == Refused(
        why="a: worker 101 is starting; ask again when it is ready"
    )
    assert books.ask(Recycle(service="a", who=7)).answer() == Refused(
        why="a: there is no worker 7; there is 1 [101], 2 [102]"
    )
    assert books.ask(Recycle(service="c")).answer() == Refused(why="there is no service 'c'; there is a, b")
    assert books.ask(Recycle(service="b")).answer() == Done(text="b: nobody serves, so nobody is replaced")


def test_a_recycle_in_trouble_is_refused_and_a_stop_ends_one(books: Books) -> None:
    """Both say why."""
    with_workers(books, 2)
    asked = books.ask(Recycle(service="a"))
    books.learn("a", events.WorkerNotForked(at=time.monotonic(), slot=9, order=9, why="…"))
    order = events.WorkerOrdered(at=0, slot=3, order=3, generation=1, cause=Cause.FRESH)
    books.learn("a", order)
    books.learn("a", events.WorkerNotForked(at=time.monotonic(), slot=3, order=3, why="…"))
    order = events.WorkerOrdered(at=0, slot=3, order=4, generation=1, cause=Cause.FRESH)
    books.learn("a", order)
    books.learn("a", events.WorkerNotForked(at=time.monotonic() + 60, slot=3, order=4, why="…"))
    refused = Refused(why="a: it is degraded: the machine refuses to fork; ask again when it is healthy")
    assert books.ask(Recycle(service="a")).answer() == refused
    books.learn("a", events.StopAsked(at=1, phase=Phase.DRAINING))
    assert asked.answer() == Failed(why="a: the instance is stopping; 0 of 2 workers were replaced")
    assert books.ask(Recycle(service="a")).answer() == Refused(why="a: the instance is stopping")


def test_an_upgrade_answers_who_waits_for_a_probation(books: Books) -> None:
    """The next image begins with a generation of its own."""
    asked = books.ask(Reload())
    for name in books.pools:
        books.learn(name, events.MoldStarted(at=1, generation=2, pid=2))
        books.learn(name, events.MoldLoaded(at=1, generation=2))
        books.learn(name, events.GenerationSettled(at=1, generation=2, probation=30))
    books.operators.hurry()
    assert asked.answer() == Failed(why="an upgrade came before the probation was over; ask again")


def test_an_upgrade_answers_who_waits_for_a_recycle(books: Books) -> None:
    """The next image knows nothing of them, and replaces everybody."""
    with_workers(books, 1)
    asked = books.ask(Recycle(service="a"))
    books.operators.hurry()
    why = "a: an upgrade came meanwhile; ask again; 0 of 1 workers were replaced"
    assert asked.answer() == Failed(why=why)


def test_a_pause_is_answered_at_once_and_lasts_until_it_is_resumed(books: Books) -> None:
    """Asked twice it is the same; of a service that stops it would mean nothing."""
    for asked, is_paused, text in (
        (Pause(service="a"), True, "a: paused: nobody is accepted, clients queue"),
        (Pause(service="a"), True, "a: paused: nobody is accepted, clients queue, as before"),
        (Resume(service="a"), False, "a: resumed: clients are accepted"),
    ):
        assert books.ask(asked).answer() == Done(text=text)
        assert books.pools["a"].wanted.is_paused is is_paused
    books.learn("a", events.StopAsked(at=1, phase=Phase.DRAINING))
    why = "a: the instance is stopping, and serves what is queued"
    assert books.ask(Pause(service="a")).answer() == Refused(why=why)


def told(number: int) -> Told:
    return Told(at=float(number), level="info", event="worker-exited", text=str(number))


def followed(books: Books, last: int) -> Asked:
    return books.ask(Events(last=last))


def texts(asked: Asked) -> list[str]:
    """What has come of it since the last time."""
    return [reply.text for reply in asked.hear()[0] if isinstance(reply, Told)]


def test_who_follows_hears_the_last_and_then_everything(books: Books) -> None:
    """In order and once; what only developers read is not among it."""
    for number in range(5):
        books.operators.keep(told(number))
    all_of_them, some, none = followed(books, 100), followed(books, 2), followed(books, 0)
    assert (texts(all_of_them), texts(some), texts(none)) == (["0", "1", "2", "3", "4"], ["3", "4"], [])
    books.operators.keep(replace(told(5), level="debug"))
    books.operators.say(logging.WARNING, "reload-refused", "6")
    assert (texts(all_of_them), texts(some), texts(none)) == (["6"], ["6"], ["6"])


def test_who_does_not_follow_hears_the_last_and_no_more(books: Books) -> None:
    """That is an answer with an end, and nobody goes on telling."""
    for number in range(5):
        books.operators.keep(told(number))
    for last, heard in ((100, ["0", "1", "2", "3", "4"]), (2, ["3", "4"]), (0, [])):
        asked = books.ask(Events(last=last, follow=False))
        replies, is_over = asked.hear()
        assert [reply.text for reply in replies if isinstance(reply, Told)] == heard
        assert (replies[-1], is_over) == (Done(text="that is all"), False)
    assert books.operators.chronicle.followers == []


def test_only_the_last_are_remembered_and_no_text_without_end(books: Books) -> None:
    """However much happens."""
    for number in range(REMEMBERED + 50):
        books.operators.keep(told(number))
    books.operators.keep(replace(told(0), text="a" * 100_000 + "z"))
    heard = texts(followed(books, 10 * REMEMBERED))
    assert len(heard) == REMEMBERED
    assert heard[0] == "51"
    assert len(heard[-1]) < 5000
    assert heard[-1].endswith("z")


def test_who_reads_slowly_hears_it_in_parts_and_who_does_not_read_is_dropped(books: Books) -> None:
    """What is remembered may be more than may wait for anybody."""
    for number in range(REMEMBERED):
        books.operators.keep(replace(told(number), text=f"{number} " + "x" * 3900))
    slow = followed(books, REMEMBERED)
    books.settle()
    books.operators.keep(told(200))
    heard: list[str] = []
    while len(heard) <= REMEMBERED:
        heard += texts(slow)
    assert [text.split()[0] for text in heard] == [str(number) for number in range(REMEMBERED + 1)]
    for number in range(2000):
        books.operators.keep(replace(told(number), text="x" * 3900))
    assert books.operators.chronicle.followers == []
    assert slow.hear()[1]


def test_a_follower_goes_before_who_waits_for_an_outcome_and_after_who_is_silent(books: Books) -> None:
    """Many followers lock nobody out."""
    crowd = [followed(books, 0) for _ in range(MOST_CLIENTS)]
    books.settle()
    assert isinstance(books.ask(Pause(service="a")).answer(), Done)
    books.settle()
    assert len(books.operators.chronicle.followers) == MOST_CLIENTS - 1
    assert [asked.hear()[1] for asked in crowd] == [True] + [False] * (MOST_CLIENTS - 1)
    books.ask(Pause(service="a"))
    books.settle()
    assert len(books.operators.chronicle.followers) == MOST_CLIENTS - 1


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


@pytest.mark.parametrize("request_", [Reload(), Stop(), Stop(now=True), Upgrade(), Refork(), Scale(service="a", to=9)])
def test_who_may_only_look_changes_nothing(books: Books, request_: Request) -> None:
    """The admin process reads what strangers send: whatever becomes of it, it asks in vain for anything else."""
    before = dict(books.pools)
    ours, theirs = socket.socketpair()
    with theirs:
        assert books.operators.admit_onlooker(ours) is not None
        for asked in (request_, Ping()):
            theirs.send(encode(asked))
            books.settle()
        refused, pong = map(read_reply, theirs.recv(65536).splitlines())
        assert refused == Refused(why="the admin process may only look")
        assert isinstance(pong, Pong)
    assert books.pools == before


def test_without_a_server_nobody_looks() -> None:
    """After a fault of ours the socket is closed; then an onlooker is told so by the end of its connection."""
    ours, theirs = socket.socketpair()
    with theirs:
        assert Operators("shop", None).admit_onlooker(ours) is None
        assert theirs.recv(1) == b""
