"""Staffing: how many workers are wanted, who is forked, and who retires.

It must not know when a worker is worn out (``recycling.py``) or what the load needs (``sizing.py``).
Invariant: no more orders to fork are under way at once than the mold's socket pair holds.
Read next: ``backoff.py``, how fast the dead are replaced.
"""

from collections.abc import Iterator

from msgspec.structs import replace

from prefork.pool import backoff, recycling, sizing
from prefork.pool.orders import Cause, RetireWorker, SizePool, SpawnWorker
from prefork.pool.reasons import Reason
from prefork.pool.records import Policy, Pool, State, Worker
from prefork.pool.wishes import Later, Readings, Wish, when_due

MOST_UNBORN = 64  # orders under way at once: the mold's socket pair holds at least as many


def size_pool(pool: Pool, readings: Readings, policy: Policy, now: float) -> Iterator[Wish]:
    """Want more workers while what is busy and queued needs them, and fewer once they were not needed for a while."""
    if readings.load is None or pool.is_stopping or not pool.serving:
        return
    load = replace(readings.load, queued=0) if pool.wanted.is_paused else readings.load  # more would not help them
    change = sizing.next_change(pool, load, policy, now)
    if change is not None:
        yield from when_due(change.due, now, SizePool(change.count, change.why))


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


def retire_stillborn(pool: Pool, readings: Readings, policy: Policy, now: float) -> Iterator[Wish]:
    """Tell starting workers of an abandoned generation to leave before they are ready."""
    for worker in pool.in_state(State.STARTING):
        if worker.pid is not None and worker.generation not in (pool.serving, pool.coming) and not pool.is_stopping:
            why = f"generation {worker.generation} is given up"
            yield RetireWorker(worker.slot, worker.order, why, Reason.RELOAD)


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
            reason, why = Reason.RELOAD, f"generation {newest} replaces it"
        elif worker.slot in worn:
            reason = worn[worker.slot]
            why = recycling.why_worn(worker, reason, readings.memory, now)
        else:
            reason, why = Reason.SURPLUS, f"workers wanted: {pool.wanted.count}"
        yield RetireWorker(worker.slot, worker.order, why, reason)
