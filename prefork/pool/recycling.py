"""Which workers are worn out, by requests, age, memory or an operator's word, and when the next one will be.

One that is worn out serves on until its successor is ready: the rules see to that, a surge at a time. It must not know
how memory is measured. Jitter is in each worker's own limits already.
Invariant: while the service is in trouble nobody is worn out, for who knows whether a successor would hold.
Read next: ``staffing.py``, and ``kill_swollen`` in ``limits.py``; ``docs/recycling.md``.
"""

from collections.abc import Iterable, Iterator, Mapping

from msgspec.structs import replace

from prefork.pool import events, health
from prefork.pool.reasons import Reason
from prefork.pool.records import Pool, Reading, State, Worker

SOFT_SAMPLES = 3  # in a row: what a request holds for a moment is no reason to replace anybody
HARD_SAMPLES = 2  # nor to cut it off; but whoever waits for a third may find the machine out of memory

WHY_ASKED = "an operator asked for it"

Slots = Mapping[int, Reading]
Memory = Mapping[int, tuple[int, ...]]  # see ``Readings`` in ``wishes.py``


def worn_out(pool: Pool, slots: Slots, memory: Memory, now: float) -> dict[int, Reason]:
    """By slot, the ready workers that should be replaced."""
    return _worn(pool, slots, memory, now) if health.trouble(pool, now) is None else {}


def next_worn(pool: Pool, slots: Slots, memory: Memory, now: float) -> float | None:
    """When the next worker will be worn out, if nothing else happens; ``None`` where only news can wear one out."""
    aging = [w.ready_at + w.max_age for w in pool.in_state(State.READY) if w.max_age and w.ready_at is not None]
    moments = [at for at in aging if at > now]
    trouble = health.trouble(pool, now)
    if trouble is not None and trouble.ends_at is not None and _worn(pool, slots, memory, now):
        moments.append(trouble.ends_at)
    return min(moments, default=None)


def why_worn(worker: Worker, wear: Reason, memory: Memory, now: float) -> str:
    """For people."""
    if wear is Reason.ASKED:
        return WHY_ASKED
    if wear is Reason.REQUESTS:
        return f"it has served {worker.max_requests} requests"
    if wear is Reason.AGE:
        assert worker.ready_at is not None, "only the ready are worn out"
        return f"it is {now - worker.ready_at:.1f} s old"
    return _why_heavy(memory[worker.slot][-1], "memory_soft", worker.memory.soft)


def swollen(workers: Iterable[Worker], memory: Memory) -> Iterator[tuple[Worker, str]]:
    """Those of the workers that must be killed, and why."""
    for worker in workers:
        if (samples := memory.get(worker.slot)) and _exceed(samples, worker.memory.hard, HARD_SAMPLES):
            yield worker, _why_heavy(samples[-1], "memory_hard", worker.memory.hard)


def choose(pool: Pool, who: int | None) -> list[Worker] | str:
    """The workers that an operator means, or why none can be replaced.

    :param who: a slot, or else a pid; ``None`` for all that serve. One that is leaving already is among them if named.
    """
    if pool.failed:
        return "it was given up; restart for it"
    if pool.is_stopping:
        return "the instance is stopping"
    if not pool.serving:
        return "nothing serves yet; ask again when it does"
    if who is None:
        return pool.in_state(State.READY)
    by_pid = [worker for worker in pool.workers.values() if worker.pid == who]
    worker = pool.workers.get(who) or next(iter(by_pid), None)
    if worker is None:
        there = ", ".join(f"{w.slot} [{w.pid}]" for _, w in sorted(pool.workers.items()) if w.pid is not None)
        return f"there is no worker {who}; there is {there or 'none'}"
    if worker.state is State.STARTING:
        return f"worker {worker.slot} is starting; ask again when it is ready"
    return [worker]


def asked(pool: Pool, event: events.RecycleAsked) -> Pool:
    """Who is gone meanwhile needs no successor."""
    workers = dict(pool.workers)
    for slot, order in event.workers:
        if (worker := workers.get(slot)) is not None and worker.order == order:
            workers[slot] = replace(worker, is_recycled=True, is_urgent=worker.is_urgent or event.is_urgent)
    return replace(pool, workers=workers)


def _worn(pool: Pool, slots: Slots, memory: Memory, now: float) -> dict[int, Reason]:
    found = {}
    for worker in pool.in_state(State.READY):
        reading = slots.get(worker.slot)
        if worker.is_recycled:
            found[worker.slot] = Reason.ASKED
        elif worker.max_requests and reading is not None and reading.requests >= worker.max_requests:
            found[worker.slot] = Reason.REQUESTS
        elif worker.max_age and worker.ready_at is not None and now >= worker.ready_at + worker.max_age:
            found[worker.slot] = Reason.AGE
        elif (samples := memory.get(worker.slot)) and _exceed(samples, worker.memory.soft, SOFT_SAMPLES):
            found[worker.slot] = Reason.MEMORY
    return found


def _exceed(samples: tuple[int, ...], limit: int, count: int) -> bool:
    """Whether all of the last ``count`` samples are beyond the limit, if there is one."""
    return samples[-1] > limit > 0 and len(samples) >= count and min(samples[-count:]) > limit


def _why_heavy(size: int, name: str, limit: int) -> str:
    return f"it uses {size / 2**20:.1f} MiB, more than its {name} of {limit / 2**20:.1f} MiB"
