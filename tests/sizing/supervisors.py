"""Who decides how many workers there are: our own rules, a fixed pool, Apache's prefork and php-fpm.

The others are written from their published descriptions and sources, named beside each; where those leave something
open we took what serves clients better. It must not know clients or what they cost.
Read next: ``floor.py``, what they decide about.
"""

import math
from dataclasses import dataclass, field

from msgspec.structs import replace

from prefork.master.meter import LOOK
from prefork.pool import events, orders
from prefork.pool.learn import learn
from prefork.pool.orders import Cause
from prefork.pool.records import Bounds, Load, Policy, Pool, Reading, State, Wanted
from prefork.pool.rules import decide
from prefork.pool.sizing import Pace, Window, used
from prefork.pool.wishes import Readings
from tests.sizing.floor import NEVER, Floor

PACE = 1.0  # seconds from one look of the others to the next
FASTEST = 32  # forks a look


@dataclass(eq=False)
class Fixed:
    """As many workers as ever: who dies is replaced at once."""

    workers: int

    def open(self, floor: Floor) -> None:
        floor.take_in(self.workers)

    def turn(self, floor: Floor) -> float:
        for _ in floor.dead:
            floor.spawn()
        floor.dead.clear()
        floor.born.clear()
        return NEVER

    def hears(self, news: str) -> bool:
        return news == "gone"


@dataclass(eq=False)
class Ours:
    """The rules of ``prefork/pool``, fed as the master feeds them: looks while anything is busy, and news.

    :param remembers: ``worker_idle_timeout``.
    """

    bounds: Bounds
    min_spare: int
    max_spare: int
    remembers: float = 10.0
    pool: Pool = field(init=False)

    def __post_init__(self) -> None:
        self._policy = Policy(min_spare=self.min_spare, max_spare=self.max_spare)
        first = self.bounds.clip(max(self.bounds.least, self.min_spare))
        self.pool = Pool("simulated", Wanted(first, self.bounds))
        self._window = Window(self.remembers)
        self._pace = Pace()
        self._workers: dict[int, tuple[int, int]] = {}  # slot and order by the floor's number
        self._numbers: dict[int, int] = {}  # and back, by slot
        self._looked = 0.0, 0.0
        self._is_asleep = True

    def open(self, floor: Floor) -> None:
        self._tell(events.MoldStarted(at=0.0, generation=1, pid=1))
        self._tell(events.MoldLoaded(at=0.0, generation=1))
        for slot, number in enumerate(floor.take_in(self.pool.wanted.count), 1):
            self._employ(slot, slot, number, 0.0, Cause.FRESH)
            self._tell(events.WorkerReady(at=0.0, slot=slot, order=slot))
        self._tell(events.GenerationSettled(at=0.0, generation=1))

    def turn(self, floor: Floor) -> float:
        now = floor.now
        for number in floor.born:
            slot, order = self._workers[number]
            self._tell(events.WorkerReady(at=now, slot=slot, order=order))
        for number in floor.dead:
            slot, order = self._workers.pop(number)
            self._numbers.pop(slot)
            requests = floor.served[number]
            self._tell(events.WorkerExited(at=now, slot=slot, order=order, how="is gone", requests=requests))
        floor.born.clear()
        floor.dead.clear()
        while True:
            decision = decide(self.pool, self._read(floor), self._policy, now)
            if not decision.orders:
                break
            for given in decision.orders:
                self._perform(given, floor)
        self._is_asleep = not floor.busy
        looks_at = NEVER if self._is_asleep else now + LOOK
        return min(looks_at, NEVER if decision.until is None else decision.until)

    def hears(self, news: str) -> bool:
        """A client wakes a master that sleeps; as long as anything is busy it looks by itself."""
        return news != "came" or self._is_asleep

    def _read(self, floor: Floor) -> Readings:
        working = floor.busy.keys() - floor.retired
        at, seconds = self._looked
        average = (floor.busy_seconds - seconds) / (floor.now - at) if floor.now > at else 0.0
        self._looked = floor.now, floor.busy_seconds
        self._pace = self._pace.with_sums(floor.now, floor.busy_seconds, len(floor.waits) - len(floor.busy))
        load = Load(len(working), len(floor.queue), each=self._pace.each)
        self._window = self._window.with_need(floor.now, max(used(load), math.ceil(average)))
        slots = {self._workers[number][0]: Reading(busy_since=floor.busy[number]) for number in working}
        return Readings(slots, load=replace(load, peak=self._window.peak, falls_at=self._window.falls_at))

    def _perform(self, given: orders.Order, floor: Floor) -> None:
        match given:
            case orders.SizePool(workers, why):
                self._tell(events.PoolSized(at=floor.now, count=workers, why=why))
            case orders.SpawnWorker(slot, order, _, cause):
                self._employ(slot, order, floor.spawn(), floor.now, cause)
            case orders.RetireWorker(slot, order, why):
                self._tell(events.WorkerRetired(at=floor.now, slot=slot, order=order, why=why))
                floor.retire(self._numbers[slot])
            case orders.ForgetFailures():
                self._tell(events.FailuresForgotten(at=floor.now))
            case orders.CallDegraded(why, failures, next_try):
                self._tell(events.ServiceDegraded(at=floor.now, why=why, failures=failures, next_try=next_try))
            case orders.CallHealthy():
                self._tell(events.ServiceRecovered(at=floor.now))
            case _:
                raise AssertionError(f"nothing here asks for {given}")

    def _employ(self, slot: int, order: int, number: int, at: float, cause: Cause) -> None:
        self._workers[number] = slot, order
        self._numbers[slot] = number
        self._tell(events.WorkerOrdered(at=at, slot=slot, order=order, generation=1, cause=cause))
        self._tell(events.WorkerBorn(at=at, slot=slot, order=order, pid=number))

    def _tell(self, event: events.Event) -> None:
        self.pool = learn(self.pool, event)

    @property
    def ready(self) -> int:
        return len(self.pool.in_state(State.READY))


@dataclass(eq=False)
class Apache:
    """The prefork MPM of Apache httpd 2.4: ``perform_idle_server_maintenance`` in server/mpm/prefork/prefork.c.

    Each second: with more idle than MaxSpareServers one is told to leave; with fewer than MinSpareServers 1, 2, 4 … 32
    are forked, twice as many each second that finds too few. Those that start count as idle. The queue is not asked.
    """

    least_idle: int
    most_idle: int
    most: int
    _rate: int = 1

    def open(self, floor: Floor) -> None:
        floor.take_in(self.least_idle)  # StartServers

    def turn(self, floor: Floor) -> float:
        idle = len(floor.idle) + len(floor.starting)
        if idle > self.most_idle:
            if floor.idle:
                floor.retire(next(iter(floor.idle)))
            self._rate = 1
        elif idle < self.least_idle:
            for _ in range(min(self._rate, self.most - floor.wanted)):
                floor.spawn()
            self._rate = min(FASTEST, 2 * self._rate)
        else:
            self._rate = 1
        return floor.now + PACE

    def hears(self, news: str) -> bool:
        return False


@dataclass(eq=False)
class PhpDynamic:
    """php-fpm with ``pm = dynamic``: ``fpm_pctl_perform_idle_server_maintenance`` in sapi/fpm/fpm/fpm_process_ctl.c.

    Each second, as Apache, with one difference: no more are forked than are missing from ``pm.min_spare_servers``. Who
    dies by a signal is replaced at once (``fpm_children_bury``).
    """

    least_idle: int
    most_idle: int
    most: int
    _rate: int = 1
    _looks_at: float = 0.0

    def open(self, floor: Floor) -> None:
        floor.take_in(self.least_idle + (self.most_idle - self.least_idle) // 2)  # pm.start_servers
        self._told: set[int] = set()

    def turn(self, floor: Floor) -> float:
        for number in floor.dead:
            if number not in self._told:
                floor.spawn()
        floor.dead.clear()
        if floor.now >= self._looks_at:
            self._look(floor)
            self._looks_at = floor.now + PACE
        return self._looks_at

    def _look(self, floor: Floor) -> None:
        idle = len(floor.idle)
        if idle > self.most_idle:
            self._told.add(last := next(iter(floor.idle)))
            floor.retire(last)
            self._rate = 1
        elif idle < self.least_idle and floor.wanted < self.most:
            for _ in range(min(self._rate, self.least_idle - idle, self.most - floor.wanted)):
                floor.spawn()
            self._rate = min(FASTEST, 2 * self._rate)
        else:
            self._rate = 1

    def hears(self, news: str) -> bool:
        return news == "gone"


@dataclass(eq=False)
class PhpOnDemand:
    """php-fpm with ``pm = ondemand``: ``fpm_pctl_on_socket_accept``, and the maintenance as above.

    A client that finds nobody idle forks one worker, at once. Each second the one that is idle the longest is told to
    leave, if that is longer than ``pm.process_idle_timeout``.
    """

    most: int
    idle_timeout: float = 10.0
    _looks_at: float = 0.0

    def open(self, floor: Floor) -> None:
        """Nobody is there."""

    def turn(self, floor: Floor) -> float:
        if floor.queue and not floor.idle and floor.now == floor.queue[-1].at and floor.wanted < self.most:
            floor.spawn()
        if floor.now >= self._looks_at:
            self._looks_at = floor.now + PACE
            for worker, since in floor.idle.items():
                if since < floor.now - self.idle_timeout:
                    floor.retire(worker)
                    break
        return self._looks_at

    def hears(self, news: str) -> bool:
        return news == "came"
