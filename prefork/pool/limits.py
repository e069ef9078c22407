"""Limits: what is done about a worker that takes too long, or too much memory, and about the children it leaves.

What is slow is told, then interrupted; then its worker is told to leave, shows its stacks, and is killed. It must not
know how. A worker that was stopped, by a debugger say, is only looked after, unless the service stops quickly or at
once.
Invariant: nobody who is idle and well is killed, unless the service stops.
Read next: ``prefork/worker/deadlines.py``, the worker's side.
"""

from collections.abc import Iterator

from prefork.pool import recycling
from prefork.pool.orders import (
    DumpWorker,
    ExpelWorker,
    InterruptRequests,
    KillChildren,
    KillWorker,
    LookAfterWorker,
    LookForChildren,
    TellSlowRequests,
)
from prefork.pool.reasons import Reason
from prefork.pool.records import Phase, Policy, Pool, State, Worker
from prefork.pool.wishes import Later, Readings, Wish, when_due

REPEAT = 1.0  # seconds after which a worker is told again to interrupt what is under way, or a stopped one looked after


def look_after_standing(pool: Pool, readings: Readings, policy: Policy, now: float) -> Iterator[Wish]:
    """See each second whether a stopped worker goes on: none of its limits runs meanwhile."""
    for worker in pool.workers.values():
        if worker.stood_at is not None and worker.state is not State.KILLED:
            yield from when_due(worker.stood_at + REPEAT, now, LookAfterWorker(worker.slot, worker.order))


def kill_overdue(pool: Pool, readings: Readings, policy: Policy, now: float) -> Iterator[Wish]:
    """Kill what was given time and used it up."""
    limited = (State.STARTING, State.RETIRING, State.EXPELLED) + ((State.READY,) if pool.is_stopping else ())
    for worker in pool.in_state(*limited):
        limits = _limits(pool, worker, policy)
        if worker.pid is not None and limits:
            due, why, reason, is_final = min(limits)
            yield KillWorker(worker.slot, worker.order, why, reason, is_final) if now >= due else Later(due)


def _limits(pool: Pool, worker: Worker, policy: Policy) -> list[tuple[float, str, Reason, bool]]:
    """When the worker's time is up, how log and tally say it, and whether that holds for a stopped one as well."""
    limits: list[tuple[float, str, Reason, bool]] = []
    if pool.wanted.phase is Phase.QUICK:
        due = pool.counts_from(pool.wanted.since) + policy.quick
        limits.append((due, f"a quick stop leaves {policy.quick:g} s", Reason.STOP, True))
    if pool.wanted.phase is Phase.NOW:
        why = "the service is given up" if pool.failed else "told to stop now"
        limits.append((pool.wanted.since, why, Reason.STOP, True))
    if worker.stood_at is not None:
        return limits
    since = pool.counts_from(worker.since, worker)
    if worker.state is State.STARTING:
        limits.append((since + policy.boot, f"it was not ready within {policy.boot:g} s", Reason.BOOT, False))
    if worker.state is State.RETIRING:
        why = f"its request was not finished within {policy.drain:g} s"
        limits.append((since + policy.drain, why, Reason.DRAIN, False))
    if worker.state is State.EXPELLED:
        why = f"it did not leave within {policy.quick:g} s, and {worker.why}"
        limits.append((since + policy.quick, why, worker.reason or Reason.REQUEST_HARD, False))
    if pool.wanted.phase is Phase.DRAINING:
        due = pool.counts_from(pool.wanted.since, worker) + policy.drain
        limits.append((due, f"its requests were not finished within {policy.drain:g} s", Reason.DRAIN, False))
    return limits


def kill_swollen(pool: Pool, readings: Readings, policy: Policy, now: float) -> Iterator[Wish]:
    """Kill a worker beyond its hard limit of memory, in trouble as well: it is the machine that is in danger."""
    if not readings.memory:
        return
    for worker, why in recycling.swollen(_running(pool, State.READY, State.RETIRING), readings.memory):
        yield KillWorker(worker.slot, worker.order, why, Reason.MEMORY_HARD)


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
            yield from when_due(leftover.seen_at + REPEAT, now, LookForChildren(leftover.pid))


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
            expel = ExpelWorker(worker.slot, worker.order, why, Reason.REQUEST_HARD)
            yield expel if now >= due else Later(due)


def expel_urgent(pool: Pool, readings: Readings, policy: Policy, now: float) -> Iterator[Wish]:
    """Tell a worker to leave at once that an operator wants to be rid of, now that its successor is there."""
    for worker in _running(pool, State.RETIRING):
        if worker.is_urgent and worker.pid is not None:
            reading = readings.slots.get(worker.slot)
            is_busy = reading is not None and reading.busy_since is not None
            # one that is idle leaves by itself, unless something else holds it
            due = worker.since if is_busy else pool.counts_from(worker.since, worker) + policy.quick
            expel = ExpelWorker(worker.slot, worker.order, "an operator asked for it at once", Reason.ASKED)
            yield from when_due(due, now, expel)


def dump_expelled(pool: Pool, readings: Readings, policy: Policy, now: float) -> Iterator[Wish]:
    """Before an expelled worker is killed, see that its stacks are told, also where no Python code of it runs."""
    for worker in _running(pool, State.EXPELLED):
        if not worker.is_dumped:
            due = pool.counts_from(worker.since, worker) + policy.quick / 2
            yield from when_due(due, now, DumpWorker(worker.slot, worker.order))


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


def _running(pool: Pool, *states: State) -> list[Worker]:
    """The workers in these states that were not found stopped."""
    return [worker for worker in pool.in_state(*states) if worker.stood_at is None]
