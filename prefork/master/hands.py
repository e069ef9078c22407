"""What the master holds in its hands for one service: descriptors and pids, never an opinion.

It must not decide or log. Invariant: every descriptor here is closed by the one method that forgets it.
Read next: ``translate.py`` (facts become events) and ``perform.py`` (orders become calls).
"""

import contextlib
import os
import socket
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Set
from typing import Protocol
from weakref import WeakSet

from msgspec import Struct, field
from msgspec.structs import replace

from prefork.config.service import MOST_SURGE, MOST_WORKERS, Service
from prefork.control.messages import QueueStatus
from prefork.master.lines import Lines
from prefork.master.logs import LogFiles
from prefork.master.meter import LOOK, Meter
from prefork.master.scale import Scale
from prefork.pool import events
from prefork.pool.records import Door, Load, Policy, Pool, Reading, State, Worker
from prefork.pool.wishes import Readings
from prefork.report.status import View, Weighed
from prefork.system import draining, kick, queues, slots, sockets
from prefork.system.logs import Logs
from prefork.system.oomkills import OomKills
from prefork.system.summons import Summons
from prefork.system.timings import Past
from prefork.system.wakeup import Poller
from prefork.worker.protocol import Fork

SLOTS = MOST_WORKERS + MOST_SURGE + 1  # the ceiling and its surge; pages nobody touches cost nothing
LOOK_FOR_PROOF = 1.0  # seconds from one look to the next at who is on trial, while anybody is busy
LANES = 64  # at least so many requests a worker may serve at once, so that a reload may raise a lower setting


class Mold(Struct, eq=False):
    """A mold process: its pair ends when nobody it forked is under way any more, its pidfd when it is dead."""

    generation: int
    pid: int
    pidfd: int
    pair: socket.socket
    unborn: dict[int, int] = field(default_factory=dict)  # a descriptor kept free for the pidfd of each open order
    is_loaded: bool = False  # it hears signals; before that each would end it
    how: str = ""  # it ended, once it has
    is_closed: bool = False  # its pair has ended

    def end_order(self, order: int) -> bool:
        """Close an order to fork and give its descriptor free. False if it was closed before: that is old news."""
        reserved = self.unborn.pop(order, None)
        if reserved is not None:
            os.close(reserved)
        return reserved is not None


class NoticePipe(Struct, eq=False):
    """The reading end of one mold's notice pipe, with the record a read may have cut."""

    reader: int
    remainder: bytes = b""


class Child(Struct, eq=False):
    """A worker process.

    :param reads_orders: from our scoreboard; a worker of another version may have one of its own, and knows only TERM.
    :param told: bytes of its scratch that are older than the last signal to write its stacks there.
    """

    slot: int
    order: int
    pid: int
    pidfd: int
    reads_orders: bool = True
    told: int = 0


class Call(Struct, eq=False):
    """A worker was told to become the mold of a generation, and would speak with us over the pair."""

    slot: int
    order: int
    generation: int
    pair: socket.socket


class Hands(Struct, eq=False):
    """The kernel's side of one service.

    :param is_lent: the listeners belong to somebody who may go on with them after a stop.
    :param scale: ``None`` where no setting asks what processes weigh.
    """

    name: str
    settings: Service
    listeners: list[sockets.Listener]
    board: slots.Scoreboard
    is_lent: bool = False
    scale: Scale | None = None
    kick: int = field(default_factory=kick.create)
    molds: dict[int, Mold] = field(default_factory=dict)
    pipes: set[NoticePipe] = field(default_factory=set)
    children: dict[int, Child] = field(default_factory=dict)  # by slot
    loads: dict[int, Service] = field(default_factory=dict)  # the settings each generation was loaded with
    settled: int = 0  # the generation that serves; 0 until one does
    lines: dict[int, slots.Slot] = field(default_factory=dict)  # of the scoreboard, by slot
    meter: Meter = field(default_factory=Meter)
    heeds_clients: bool = False  # our listeners are in the poller
    summons: Summons = field(default_factory=Summons)
    call: Call | None = None  # that is not answered yet
    past: Past = field(default_factory=Past)  # of all workers that are gone
    looks: WeakSet[Lines] = field(default_factory=WeakSet)  # of snapshots under way; who gives one up says nothing

    @property
    def serving(self) -> Service:
        """What the generation that serves was loaded with."""
        return self.loads.get(self.settled, self.settings)

    @property
    def policy(self) -> Policy:
        """By the settings of the generation that serves; a generation to come has its own time to boot."""
        settings = self.serving
        min_spare, max_spare = settings.spares
        return Policy(
            drain=settings.graceful_timeout,
            quick=settings.quick_timeout,
            boot=self.settings.boot_timeout,
            max_failures=settings.max_failures,
            max_surge=settings.max_surge,
            timeout=settings.timeout or None,
            request_slow=settings.request_slow or None,
            request_hard=settings.request_hard or None,
            min_spare=min_spare,
            max_spare=max_spare,
            slots=SLOTS,
            refork_after=settings.refork_after,
            emergency_crashes=settings.emergency_crashes,
            emergency_window=settings.emergency_window,
        )

    def _count_handshakes(self) -> int:
        ours = (listener for listener in self.listeners if not listener.address.is_inherited)
        return draining.count_handshakes(listener.socket for listener in ours)

    @property
    def has_own_door(self) -> bool:
        """Whether any listener was opened by this process, so that nobody else may be refused with us."""
        return any(not listener.address.is_inherited for listener in self.listeners)

    @property
    def keeps_door(self) -> bool:
        """Whether who is queued when the service stops waits for whoever listens next."""
        return self.is_lent or (bool(self.listeners) and not self.has_own_door)

    def pidfds(self) -> list[int]:
        """Of every process of ours that lives and hears signals."""
        molds = [mold.pidfd for mold in self.molds.values() if mold.is_loaded and not mold.how]
        return molds + [child.pidfd for child in self.children.values()]

    def pids(self) -> Iterator[int]:
        """Of every process of ours."""
        yield from (mold.pid for mold in self.molds.values())
        yield from (child.pid for child in self.children.values())

    def line(self, slot: int) -> slots.Slot:
        if slot not in self.lines:
            self.lines[slot] = self.board.slot(slot)
        return self.lines[slot]

    def looks_every(self, pool: Pool) -> float | None:
        """Seconds within which a worker that became busy has to be seen; ``None`` where no rule asks."""
        limits = [self.policy.shortest, LOOK if self.serving.is_sized or self._limits_memory else None]
        limits += [LOOK_FOR_PROOF] if pool.backoff.failures else []
        return min((limit for limit in limits if limit is not None), default=None)

    @property
    def _limits_memory(self) -> bool:
        """Whether any worker may be too heavy, of whatever generation."""
        return any(settings.limits_memory for settings in self.loads.values())

    def read(self, pool: Pool, now: float) -> Readings:
        """What the scoreboard and the kernel's tables say now, as far as a rule asks for it."""
        readings: Mapping[int, Reading] = {}
        counts = any(settings.max_requests or settings.refork_after for settings in self.loads.values())
        has_surplus = len(pool.in_state(State.READY)) > pool.wanted.count  # of whom the idle leave first
        is_urgent = any(worker.is_urgent for worker in pool.workers.values())
        if counts or has_surplus or is_urgent or self.looks_every(pool) is not None:
            readings = self.read_slots(pool, now)
        handshakes = self._count_handshakes() if pool.door is Door.REFUSING else 0
        memory = self._weigh(pool, readings, now)
        return Readings(readings, handshakes, self._read_load(pool, readings, now), memory)

    def _weigh(self, pool: Pool, readings: Mapping[int, Reading], now: float) -> Mapping[int, tuple[int, ...]]:
        """Weigh a few of those who may weigh something else than before; what is known of all, by slot."""
        if self.scale is None:
            return {}
        served: dict[int, int | None] = {}
        for slot, reading in readings.items():
            if (pid := pool.workers[slot].pid) is not None:
                served[pid] = reading.requests if reading.busy_since is None else None
        self.scale.look(served, [mold.pid for mold in self.molds.values()], now)
        return self.weights(pool, readings)

    def weights(self, pool: Pool, readings: Mapping[int, Reading]) -> Mapping[int, tuple[int, ...]]:
        """What is known of those that were read, by slot."""
        return {slot: self._samples(pool.workers[slot]) for slot in readings} if self.scale is not None else {}

    def _samples(self, worker: Worker) -> tuple[int, ...]:
        if self.scale is None or worker.pid is None:
            return ()
        return self.scale.samples(worker.pid, worker.memory.measure)

    def read_slots(self, pool: Pool, now: float) -> dict[int, Reading]:
        """What the scoreboard says now of every worker that may have requests."""
        watched = pool.in_state(State.READY, State.RETIRING)
        return {worker.slot: self._read_slot(worker.slot, now) for worker in watched}

    def _read_slot(self, slot: int, now: float) -> Reading:
        line = self.line(slot)
        totals, under_way = line.totals, line.under_way()
        return Reading(
            requests=totals[slots.REQUESTS],
            busy_since=under_way[0][1] if under_way else None,
            under_way=tuple(under_way),
            busy=len(under_way),
            at_once=totals[slots.LANES] or 1,
            busy_seconds=totals[slots.BUSY_NS] / 1e9 + sum(now - since for _, since in under_way),
        )

    def _read_load(self, pool: Pool, readings: Mapping[int, Reading], now: float) -> Load | None:
        settings = self.serving
        if not settings.is_sized or pool.is_stopping:
            return None
        queued = 0 if pool.wanted.is_paused else sum(queues.depth(listener.socket) for listener in self.listeners)
        load = self.meter.read(pool, readings, queued, settings.worker_idle_timeout or 0.0, now)
        if settings.memory_budget is None:
            return load
        assert self.scale is not None, "made where there is a budget"
        workers = [child.pid for child in self.children.values()]
        molds = [mold.pid for mold in self.molds.values()]
        return replace(load, affordable=self.scale.affordable(settings.memory_budget, workers, molds))

    def heed_clients(self, load: Load | None, pool: Pool, poller: Poller) -> None:
        """Let the first client wake the master, while no worker is wanted that it could wake.

        One that queues already is not waited for: whatever keeps the rules from helping it has a deadline of its own.
        """
        is_alone = load is not None and pool.wanted.count == 0 and not load.queued and not pool.wanted.is_paused
        if is_alone is not self.heeds_clients:
            self.heeds_clients = is_alone
            for listener in self.listeners:
                if is_alone:
                    poller.add(listener.socket.fileno(), self)
                else:
                    poller.remove(listener.socket.fileno())

    def account(self, slot: int, order: int) -> tuple[int, list[slots.Request]]:
        """Requests this incarnation has served, and those under way; none if the slot holds another's figures."""
        line = self.line(slot)
        if line.totals[slots.ORDER] != order:
            return 0, []
        return line.totals[slots.REQUESTS], line.requests_under_way()

    def bury(self, slot: int, order: int) -> None:
        """The worker is gone: keep its figures, for its successor will clear the slot."""
        line = self.line(slot)
        if line.totals[slots.ORDER] == order:
            self.past = self.past.plus(line.timings, time.monotonic_ns())
            for look in self.looks:
                look.bury(slot, order, line)

    def view(self, pool: Pool) -> View:
        """What a snapshot is made from."""
        binds = tuple(str(listener.address) for listener in self.listeners)
        molds = tuple((mold.generation, mold.pid) for mold in self.molds.values() if not mold.how)
        look = Lines(pool, self.line)
        self.looks.add(look)
        return View(pool, self.serving, binds, look, self.past, self._weight, molds, self._tell_queues)

    def _tell_queues(self) -> list[QueueStatus]:
        found = []
        for listener in self.listeners:
            with contextlib.suppress(OSError):  # it is closed, for we are about to end
                queue = queues.measure(listener.socket)
                found.append(QueueStatus(bind=str(listener.address), **queue._asdict()))
        return found

    def _weight(self, worker: Worker) -> Weighed | None:
        """What the worker weighed last."""
        samples = self._samples(worker)
        if not samples:
            return None
        assert self.scale is not None, "it gave the samples"
        assert worker.pid is not None, "so did it"
        return Weighed(samples[-1], worker.memory.measure, self.scale.weighed_at(worker.pid))

    def settle(self, generation: int, *, keeps_the_last: bool = False) -> None:
        """The generation serves: its settings hold from now on.

        :param keeps_the_last: those before it are not forgotten yet, for it is on probation.
        """
        self.settled = generation
        for listener in self.listeners:
            if not listener.address.is_inherited:  # the option would be that of all who hold the socket
                sockets.keep_alive(listener.socket, self.loads[generation].keepalive or 0.0)
        if not keeps_the_last:
            self.forget_before(generation)

    def forget_before(self, generation: int) -> None:
        """Nobody will be forked from an older one any more."""
        self.loads = {number: settings for number, settings in self.loads.items() if number >= generation}

    def abandon(self, generation: int) -> None:
        """The generation failed: nothing it was loaded with holds, unless something newer is asked for already."""
        if self.settings is self.loads.pop(generation, None):
            self.settings = self.loads[self.settled]

    def roll_back(self, generation: int, back_to: int) -> None:
        """The generation failed on probation: what the one before was loaded with holds again."""
        self.settle(back_to)
        self.abandon(generation)

    def close_listeners(self) -> None:
        """Close our copies. Paths stay till the end, so that a client waiting for room in a queue is refused by it."""
        for listener in self.listeners:
            listener.socket.close()

    def remove_paths(self) -> None:
        for listener in self.listeners:
            sockets.remove_path(listener)

    def close(self) -> None:
        """Give back what a master that ends before its process does must not leave open. Its workers are gone."""
        self.close_listeners()
        for child in list(self.children.values()):
            self.forget_child(child)
        for pipe in list(self.pipes):
            self.forget_pipe(pipe)
        self.lines.clear()
        self.summons.close()
        self.board.close()
        os.close(self.kick)

    def forget_mold(self, mold: Mold) -> None:
        if self.molds.get(mold.generation) is mold:
            del self.molds[mold.generation]
        for order in list(mold.unborn):
            mold.end_order(order)
        mold.pair.close()

    def forget_pipe(self, pipe: NoticePipe) -> None:
        self.pipes.discard(pipe)
        os.close(pipe.reader)

    def forget_child(self, child: Child) -> None:
        if self.children.get(child.slot) is child:
            del self.children[child.slot]
        os.close(child.pidfd)


Events = list[events.Event]


class Molding(Protocol):
    """How generations are loaded and workers forked: ``molding.py`` by fresh interpreters.

    What cannot be done is an event, never an exception. Whatever is asked for twice is done once.
    """

    def start(self, generation: int, hands: Hands, machine: "Machine") -> Events:
        """Begin to load a generation. News of it follows, or is among the events already."""

    def dismiss(self, generation: int, hands: Hands) -> Events:
        """Nobody will be forked from the generation any more."""

    def kill(self, generation: int, why: str, hands: Hands) -> Events:
        """The same, at once."""

    def fork(self, generation: int, fork: Fork, hands: Hands, machine: "Machine") -> Events:
        """Fork a worker of the generation. News of it follows, or is among the events already."""

    def read_messages(
        self, ready: Set[Hashable], has_messages: bool, hands: Hands, machine: "Machine"
    ) -> Iterator[events.Event]:
        """What molds and newborn workers say.

        :param ready: keys of the poller whose descriptors are readable.
        :param has_messages: some may have written without being in ``ready`` yet.
        """

    def reap(self, ready: Set[Hashable], hands: Hands, machine: "Machine") -> Iterator[events.Event]:
        """The molds that ended."""


class Machine(Struct, eq=False):
    """What all services of the master share.

    :param descriptors: the soft limit of open descriptors we were started with.
    :param adopts: whether the kernel gives us orphans: workers whose process between ended, and strangers.
    :param helpers: pids of children that are neither mold nor worker, reaped by whoever started them.
    :param unadopted: dead workers whose process between still lives, so that they are not our children yet.
    """

    instance: str
    lifeline: int
    descriptors: int
    molding: Molding
    adopts: bool = True
    poller: Poller = field(default_factory=Poller)
    logs: Logs = field(default_factory=Logs)
    log_files: LogFiles | None = None  # ``None`` in somebody's program, whose log is its own
    has_reopened: bool = False  # the log, so that a newborn may have taken the file before
    oom_kills: OomKills = field(default_factory=OomKills)
    unadopted: set[Child] = field(default_factory=set)
    helpers: set[int] = field(default_factory=set)
    strangers: int = 0  # ended processes that were not ours, reaped as sub-reaper or PID 1
    has_waiting_strangers: bool = False  # some may be there that could not be told from our own yet
    _undo: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def on_close(self, undo: Callable[..., object], *arguments: object) -> None:
        """Something else that only a master has, to be called when it ends, and in every process it forks."""
        self._undo.callback(undo, *arguments)

    def close(self) -> None:
        """Stop being a master; what is left in hand is the hands' to close."""
        self.poller.close()
        self._undo.close()


def known_pids(all_hands: Iterable[Hands]) -> set[int]:
    """Pids that are reaped by their own pidfd."""
    return {pid for hands in all_hands for pid in hands.pids()}
