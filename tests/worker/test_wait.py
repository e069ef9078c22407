"""Who wakes for what, with real epoll sets in forked children; one promise a test."""

import os
import select
import signal
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import SimpleNamespace

import pytest

from prefork.system import kick, lifeline
from prefork.system.wakeup import Wakeup
from prefork.worker import wait
from prefork.worker.wait import PAUSE, Wait
from tests.children import LIMIT, Child, Link, is_readable, said_by, wait_readable

WAITERS = 4


class Street:
    """What the workers of one service share: listeners, kick and lifeline."""

    def __init__(self, listeners: int) -> None:
        self.listeners = [socket.create_server(("127.0.0.1", 0), backlog=64) for _ in range(listeners)]
        for listener in self.listeners:
            listener.setblocking(False)
        self.kick = kick.create()
        self.lifeline, self.master = lifeline.create()

    def wait(self, *, is_even: bool = False) -> Wait:
        """In a child: its place to wait, made after the fork as a worker does. SIGTERM is heard."""
        return Wait(self.listeners, self.kick, Wakeup([signal.SIGTERM]), self.lifeline, is_even=is_even)

    def client(self, listener: int = 0) -> socket.socket:
        client = socket.create_connection(self.listeners[listener].getsockname(), timeout=LIMIT)
        wait_readable(self.listeners[listener])
        return client

    def close(self) -> None:
        for listener in self.listeners:
            listener.close()
        for fd in (self.kick, self.lifeline, self.master):
            os.close(fd)


@pytest.fixture
def street() -> Iterator[Street]:
    street = Street(listeners=1)
    yield street
    street.close()


@pytest.fixture
def two_doors() -> Iterator[Street]:
    street = Street(listeners=2)
    yield street
    street.close()


# One waiter


def test_a_client_is_news_of_its_listener_alone(two_doors: Street) -> None:
    """The other listener is not tried in vain."""

    def hear(parent: Link) -> bool:
        waiting = two_doors.wait()
        with two_doors.client(listener=1):
            return set(waiting.for_news()) == {two_doors.listeners[1].fileno()} and not waiting.is_kicked

    assert said_by(hear)


def test_clients_of_several_listeners_are_told_together(two_doors: Street) -> None:
    """Who was woken for both knows of both."""

    def hear(parent: Link) -> bool:
        waiting = two_doors.wait()
        with two_doors.client(listener=0), two_doors.client(listener=1):
            return set(waiting.for_news()) == {listener.fileno() for listener in two_doors.listeners}

    assert said_by(hear)


def test_a_kick_is_news_of_all_listeners(two_doors: Street) -> None:
    """Whoever takes it tries them all, for nobody knows where a client was forgotten."""

    def hear(parent: Link) -> list[bool]:
        waiting = two_doors.wait()
        kick.kick(two_doors.kick)
        told = set(waiting.for_news()) == {listener.fileno() for listener in two_doors.listeners}
        was_kicked = waiting.is_kicked
        with two_doors.client():
            waiting.for_news()
        return [told, was_kicked, waiting.is_kicked]

    assert said_by(hear) == [True, True, False]


def test_a_signal_ends_the_wait_and_is_collected(street: Street) -> None:
    """It is no client, and not lost until somebody takes it from the collection."""

    def hear(parent: Link) -> list[object]:
        waiting = street.wait()
        signal.raise_signal(signal.SIGTERM)
        return [list(waiting.for_news()), waiting.heard]

    assert said_by(hear) == [[], {signal.SIGTERM}]


def test_a_signal_and_a_client_are_told_together(street: Street) -> None:
    """Neither hides the other."""

    def hear(parent: Link) -> list[object]:
        waiting = street.wait()
        signal.raise_signal(signal.SIGTERM)
        with street.client():
            return [set(waiting.for_news()) == {street.listeners[0].fileno()}, waiting.heard]

    assert said_by(hear) == [True, {signal.SIGTERM}]


def test_the_end_of_the_master_ends_the_wait(street: Street) -> None:
    """A worker that sleeps learns at once that nobody will ever tell it anything again."""

    def hear(parent: Link) -> list[object]:
        os.close(street.master)
        waiting = street.wait()
        parent.say(waiting.is_orphaned)
        return [list(waiting.for_news()), waiting.is_orphaned]

    with Child(hear) as child:
        assert child.hear() is False
        child.wait_asleep()
        os.close(street.master)
        street.master = os.open(os.devnull, os.O_RDONLY)
        assert child.hear() == [[], True]


# A pause


def with_a_clock_of_its_own(act: Callable[[SimpleNamespace], list[object]]) -> Callable[[Link], list[object]]:
    """In a child: what ``wait.py`` takes for the monotonic clock stands still until the test moves it."""

    def live(parent: Link) -> list[object]:
        clock = SimpleNamespace(now=1000.0)
        vars(wait)["time"] = SimpleNamespace(monotonic=lambda: clock.now)
        return act(clock)

    return live


def test_during_a_pause_clients_wait_and_signals_are_heard(street: Street) -> None:
    """An accept that cannot succeed does not spin; afterwards the client is still there."""

    def pause(clock: SimpleNamespace) -> list[object]:
        waiting = street.wait()
        with street.client():
            waiting.pause()
            signal.raise_signal(signal.SIGTERM)
            during = list(waiting.for_news())
            clock.now += PAUSE
            waiting.for_news()
            return [during, waiting.heard, set(waiting.for_news()) == {street.listeners[0].fileno()}]

    assert said_by(with_a_clock_of_its_own(pause)) == [[], {signal.SIGTERM}, True]


def test_a_pause_leaves_the_kick_to_others(street: Street) -> None:
    """Who cannot take a client does not take the news of one either; afterwards it does."""

    def pause(clock: SimpleNamespace) -> list[object]:
        waiting = street.wait()
        waiting.pause()
        kick.kick(street.kick)
        signal.raise_signal(signal.SIGTERM)
        waiting.for_news()
        during = waiting.is_kicked, is_readable(street.kick)
        clock.now += PAUSE
        waiting.for_news()
        waiting.for_news()
        return [during, waiting.is_kicked]

    assert said_by(with_a_clock_of_its_own(pause)) == [(False, True), True]


def test_a_second_pause_begins_anew(street: Street) -> None:
    """It is counted from the last accept that failed."""

    def pause(clock: SimpleNamespace) -> list[object]:
        waiting = street.wait()
        with street.client():
            waiting.pause()
            clock.now += PAUSE * 0.75
            waiting.pause()
            clock.now += PAUSE * 0.75
            signal.raise_signal(signal.SIGTERM)
            waiting.for_news()
            signal.raise_signal(signal.SIGTERM)
            still = list(waiting.for_news())
            clock.now += PAUSE
            waiting.for_news()
            return [still, bool(waiting.for_news())]

    assert said_by(with_a_clock_of_its_own(pause)) == [[], True]


def test_who_is_held_hears_signals_and_no_clients_until_it_is_let_go(street: Street) -> None:
    """Also where the machine's shortage ends meanwhile, and where there is room."""

    def hold(clock: SimpleNamespace) -> list[object]:
        waiting = street.wait()
        with street.client():
            waiting.pause()
            waiting.hold(True)
            clock.now += PAUSE
            during: list[int] = []
            for _ in range(2):
                waiting.heed_clients(True)
                signal.raise_signal(signal.SIGTERM)
                during += waiting.for_news()
            waiting.hold(False)
            return [during, waiting.heard, set(waiting.for_news()) == {street.listeners[0].fileno()}]

    assert said_by(with_a_clock_of_its_own(hold)) == [[], {signal.SIGTERM}, True]


# Many waiters


class Workers:
    """Forked waiters that serve one client after another and say so, until they hear SIGTERM."""

    def __init__(self, street: Street, children: ExitStack, *, is_even: bool = False) -> None:
        self._street = street
        self._is_even = is_even
        self.all = [children.enter_context(Child(self._work)) for _ in range(WAITERS)]
        for worker in self.all:
            worker.hear()
        self.wait_asleep()

    def _work(self, parent: Link) -> str:
        waiting = self._street.wait(is_even=self._is_even)
        parent.say("born")
        while True:
            news = waiting.for_news()
            if waiting.heard:
                return "retired"
            if waiting.is_kicked:
                parent.say("kicked")
            for fd in news:
                try:
                    connection, _ = self._street.listeners[0].accept()
                except BlockingIOError:
                    continue
                connection.close()
                waiting.queue_up_again(fd)
                parent.say("served")

    def wait_asleep(self) -> None:
        """Until all of them wait for news: between two clients they wait for nothing else."""
        for worker in self.all:
            worker.wait_asleep()

    def wait_for_any(self) -> None:
        """Until one of them speaks."""
        poll = select.poll()
        for worker in self.all:
            poll.register(worker, select.POLLIN)
        assert poll.poll(LIMIT * 1000), f"nobody spoke within {LIMIT} s"

    def who_says(self, said: str) -> int:
        """The number of the one worker that has something to say, which is this."""
        for number, worker in enumerate(self.all):
            if is_readable(worker):
                assert worker.hear() == said
                return number
        raise AssertionError(f"nobody said {said!r}")

    def serve(self, clients: int) -> list[int]:
        """One client at a time, each when all workers wait: how many each worker served, the most first."""
        served: Counter[int] = Counter()
        for _ in range(clients):
            with socket.create_connection(self._street.listeners[0].getsockname(), timeout=LIMIT) as client:
                assert client.recv(1) == b""
            self.wait_for_any()
            self.wait_asleep()
            served[self.who_says("served")] += 1
        return sorted((served[number] for number in range(WAITERS)), reverse=True)


def test_idle_workers_take_turns_where_the_balance_is_even(street: Street) -> None:
    """Who has served goes to the end of the line, so that every worker gets the same share."""
    with ExitStack() as children:
        assert Workers(street, children, is_even=True).serve(40) == [10, 10, 10, 10]


def test_the_warmest_worker_gets_every_client_it_is_free_for(street: Street) -> None:
    """Otherwise the head of the line keeps its place, and what is idle stays idle."""
    with ExitStack() as children:
        assert Workers(street, children).serve(40) == [40, 0, 0, 0]


def test_each_kick_is_taken_by_one_worker(street: Street) -> None:
    """Somebody wakes, and only one of those who wake takes it."""
    with ExitStack() as children:
        workers = Workers(street, children)
        for _ in range(5):
            kick.kick(street.kick)
            workers.wait_for_any()
            workers.wait_asleep()
            workers.who_says("kicked")
            assert not any(is_readable(worker) for worker in workers.all)


def test_a_worker_that_leaves_kicks_another_for_the_client_it_was_woken_for(street: Street) -> None:
    """The wake-up for a client is not lost with the worker that got it and goes."""

    def leave_when_woken(parent: Link) -> str:
        waiting = street.wait()
        parent.say("waits")
        waiting.for_news()
        parent.say("woken")
        parent.hear()
        waiting.leave()
        return "left"

    def serve_one(parent: Link) -> str:
        waiting = street.wait()
        parent.say("waits")
        while True:
            if waiting.for_news():
                try:
                    street.listeners[0].accept()[0].close()
                except BlockingIOError:
                    continue
                return "served"

    with Child(leave_when_woken) as leaver:
        assert leaver.hear() == "waits"
        leaver.wait_asleep()
        with Child(serve_one) as other:
            assert other.hear() == "waits"
            other.wait_asleep()
            with socket.create_connection(street.listeners[0].getsockname(), timeout=LIMIT) as client:
                assert leaver.hear() == "woken"
                leaver.say("leave")
                assert other.hear() == "served"
                assert client.recv(1) == b""
