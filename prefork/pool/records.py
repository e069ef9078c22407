"""The book of one service: frozen records of what is wanted, what is there, and since when.

It must not know the kernel. Times are seconds on one monotonic clock.
Invariant: states only move forward, and no two workers share a slot.
Read next: ``learn.py``, the only writer.
"""

from collections.abc import Mapping
from enum import Enum, IntEnum, auto
from typing import NamedTuple

from msgspec import Struct, field

from prefork.pool.reasons import Reason

PROVEN_AFTER_SECONDS = 10.0
PROVEN_AFTER_REQUESTS = 10


class Phase(IntEnum):
    """What is wanted of the whole service; it only moves forward."""

    SERVING = 0
    DRAINING = 1  # refuse new clients, serve what is queued, within the drain limit
    QUICK = 2  # the same within the quick limit
    NOW = 3  # kill what is left


class State(Enum):
    """What a worker is. One that is gone is not in the book."""

    STARTING = auto()  # ordered; born as soon as it has a pid
    READY = auto()
    RETIRING = auto()  # takes nothing new, finishes what it has
    EXPELLED = auto()  # told to leave for a request beyond the hard limit; what it has besides may end quickly
    KILLED = auto()  # SIGKILL is sent, the kernel has not said yet that it is gone


class Stage(Enum):
    """What a generation's mold is."""

    LOADING = auto()
    LOADED = auto()
    LOST = auto()  # its mold died; nobody can be born until another loads the same
    BROKEN = auto()  # the application could not be loaded
    LEAVING = auto()  # told to go
    KILLED = auto()


class Door(Enum):
    """What new clients meet."""

    OPEN = auto()
    REFUSING = auto()  # nothing new is admitted; handshakes under way may finish
    SHUT = auto()  # the master's listeners are closed; workers close theirs when the queue is empty


class Policy(Struct, frozen=True):
    """The settings the rules read.

    :param drain: seconds a retiring worker has to finish its request.
    :param quick: seconds a quick stop leaves.
    :param boot: seconds from the order to ready, for a mold as for a worker.
    :param max_failures: failures in a row after which the service is given up; 0 is never.
    :param max_surge: how many workers may be replaced at a time; ``None`` is a quarter of those wanted.
    :param timeout: seconds after which a request is interrupted; ``None`` is never.
    :param request_slow: seconds after which the log tells where a request is; ``None`` is never.
    :param request_hard: seconds after which a request costs its worker the life; ``None`` is never.
    :param min_spare: a sized pool has at least as many idle workers, as far as its bounds allow.
    :param max_spare: and keeps at most as many that it has not needed lately.
    :param slots: as many as there are: no worker is forked beyond, whatever lingers.
    :param refork_after: a worker that has served as many requests becomes the next mold; 0 is never.
    :param emergency_crashes: after so many deaths by a signal, within ``emergency_window`` seconds, the code is loaded
        anew; 0 is never.
    """

    drain: float = 30.0
    quick: float = 1.0
    boot: float = 60.0
    max_failures: int = 0
    max_surge: int | None = None
    timeout: float | None = None
    request_slow: float | None = None
    request_hard: float | None = None
    min_spare: int = 1
    max_spare: int = 3
    slots: int = 5000
    refork_after: int = 0
    emergency_crashes: int = 0
    emergency_window: float = 60.0

    @property
    def shortest(self) -> float | None:
        """The first limit that a request meets; ``None`` where it has none."""
        limits = (self.timeout, self.request_slow, self.request_hard)
        return min((limit for limit in limits if limit is not None), default=None)

    def surge(self, count: int) -> int:
        """How many workers beyond ``count`` wanted ones a replacement may use for a while."""
        return self.max_surge or max(1, count // 4)


class Bounds(NamedTuple):
    """The least and the most workers that may be wanted. Where they are the same, the pool is fixed."""

    least: int
    most: int

    @property
    def is_fixed(self) -> bool:
        return self.least == self.most

    def moved(self, by: int) -> "Bounds":
        return Bounds(max(0, self.least + by), max(0, self.most + by))

    def clip(self, count: int) -> int:
        """The count within these bounds that is nearest."""
        return max(self.least, min(count, self.most))


def fixed(count: int) -> Bounds:
    return Bounds(count, count)


class Wanted(Struct, frozen=True):
    """What operators and configuration ask for. Signals and commands change only this, and within the bounds the load.

    :param scaled: by how many workers operators have moved both bounds.
    :param resized_by: what the load last changed the count by, ``resized_at`` when.
    """

    count: int
    configured: Bounds  # as configured: a change by operators lasts until this one changes
    asked: Bounds | None = None  # as configured for the generation asked for; holds once that one serves
    scaled: int = 0
    resized_by: int = 0
    resized_at: float = float("-inf")
    generation: int = 1
    phase: Phase = Phase.SERVING
    since: float = 0.0  # when the phase began
    keeps_door: bool = False  # at a stop: the listeners outlive us, and who is queued waits for whoever serves next
    is_paused: bool = False  # nobody is accepted, until an operator says otherwise

    @property
    def bounds(self) -> Bounds:
        return self.configured.moved(self.scaled)


class MemoryLimits(Struct, frozen=True):
    """What a worker may use, its jitter included, in bytes; 0 is no limit.

    :param soft: beyond it, it is replaced.
    :param hard: beyond it, it is killed.
    :param measure: ``uss``, what it has alone, or ``pss``, its share of what others have as well.
    """

    soft: int = 0
    hard: int = 0
    measure: str = "uss"


class Worker(Struct, frozen=True):
    """One worker process.

    :param order: number of the order it was forked by, unique in the service: slot and order name one incarnation.
    :param since: when it entered its state.
    :param pid: ``None`` until it is born.
    :param max_requests: its own limit, jitter included; 0 is none.
    :param max_age: seconds that it may serve, likewise.
    :param memory: likewise.
    :param why: in ``RETIRING``, ``EXPELLED`` and ``KILLED``, the reason; ``reason`` the word for it.
    :param interrupted: of its requests, those up to this number were to be interrupted when it was last told so.
    :param told_slow: of its requests, those up to this number were told of as slow.
    :param stood_at: when it was last found stopped, by a signal or a debugger; ``None`` while it runs.
    :param went_on_at: when it was found running again; its limits begin anew there.
    :param is_dumped: in ``EXPELLED``: its stacks were asked for where Python code cannot answer.
    :param is_recycled: an operator wants another in its place; ``is_urgent``: whatever it has under way.
    """

    slot: int
    order: int
    generation: int
    state: State
    since: float
    ordered_at: float
    ready_at: float | None = None
    pid: int | None = None
    max_requests: int = 0
    max_age: float = 0.0
    memory: MemoryLimits = MemoryLimits()
    why: str = ""
    reason: Reason | None = None
    interrupted: int = 0
    interrupted_at: float = 0.0
    told_slow: int = 0
    is_dumped: bool = False
    stood_at: float | None = None
    went_on_at: float = float("-inf")
    is_recycled: bool = False
    is_urgent: bool = False

    @property
    def is_living(self) -> bool:
        """Whether it counts towards what is wanted: it serves, or will."""
        return self.state is State.STARTING or self.state is State.READY


class Leftover(Struct, frozen=True):
    """Processes of a worker that died with requests under way: its children, who finish them.

    :param pid: the dead worker's, and the number of their process group.
    :param seen_at: when they were last found alive; never yet, as long as they may be zombies that we collect first.
    """

    pid: int
    since: float
    seen_at: float = float("-inf")

    @property
    def was_seen(self) -> bool:
        return self.seen_at > float("-inf")


class Generation(Struct, frozen=True):
    """One load of the code and configuration of the service."""

    number: int
    stage: Stage
    since: float
    pid: int | None = None
    why: str = ""
    losses: int = 0  # molds that died in a row
    is_reforked: bool = False  # its mold is, or was until it was lost, a worker with what that had cached


class Outcome(Struct, frozen=True):
    """How the last attempt to bring in a generation ended.

    :param generation: ``None`` where it was refused before it had a number.
    :param why: it failed; empty where it serves.
    """

    at: float
    generation: int | None
    why: str = ""


class Refork(Struct, frozen=True):
    """A worker is to become the mold of the next generation.

    :param slot: and ``order``: which worker.
    :param generation: whose mold it would be, once it is called; 0 as long as its successor is not ready.
    :param called_at: ``None`` as long.
    """

    slot: int
    order: int
    asked_at: float
    generation: int = 0
    called_at: float | None = None

    def means(self, worker: Worker) -> bool:
        return (self.slot, self.order) == (worker.slot, worker.order)


class Probation(Struct, frozen=True):
    """A generation that serves, while the one before it could serve again.

    :param fallback: the generation before, whose mold is kept.
    :param until: the moment at which it is passed.
    :param configured: the least and the most workers by the settings of the fallback, and ``scaled`` by operators then.
    :param losses: workers of it that were lost since it serves, and ``why`` the last one.
    """

    generation: int
    fallback: int
    until: float
    configured: Bounds
    scaled: int = 0
    losses: int = 0
    why: str = ""


class Bucket(Struct, frozen=True):
    """Tokens that refill with time: what was left when one was last taken."""

    level: float = float("inf")
    at: float = 0.0


class Backoff(Struct, frozen=True):
    """What the dead owe: how many replacements wait for leave, and how fast it is given.

    :param failures: attempts in a row that ended unproven; a hundred workers that die of one attempt are one.
    :param why: how the last of them ended.
    :param is_by_requests: it died of its first request, so that a successor proves itself by one that it has served.
    :param crashed: replacements owed for workers that died unproven.
    :param died: replacements owed for workers that had proven themselves.
    :param refusals: times in a row the machine refused a fork.
    :param refused_until: no fork is tried before.
    """

    failures: int = 0
    failed_at: float = float("-inf")
    why: str = ""
    is_by_requests: bool = False
    crashed: int = 0
    died: int = 0
    crash_tokens: Bucket = Bucket()
    death_tokens: Bucket = Bucket()
    refusals: int = 0
    refused_until: float = float("-inf")


class Reading(Struct, frozen=True):
    """What the scoreboard says of one slot now. It is an argument of decisions, never part of the book.

    :param requests: as many as it has served.
    :param busy_since: start of the oldest request under way.
    :param under_way: number and start of each, the oldest first; a later one has a higher number.
    :param busy: as many as are under way, of at most ``at_once``.
    :param busy_seconds: what all its requests took together, those under way so far.
    """

    requests: int = 0
    busy_since: float | None = None
    under_way: tuple[tuple[int, float], ...] = ()
    busy: int = 0
    at_once: int = 1
    busy_seconds: float = 0.0


class Load(Struct, frozen=True):
    """What clients need of a service, counted in workers: of one that serves several at once by the share in use.

    :param busy: in use now.
    :param queued: clients that no worker has accepted yet.
    :param at_once: requests that one worker serves at once.
    :param each: seconds a request takes; what is beyond a second does not matter.
    :param peak: the most that was needed at once lately, spare ones not counted.
    :param falls_at: when ``peak`` becomes less, unless it is needed again; ``None`` where it is nothing.
    :param affordable: workers that the memory budget has room for; ``None`` where there is no budget, or no figure yet.
    """

    busy: float = 0.0
    queued: int = 0
    at_once: int = 1
    each: float = 1.0
    peak: int = 0
    falls_at: float | None = None
    affordable: int | None = None


class Pool(Struct, frozen=True):
    """The book of one service.

    :param serving: the generation that serves; 0 until one first does.
    :param coming: the generation being brought in, if any.
    :param probation: of the generation that serves, if it is on any.
    :param last_generation: the highest number ever given.
    :param cut_off: requests that a stop ended before they were answered.
    :param failed: why the service was given up.
    :param refork: under way, if one is.
    :param unfit: the generation none of whose workers could become a mold: none is tried again unless asked for.
    :param crashes: when workers of the serving generation died by a signal, the latest at most.
    :param emergency_at: when the code was last loaded anew for such deaths.
    :param degraded_since: when it was last said to be degraded; ``None`` while it is not.
    :param is_paused: workers were told to accept nobody; what is wanted is in ``wanted``.
    :param started: workers that became ready, ever; ``ended`` how many ended by which ``Reason``, and ``loads`` how
        many loads by which ``LoadEnd``.
    :param awake_since: when the master went on after it, or the whole machine, had stood still: limits begin anew.
    """

    name: str
    wanted: Wanted
    serving: int = 0
    coming: int | None = None
    probation: Probation | None = None
    last_generation: int = 0
    generations: Mapping[int, Generation] = field(default_factory=dict)
    workers: Mapping[int, Worker] = field(default_factory=dict)
    leftovers: Mapping[int, Leftover] = field(default_factory=dict)
    next_order: int = 1
    backoff: Backoff = Backoff()
    door: Door = Door.OPEN
    door_since: float = 0.0
    cut_off: int = 0
    failed: str | None = None
    degraded_since: float | None = None
    last_load: Outcome | None = None
    refork: Refork | None = None
    unfit: int = 0
    crashes: tuple[float, ...] = ()
    emergency_at: float = float("-inf")
    awake_since: float = float("-inf")
    is_paused: bool = False
    started: int = 0
    ended: Mapping[str, int] = field(default_factory=dict)
    loads: Mapping[str, int] = field(default_factory=dict)

    def in_state(self, *states: State) -> list[Worker]:
        return [worker for worker in self.workers.values() if worker.state in states]

    def but_chosen(self, workers: list[Worker]) -> list[Worker]:
        """Without the one that is to become a mold: it needs a successor."""
        refork = self.refork
        return workers if refork is None else [worker for worker in workers if not refork.means(worker)]

    def but_called(self, workers: list[Worker]) -> list[Worker]:
        """Without the one that was told to become a mold: it may stop serving at any moment."""
        is_called = self.refork is not None and self.refork.called_at is not None
        return self.but_chosen(workers) if is_called else workers

    def counts_from(self, since: float, worker: Worker | None = None) -> float:
        """Where a limit begins that began at ``since``: time in which nobody could do anything does not count."""
        return max(since, self.awake_since, worker.went_on_at if worker is not None else since)

    @property
    def is_stopping(self) -> bool:
        return self.wanted.phase > Phase.SERVING

    @property
    def is_reloading(self) -> bool:
        """Whether a generation is asked for, coming, or on probation."""
        is_asked = self.wanted.generation > self.last_generation
        return is_asked or self.coming is not None or self.probation is not None

    @property
    def is_settled(self) -> bool:
        """Whether nothing asked for is still to be tried, and all wanted workers are ready."""
        return self.serving > 0 and not self.is_reloading and len(self.in_state(State.READY)) >= self.wanted.count

    @property
    def is_finished(self) -> bool:
        is_empty = not self.workers and not self.generations and not self.leftovers
        return self.is_stopping and self.door is Door.SHUT and is_empty

    @property
    def kept(self) -> tuple[int, ...]:
        """The generations whose molds are needed."""
        fallback = self.probation.fallback if self.probation is not None else None
        return tuple(number for number in (self.coming, self.serving, fallback) if number)

    @property
    def target(self) -> int | None:
        """The generation new workers are forked from: the coming one once it is loaded, else the serving one."""
        for number in (self.coming, self.serving):
            if number and number in self.generations and self.generations[number].stage is Stage.LOADED:
                return number
        return None

    @property
    def newest(self) -> int:
        """The generation workers should be of, also while its mold is lost: it answers for deaths."""
        return self.target or self.serving or self.coming or 0


def is_proven(worker: Worker, requests: int, now: float, *, is_by_requests: bool = False) -> bool:
    """Whether the worker has shown that it works: ten seconds ready, or ten requests.

    :param requests: as many as it has served.
    :param is_by_requests: its first request is the test, so that time alone shows nothing, however long it idled.
    """
    if worker.ready_at is None or (is_by_requests and not requests):
        return False
    return requests >= PROVEN_AFTER_REQUESTS or now - worker.ready_at >= PROVEN_AFTER_SECONDS
