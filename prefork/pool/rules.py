"""The rules: small functions that compare what is wanted with what is there.

Each has one signature and yields orders that are due, or ``Later`` with the moment at which it would have one; so the
next deadline can never disagree with the rule that has it. To change a behaviour, change one rule; to add one, add a
name to ``RULES``.
Invariants: ready workers are retired only while more are ready than wanted; forks beyond the wanted count only replace,
and never make more than wanted plus surge.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from msgspec import Struct

from prefork.pool import backoff, emergency, giving_up, health, probation, recycling, reforking, sizing
from prefork.pool.orders import (
    AbandonGeneration,
    CallDegraded,
    CallHealthy,
    Cause,
    DismissMold,
    DumpWorker,
    EndProbation,
    ExpelWorker,
    FailService,
    ForgetFailures,
    InterruptRequests,
    KillChildren,
    KillMold,
    KillWorker,
    LookAfterWorker,
    LookForChildren,
    Order,
    RefuseNew,
    RetireWorker,
    RollBack,
    SettleGeneration,
    ShutDoor,
    SizePool,
    SpawnWorker,
    StartMold,
    TellSlowRequests,
)
from prefork.pool.records import Door, Generation, Load, Phase, Policy, Pool, Reading, Stage, State, Worker

MOST_UNBORN = 64  # orders under way at once: the mold's socket pair holds at least as many
HANDSHAKE_LIMIT = 1.0  # seconds a handshake under way may take when we stop
REPEAT = 1.0  # seconds after which a worker is told again to interrupt what is under way, or a stopped one looked after


class Later(Struct, frozen=True):
    """Nothing to do before ``at``."""

    at: float


class Readings(Struct, frozen=True, dict=True):
    """What is true now and in no record.

    :param slots: what the scoreboard says.
    :param handshakes: TCP handshakes under way on our listeners.
    :param load: of a pool that sizes itself; ``None`` of a fixed one.
    :param memory: by slot, the last samples of what its worker uses, in bytes, the newest last; where it was weighed.
    """

    slots: Mapping[int, Reading]
    handshakes: int = 0
    load: Load | None = None
    memory: Mapping[int, tuple[int, ...]] = MappingProxyType({})

    @functools.cached_property
    def oldest(self) -> float | None:
        """When the oldest request under way began: as long as that is within a limit, all are."""
        return min((r.busy_since for r in self.slots.values() if r.busy_since is not None), default=None)


Wish = Order | Later
Rule = Callable[[Pool, Readings, Policy, float], Iterator[Wish]]


def abandon_failed(pool: Pool, readings: Readings, policy: Policy, now: float) -> Iterator[Wish]:
    """Give up the coming generation if it cannot load, cannot boot or will not become ready."""
    if pool.coming is None or pool.is_stopping:
        return
    coming = pool.generations[pool.coming]
    why = giving_up.why_failed(pool, coming)
    if why is not None:
        yield AbandonGeneration(pool.coming, why) if pool.serving else FailService(why)
    elif pool.serving and pool.wanted.generation > pool.coming and coming.stage is Stage.LOADED:
        # it flaps, or its predecessors drain long: a fix must not wait for ever behind what it fixes
        why = f"not enough of its workers were ready at once within {policy.boot:g} s, and a newer one is asked for"
        yield from _at(pool.counts_from(coming.since) + policy.boot, now, AbandonGeneration(pool.coming, why))


def _is_failed(pool: Pool, generation: Generation) -> bool:
    return generation.number == pool.coming and giving_up.why_failed(pool, generation) is not None


def judge_probation(pool: Pool, readings: Readings, policy: Policy, now: float) -> Iterator[Wish]:
    """Go back to the generation before when too many workers of the new one are lost, or else end its probation."""
    if pool.probation is None or pool.is_stopping:
        return
    generation, verdict = pool.probation.generation, probation.verdict(pool, pool.probation)
    if verdict is None:
        yield from _at(pool.probation.until, now, EndProbation(generation))
    elif verdict.back_to is None:
        yield EndProbation(generation, verdict.why)
    else:
        yield RollBack(generation, verdict.back_to, verdict.why)


def give_up(pool: Pool, readings: Readings, policy: Policy, now: float) -> Iterator[Wish]:
    """Give up a service whose workers keep dying, where there is a limit, unless newer code is asked for already."""
    why = giving_up.why_hopeless(pool, policy.max_failures)
    if why is not None:
        yield FailService(why)


def refork(pool: Pool, readings: Readings, policy: Policy, now: float) -> Iterator[Wish]:
    """Let a worker that has served much become the mold of the next generation, once it has a successor."""
    step = reforking.next_step(pool, readings.slots, readings.memory, policy, now)
    if step is not None:
        yield from _at(step.due, now, step.order)


def load_afresh(pool: Pool, readings: Readings, policy: Policy, now: float) -> Iterator[Wish]:
    """Load the code anew when so many workers died by a signal that what they inherited may be spoilt."""
    step = emergency.next_step(pool, policy, now)
    if step is not None:
        yield from _at(step.due, now, step.order)


def start_mold(pool: Pool, readings: Readings, policy: Policy, now: float) -> Iterator[Wish]:
    """Load the next generation when one is asked for, and load a generation anew whose mold was lost."""
    if pool.is_stopping:
        return
    if pool.coming is None and pool.wanted.generation > pool.last_generation:
        yield StartMold(pool.wanted.generation)
    for number in (pool.coming, pool.serving):
        generation = pool.generations.get(number or 0)
        if generation is not None and generation.stage is Stage.LOST and not _is_failed(pool, generation):
            due = generation.since + backoff.delay(generation.losses)
            if now >= due:
                yield StartMold(generation.number)
            else:
                yield Later(due)


def settle_coming(pool: Pool, readings: Readings, policy: Policy, now: float) -> Iterator[Wish]:
    """Let the coming generation serve once as many of its workers are ready as are wanted."""
    if pool.coming is None or pool.is_stopping or pool.generations[pool.coming].stage is not Stage.LOADED:
        return
    ready = [w for w in pool.in_state(State.READY) if w.generation == pool.coming]
    if len(ready) >= pool.wanted.count:
        yield SettleGeneration(pool.coming)


def dismiss_molds(pool: Pool, readings: Readings, policy: Policy, now: float) -> Iterator[Wish]:
    """Send away the molds that nobody will be forked from any more, and kill those that do not answer."""
    for generation in pool.generations.values():
        if generation.stage is Stage.KILLED:
            continue
        since = pool.counts_from(generation.since)
        if generation.stage is Stage.LEAVING:
            why = "it did not leave when told"
            yield from _at(since + policy.quick, now, KillMold(generation.number, why))
        elif pool.is_stopping or generation.number not in pool.kept:
            if generation.stage is Stage.LOADING:
                yield KillMold(generation.number, "it is no longer needed")
            else:
                yield DismissMold(generation.number)
        elif generation.stage is Stage.LOADING:
            why = f"the application was not loaded within {policy.boot:g} s; raise the boot limit if it needs longer"
            yield from _at(since + policy.boot, now, KillMold(generation.number, why))
        elif generation.stage is Stage.BROKEN and generation.pid is not None:
            yield DismissMold(generation.number)
        elif generation.stage is Stage.LOADED:
            unborn = [w.since for w in pool.workers.values() if w.pid is None and w.generation == generation.number]
            if unborn:
                why = f"it did not answer an order to fork within {policy.boot:g} s"
                due = pool.counts_from(min(unborn)) + policy.boot
                yield from _at(due, now, KillMold(generation.number, why))


def look_after_standing(pool: Pool, readings: Readings, policy: Policy, now: float) -> Iterator[Wish]:
    """See each second whether a stopped worker goes on: none of its limits runs meanwhile."""
    for worker in pool.workers.values():
        if worker.stood_at is not None and worker.state is not State.KILLED:
            yield from _at(worker.stood_at + REPEAT, now, LookAfterWorker(worker.slot, worker.order))


def kill_overdue(pool: Pool, readings: Readings, policy: Policy, now: float) -> Iterator[Wish]:
    """Kill what was given time and used it up."""
    limited = (State.STARTING, State.RETIRING, State.EXPELLED) + ((State.READY,) if pool.is_stopping else ())
    for worker in pool.in_state(*limited):
        limits = _limits(pool, worker, policy)
        if worker.pid is not None and limits:
            due, why, is_final = min(limits)
            yield KillWorker(worker.slot, worker.order, why, is_final) if now >= due else Later(due)


def _limits(pool: Pool, worker: Worker, policy: Policy) -> list[tuple[float, str, bool]]:
    """When the worker's time is up, how the log says it, and whether that holds for a stopped one as well."""
    limits: list[tuple[float, str, bool]] = []
    if pool.wanted.phase is Phase.QUICK:
        due = pool.counts_from(pool.wanted.since) + policy.quick
        limits.append((due, f"a quick stop leaves {policy.quick:g} s", True))
    if pool.wanted.phase is Phase.NOW:
        limits.append((pool.wanted.since, "the service is given up" if pool.failed else "told to stop now", True))
    if worker.stood_at is not None:
        return limits
    since = pool.counts_from(worker.since, worker)
    if worker.state is State.STARTING:
        limits.append((since + policy.boot, f"it was not ready within {policy.boot:g} s", False))
    if worker.state is State.RETIRING:
        limits.append((since + policy.drain, f"its request was not finished within {policy.drain:g} s", False))
    if worker.state is State.EXPELLED:
        limits.append((since + policy.quick, f"it did not leave within {policy.quick:g} s, and {worker.why}", False))
    if pool.wanted.phase is Phase.DRAINING:
        due = pool.counts_from(pool.wanted.since, worker) + policy.drain
        limits.append((due, f"its requests were not finished within {policy.drain:g} s", False))
    return limits


def kill_swollen(pool: Pool, readings: Readings, policy: Policy, now: float) -> Iterator[Wish]:
    """Kill a worker beyond its hard limit of memory, in trouble as well: it is the machine that is in danger."""
    if not readings.memory:
        return
    for worker, why in recycling.swollen(_running(pool, State.READY, State.RETIRING), readings.memory):
        yield KillWorker(worker.slot, worker.order, why)


def end_leftovers(pool: Pool, readings: Readings, policy: Policy, now: float) -> Iterator[Wish]:
    """Give the children of a dead worker the time it would have had to finish its requests, and kill them then."""
    for leftover in pool.leftovers.values():
        due = pool.counts_from(leftover.since) + policy.drain
        if pool.wanted.phase is Phase.QUICK:
            due = min(due, pool.counts_from(pool.wanted.since) + policy.quick)
        if now >= due or pool.wanted.phase is Phase.NOW:
            yield KillChildren(leftover.pid)
        else:
            yield Later(due)
            yield from _at(leftover.seen_at + REPEAT, now, LookForChildren(leftover.pid))


def _running(pool: Pool, *states: State) -> list[Worker]:
    """The workers in these states that were not found stopped."""
    return [worker for worker in pool.in_state(*states) if worker.stood_at is None]


def interrupt_stuck(pool: Pool, readings: Readings, policy: Policy, now: float) -> Iterator[Wish]:
    """Interrupt requests that exceed the soft limit, and again as long as they last: one may be where none can be."""
    if policy.timeout is None or readings.oldest is None:
        return
    if now < (due := readings.oldest + policy.timeout):
        yield Later(due)
        return
    for worker in _running(pool, State.READY, State.RETIRING):
        reading = readings.slots.get(worker.slot)
        for number, since in reversed(reading.under_way if reading is not None else ()):
            due = pool.counts_from(since, worker) + policy.timeout
            if number <= worker.interrupted:
                due = max(due, worker.interrupted_at + REPEAT)
            if now >= due:  # and so are all that began before it
                yield InterruptRequests(worker.slot, worker.order, number)
                break
            yield Later(due)


def tell_slow(pool: Pool, readings: Readings, policy: Policy, now: float) -> Iterator[Wish]:
    """Tell once of each request that is slow, and where it is."""
    if policy.request_slow is None or readings.oldest is None:
        return
    if now < (due := readings.oldest + policy.request_slow):
        yield Later(due)
        return
    for worker in _running(pool, State.READY, State.RETIRING):
        reading = readings.slots.get(worker.slot)
        for number, since in reversed(reading.under_way if reading is not None else ()):
            due = pool.counts_from(since, worker) + policy.request_slow
            if number <= worker.told_slow:
                break
            if now >= due:
                yield TellSlowRequests(worker.slot, worker.order, number)
                break
            yield Later(due)


def expel_stuck(pool: Pool, readings: Readings, policy: Policy, now: float) -> Iterator[Wish]:
    """Tell a worker to leave whose request exceeds the hard limit; what it can still finish, it has a moment for."""
    if policy.request_hard is None or readings.oldest is None:
        return
    if now < (due := readings.oldest + policy.request_hard):
        yield Later(due)
        return
    why = f"a request exceeded the hard limit of {policy.request_hard:g} s"
    for worker in _running(pool, State.READY, State.RETIRING):
        reading = readings.slots.get(worker.slot)
        if worker.pid is not None and reading is not None and reading.busy_since is not None:
            due = pool.counts_from(reading.busy_since, worker) + policy.request_hard
            yield ExpelWorker(worker.slot, worker.order, why) if now >= due else Later(due)


def dump_expelled(pool: Pool, readings: Readings, policy: Policy, now: float) -> Iterator[Wish]:
    """Before an expelled worker is killed, see that its stacks are told, also where no Python code of it runs."""
    for worker in _running(pool, State.EXPELLED):
        if not worker.is_dumped:
            due = pool.counts_from(worker.since, worker) + policy.quick / 2
            yield from _at(due, now, DumpWorker(worker.slot, worker.order))


def forget_failures(pool: Pool, readings: Readings, policy: Policy, now: float) -> Iterator[Wish]:
    """End a row of failures when a successor has proven itself, or nobody is on trial for a while."""
    due = health.row_ends_at(pool, readings.slots)
    if due is not None and not pool.is_stopping:
        yield from _at(due, now, ForgetFailures())


def size_pool(pool: Pool, readings: Readings, policy: Policy, now: float) -> Iterator[Wish]:
    """Want more workers while what is busy and queued needs them, and fewer once they were not needed for a while."""
    if readings.load is None or pool.is_stopping or not pool.serving:
        return
    change = sizing.next_change(pool, readings.load, policy, now)
    if change is not None:
        yield from _at(change.due, now, SizePool(change.count, change.why))


def spawn_missing(pool: Pool, readings: Readings, policy: Policy, now: float) -> Iterator[Wish]:
    """Fork what is missing, and one surge at a time what will replace the outdated and the worn out."""
    target = pool.target
    if pool.is_stopping or target is None:
        return
    next_worn = recycling.next_worn(pool, readings.slots, readings.memory, now)
    if next_worn is not None:
        yield Later(next_worn)
    worn = recycling.worn_out(pool, readings.slots, readings.memory, now)
    living = pool.but_called(pool.in_state(State.STARTING, State.READY))
    kept = pool.but_chosen([w for w in living if w.generation == target and w.slot not in worn])
    gap = max(0, pool.wanted.count - len(living))
    room = pool.wanted.count + policy.surge(pool.wanted.count) - len(pool.workers)
    wanted = max(gap, min(pool.wanted.count - len(kept), room))
    wanted = min(wanted, MOST_UNBORN - sum(w.pid is None for w in living))
    if wanted <= 0:
        return
    if now < pool.backoff.refused_until:
        yield Later(pool.backoff.refused_until)
        return
    owed = pool.backoff
    crashed = min(owed.crashed, wanted)
    died = min(owed.died, wanted - crashed)
    causes = [Cause.FRESH] * (wanted - crashed - died)
    for cause, asked in ((Cause.DIED, died), (Cause.CRASHED, crashed)):
        allowed, next_at = backoff.allowed(owed, cause, asked, now, pool.wanted.count)
        causes += [cause] * allowed
        if next_at is not None:
            yield Later(next_at)
    free = (slot for slot in range(1, policy.slots + 1) if slot not in pool.workers)
    for order, (slot, cause) in enumerate(zip(free, causes, strict=False), pool.next_order):
        yield SpawnWorker(slot, order, target, cause)


def retire_surplus(pool: Pool, readings: Readings, policy: Policy, now: float) -> Iterator[Wish]:
    """Retire as many ready workers as are ready beyond the wanted count: outdated first, then worn out, idle, the last.

    Replacement before retirement is nothing but this: the successors make the surplus.
    """
    if pool.is_stopping:
        return
    ready = pool.but_called(pool.in_state(State.READY))
    surplus = len(ready) - pool.wanted.count
    if surplus <= 0:
        return
    newest = pool.newest
    worn = recycling.worn_out(pool, readings.slots, readings.memory, now)

    def worth(worker: Worker) -> tuple[bool, bool, bool, int]:
        reading = readings.slots.get(worker.slot)
        is_busy = reading is not None and reading.busy_since is not None
        return worker.generation == newest, worker.slot not in worn, is_busy, -worker.slot

    tellable = [worker for worker in ready if worker.pid is not None]  # "ready" may overtake "born"
    for worker in sorted(tellable, key=worth)[:surplus]:
        if worker.generation != newest:
            why = f"generation {newest} replaces it"
        elif worker.slot in worn:
            why = recycling.why_worn(worker, worn[worker.slot], readings.memory, now)
        else:
            why = f"workers wanted: {pool.wanted.count}"
        yield RetireWorker(worker.slot, worker.order, why)


def retire_stillborn(pool: Pool, readings: Readings, policy: Policy, now: float) -> Iterator[Wish]:
    """Tell starting workers of an abandoned generation to leave before they are ready."""
    for worker in pool.in_state(State.STARTING):
        if worker.pid is not None and worker.generation not in (pool.serving, pool.coming) and not pool.is_stopping:
            yield RetireWorker(worker.slot, worker.order, f"generation {worker.generation} is given up")


def tell_health(pool: Pool, readings: Readings, policy: Policy, now: float) -> Iterator[Wish]:
    """Say when the service becomes degraded, and when it is healthy again; a reload tells its outcome instead."""
    if not pool.serving or pool.coming is not None or pool.is_stopping:
        return
    trouble = health.trouble(pool, now)
    if trouble is None:
        if pool.degraded_since is not None:
            yield CallHealthy()
    elif pool.degraded_since is None:
        yield CallDegraded(trouble.why, trouble.failures, trouble.next_try)
    elif trouble.next_try > now:
        yield Later(trouble.next_try)


def close_door(pool: Pool, readings: Readings, policy: Policy, now: float) -> Iterator[Wish]:
    """On the final stop: admit nothing new, let handshakes under way finish, then close our own listeners."""
    if not pool.is_stopping or pool.door is Door.SHUT:
        return
    if pool.wanted.keeps_door:  # nobody is refused: who comes now is queued
        yield ShutDoor(drain=False)
        return
    # a quick stop needs some of its time to serve what the handshakes bring
    limit = HANDSHAKE_LIMIT if pool.wanted.phase is Phase.DRAINING else min(HANDSHAKE_LIMIT, policy.quick / 2)
    if pool.door is Door.OPEN:
        yield RefuseNew()
    elif not readings.handshakes or now >= pool.door_since + limit or pool.wanted.phase is Phase.NOW:
        yield ShutDoor()
    else:
        yield Later(now + limit / 10)


def drain_workers(pool: Pool, readings: Readings, policy: Policy, now: float) -> Iterator[Wish]:
    """On the final stop, the door shut: every worker serves what is queued, closes and leaves.

    Where the door is kept it leaves when its request is done.
    """
    if not pool.is_stopping or pool.door is not Door.SHUT:
        return
    for worker in pool.in_state(State.STARTING, State.READY):
        if worker.pid is not None:
            yield RetireWorker(worker.slot, worker.order, "the service stops", drain=not pool.wanted.keeps_door)


def _at(due: float, now: float, order: Order) -> Iterator[Wish]:
    yield order if now >= due else Later(due)


RULES: tuple[Rule, ...] = (
    abandon_failed,
    judge_probation,
    give_up,
    settle_coming,
    refork,
    load_afresh,
    start_mold,
    look_after_standing,
    kill_overdue,
    kill_swollen,
    end_leftovers,
    expel_stuck,
    dump_expelled,
    interrupt_stuck,
    tell_slow,
    forget_failures,
    size_pool,
    spawn_missing,
    retire_stillborn,
    retire_surplus,
    dismiss_molds,
    tell_health,
    close_door,
    drain_workers,
)


class Decision(Struct, frozen=True):
    """Orders that are due, and when to decide again: at once after orders; ``None`` if only news can bring any."""

    orders: tuple[Order, ...]
    until: float | None


def decide(pool: Pool, readings: Readings, policy: Policy, now: float) -> Decision:
    """What to do about the difference between wanted and actual, at ``now`` seconds.

    The first rule that has orders gives them alone: the rules after it count on a book in which they are obeyed.
    """
    until: float | None = None
    for rule in RULES:
        orders: list[Order] = []
        for wish in rule(pool, readings, policy, now):
            if not isinstance(wish, Later):
                orders.append(wish)
            elif until is None or wish.at < until:
                until = wish.at
        if orders:
            return Decision(tuple(orders), until=now)
    return Decision((), until)
