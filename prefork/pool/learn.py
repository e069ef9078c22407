"""The only writer of the book: one event in, the next book out.

It must not decide anything: what follows from the news is for the rules.
Invariant: stale news (an incarnation that is not in the book) changes nothing.
Read next: ``rules.py``.
"""

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from prefork.pool import backoff, emergency, events, pausing, probation, recycling, reforking, tally
from prefork.pool.orders import Cause
from prefork.pool.owing import Loss, owe
from prefork.pool.reasons import LoadEnd, Reason
from prefork.pool.records import (
    Backoff,
    Door,
    Generation,
    Leftover,
    Outcome,
    Phase,
    Pool,
    Stage,
    State,
    Wanted,
    Worker,
)


def learn(pool: Pool, event: events.Event) -> Pool:
    """The book after ``event``."""
    return _LEARN[type(event)](pool, event)


# what operators asked for


def _stop_asked(pool: Pool, event: events.StopAsked) -> Pool:
    if event.phase <= pool.wanted.phase:
        return pool
    keeps_door = pool.wanted.keeps_door and (pool.is_stopping or not event.shuts_door)  # the first stop decides
    return replace(pool, wanted=replace(pool.wanted, phase=event.phase, since=event.at, keeps_door=keeps_door))


def _reload_asked(pool: Pool, event: events.ReloadAsked) -> Pool:
    """Reloads merge: however many are asked for while one is under way, one more follows it, with the latest code."""
    if pool.is_stopping:
        return pool
    return _want(pool, replace(pool.wanted, generation=pool.last_generation + 1, asked=event.configured))


def _scale_asked(pool: Pool, event: events.ScaleAsked) -> Pool:
    """Both bounds move. The sum of the moves is kept, so that what one takes away its opposite brings back."""
    return _scale(pool, max(-pool.wanted.configured.most, pool.wanted.scaled + event.by))


def _scale(pool: Pool, scaled: int) -> Pool:
    wanted = replace(pool.wanted, scaled=scaled)
    return _want(pool, replace(wanted, count=wanted.bounds.clip(wanted.count)))


def _pool_sized(pool: Pool, event: events.PoolSized) -> Pool:
    wanted = pool.wanted
    count = wanted.bounds.clip(event.count)
    if count == wanted.count:
        return pool
    return _want(pool, replace(wanted, count=count, resized_by=count - wanted.count, resized_at=event.at))


def _count_asked(pool: Pool, event: events.CountAsked) -> Pool:
    """A fixed pool has that many; of one that sizes itself they are the least."""
    return _scale(pool, event.count - pool.wanted.configured.least)


def _reload_refused(pool: Pool, event: events.ReloadRefused) -> Pool:
    return tally.with_load(replace(pool, last_load=Outcome(event.at, None, event.why)), LoadEnd.REFUSED)


def _want(pool: Pool, wanted: Wanted) -> Pool:
    """Change what is wanted; nobody owes more replacements than are missing after it."""
    missing = max(0, wanted.count - len(pool.in_state(State.STARTING, State.READY)))
    owed = pool.backoff
    crashed = min(owed.crashed, missing)
    owed = replace(owed, crashed=crashed, died=min(owed.died, missing - crashed))
    return replace(pool, wanted=wanted, backoff=owed)


def _master_woke(pool: Pool, event: events.MasterWoke) -> Pool:
    return replace(pool, awake_since=event.at)


# what became of generations


def _mold_started(pool: Pool, event: events.MoldStarted) -> Pool:
    before = pool.generations.get(event.generation)
    losses = before.losses if before else 0
    generation = Generation(event.generation, Stage.LOADING, event.at, pid=event.pid, losses=losses)
    return _bring(_with_generation(pool, generation), event.generation)


def _mold_not_started(pool: Pool, event: events.MoldNotStarted) -> Pool:
    return _bring(_lose(pool, event.generation, event.why, event.at), event.generation)


def _bring(pool: Pool, number: int) -> Pool:
    """The first mold of a new number makes it the coming generation."""
    if number <= pool.last_generation:
        return pool
    return replace(pool, coming=number, last_generation=number)


def _mold_loaded(pool: Pool, event: events.MoldLoaded) -> Pool:
    generation = pool.generations.get(event.generation)
    if generation is None or generation.stage is not Stage.LOADING:
        return pool
    pool = _with_generation(pool, replace(generation, stage=Stage.LOADED, since=event.at))
    if event.generation == pool.coming:  # new code starts with a clean record
        return replace(pool, backoff=Backoff(death_tokens=pool.backoff.death_tokens))
    return pool


def _mold_broken(pool: Pool, event: events.MoldBroken) -> Pool:
    generation = pool.generations.get(event.generation)
    if generation is None or generation.stage is not Stage.LOADING:
        return pool
    return _with_generation(pool, replace(generation, stage=Stage.BROKEN, since=event.at, why=event.why))


def _mold_dismissed(pool: Pool, event: events.MoldDismissed) -> Pool:
    generation = pool.generations.get(event.generation)
    if generation is None:
        return pool
    if generation.pid is None:  # its process is gone already
        return _without_generation(pool, event.generation)
    stage = Stage.KILLED if event.why else Stage.LEAVING
    why = generation.why or event.why  # the first reason is the one to tell
    return _with_generation(pool, replace(generation, stage=stage, since=event.at, why=why))


def _mold_gone(pool: Pool, event: events.MoldGone) -> Pool:
    unborn = [w.slot for w in pool.workers.values() if w.generation == event.generation and w.pid is None]
    pool = replace(pool, workers={slot: w for slot, w in pool.workers.items() if slot not in unborn})
    generation = pool.generations.get(event.generation)
    if generation is None or generation.pid is None:
        return pool
    if pool.is_stopping or event.generation not in (pool.serving, pool.coming):
        return _without_generation(pool, event.generation)
    if generation.stage is Stage.BROKEN and event.generation == pool.coming:
        return _with_generation(pool, replace(generation, pid=None))  # the rules read why, then abandon it
    why = generation.why or f"its mold {event.how}"
    return _lose(pool, event.generation, why, event.at)


def _lose(pool: Pool, number: int, why: str, at: float) -> Pool:
    before = pool.generations.get(number)
    has_held = before and before.stage is Stage.LOADED and at - before.since >= backoff.FORGOTTEN_AFTER
    losses = 1 if before is None or has_held else before.losses + 1
    is_reforked = before is not None and before.is_reforked
    lost = Generation(number, Stage.LOST, at, why=why, losses=losses, is_reforked=is_reforked)
    return _with_generation(pool, lost)


def _generation_settled(pool: Pool, event: events.GenerationSettled) -> Pool:
    """Its configuration holds from now on: a broken deploy changes not even the number of workers."""
    wanted, on_probation = pool.wanted, probation.begin(pool, event)
    if wanted.asked not in (None, wanted.configured):
        count = wanted.asked.clip(wanted.count)
        wanted = replace(wanted, count=count, configured=wanted.asked, scaled=0)
    last_load = Outcome(event.at, event.generation)
    pool = replace(pool, serving=event.generation, coming=None, probation=on_probation, last_load=last_load, crashes=())
    return _want(tally.with_load(pool, LoadEnd.SERVES), wanted)


def _generation_abandoned(pool: Pool, event: events.GenerationAbandoned) -> Pool:
    last_load = Outcome(event.at, event.generation, event.why)
    pool = tally.with_load(reforking.failed(pool, event.generation), LoadEnd.ABANDONED)
    return replace(pool, coming=None, last_load=last_load, backoff=Backoff(death_tokens=pool.backoff.death_tokens))


def _generation_rolled_back(pool: Pool, event: events.GenerationRolledBack) -> Pool:
    pool = tally.with_load(pool, LoadEnd.ROLLED_BACK)
    return reforking.failed(probation.rolled_back(pool, event), event.generation)


def _service_failed(pool: Pool, event: events.ServiceFailed) -> Pool:
    phase = Phase.DRAINING if pool.serving else Phase.NOW  # whoever serves yet finishes what there is
    wanted = replace(pool.wanted, phase=max(phase, pool.wanted.phase), since=event.at)
    if pool.coming is not None:
        pool = tally.with_load(pool, LoadEnd.ABANDONED)
    return replace(pool, failed=event.why, coming=None, probation=None, wanted=wanted)


def _with_generation(pool: Pool, generation: Generation) -> Pool:
    return replace(pool, generations={**pool.generations, generation.number: generation})


def _without_generation(pool: Pool, number: int) -> Pool:
    return replace(pool, generations={n: g for n, g in pool.generations.items() if n != number})


# what became of workers


def _failures_forgotten(pool: Pool, event: events.FailuresForgotten) -> Pool:
    return replace(pool, backoff=replace(pool.backoff, failures=0))


def _service_degraded(pool: Pool, event: events.ServiceDegraded) -> Pool:
    return replace(pool, degraded_since=event.at)


def _service_recovered(pool: Pool, event: events.ServiceRecovered) -> Pool:
    return replace(pool, degraded_since=None)


def _worker_ordered(pool: Pool, event: events.WorkerOrdered) -> Pool:
    worker = Worker(
        slot=event.slot,
        order=event.order,
        generation=event.generation,
        state=State.STARTING,
        since=event.at,
        ordered_at=event.at,
        max_requests=event.max_requests,
        max_age=event.max_age,
        memory=event.memory,
    )
    owed, count = pool.backoff, pool.wanted.count
    if event.cause == Cause.CRASHED:
        tokens = backoff.take(owed.crash_tokens, event.at, count, backoff.CRASHES_PER)
        owed = replace(owed, crashed=owed.crashed - 1, crash_tokens=tokens)
    elif event.cause == Cause.DIED:
        tokens = backoff.take(owed.death_tokens, event.at, count, backoff.DEATHS_PER)
        owed = replace(owed, died=owed.died - 1, death_tokens=tokens)
    pool = replace(pool, next_order=max(pool.next_order, event.order + 1), backoff=owed)
    return _with_worker(pool, worker)


def _worker_not_forked(pool: Pool, event: events.WorkerNotForked) -> Pool:
    if _find(pool, event) is None:
        return pool
    owed = pool.backoff
    if event.at >= owed.refused_until:  # refusals of one attempt are one refusal
        refusals = owed.refusals + 1
        owed = replace(owed, refusals=refusals, refused_until=event.at + backoff.delay(refusals + 1))
    return replace(_without_worker(pool, event.slot), backoff=owed)


def _worker_born(pool: Pool, event: events.WorkerBorn) -> Pool:
    worker = _find(pool, event)
    if worker is None or worker.pid is not None:
        return pool
    pool = replace(pool, backoff=replace(pool.backoff, refusals=0))
    return _with_worker(pool, replace(worker, pid=event.pid))


def _worker_ready(pool: Pool, event: events.WorkerReady) -> Pool:
    worker = _find(pool, event)
    if worker is None or worker.state is not State.STARTING:
        return pool
    return tally.with_ready(_with_worker(pool, replace(worker, state=State.READY, since=event.at, ready_at=event.at)))


def _worker_broken(pool: Pool, event: events.WorkerBroken) -> Pool:
    worker = _find(pool, event)
    return pool if worker is None else _with_worker(pool, replace(worker, why=event.why))


def _worker_left(pool: Pool, event: events.WorkerLeft) -> Pool:
    worker = _find(pool, event)
    if worker is None or worker.state is not State.READY:
        return pool
    why = f"left: {event.why}"
    pool = owe(pool, Loss(worker, event.at, why, requests=event.requests, is_sound=event.is_sound))
    reason = Reason.TIMEOUT if event.is_sound else Reason.LEFT
    return _with_worker(pool, replace(worker, state=State.RETIRING, since=event.at, why=event.why, reason=reason))


def _requests_interrupted(pool: Pool, event: events.RequestsInterrupted) -> Pool:
    worker = _find(pool, event)
    if worker is None or event.number < worker.interrupted:
        return pool
    return _with_worker(pool, replace(worker, interrupted=event.number, interrupted_at=event.at))


def _slow_requests_told(pool: Pool, event: events.SlowRequestsTold) -> Pool:
    worker = _find(pool, event)
    return (
        pool if worker is None else _with_worker(pool, replace(worker, told_slow=max(worker.told_slow, event.number)))
    )


def _worker_expelled(pool: Pool, event: events.WorkerExpelled) -> Pool:
    worker = _find(pool, event)
    if worker is None or worker.state in (State.EXPELLED, State.KILLED):
        return pool
    if worker.is_living:
        pool = owe(pool, Loss(worker, event.at, f"was told to leave: {event.why}", requests=event.requests))
    return _with_worker(pool, _told_to_end(worker, State.EXPELLED, event))


def _worker_dumped(pool: Pool, event: events.WorkerDumped) -> Pool:
    worker = _find(pool, event)
    return pool if worker is None else _with_worker(pool, replace(worker, is_dumped=True))


def _worker_stood_still(pool: Pool, event: events.WorkerStoodStill) -> Pool:
    worker = _find(pool, event)
    return pool if worker is None else _with_worker(pool, replace(worker, stood_at=event.at))


def _worker_went_on(pool: Pool, event: events.WorkerWentOn) -> Pool:
    worker = _find(pool, event)
    if worker is None or worker.stood_at is None:
        return pool
    return _with_worker(pool, replace(worker, stood_at=None, went_on_at=event.at))


def _worker_retired(pool: Pool, event: events.WorkerRetired) -> Pool:
    worker = _find(pool, event)
    if worker is None or not worker.is_living:
        return pool
    return _with_worker(pool, _told_to_end(worker, State.RETIRING, event))


def _worker_killed(pool: Pool, event: events.WorkerKilled) -> Pool:
    worker = _find(pool, event)
    if worker is None or worker.state is State.KILLED:
        return pool
    if worker.is_living:
        pool = owe(pool, Loss(worker, event.at, f"was killed: {event.why}", requests=event.requests))
    return _with_worker(pool, _told_to_end(worker, State.KILLED, event))


def _told_to_end(
    worker: Worker, state: State, event: events.WorkerRetired | events.WorkerExpelled | events.WorkerKilled
) -> Worker:
    return replace(worker, state=state, since=event.at, why=event.why, reason=event.reason)


def _worker_exited(pool: Pool, event: events.WorkerExited) -> Pool:
    worker = _find(pool, event)
    if worker is None:
        return pool
    pool = _without_worker(pool, event.slot)
    pool = tally.with_ended(pool, tally.why_ended(worker, is_crash=event.is_crash, is_starved=event.is_starved))
    if not pool.is_stopping:
        why = f"could not serve: {worker.why}" if worker.why else event.how
        loss = Loss(worker, event.at, why, requests=event.requests, under_way=event.cut_off)
        if event.is_crash and worker.is_living and worker.generation == pool.serving:
            pool = emergency.with_crash(pool, event.at)
        return owe(pool, loss) if worker.is_living else pool
    if worker.state is State.KILLED and worker.since < pool.wanted.since:  # not by the stop, which only saw it end
        return pool
    return replace(pool, cut_off=pool.cut_off + event.cut_off)


def _find(pool: Pool, event: events.WorkerEvent) -> Worker | None:
    worker = pool.workers.get(event.slot)
    return worker if worker is not None and worker.order == event.order else None


def _with_worker(pool: Pool, worker: Worker) -> Pool:
    return replace(pool, workers={**pool.workers, worker.slot: worker})


def _without_worker(pool: Pool, slot: int) -> Pool:
    return replace(pool, workers={s: w for s, w in pool.workers.items() if s != slot})


def _children_left(pool: Pool, event: events.ChildrenLeft) -> Pool:
    return _with_leftover(pool, Leftover(event.pid, since=event.at))


def _children_seen(pool: Pool, event: events.ChildrenSeen) -> Pool:
    leftover = pool.leftovers.get(event.pid)
    return pool if leftover is None else _with_leftover(pool, replace(leftover, seen_at=event.at))


def _children_gone(pool: Pool, event: events.ChildrenGone) -> Pool:
    if event.pid not in pool.leftovers:
        return pool
    left = {pid: leftover for pid, leftover in pool.leftovers.items() if pid != event.pid}
    cut_off = 1 if event.are_killed and pool.is_stopping else 0
    return replace(pool, leftovers=left, cut_off=pool.cut_off + cut_off)


def _with_leftover(pool: Pool, leftover: Leftover) -> Pool:
    return replace(pool, leftovers={**pool.leftovers, leftover.pid: leftover})


# what became of the door


def _door_refused(pool: Pool, event: events.DoorRefused) -> Pool:
    return replace(pool, door=Door.REFUSING, door_since=event.at)


def _door_shut(pool: Pool, event: events.DoorShut) -> Pool:
    return replace(pool, door=Door.SHUT, door_since=event.at)


_LEARN: dict[type[events.Event], Callable[[Pool, Any], Pool]] = {
    events.StopAsked: _stop_asked,
    events.ReloadAsked: _reload_asked,
    events.ScaleAsked: _scale_asked,
    events.RecycleAsked: recycling.asked,
    events.PauseAsked: pausing.asked,
    events.ResumeAsked: pausing.asked,
    events.PauseTold: pausing.told,
    events.ReforkAsked: reforking.asked,
    events.ReforkAbandoned: reforking.abandoned,
    events.EmergencyDeclared: emergency.declared,
    events.PoolSized: _pool_sized,
    events.CountAsked: _count_asked,
    events.ReloadRefused: _reload_refused,
    events.MasterWoke: _master_woke,
    events.MoldStarted: _mold_started,
    events.MoldNotStarted: _mold_not_started,
    events.MoldLoaded: _mold_loaded,
    events.MoldBroken: _mold_broken,
    events.MoldDismissed: _mold_dismissed,
    events.MoldGone: _mold_gone,
    events.GenerationSettled: _generation_settled,
    events.GenerationAbandoned: _generation_abandoned,
    events.ProbationEnded: probation.ended,
    events.GenerationRolledBack: _generation_rolled_back,
    events.ServiceFailed: _service_failed,
    events.FailuresForgotten: _failures_forgotten,
    events.ServiceDegraded: _service_degraded,
    events.ServiceRecovered: _service_recovered,
    events.WorkerOrdered: _worker_ordered,
    events.WorkerNotForked: _worker_not_forked,
    events.WorkerBorn: _worker_born,
    events.WorkerReady: _worker_ready,
    events.WorkerBroken: _worker_broken,
    events.WorkerLeft: _worker_left,
    events.RequestsInterrupted: _requests_interrupted,
    events.SlowRequestsTold: _slow_requests_told,
    events.WorkerExpelled: _worker_expelled,
    events.WorkerDumped: _worker_dumped,
    events.WorkerStoodStill: _worker_stood_still,
    events.WorkerWentOn: _worker_went_on,
    events.WorkerRetired: _worker_retired,
    events.WorkerKilled: _worker_killed,
    events.WorkerExited: _worker_exited,
    events.WorkerCalled: reforking.called,
    events.WorkerPromoted: reforking.promoted,
    events.ChildrenLeft: _children_left,
    events.ChildrenSeen: _children_seen,
    events.ChildrenGone: _children_gone,
    events.DoorRefused: _door_refused,
    events.DoorShut: _door_shut,
}
