"""A pretend kernel in virtual time: it obeys the orders of the mind, and people, molds and workers misbehave as drawn.

The loop is the master's: news is learnt, one decision is made, its orders are performed, and the clock jumps to what is
due next.
Invariant: no two live processes share a slot, and the mind has no more than one mold of a generation.
Read next: ``test_invariants.py``, which says what must hold at every turn of this loop.
"""

import heapq
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from random import Random
from typing import Any, TypeVar

from prefork.pool import events, orders, recycling, reforking
from prefork.pool.learn import learn
from prefork.pool.records import Bounds, Load, MemoryLimits, Policy, Pool, Reading, State, Wanted, Worker, fixed
from prefork.pool.recycling import SOFT_SAMPLES
from prefork.pool.rules import RULES, Decision, decide
from prefork.pool.sizing import Window
from prefork.pool.wishes import Readings

Told = TypeVar("Told", bound=events.Event | orders.Order)
Span = tuple[float, float]  # seconds, from and to
NEVER = float("inf")
MEMORY_LIMITS = MemoryLimits(soft=100, hard=1000)
LOOK = 0.25  # seconds from one look at busy workers to the next
MOST_TURNS = 50_000  # a limit for failure: a history that long never comes to rest


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """What one load of the application does. What is no span and no rate is a chance: of a hundred such, so many."""

    load: Span = (0.0, 0.3)
    mold_refused: float = 0  # the machine cannot start the mold
    broken: float = 0  # its mold says that it cannot be loaded
    dies_loading: float = 0
    hangs_loading: float = 0
    dies_loaded: float = 0  # its mold dies some time after it has loaded
    mold_life: Span = (0.0, 5.0)  # of those
    is_stubborn: float = 0  # its mold leaves only when killed
    is_deaf: float = 0  # its mold forgets an order to fork

    boot: Span = (0.0, 0.3)
    dies_starting: float = 0
    never_ready: float = 0
    dies_ready: float = 0
    dies_at_work: float = 0  # of those: of its first request, having served none
    leaves: float = 0  # by its own decision
    sticks: float = 0  # in a request without end
    heeds: float = 0  # of those that stick: can be interrupted
    life: Span = (0.0, 30.0)  # from ready to any of those
    requests_a_second: float = 0
    ignores_retirement: float = 0
    wears: float = 0  # reaches its ``max_requests`` within a life
    declines: float = 0  # to become a mold
    is_deaf_to_calls: float = 0  # answers only when it is called back, or not even then
    ages: float = 0  # has a ``max_age`` within a life
    swells: float = 0  # is beyond its soft limit of memory after a life, and stays there
    bursts: float = 0  # the same of its hard limit


GOOD = Code()


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The machine, and the code that each generation finds; the last is found by all that follow."""

    codes: tuple[Code, ...] = (GOOD,)
    seed: int = 0
    refused: float = 0  # chance of a hundred that the machine refuses a fork
    fork: Span = (0.0, 0.02)
    request: Span = (0.0, 0.5)  # what a retiring worker still has to do
    kill: Span = (0.0, 0.05)  # from SIGKILL to the news of the death
    overtaking: float = 0  # chance that "ready" is read before "born"
    handshakes: int = 0  # under way as long as the door is not shut
    grain: float = 0.001  # news within as many seconds comes in one batch


@dataclass(eq=False, slots=True)
class MoldProcess:
    generation: int
    is_alive: bool = True
    under_way: list["WorkerProcess"] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class WorkerProcess:
    slot: int
    order: int
    generation: int
    max_requests: int
    is_alive: bool = False
    is_known: bool = False  # "born" is told
    is_stuck: bool = False
    is_doomed: bool = False  # SIGKILL is on its way
    is_called_back: bool = False
    ready_at: float | None = None
    requests: int = 0


def service(workers: int, bounds: Bounds | None = None) -> Pool:
    """The book of a service that has just been configured."""
    return Pool("echo", Wanted(workers, bounds or fixed(workers)))


@dataclass(eq=False)
class Simulation:
    """One service in its world.

    :param calm_at: from then on nothing goes wrong any more.
    :param probation: seconds of each generation, but for the first.
    :param watchers: called with each decision before it is performed.
    :param history: all that was ordered and learnt.
    """

    pool: Pool
    policy: Policy
    world: World
    now: float = 0.0
    calm_at: float = NEVER
    probation: float = 0.0
    watchers: list[Callable[["Simulation", Decision], None]] = field(default_factory=list)
    history: list[events.Event | orders.Order] = field(default_factory=list)
    molds: dict[int, MoldProcess] = field(default_factory=dict)
    workers: dict[int, WorkerProcess] = field(default_factory=dict)
    readings: dict[int, Reading] = field(default_factory=dict)
    memory: dict[int, tuple[int, ...]] = field(default_factory=dict)
    clients: int = 0  # that want a worker each, now
    window: Window | None = None  # of a pool that sizes itself

    def __post_init__(self) -> None:
        self.random = Random(self.world.seed)
        self.agenda: list[tuple[float, int, Callable[[], None]]] = []
        self.numbers = count(1)
        self.rounds = 0  # of orders at this moment since the last news
        self.turns = 0
        self.by_kind: dict[type, list[Any]] = defaultdict(
            list
        )  # the history; histories are long, and asked about often

    # the loop

    def run(self, until: float = NEVER, has_come: Callable[[Pool], bool] = lambda pool: False) -> "Simulation":
        """Go on until a moment, until the pool has come to a state, is finished, or nothing will ever happen again."""
        while True:
            while self.agenda and self.agenda[0][0] <= self.now:
                heapq.heappop(self.agenda)[2]()
            decision = self.turn()
            if self.pool.is_finished or has_come(self.pool):
                return self
            due = min(self.agenda[0][0] if self.agenda else NEVER, NEVER if decision.until is None else decision.until)
            if self.window and self.clients and self.pool.workers:  # some are busy: the master looks again
                due = min(due, self.now + LOOK)
            if due > until or due == NEVER:
                self.now = self.now if until == NEVER else max(self.now, until)
                return self
            if due > self.now:
                self.now = due
                self.rounds = 0

    def turn(self) -> Decision:
        self.turns += 1
        assert self.turns <= MOST_TURNS, f"no rest, at {self.now:g} s after {self.history[-10:]}"
        decision = decide(self.pool, self.read(), self.policy, self.now)
        for watch in self.watchers:
            watch(self, decision)
        if decision.orders:
            self.rounds += 1
            assert self.rounds <= 2 * len(RULES), f"orders without end: {decision}"
        else:
            assert decision.until is None or decision.until > self.now, f"a wait that is over: {decision}"
        for order in decision.orders:
            self.remember(order)
            self.perform(order)
        return decision

    def read(self) -> Readings:
        """What is true now. As many clients as there are ready workers are served, the others queue."""
        handshakes = self.world.handshakes if self.pool.is_stopping else 0
        if self.window is None:
            return Readings(self.readings, handshakes, memory=self.memory)
        busy = min(self.clients, len(self.pool.in_state(State.READY)))
        self.window = self.window.with_need(self.now, self.clients)
        load = Load(busy, self.clients - busy, peak=self.window.peak, falls_at=self.window.falls_at)
        return Readings(self.readings, handshakes, load, self.memory)

    def settle(self) -> "Simulation":
        """Go on until what was asked for serves."""
        self.run(has_come=lambda pool: pool.is_settled)
        assert self.pool.is_settled
        return self

    def become(self, *codes: Code) -> "Simulation":
        """From here on the newest generation so far is as the first of ``codes``, the next ones as the others."""
        found = self.world.codes
        kept = [found[min(number, len(found) - 1)] for number in range(self.pool.last_generation - 1)]
        self.world = replace(self.world, codes=(*kept, *codes))
        return self

    # what people do

    def ask(self, event: type[events.Event], **fields: object) -> "Simulation":
        """Something is asked for now."""
        self.rounds = 0
        self.tell(event(at=self.now, **fields))
        return self

    def ask_at(self, at: float, event: type[events.Event], **fields: object) -> None:
        self._plan(at, lambda: self.ask(event, **fields))

    def come_at(self, at: float, clients: int) -> None:
        """From then on so many clients want a worker."""

        def come() -> None:
            self.clients = clients

        self._plan(at, come)

    def ask_refork(self) -> "Simulation":
        """An operator asks, and is refused where none can become a mold."""
        choice = reforking.choose(self.pool, self.readings, self.memory, self.now)
        if isinstance(choice, Worker):
            self.ask(events.ReforkAsked, slot=choice.slot, order=choice.order)
        return self

    def ask_refork_at(self, at: float) -> None:
        self._plan(at, self.ask_refork)

    def ask_recycle(self, who: int | None, is_urgent: bool) -> "Simulation":
        """An operator asks for others in the place of those he means, and is refused where he means nobody."""
        choice = recycling.choose(self.pool, who)
        if not isinstance(choice, str):
            chosen = tuple((worker.slot, worker.order) for worker in choice)
            self.ask(events.RecycleAsked, workers=chosen, is_urgent=is_urgent)
        return self

    def ask_recycle_at(self, at: float, who: int | None, is_urgent: bool) -> None:
        self._plan(at, lambda: self.ask_recycle(who, is_urgent))

    def lose_workers(self) -> None:
        """Somebody kills them all."""
        for worker in list(self.workers.values()):
            self._exit(worker, "was killed by SIGKILL")

    def lose_molds(self) -> None:
        for mold in self.molds.values():
            self._mold_dies(mold, "was killed by SIGKILL")

    # what is done with orders

    def perform(self, order: orders.Order) -> None:
        at = self.now
        match order:
            case orders.StartMold(generation):
                self._start_mold(generation)
            case orders.DismissMold(generation):
                self.tell(events.MoldDismissed(at=at, generation=generation))
                mold = self.molds.get(generation)
                if mold and not self._happens(self._code(generation).is_stubborn):
                    self._later(self.world.kill, self._mold_dies, mold, "exited")
            case orders.KillMold(generation, why):
                self.tell(events.MoldDismissed(at=at, generation=generation, why=why))
                if generation in self.molds:
                    self._later(self.world.kill, self._mold_dies, self.molds[generation], "was killed")
            case orders.SettleGeneration(generation):
                self.tell(events.GenerationSettled(at=at, generation=generation, probation=self.probation))
            case orders.EndProbation(generation, why):
                self.tell(events.ProbationEnded(at=at, generation=generation, why=why))
            case orders.RollBack(generation, back_to, why):
                self.tell(events.GenerationRolledBack(at=at, generation=generation, back_to=back_to, why=why))
            case orders.AbandonGeneration(generation, why):
                self.tell(events.GenerationAbandoned(at=at, generation=generation, why=why))
            case orders.FailService(why):
                self.tell(events.ServiceFailed(at=at, why=why))
            case orders.AskRefork(slot, number, requests):
                self.tell(events.ReforkAsked(at=at, slot=slot, order=number, requests=requests))
            case orders.CallWorker():
                self._call_worker(order)
            case orders.AbandonRefork(generation, why):
                self.tell(events.ReforkAbandoned(at=at, generation=generation, why=why))
                for worker in self.workers.values():
                    worker.is_called_back = True
            case orders.DeclareEmergency(why):
                self.tell(events.EmergencyDeclared(at=at, why=why))
            case orders.ForgetFailures():
                self.tell(events.FailuresForgotten(at=at))
            case orders.CallDegraded(why, failures, next_try):
                self.tell(events.ServiceDegraded(at=at, why=why, failures=failures, next_try=next_try))
            case orders.CallHealthy():
                self.tell(events.ServiceRecovered(at=at))
            case orders.SizePool(workers, why):
                self.tell(events.PoolSized(at=at, count=workers, why=why))
            case orders.SpawnWorker():
                self._spawn_worker(order)
            case orders.TellPause(is_paused):
                self.tell(events.PauseTold(at=at, is_paused=is_paused))
            case orders.RetireWorker(slot, number, why, reason):
                self.tell(events.WorkerRetired(at=at, slot=slot, order=number, why=why, reason=reason))
                worker = self._worker(slot, number)
                ignores = worker.is_stuck or self._happens(self._code(worker.generation).ignores_retirement)
                if not ignores:
                    self._later(self.world.request, self._exit, worker, "exited")
            case orders.ExpelWorker(slot, number, why, reason):
                worker, expelled = self._worker(slot, number), events.WorkerExpelled
                requests = worker.requests
                self.tell(expelled(at=at, slot=slot, order=number, why=why, reason=reason, requests=requests))
                if not worker.is_stuck:
                    self._later(self.world.request, self._exit, worker, "exited")
            case orders.TellSlowRequests(slot, number, request):
                self.tell(events.SlowRequestsTold(at=at, slot=slot, order=number, number=request))
            case orders.InterruptRequests(slot, number, request):
                worker = self._worker(slot, number)
                self.tell(events.RequestsInterrupted(at=at, slot=slot, order=number, number=request))
                if self._happens(self._code(worker.generation).heeds):
                    self._later(self.world.kill, self._give_up, worker)
            case orders.LookAfterWorker(slot, number):
                self.tell(events.WorkerWentOn(at=at, slot=slot, order=number))
            case orders.DumpWorker(slot, number):
                self.tell(events.WorkerDumped(at=at, slot=slot, order=number))
            case orders.KillWorker(slot, number, why, reason):
                worker, killed = self._worker(slot, number), events.WorkerKilled
                requests = worker.requests
                self.tell(killed(at=at, slot=slot, order=number, why=why, reason=reason, requests=requests))
                worker.is_doomed = True
                self._later(self.world.kill, self._exit, worker, "was killed")
            case orders.RefuseNew():
                self.tell(events.DoorRefused(at=at))
            case orders.ShutDoor():
                self.tell(events.DoorShut(at=at))
            case _:
                raise AssertionError(f"unknown order {order}")

    def tell(self, event: events.Event) -> None:
        self.remember(event)
        self.pool = learn(self.pool, event)

    def remember(self, item: events.Event | orders.Order) -> None:
        self.history.append(item)
        for kind in type(item).__mro__:
            self.by_kind[kind].append(item)

    # the life of a mold

    def _start_mold(self, generation: int) -> None:
        assert generation not in self.molds, f"generation {generation} has a mold"
        code = self._code(generation)
        if self._happens(code.mold_refused):
            self.tell(events.MoldNotStarted(at=self.now, generation=generation, why="no processes left"))
            return
        mold = self.molds[generation] = MoldProcess(generation)
        self.tell(events.MoldStarted(at=self.now, generation=generation, pid=next(self.numbers)))
        if self._happens(code.broken):
            self._later(code.load, self._mold_breaks, mold)
        elif self._happens(code.dies_loading):
            self._later(code.load, self._mold_dies, mold, "was killed by SIGSEGV")
        elif not self._happens(code.hangs_loading):
            self._later(code.load, self._mold_loads, mold)

    def _mold_loads(self, mold: MoldProcess) -> None:
        code = self._code(mold.generation)
        if mold.is_alive:
            self.tell(events.MoldLoaded(at=self.now, generation=mold.generation))
            if self._happens(code.dies_loaded):
                self._mishap(code.mold_life, self._mold_dies, mold, "was killed by SIGKILL")

    def _mold_breaks(self, mold: MoldProcess) -> None:
        if mold.is_alive:
            self.tell(events.MoldBroken(at=self.now, generation=mold.generation, why="ImportError"))
            if not self._happens(self._code(mold.generation).is_stubborn):
                self._later(self.world.kill, self._mold_dies, mold, "exited")

    def _mold_dies(self, mold: MoldProcess, how: str) -> None:
        """Whoever it has just forked may still be born; only then it is gone."""
        if mold.is_alive:
            mold.is_alive = False
            mold.under_way = [worker for worker in mold.under_way if self._happens(50)]
            self._later(self.world.kill, self._mold_is_gone, mold, how)

    def _mold_is_gone(self, mold: MoldProcess, how: str) -> None:
        for worker in list(mold.under_way):
            self._birth(worker)
        for worker in self.workers.values():
            if worker.generation == mold.generation:
                self._tell_born(worker)
        del self.molds[mold.generation]
        self.tell(events.MoldGone(at=self.now, generation=mold.generation, how=how))

    # the life of a worker

    def _spawn_worker(self, order: orders.SpawnWorker) -> None:
        assert order.slot not in self.workers, f"slot {order.slot} is taken"
        code, slot, number = self._code(order.generation), order.slot, order.order
        wears = self._happens(code.wears)
        worker = WorkerProcess(slot, number, order.generation, max_requests=100 if wears else 0)
        ordered = events.WorkerOrdered(
            at=self.now,
            slot=slot,
            order=number,
            generation=order.generation,
            cause=order.cause,
            max_requests=worker.max_requests,
            max_age=self.random.uniform(*code.life) if self._happens(code.ages) else 0.0,
            memory=MEMORY_LIMITS,
        )
        self.tell(ordered)
        mold = self.molds.get(order.generation)
        if mold is None or (not mold.is_alive and self._happens(50)):
            self.tell(events.WorkerNotForked(at=self.now, slot=slot, order=number, why="its mold is gone"))
        elif mold.is_alive and self._happens(self.world.refused):
            self._later(self.world.fork, self._refuse, worker, mold)
        elif mold.is_alive:
            mold.under_way.append(worker)
            if not self._happens(code.is_deaf):
                self._later(self.world.fork, self._birth, worker)

    def _refuse(self, worker: WorkerProcess, mold: MoldProcess) -> None:
        if mold.is_alive:
            why = "resource temporarily unavailable"
            self.tell(events.WorkerNotForked(at=self.now, slot=worker.slot, order=worker.order, why=why))

    def _birth(self, worker: WorkerProcess) -> None:
        mold = self.molds.get(worker.generation)
        if mold is None or worker not in mold.under_way:  # its mold died first
            return
        mold.under_way.remove(worker)
        worker.is_alive = True
        assert worker.slot not in self.workers, f"two live processes in slot {worker.slot}"
        self.workers[worker.slot] = worker
        code = self._code(worker.generation)
        if self._happens(self.world.overtaking):
            self._ready(worker)
            self._later(self.world.fork, self._tell_born, worker)
            return
        self._tell_born(worker)
        if self._happens(code.dies_starting):
            self._later(code.boot, self._break, worker)
        elif not self._happens(code.never_ready):
            self._later(code.boot, self._ready, worker)

    def _tell_born(self, worker: WorkerProcess) -> None:
        if worker.is_alive and not worker.is_known:
            worker.is_known = True
            pid = next(self.numbers)
            self.tell(events.WorkerBorn(at=self.now, slot=worker.slot, order=worker.order, pid=pid))

    def _break(self, worker: WorkerProcess) -> None:
        if worker.is_alive and self._happens(50):
            self.tell(events.WorkerBroken(at=self.now, slot=worker.slot, order=worker.order, why="ValueError"))
        self._exit(worker, "exited with status 3")

    def _ready(self, worker: WorkerProcess) -> None:
        if not worker.is_alive:
            return
        code = self._code(worker.generation)
        worker.ready_at = self.now
        self.tell(events.WorkerReady(at=self.now, slot=worker.slot, order=worker.order))
        if self._happens(code.dies_ready):
            end = self._die_at_work if self._happens(code.dies_at_work) else self._exit
            self._mishap(code.life, end, worker, "was killed by SIGSEGV")
        elif self._happens(code.leaves):
            self._mishap(code.life, self._leave, worker)
        elif self._happens(code.sticks):
            self._mishap(code.life, self._stick, worker)
        elif worker.max_requests:
            self._mishap(code.life, self._wear_out, worker)
        if self._happens(code.bursts):
            self._mishap(code.life, self._swell, worker, MEMORY_LIMITS.hard + 1)
        elif self._happens(code.swells):
            self._mishap(code.life, self._swell, worker, MEMORY_LIMITS.soft + 1)

    def _leave(self, worker: WorkerProcess) -> None:
        if worker.is_alive:
            self._count_requests(worker)
            self.tell(
                events.WorkerLeft(
                    at=self.now, slot=worker.slot, order=worker.order, why="MemoryError", requests=worker.requests
                )
            )
            self._later(self.world.request, self._exit, worker, "exited")

    def _die_at_work(self, worker: WorkerProcess, how: str) -> None:
        worker.is_stuck = True
        worker.ready_at = None
        self._exit(worker, how)

    def _stick(self, worker: WorkerProcess) -> None:
        if worker.is_alive:
            worker.is_stuck = True
            self.readings[worker.slot] = Reading(busy_since=self.now, under_way=((worker.requests + 1, self.now),))

    def _give_up(self, worker: WorkerProcess) -> None:
        """Its request is interrupted."""
        if worker.is_alive and worker.is_stuck:
            worker.is_stuck = False
            worker.requests += 1
            self.readings[worker.slot] = Reading(requests=worker.requests)
            left = events.WorkerLeft(at=self.now, slot=worker.slot, order=worker.order, why="", is_sound=True)
            self.tell(left)
            self._exit(worker, "exited")

    def _wear_out(self, worker: WorkerProcess) -> None:
        if worker.is_alive:
            worker.requests = worker.max_requests
            self.readings[worker.slot] = Reading(requests=worker.requests)

    def _swell(self, worker: WorkerProcess, size: int) -> None:
        if worker.is_alive:
            self.memory[worker.slot] = (size,) * SOFT_SAMPLES

    def _count_requests(self, worker: WorkerProcess) -> None:
        if worker.ready_at is not None:
            rate = self._code(worker.generation).requests_a_second
            worker.requests = max(worker.requests, int(rate * (self.now - worker.ready_at)))

    def _exit(self, worker: WorkerProcess, how: str) -> None:
        if worker.is_alive:
            self._tell_born(worker)
            self._count_requests(worker)
            worker.is_alive = False
            del self.workers[worker.slot]
            self.readings.pop(worker.slot, None)
            self.memory.pop(worker.slot, None)
            exited = events.WorkerExited(
                at=self.now,
                slot=worker.slot,
                order=worker.order,
                how=how,
                requests=worker.requests,
                cut_off=int(worker.is_stuck),
                is_crash="SIG" in how,
            )
            self.tell(exited)

    # a worker that becomes a mold

    def _call_worker(self, order: orders.CallWorker) -> None:
        worker = self._worker(order.slot, order.order)
        if self._happens(self.world.refused):
            why = "no descriptors left"
            self.tell(events.ReforkAbandoned(at=self.now, generation=0, why=why))
            return
        called = events.WorkerCalled(at=self.now, slot=order.slot, order=order.order, generation=order.generation)
        self.tell(called)
        worker.is_called_back = False
        if not self._happens(self._code(worker.generation).is_deaf_to_calls):
            self._later(self.world.request, self._answer_call, worker, order.generation)

    def _answer_call(self, worker: WorkerProcess, generation: int) -> None:
        if not worker.is_alive or worker.is_doomed or worker.is_stuck:
            return
        if worker.is_called_back and self._happens(50):  # else it had taken the call before
            return
        if self._happens(self._code(worker.generation).declines):
            self.tell(events.ReforkAbandoned(at=self.now, generation=generation, why="it declines: it has threads"))
            return
        self._tell_born(worker)
        worker.is_alive = False
        del self.workers[worker.slot]
        self.readings.pop(worker.slot, None)
        self.memory.pop(worker.slot, None)
        mold = self.molds[generation] = MoldProcess(generation)
        promoted = events.WorkerPromoted(at=self.now, slot=worker.slot, order=worker.order, generation=generation)
        self.tell(promoted)
        code = self._code(generation)
        if self._happens(code.broken):
            self._later(code.load, self._mold_breaks, mold)
        elif self._happens(code.dies_loading):
            self._later(code.load, self._mold_dies, mold, "was killed by SIGSEGV")
        else:
            self._later(code.load, self._mold_loads, mold)

    # time and chance

    @property
    def is_calm(self) -> bool:
        return self.now >= self.calm_at

    def told(self, kind: type[Told]) -> Sequence[Told]:
        """What of this kind has happened or was ordered so far."""
        return self.by_kind[kind]

    def _worker(self, slot: int, order: int) -> WorkerProcess:
        worker = self.workers.get(slot)
        assert worker is not None, f"an order for slot {slot}, where nobody is"
        assert worker.order == order, f"an order for slot {slot} names another incarnation"
        return worker

    def _code(self, generation: int) -> Code:
        return GOOD if self.is_calm else self.world.codes[min(generation, len(self.world.codes)) - 1]

    def _happens(self, chance: float) -> bool:
        return not self.is_calm and self.random.random() * 100 < chance

    def _later(self, span: Span, happening: Callable[..., None], *args: object) -> None:
        self._plan(self.now + self.random.uniform(*span), lambda: happening(*args))

    def _mishap(self, span: Span, happening: Callable[..., None], *args: object) -> None:
        """Like ``_later``, unless all is calm by then."""
        self._plan(self.now + self.random.uniform(*span), lambda: None if self.is_calm else happening(*args))

    def _plan(self, at: float, happening: Callable[[], object]) -> None:
        def happen() -> None:
            self.rounds = 0
            happening()

        at = max(self.now, -(-at // self.world.grain) * self.world.grain)
        heapq.heappush(self.agenda, (at, next(self.numbers), happen))
