"""Status: one snapshot of all services, made from the book and the scoreboard, for whoever asks.

It must not decide anything, nor wait for anybody: workers are not asked, so the stuck ones are told of like all others.
It comes in parts, the workers first, a few at a time, so that its reader decides how long the master spends at once.
Invariant: the sums of a service are those of the workers that were told of, and of those that are gone.
Read next: ``prefork/control/messages.py``, the records; ``docs/control.md``, the same for users.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from prefork import __version__
from prefork.config.settings import Service
from prefork.control.messages import (
    Degraded,
    LoadStatus,
    MemoryStatus,
    RequestStatus,
    ServiceStatus,
    Snapshot,
    Workers,
    WorkerStatus,
)
from prefork.pool import health
from prefork.pool.health import Trouble
from prefork.pool.records import Phase, Pool, State, Worker
from prefork.system import slots

AT_A_TIME = 64  # workers and lanes looked at for one part: some 0.5 ms
_STATES = {
    State.STARTING: "starting",
    State.RETIRING: "retiring",
    State.EXPELLED: "expelled",
    State.KILLED: "killed",
}


class Figures(NamedTuple):
    """What workers have done."""

    requests: int = 0
    errors: int = 0

    def plus(self, requests: int, errors: int) -> "Figures":
        return Figures(self.requests + requests, self.errors + errors)


NONE_YET = Figures()


class Weighed(NamedTuple):
    """What a process used when it was last looked at.

    :param size: bytes, of what ``measure`` counts.
    """

    size: int
    measure: str
    at: float


class View(NamedTuple):
    """What there is to tell of one service.

    :param line: the scoreboard's, of a slot.
    :param past: figures of workers that are gone.
    :param weight: of a worker; ``None`` where it was not weighed.
    """

    pool: Pool
    settings: Service
    binds: tuple[str, ...]
    line: Callable[[int], slots.Slot]
    past: Figures
    weight: Callable[[Worker], Weighed | None]


def tell(name: str, uptime: float, views: Iterable[View], now: Callable[[], float]) -> Iterator[Workers | Snapshot]:
    """The parts of a snapshot.

    :param uptime: of the master, in seconds.
    :param views: as they are now.
    :param now: the monotonic clock.
    """
    services = []
    for view in views:
        sums = _Sums(view.past)
        for part in _parts(view, now):
            sums.add(part)
            yield Workers(service=view.pool.name, workers=part)
        services.append(_tell_service(view, sums, now()))
    yield Snapshot(name=name, pid=os.getpid(), package=__version__, uptime_seconds=_round(uptime), services=services)


def _parts(view: View, now: Callable[[], float]) -> Iterator[list[WorkerStatus]]:
    part: list[WorkerStatus] = []
    weight = 0
    for slot in sorted(view.pool.workers):
        line = view.line(slot)
        worker = view.pool.workers[slot]
        part.append(_tell_worker(worker, line, view.weight(worker), now()))
        weight += 1 + line.totals[slots.LANES]
        if weight >= AT_A_TIME:
            yield part
            part, weight = [], 0
    if part:
        yield part


class _Sums:
    """What the workers told of amount to."""

    def __init__(self, figures: Figures) -> None:
        self.figures = figures
        self.states: dict[str, int] = {}

    def add(self, workers: list[WorkerStatus]) -> None:
        for worker in workers:
            self.figures = self.figures.plus(worker.requests, worker.errors)
            self.states[worker.state] = self.states.get(worker.state, 0) + 1


def _tell_worker(worker: Worker, line: slots.Slot, weight: Weighed | None, now: float) -> WorkerStatus:
    figures, current = NONE_YET, []
    if worker.pid is not None and line.totals[slots.ORDER] == worker.order:  # else the slot still has another's figures
        figures = Figures(line.totals[slots.REQUESTS], line.totals[slots.ERRORS])
        current = [
            RequestStatus(peer=r.peer, number=r.number, age_seconds=_round(now - r.since), label=r.label)
            for r in line.requests_under_way()
        ]
    return WorkerStatus(
        slot=worker.slot,
        pid=worker.pid,
        generation=worker.generation,
        state=_STATES.get(worker.state) or ("busy" if current else "idle"),
        state_seconds=_round(now - worker.since),
        age_seconds=None if worker.ready_at is None else _round(now - worker.ready_at),
        requests=figures.requests,
        errors=figures.errors,
        current=current,
        memory=_tell_weight(weight, now),
        why=worker.why,
    )


def _tell_weight(weight: Weighed | None, now: float) -> MemoryStatus | None:
    if weight is None:
        return None
    return MemoryStatus(bytes=weight.size, measure=weight.measure, ago_seconds=_round(now - weight.at))


def _tell_service(view: View, sums: _Sums, now: float) -> ServiceStatus:
    pool, settings = view.pool, view.settings
    degraded = _tell_trouble(health.trouble(pool, now), now)
    count = sums.states.get
    return ServiceStatus(
        name=pool.name,
        target=settings.target,
        binds=list(view.binds),
        mode=settings.mode or "",
        concurrency=settings.concurrency or "",
        phase=_phase(pool, degraded is not None),
        generation=pool.serving,
        coming=pool.coming,
        probation_seconds=None if pool.probation is None else _round(pool.probation.until - now),
        configured=(pool.wanted.configured.least, pool.wanted.configured.most),
        wanted=pool.wanted.count,
        starting=count("starting", 0),
        ready=count("busy", 0) + count("idle", 0),
        busy=count("busy", 0),
        idle=count("idle", 0),
        retiring=count("retiring", 0) + count("expelled", 0) + count("killed", 0),
        orphaned=len(pool.leftovers),
        requests=sums.figures.requests,
        errors=sums.figures.errors,
        degraded=degraded,
        last_load=_last_load(pool, now),
        failed=pool.failed or "",
        is_paused=pool.wanted.is_paused,
        started=pool.started,
        ended=dict(pool.ended),
        loads=dict(pool.loads),
    )


def _phase(pool: Pool, is_degraded: bool) -> str:
    if pool.failed:
        return "failed"
    if pool.wanted.phase > Phase.SERVING:
        return "stopping"
    if not pool.serving:
        return "starting"
    if pool.is_reloading:
        return "reloading"
    return "degraded" if is_degraded else "healthy"


def _tell_trouble(trouble: Trouble | None, now: float) -> Degraded | None:
    if trouble is None:
        return None
    wait = _round(max(0.0, trouble.next_try - now))
    return Degraded(why=trouble.why, failures=trouble.failures, next_try_seconds=wait)


def _last_load(pool: Pool, now: float) -> LoadStatus | None:
    load = pool.last_load
    if load is None:
        return None
    outcome = "refused"
    if load.generation is not None:
        outcome = "serves" if load.generation == pool.serving else "abandoned"
    return LoadStatus(generation=load.generation, outcome=outcome, ago_seconds=_round(now - load.at), why=load.why)


def _round(seconds: float) -> float:
    return round(max(0.0, seconds), 3)
