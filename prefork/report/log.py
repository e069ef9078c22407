"""Log lines: one event, one line that an operator can read aloud.

It must not decide anything; it sees an event with the book before and after it.
Invariant: an event that changed nothing prints nothing.
"""

import logging
from collections.abc import Callable
from typing import Any

from prefork.control.messages import Told
from prefork.pool import backoff, events
from prefork.pool.records import Generation, Phase, Pool, Probation, Stage, State, Worker
from prefork.report import told

logger = logging.getLogger("prefork.master")
Line = tuple[int, str]
_INFO, _DEBUG, _WARNING, _ERROR = logging.INFO, logging.DEBUG, logging.WARNING, logging.ERROR


def tell(before: Pool, event: events.Event, after: Pool) -> Told | None:
    """Print what ``event`` did to the service.

    :returns: what was printed, its text without the name of the service; ``None`` if there was nothing to say.
    """
    printer = _PRINTERS.get(type(event))
    line = printer(before, event, after) if printer is not None and before != after else None
    if line is None:
        return None
    level, text = line
    kind, who = told.kind(type(event)), told.about(before, event, after)
    logger.log(level, "%s: %s", before.name, text, extra=told.fields(kind, before.name, who))
    return told.told(level, kind, text, before.name, who)


def say(level: int, event: str, text: str) -> Told:
    """Print what concerns the whole instance.

    :param event: what kind of thing it is, as ``reload-refused``.
    """
    logger.log(level, "%s", text, extra=told.fields(event))
    return told.told(level, event, text)


def _who(worker: Worker) -> str:
    pid = "" if worker.pid is None else f" [{worker.pid}]"
    return f"worker {worker.slot}{pid} of generation {worker.generation}"


def _worker(pool: Pool, event: events.WorkerEvent) -> Worker:
    return pool.workers[event.slot]


_STOPPING = {
    Phase.DRAINING: "stopping gracefully: new clients are refused, what is queued is served",
    Phase.QUICK: "stopping quickly",
    Phase.NOW: "stopping now",
}


def _stop_asked(before: Pool, event: events.StopAsked, after: Pool) -> Line:
    if after.wanted.keeps_door and event.phase is Phase.DRAINING:
        return _INFO, "stopping gracefully: requests under way are finished, and who is queued waits"
    return _INFO, _STOPPING[event.phase]


def _reload_asked(before: Pool, event: events.ReloadAsked, after: Pool) -> Line:
    if before.coming is not None:
        return _INFO, f"reload: generation {after.wanted.generation} follows when {before.coming} is settled"
    return _INFO, f"reload: generation {after.wanted.generation} is asked for"


def _refork_asked(before: Pool, event: events.ReforkAsked, after: Pool) -> Line:
    served = f", which has served {event.requests} requests," if event.requests else ""
    return _INFO, f"refork: {_who(after.workers[event.slot])}{served} is to become the mold of the next generation"


def _refork_abandoned(before: Pool, event: events.ReforkAbandoned, after: Pool) -> Line:
    return _WARNING, f"refork given up, generation {after.serving} serves on: {event.why}"


def _recycle_asked(before: Pool, event: events.RecycleAsked, after: Pool) -> Line:
    workers = [after.workers[slot] for slot, _ in event.workers if slot in after.workers]
    how = " at once, whatever they have under way" if event.is_urgent else ""
    return _INFO, f"recycle: to be replaced{how}: {', '.join(_who(worker) for worker in workers)}"


def _pause_asked(before: Pool, event: events.PauseAsked, after: Pool) -> Line:
    return _WARNING, "paused: nobody is accepted, and clients queue until it is resumed"


def _resume_asked(before: Pool, event: events.ResumeAsked, after: Pool) -> Line:
    return _INFO, "resumed: clients are accepted again"


def _called(before: Pool, event: events.WorkerCalled, after: Pool) -> Line:
    return _DEBUG, f"{_who(_worker(after, event))} is asked to become the mold of generation {event.generation}"


def _promoted(before: Pool, event: events.WorkerPromoted, after: Pool) -> Line:
    return _INFO, f"{_who(_worker(before, event))} becomes the mold of generation {event.generation}"


def _emergency(before: Pool, event: events.EmergencyDeclared, after: Pool) -> Line:
    return _ERROR, f"emergency: {event.why}; generation {after.wanted.generation} is loaded from fresh code"


def _scale_asked(before: Pool, event: events.ScaleAsked | events.CountAsked, after: Pool) -> Line:
    if not after.wanted.configured.is_fixed:
        least, most = after.wanted.bounds
        tail = f", and {after.wanted.count} now" if after.wanted.count != before.wanted.count else ""
        return _INFO, f"workers wanted: between {least} and {most}{tail}"
    return _INFO, f"workers wanted: {after.wanted.count} instead of {before.wanted.count}"


def _pool_sized(before: Pool, event: events.PoolSized, after: Pool) -> Line:
    return _INFO, f"workers wanted: {after.wanted.count} instead of {before.wanted.count}, {event.why}"


def _mold_started(before: Pool, event: events.MoldStarted, after: Pool) -> Line:
    return _DEBUG, f"mold [{event.pid}] of generation {event.generation} is loading"


def _mold_not_started(before: Pool, event: events.MoldNotStarted, after: Pool) -> Line:
    return _WARNING, f"generation {event.generation}: {event.why}"


def _mold_loaded(before: Pool, event: events.MoldLoaded, after: Pool) -> Line:
    return _DEBUG, f"generation {event.generation} is loaded"


def _mold_broken(before: Pool, event: events.MoldBroken, after: Pool) -> Line | None:
    if event.generation == before.coming:
        return None  # its end is told with the reason
    what = f"generation {event.generation} cannot be loaded anew, so none of its workers can be replaced"
    return _ERROR, f"{what}: {event.why}"


def _mold_gone(before: Pool, event: events.MoldGone, after: Pool) -> Line:
    generation = before.generations[event.generation]
    if event.generation in after.generations and not after.is_stopping and not generation.why:
        wait = backoff.delay(after.generations[event.generation].losses)
        when = f" in {wait:.2g} s, after {after.generations[event.generation].losses} losses" if wait else ""
        loss = ", without what it had cached as a worker" if generation.is_reforked else ""
        return (
            _WARNING,
            f"mold [{generation.pid}] of generation {event.generation} {event.how}; it is loaded anew{when}{loss}",
        )
    text = f"mold [{generation.pid}] of generation {event.generation} {event.how}"
    if before.probation is not None and _is_lost_fallback(before.probation, generation):
        return _WARNING, f"{text}; generation {before.probation.generation} cannot be rolled back any more"
    return _DEBUG, text


def _is_lost_fallback(probation: Probation, mold: Generation) -> bool:
    return mold.number == probation.fallback and mold.stage is Stage.LOADED


def _settled(before: Pool, event: events.GenerationSettled, after: Pool) -> Line:
    count, next_count = before.wanted.count, after.wanted.count
    change = f", and {next_count} are wanted from now on" if next_count != count else ""
    trial = f", on probation for {event.probation:g} s" if after.probation is not None else ""
    return _INFO, f"generation {event.generation} serves with {count} worker{'s' * (count != 1)}{change}{trial}"


def _abandoned(before: Pool, event: events.GenerationAbandoned, after: Pool) -> Line:
    serving = f"generation {after.serving} serves on"
    return _ERROR, f"generation {event.generation} is given up, {serving}: {event.why}"


def _probation_ended(before: Pool, event: events.ProbationEnded, after: Pool) -> Line:
    if event.why:
        return _ERROR, f"generation {event.generation} has failed: {event.why}"
    return _INFO, f"generation {event.generation} serves for good: it has passed its probation"


def _rolled_back(before: Pool, event: events.GenerationRolledBack, after: Pool) -> Line:
    return _ERROR, f"generation {event.generation} is given up, generation {event.back_to} serves again: {event.why}"


def _failed(before: Pool, event: events.ServiceFailed, after: Pool) -> Line:
    if before.serving:
        return _ERROR, f"given up, new clients are refused and only a restart brings it back: {event.why}"
    return _ERROR, f"cannot serve: {event.why}"


def _degraded(before: Pool, event: events.ServiceDegraded, after: Pool) -> Line:
    wait = event.next_try - event.at
    when = f"next try in {wait:.2g} s" if wait > 0 else "trying again"
    return (
        _WARNING,
        f"degraded, after {event.failures} failure{'s' * (event.failures != 1)} in a row, {when}: {event.why}",
    )


def _recovered(before: Pool, event: events.ServiceRecovered, after: Pool) -> Line:
    assert before.degraded_since is not None, "one recovers from something"
    return _INFO, f"healthy again, after {event.at - before.degraded_since:.2g} s"


def _not_forked(before: Pool, event: events.WorkerNotForked, after: Pool) -> Line | None:
    if after.backoff.refusals == before.backoff.refusals:
        return None
    wait = after.backoff.refused_until - event.at
    return _WARNING, f"cannot fork worker {event.slot}: {event.why}; trying again in {wait:.2g} s"


def _born(before: Pool, event: events.WorkerBorn, after: Pool) -> Line:
    return _DEBUG, f"{_who(_worker(after, event))} is born"


def _ready(before: Pool, event: events.WorkerReady, after: Pool) -> Line:
    return _DEBUG, f"{_who(_worker(after, event))} is ready"


def _broken(before: Pool, event: events.WorkerBroken, after: Pool) -> Line:
    return _ERROR, f"{_who(_worker(after, event))} cannot serve: {event.why}"


def _left(before: Pool, event: events.WorkerLeft, after: Pool) -> Line:
    return _INFO, f"{_who(_worker(after, event))} retires: {event.why}"


def _interrupted(before: Pool, event: events.RequestsInterrupted, after: Pool) -> Line | None:
    if event.number == _worker(before, event).interrupted:  # told again
        return None
    return _INFO, f"{_who(_worker(after, event))} is told to interrupt {event.why}"


def _woke(before: Pool, event: events.MasterWoke, after: Pool) -> Line:
    return _WARNING, "the master goes on after it stood still: all limits that are running begin anew"


def _stood_still(before: Pool, event: events.WorkerStoodStill, after: Pool) -> Line | None:
    if _worker(before, event).stood_at is not None:
        return None
    return _WARNING, f"{_who(_worker(after, event))} is stopped, by a signal or a debugger; its limits wait for it"


def _went_on(before: Pool, event: events.WorkerWentOn, after: Pool) -> Line:
    return _INFO, f"{_who(_worker(after, event))} goes on, and its limits begin anew"


def _slow(before: Pool, event: events.SlowRequestsTold, after: Pool) -> Line:
    return _WARNING, f"{_who(_worker(after, event))} is slow, its stacks are in the log: it serves {event.why}"


def _expelled(before: Pool, event: events.WorkerExpelled, after: Pool) -> Line:
    text = f"{_who(_worker(before, event))} is told to leave at once, its stacks are in the log: {event.why}"
    return _WARNING, text


def _retired(before: Pool, event: events.WorkerRetired, after: Pool) -> Line | None:
    worker = _worker(before, event)
    if worker.state is State.RETIRING:
        return None
    level = _DEBUG if after.is_stopping else _INFO
    return level, f"{_who(worker)} is retired: {event.why}"


def _killed(before: Pool, event: events.WorkerKilled, after: Pool) -> Line:
    return _WARNING, f"{_who(_worker(before, event))} is killed: {event.why}"


def _exited(before: Pool, event: events.WorkerExited, after: Pool) -> Line:
    worker = _worker(before, event)
    text = f"{_who(worker)} {event.how} after {event.requests} request{'s' * (event.requests != 1)}"
    if worker.state in (State.RETIRING, State.EXPELLED, State.KILLED) or before.is_stopping:
        return _DEBUG, text
    if event.cut_off:
        text += ", with one under way"
    wait = backoff.next_try(after.backoff) - event.at
    if after.backoff.crashed and wait > 0:
        text += f"; replacements wait {wait:.2g} s, after {after.backoff.failures} failures in a row"
    return _WARNING, text


def _children_seen(before: Pool, event: events.ChildrenSeen, after: Pool) -> Line | None:
    if before.leftovers[event.pid].was_seen:
        return None
    return _WARNING, f"processes of worker [{event.pid}] outlive it, and finish what it had under way"


def _children_gone(before: Pool, event: events.ChildrenGone, after: Pool) -> Line | None:
    if not before.leftovers[event.pid].was_seen:
        return None
    text = f"processes that outlived worker [{event.pid}]"
    return (_WARNING, f"{text} are killed, their time is over") if event.are_killed else (_DEBUG, f"{text} are gone")


_PRINTERS: dict[type[events.Event], Callable[[Pool, Any, Pool], Line | None]] = {
    events.StopAsked: _stop_asked,
    events.ReloadAsked: _reload_asked,
    events.ScaleAsked: _scale_asked,
    events.RecycleAsked: _recycle_asked,
    events.PauseAsked: _pause_asked,
    events.ResumeAsked: _resume_asked,
    events.ReforkAsked: _refork_asked,
    events.ReforkAbandoned: _refork_abandoned,
    events.WorkerCalled: _called,
    events.WorkerPromoted: _promoted,
    events.EmergencyDeclared: _emergency,
    events.PoolSized: _pool_sized,
    events.CountAsked: _scale_asked,
    events.MoldStarted: _mold_started,
    events.MoldNotStarted: _mold_not_started,
    events.MoldLoaded: _mold_loaded,
    events.MoldBroken: _mold_broken,
    events.MoldGone: _mold_gone,
    events.GenerationSettled: _settled,
    events.GenerationAbandoned: _abandoned,
    events.ProbationEnded: _probation_ended,
    events.GenerationRolledBack: _rolled_back,
    events.ServiceFailed: _failed,
    events.ServiceDegraded: _degraded,
    events.ServiceRecovered: _recovered,
    events.WorkerNotForked: _not_forked,
    events.WorkerBorn: _born,
    events.WorkerReady: _ready,
    events.WorkerBroken: _broken,
    events.WorkerLeft: _left,
    events.RequestsInterrupted: _interrupted,
    events.MasterWoke: _woke,
    events.WorkerStoodStill: _stood_still,
    events.WorkerWentOn: _went_on,
    events.SlowRequestsTold: _slow,
    events.WorkerExpelled: _expelled,
    events.WorkerRetired: _retired,
    events.WorkerKilled: _killed,
    events.WorkerExited: _exited,
    events.ChildrenSeen: _children_seen,
    events.ChildrenGone: _children_gone,
}
