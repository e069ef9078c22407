"""The floor: one queue of clients, and workers that come, serve and leave, in virtual time.

A discrete-event simulation of a prefork server as its clients see it: they queue first come first served, each is
served by one worker, and a supervisor says how many workers there are. The machine has a processor for everybody, and
nobody gives up waiting. It must not know how supervisors decide.
Invariant: the same clients, supervisor and seed give the same day.
Read next: ``supervisors.py``, who decide; ``days.py``, the clients.
"""

import heapq
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import NamedTuple, Protocol

NEVER = float("inf")
LEAVING = 0.01  # seconds an idle worker takes to end


class Client(NamedTuple):
    """One request.

    :param at: when it comes.
    :param work: seconds it takes a worker.
    :param kills: its worker dies of it, when it is done.
    """

    at: float
    work: float
    kills: bool = False


class Supervisor(Protocol):
    def open(self, floor: "Floor") -> None:
        """The day begins: take in the workers of the start, which are ready."""

    def turn(self, floor: "Floor") -> float:
        """Spawn and retire as it likes.

        :returns: when it wants its next turn; it also has one when ``hears`` says so.
        """

    def hears(self, news: str) -> bool:
        """Whether ``came``, ``ready`` or ``gone`` gives it a turn at once."""


@dataclass(eq=False)
class Floor:
    """:param boot: seconds a worker takes from its fork to ready, at least and at most."""

    supervisor: Supervisor
    clients: list[Client]
    boot: tuple[float, float] = (0.02, 0.05)
    seed: int = 0
    now: float = 0.0
    queue: deque[Client] = field(default_factory=deque)
    idle: dict[int, float] = field(default_factory=dict)  # since when; the last to become idle is the last
    busy: dict[int, float] = field(default_factory=dict)
    starting: set[int] = field(default_factory=set)
    retired: set[int] = field(default_factory=set)  # told to leave when their client is served
    dead: list[int] = field(default_factory=list)  # since the last turn
    born: list[int] = field(default_factory=list)  # ready since the last turn
    served: Counter[int] = field(default_factory=Counter)  # clients, by worker
    waits: list[float] = field(default_factory=list)
    forks: int = 0
    worker_seconds: float = 0.0
    busy_seconds: float = 0.0
    sizes: list[tuple[float, int]] = field(default_factory=list)  # of the pool, whenever it changed
    depths: list[tuple[float, int]] = field(default_factory=list)  # of the queue, at each turn

    def __post_init__(self) -> None:
        self._random = Random(self.seed)
        self._agenda: list[tuple[float, int, Callable[[int], None], int]] = []
        self._numbers = count(1)
        self._gone = 0

    @property
    def size(self) -> int:
        """Workers that serve or will, and those that still finish a client."""
        return len(self.idle) + len(self.busy) + len(self.starting)

    @property
    def wanted(self) -> int:
        return self.size - len(self.retired & self.busy.keys())

    # the day

    def run(self, until: float = NEVER) -> "Floor":
        """Until a moment, or until everybody is served and the supervisor rests."""
        arrivals = deque(self.clients)
        self.supervisor.open(self)
        turn_at = self.supervisor.turn(self)
        while True:
            came_at = arrivals[0].at if arrivals else NEVER
            news_at = self._agenda[0][0] if self._agenda else NEVER
            at = min(came_at, news_at, turn_at)
            if at == NEVER or at > until:
                self._pass_time(until if until < NEVER else self.now)
                return self
            self._pass_time(at)
            hears = at == turn_at
            if came_at == at:
                self.queue.append(arrivals.popleft())
                self._serve()
                hears |= self.supervisor.hears("came")
            elif news_at == at:
                _, _, happen, worker = heapq.heappop(self._agenda)
                before = len(self.born), len(self.dead)
                happen(worker)
                hears |= len(self.born) > before[0] and self.supervisor.hears("ready")
                hears |= len(self.dead) > before[1] and self.supervisor.hears("gone")
            if hears:
                self.depths.append((at, len(self.queue)))
                turn_at = self.supervisor.turn(self)

    def _pass_time(self, at: float) -> None:
        self.worker_seconds += (at - self.now) * self.size
        self.busy_seconds += (at - self.now) * len(self.busy)
        self.now = at
        if not self.sizes or self.sizes[-1][1] != self.size:
            self.sizes.append((at, self.size))

    # what supervisors order

    def take_in(self, count: int) -> list[int]:
        """Workers that are ready at once."""
        workers = [next(self._numbers) for _ in range(count)]
        for worker in workers:
            self.idle[worker] = self.now
        return workers

    def spawn(self) -> int:
        worker = next(self._numbers)
        self.forks += 1
        self.starting.add(worker)
        self._later(self._random.uniform(*self.boot), self._ready, worker)
        return worker

    def retire(self, worker: int) -> None:
        if worker in self.busy:
            self.retired.add(worker)
        elif self.idle.pop(worker, None) is not None:
            self.retired.add(worker)
            self._later(LEAVING, self._leave, worker)

    # the life of a worker

    def _ready(self, worker: int) -> None:
        self.starting.discard(worker)
        self.idle[worker] = self.now
        self.born.append(worker)
        self._serve()

    def _serve(self) -> None:
        while self.queue and self.idle:
            client = self.queue.popleft()
            worker, _ = self.idle.popitem()
            self.waits.append(self.now - client.at)
            self.busy[worker] = self.now
            self.served[worker] += 1
            self._later(client.work, self._die if client.kills else self._done, worker)

    def _done(self, worker: int) -> None:
        del self.busy[worker]
        if worker in self.retired:
            self._leave(worker)
        else:
            self.idle[worker] = self.now
            self._serve()

    def _die(self, worker: int) -> None:
        del self.busy[worker]
        self._leave(worker)

    def _leave(self, worker: int) -> None:
        self.retired.discard(worker)
        self.dead.append(worker)

    def _later(self, seconds: float, happen: Callable[[int], None], worker: int) -> None:
        self._gone += 1
        heapq.heappush(self._agenda, (self.now + seconds, self._gone, happen, worker))
