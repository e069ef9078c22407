"""Snapshots that take several turns, in which workers end and others take their slots."""

import gc
from collections.abc import Iterator

import pytest

from prefork.config.service import Service
from prefork.control.messages import ServiceStatus, Snapshot, Workers, WorkerStatus
from prefork.master.hands import Hands
from prefork.pool import events
from prefork.pool.learn import learn
from prefork.pool.orders import Cause
from prefork.pool.records import Pool, Wanted, fixed
from prefork.report import status
from prefork.report.status import AT_A_TIME
from prefork.system.slots import BUSY_NS, LANES, REQUESTS, Scoreboard, Slot
from prefork.system.timings import EPOCH_NS

COUNT = 2 * AT_A_TIME  # workers, so that a snapshot comes in two parts
FIRST, SECOND = 1, COUNT  # slots that are told of in the first part, and in the second
SERVICE = Service(target="app:Echo", bind=("unix:/nowhere/x.sock",))
BEGIN_NS = 100 * EPOCH_NS + EPOCH_NS // 2


class Instance:
    """A service whose workers have served one request each, without processes."""

    def __init__(self) -> None:
        self.now_ns = BEGIN_NS
        self.hands = Hands("echo", SERVICE, [], Scoreboard.create(COUNT))
        self.pool = Pool("echo", Wanted(COUNT, fixed(COUNT)))
        self._own: dict[int, Slot] = {}  # as the workers hold them
        for slot in range(1, COUNT + 1):
            self.order(slot)
            self.bear(slot)
            self.serve(slot)

    def order(self, slot: int) -> None:
        """Whoever is ordered next gets the slot."""
        order = self.pool.next_order
        self._learn(events.WorkerOrdered(at=1, slot=slot, order=order, generation=1, cause=Cause.FRESH))

    def bear(self, slot: int) -> None:
        """It signs the slot, and is known to live."""
        order = self.pool.workers[slot].order
        self._own[slot] = self.hands.board.slot(slot)
        self._own[slot].take(order, 2, 1000 + order, 1)
        self._learn(events.WorkerBorn(at=1, slot=slot, order=order, pid=1000 + order))
        self._learn(events.WorkerReady(at=1, slot=slot, order=order))

    def serve(self, slot: int) -> None:
        """One request of a millisecond."""
        line = self._own[slot]
        line.timings.count(10**6, self.now_ns)
        line.totals[REQUESTS] += 1
        line.totals[BUSY_NS] += 10**6

    def end(self, slot: int) -> None:
        order = self.pool.workers[slot].order
        self.hands.bury(slot, order)
        self._learn(events.WorkerExited(at=1, slot=slot, order=order, how="ended"))

    def replace(self, slot: int) -> None:
        """Another has the slot, and has served nothing."""
        self.end(slot)
        self.order(slot)
        self.bear(slot)

    def tell(self) -> Iterator[Workers | Snapshot]:
        return status.tell("shop", 42.0, "info", [self.hands.view(self.pool)], lambda: self.now_ns / 1e9)

    def _learn(self, event: events.Event) -> None:
        self.pool = learn(self.pool, event)


@pytest.fixture
def instance(monkeypatch: pytest.MonkeyPatch) -> Iterator[Instance]:
    instance = Instance()
    monkeypatch.setattr("time.monotonic_ns", lambda: instance.now_ns)
    yield instance
    instance.hands.close()


def requests(service: ServiceStatus) -> set[int]:
    """As many as are counted, by every sum that counts them."""
    assert service.recent is not None
    busy = {round(service.busy_seconds * 1000), round(service.recent.busy_seconds * 1000)}
    times = {sum(service.service_times), sum(service.recent.service_times)}
    return {service.requests, service.recent.requests} | busy | times


def rest(parts: Iterator[Workers | Snapshot]) -> tuple[list[WorkerStatus], ServiceStatus]:
    *workers, snapshot = parts
    assert isinstance(snapshot, Snapshot)
    told = [worker for part in workers if isinstance(part, Workers) for worker in part.workers]
    return told, snapshot.services[0]


@pytest.mark.parametrize("slot", [FIRST, SECOND])
@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("what", ["end", "replace"])
def test_who_ends_while_a_snapshot_is_told_counts_once(what: str, begun: bool, slot: int, instance: Instance) -> None:
    """Before it was read or after, and whether another has its slot: counters that are read never go back."""
    parts = instance.tell()
    if begun:
        next(parts)
    getattr(instance, what)(slot)
    _, service = rest(parts)
    assert requests(service) == {COUNT}
    assert requests(rest(instance.tell())[1]) == {COUNT}


def test_a_half_minute_may_end_meanwhile(instance: Instance) -> None:
    """What was served lately stays so for a snapshot that has begun, also by those who were gone before."""
    instance.replace(FIRST)
    parts = instance.tell()
    next(parts)
    instance.now_ns += EPOCH_NS
    instance.replace(FIRST)
    instance.replace(SECOND)
    assert requests(rest(parts)[1]) == {COUNT}
    instance.now_ns += EPOCH_NS
    _, service = rest(instance.tell())
    assert service.recent is not None
    assert (service.requests, service.recent.requests) == (COUNT, 0)


def test_all_may_be_replaced_twice_meanwhile(instance: Instance) -> None:
    """As by two reloads: a snapshot counts those of its own book, the next one the others as well."""
    parts = instance.tell()
    for slot in range(1, COUNT + 1):
        instance.replace(slot)
        instance.serve(slot)
        instance.replace(slot)
    told, service = rest(parts)
    assert requests(service) == {COUNT}
    assert [(worker.slot, worker.pid, worker.requests) for worker in told] == [
        (slot, 1000 + slot, 1) for slot in range(1, COUNT + 1)
    ]
    assert requests(rest(instance.tell())[1]) == {2 * COUNT}


def test_who_was_not_born_when_a_snapshot_began_counts_in_the_next(instance: Instance) -> None:
    """Its slot has another's figures, then its own, then those of a third: never more than once."""
    instance.end(SECOND)
    instance.order(SECOND)
    first, second, third = instance.tell(), instance.tell(), instance.tell()
    assert requests(rest(first)[1]) == {COUNT}
    instance.bear(SECOND)
    instance.serve(SECOND)
    assert requests(rest(second)[1]) == {COUNT}
    instance.replace(SECOND)
    assert requests(rest(third)[1]) == {COUNT}
    assert requests(rest(instance.tell())[1]) == {COUNT + 1}


def test_what_a_worker_had_under_way_is_told_as_it_left_it(instance: Instance) -> None:
    """Like that of one that is dead and not found so yet."""
    line = instance.hands.line(SECOND)
    line.totals[LANES] = 1
    line.lanes[0].begin(2, BEGIN_NS - 10**9, b"10.0.0.7:51022")
    parts = instance.tell()
    instance.replace(SECOND)
    told, _ = rest(parts)
    assert [(request.peer, request.age_seconds) for request in told[-1].current] == [("10.0.0.7:51022", 1)]


def test_a_snapshot_that_was_given_up_keeps_nothing(instance: Instance) -> None:
    """Its client is gone; neither its end nor any other is told to us."""
    parts = instance.tell()
    next(parts)
    assert len(instance.hands.looks) == 1
    del parts
    gc.collect()
    assert len(instance.hands.looks) == 0
