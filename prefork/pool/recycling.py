"""Which workers are worn out, by requests, age or memory, and when the next one will be.

One that is worn out serves on until its successor is ready: the rules see to that, a surge at a time. It must not know
how memory is measured. Jitter is in each worker's own limits already.
Invariant: while the service is in trouble nobody is worn out, for who knows whether a successor would hold.
Read next: ``staffing.py``, and ``kill_swollen`` in ``limits.py``; ``docs/recycling.md``.
"""

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum, auto

from prefork.pool import health
from prefork.pool.records import Pool, Reading, State, Worker

SOFT_SAMPLES = 3  # in a row: what a request holds for a moment is no reason to replace anybody
HARD_SAMPLES = 2  # nor to cut it off; but whoever waits for a third may find the machine out of memory

Slots = Mapping[int, Reading]
Memory = Mapping[int, tuple[int, ...]]  # see ``Readings`` in ``wishes.py``


class Wear(Enum):
    """By what a worker is worn out."""

    REQUESTS = auto()
    AGE = auto()
    MEMORY = auto()


def worn_out(pool: Pool, slots: Slots, memory: Memory, now: float) -> dict[int, Wear]:
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


def why_worn(worker: Worker, wear: Wear, memory: Memory, now: float) -> str:
    """For people."""
    if wear is Wear.REQUESTS:
        return f"it has served {worker.max_requests} requests"
    if wear is Wear.AGE:
        assert worker.ready_at is not None, "only the ready are worn out"
        return f"it is {now - worker.ready_at:.1f} s old"
    return _why_heavy(memory[worker.slot][-1], "memory_soft", worker.memory.soft)


def swollen(workers: Iterable[Worker], memory: Memory) -> Iterator[tuple[Worker, str]]:
    """Those of the workers that must be killed, and why."""
    for worker in workers:
        if (samples := memory.get(worker.slot)) and _exceed(samples, worker.memory.hard, HARD_SAMPLES):
            yield worker, _why_heavy(samples[-1], "memory_hard", worker.memory.hard)


def _worn(pool: Pool, slots: Slots, memory: Memory, now: float) -> dict[int, Wear]:
    found = {}
    for worker in pool.in_state(State.READY):
        reading = slots.get(worker.slot)
        if worker.max_requests and reading is not None and reading.requests >= worker.max_requests:
            found[worker.slot] = Wear.REQUESTS
        elif worker.max_age and worker.ready_at is not None and now >= worker.ready_at + worker.max_age:
            found[worker.slot] = Wear.AGE
        elif (samples := memory.get(worker.slot)) and _exceed(samples, worker.memory.soft, SOFT_SAMPLES):
            found[worker.slot] = Wear.MEMORY
    return found


def _exceed(samples: tuple[int, ...], limit: int, count: int) -> bool:
    """Whether all of the last ``count`` samples are beyond the limit, if there is one."""
    return samples[-1] > limit > 0 and len(samples) >= count and min(samples[-count:]) > limit


def _why_heavy(size: int, name: str, limit: int) -> str:
    return f"it uses {size / 2**20:.1f} MiB, more than its {name} of {limit / 2**20:.1f} MiB"
