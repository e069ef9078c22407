"""Status: one snapshot of all services, made from the book and the scoreboard, for whoever asks.

It must not decide anything, nor wait for anybody: workers are not asked, so the stuck ones are told of like all others.
It comes in parts, the workers first, a few at a time, so that its reader decides how long the master spends at once.
Invariant: the sums of a service are those of the workers that were told of, and of those that were gone before; each
counts once, also who goes meanwhile.
Read next: ``prefork/control/messages.py``, the records; ``docs/control.md``, the same for users.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from math import inf
from typing import NamedTuple

from prefork import __version__
from prefork.config import written
from prefork.config.service import Service
from prefork.control.messages import (
    Degraded,
    LoadStatus,
    MemoryStatus,
    ProcessStatus,
    QueueStatus,
    Recent,
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
from prefork.system.timings import EPOCH_NS, Counts, Past, total

AT_A_TIME = 64  # workers and lanes looked at for one part: some 0.5 ms
_STATES = {
    State.STARTING: "starting",
    State.RETIRING: "retiring",
    State.EXPELLED: "expelled",
    State.KILLED: "killed",
}


class Weighed(NamedTuple):
    """What a process used when it was last looked at.

    :param size: bytes, of what ``measure`` counts.
    """

    size: int
    measure: str
    at: float


class View(NamedTuple):
    """What there is to tell of one service.

    :param line: the scoreboard's, of a slot; as its worker left it, once that is gone.
    :param past: what workers have served that were gone before; nobody of ``pool`` is among them.
    :param weight: of a worker; ``None`` where it was not weighed.
    :param molds: generation and pid of each.
    :param queues: who waits at each bind, when it is asked.
    """

    pool: Pool
    settings: Service
    binds: tuple[str, ...]
    line: Callable[[int], slots.Slot]
    past: Past
    weight: Callable[[Worker], Weighed | None]
    molds: tuple[tuple[int, int], ...]
    queues: Callable[[], list[QueueStatus]]


class AdminView(NamedTuple):
    """What there is to tell of the admin process.

    :param pid: 0 where it does not run.
    """

    address: str
    pid: int
    restarts: int


def tell(
    name: str,
    uptime: float,
    log_level: str,
    views: Iterable[View],
    now: Callable[[], float],
    admin: AdminView | None = None,
) -> Iterator[Workers | Snapshot]:
    """The parts of a snapshot.

    :param uptime: of the master, in seconds.
    :param views: as they are now.
    :param now: the monotonic clock.
    :param admin: ``None`` where there is no admin process.
    """
    services = []
    processes = [ProcessStatus(kind="master", pid=os.getpid())]
    processes += [ProcessStatus(kind="admin", pid=admin.pid)] if admin is not None and admin.pid else []
    for view in views:
        sums = _Sums(view, now())
        yield from _parts(view, sums, now)
        services.append(_tell_service(view, sums, uptime, now()))
        service = view.pool.name
        processes += [ProcessStatus(kind="mold", pid=pid, service=service, generation=g) for g, pid in view.molds]
    yield Snapshot(
        name=name,
        pid=os.getpid(),
        package=__version__,
        uptime_seconds=_round(uptime),
        services=services,
        log_level=log_level,
        processes=processes,
        admin=[] if admin is None else [admin.address],
        admin_restarts=0 if admin is None else admin.restarts,
    )


def _parts(view: View, sums: "_Sums", now: Callable[[], float]) -> Iterator[Workers]:
    part: list[WorkerStatus] = []
    weight = 0
    for slot in sorted(view.pool.workers):
        line = view.line(slot)
        worker = view.pool.workers[slot]
        # else the slot still has another's figures
        its_own = line if worker.pid is not None and line.totals[slots.ORDER] == worker.order else None
        status = _tell_worker(worker, its_own, view.weight(worker), now())
        sums.add(status, its_own)
        part.append(status)
        weight += 1 + line.totals[slots.LANES]
        if weight >= AT_A_TIME:
            yield Workers(service=view.pool.name, workers=part)
            sums.close_part()
            part, weight = [], 0
    if part:
        yield Workers(service=view.pool.name, workers=part)
        sums.close_part()


class _Sums:
    """What the workers told of amount to, and those that are gone."""

    def __init__(self, view: View, now: float) -> None:
        self._now_ns = int(now * 1e9)
        self.epoch = self._now_ns // EPOCH_NS
        self.life = view.past.life
        self.recent = total(counts for number, counts in view.past.lately.items() if number >= self.epoch - 1)
        self.states: dict[str, int] = {}
        self.ages: list[float] = []  # of requests under way
        self.at_once = 1
        self.newest = inf  # age of the request that was the last to fill a worker; less than nothing: one has room
        self._lives: list[Counts] = []
        self._recents: list[Counts] = []

    def add(self, worker: WorkerStatus, line: slots.Slot | None) -> None:
        self.states[worker.state] = self.states.get(worker.state, 0) + 1
        if line is None:
            return
        self._lives.append(line.timings.life)
        self._recents += line.timings.by_epoch(self._now_ns).values()
        self.ages += [request.age_seconds for request in worker.current]
        if worker.state in ("idle", "busy"):
            room = line.totals[slots.LANES] or 1
            self.at_once = max(self.at_once, room)
            is_full = len(worker.current) >= room
            newest = min((request.age_seconds for request in worker.current), default=-1.0)
            self.newest = min(self.newest, newest if is_full else -1.0)

    def close_part(self) -> None:
        """Add up what was added, so that no part takes long."""
        self.life = total([self.life, *self._lives])
        self.recent = total([self.recent, *self._recents])
        self._lives, self._recents = [], []

    @property
    def all_busy_seconds(self) -> float | None:
        return self.newest if 0 <= self.newest < inf else None


def _tell_worker(worker: Worker, line: slots.Slot | None, weight: Weighed | None, now: float) -> WorkerStatus:
    """:param line: ``None`` where the worker has not signed it yet."""
    requests = errors = busy_ns = 0
    current: list[RequestStatus] = []
    if line is not None:
        requests, errors, busy_ns = line.totals[slots.REQUESTS : slots.BUSY_NS + 1]
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
        requests=requests,
        errors=errors,
        busy_seconds=busy_ns / 1e9,
        current=current,
        memory=_tell_weight(weight, now),
        why=worker.why,
    )


def _tell_weight(weight: Weighed | None, now: float) -> MemoryStatus | None:
    if weight is None:
        return None
    return MemoryStatus(bytes=weight.size, measure=weight.measure, ago_seconds=_round(now - weight.at))


def _tell_service(view: View, sums: _Sums, uptime: float, now: float) -> ServiceStatus:
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
        requests=sums.life.requests,
        errors=sums.life.errors,
        degraded=degraded,
        last_load=_last_load(pool, now),
        failed=pool.failed or "",
        queues=view.queues(),
        busy_seconds=sums.life.busy_ns / 1e9,
        service_times=list(sums.life.times),
        recent=_tell_recent(sums, uptime, now),
        at_once=sums.at_once,
        all_busy_seconds=sums.all_busy_seconds,
        settings=written.settings_of(settings),
        is_paused=pool.wanted.is_paused,
        started=pool.started,
        ended=dict(pool.ended),
        loads=dict(pool.loads),
    )


def _tell_recent(sums: _Sums, uptime: float, now: float) -> Recent:
    recent = sums.recent
    seconds = min(now - (sums.epoch - 1) * EPOCH_NS / 1e9, uptime)
    return Recent(
        seconds=_round(seconds),
        requests=recent.requests,
        errors=recent.errors,
        busy_seconds=_round(recent.busy_ns / 1e9 + sum(min(age, seconds) for age in sums.ages)),
        service_times=list(recent.times),
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
