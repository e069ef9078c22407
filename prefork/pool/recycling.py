"""Which workers are worn out, by requests, age or memory, and when the next one will be.

One that is worn out serves on until its successor is ready: the rules see to that, a surge at a time. It must not know
how memory is measured. Jitter is in each worker's own limits already.
Invariant: while the service is in trouble nobody is worn out, for who knows whether a successor would hold.
Read next: ``spawn_missing``, ``retire_surplus`` and ``kill_swollen`` in ``rules.py``; ``docs/recycling.md``.
"""

from collections.abc import Mapping

from prefork.pool import health
from prefork.pool.records import Pool, Reading, State, Worker

SOFT_SAMPLES = 3  # in a row: what a request holds for a moment is no reason to replace anybody
HARD_SAMPLES = 2  # nor to cut it off; but whoever waits for a third may find the machine out of memory

Slots = Mapping[int, Reading]
Memory = Mapping[int, tuple[int, ...]]


def worn_out(pool: Pool, slots: Slots, memory: Memory, now: float) -> dict[int, str]:
    """By slot, the ready workers that should be replaced, and why.

    :param memory: see ``Readings``.
    """
    return {} if health.trouble(pool, now) is not None else _worn(pool, slots, memory, now)


def next_worn(pool: Pool, slots: Slots, memory: Memory, now: float) -> float | None:
    """When the next worker will be worn out, if nothing else happens; ``None`` where only news can wear one out."""
    aging = (w.ready_at + w.max_age for w in pool.in_state(State.READY) if w.max_age and w.ready_at is not None)
    moments = [at for at in aging if at > now]
    trouble = health.trouble(pool, now)
    if trouble is not None and trouble.ends_at is not None and _worn(pool, slots, memory, now):
        moments.append(trouble.ends_at)
    return min(moments, default=None)


def why_swollen(worker: Worker, memory: Memory) -> str:
    """Why the worker must be killed; empty where it need not be."""
    return _exceeded(worker, worker.memory.hard, HARD_SAMPLES, "memory_hard", memory)


def _worn(pool: Pool, slots: Slots, memory: Memory, now: float) -> dict[int, str]:
    reasons = ((worker.slot, _why_worn(worker, slots, memory, now)) for worker in pool.in_state(State.READY))
    return {slot: why for slot, why in reasons if why}


def _why_worn(worker: Worker, slots: Slots, memory: Memory, now: float) -> str:
    reading = slots.get(worker.slot)
    if worker.max_requests and reading is not None and reading.requests >= worker.max_requests:
        return f"it has served {worker.max_requests} requests"
    if worker.max_age and worker.ready_at is not None and now >= worker.ready_at + worker.max_age:
        return f"it is {now - worker.ready_at:.1f} s old"
    return _exceeded(worker, worker.memory.soft, SOFT_SAMPLES, "memory_soft", memory)


def _exceeded(worker: Worker, limit: int, count: int, name: str, memory: Memory) -> str:
    """Why, if all of the last ``count`` samples are beyond the limit."""
    samples = memory.get(worker.slot, ())[-count:] if limit else ()
    if len(samples) < count or min(samples) <= limit:
        return ""
    return f"it uses {_mib(samples[-1])}, more than its {name} of {_mib(limit)}"


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"
