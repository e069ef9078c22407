"""What happened: the news that changes the book. Names are past tense; ``at`` is seconds on the monotonic clock.

Whatever names a worker carries slot and order, so that news of an incarnation long gone is known as stale.
"""

from msgspec import Struct

from prefork.pool.orders import Cause
from prefork.pool.reasons import Reason
from prefork.pool.records import Bounds, MemoryLimits, Phase


class Event(Struct, frozen=True, kw_only=True):
    at: float


# what operators asked for


class StopAsked(Event, frozen=True, kw_only=True):
    """:param shuts_door: nobody will serve after us, so a door that would be kept is shut as well."""

    phase: Phase
    shuts_door: bool = False


class ReloadAsked(Event, frozen=True, kw_only=True):
    """:param configured: how many workers the configuration just read allows."""

    configured: Bounds


class ScaleAsked(Event, frozen=True, kw_only=True):
    by: int


class CountAsked(Event, frozen=True, kw_only=True):
    count: int


class ReloadRefused(Event, frozen=True, kw_only=True):
    """The configuration of a reload cannot be used, so nothing was asked for."""

    why: str


class ReforkAsked(Event, frozen=True, kw_only=True):
    """A worker that has served much is to become the next mold.

    :param slot: and ``order``: the worker.
    :param requests: as many as it has served.
    """

    slot: int
    order: int
    requests: int = 0


class RecycleAsked(Event, frozen=True, kw_only=True):
    """Workers are to be replaced.

    :param workers: slot and order of each.
    :param is_urgent: whatever they have under way.
    """

    workers: tuple[tuple[int, int], ...]
    is_urgent: bool = False


class PauseAsked(Event, frozen=True, kw_only=True):
    """Nobody is to be accepted."""


class ResumeAsked(Event, frozen=True, kw_only=True):
    """Clients are to be accepted again."""


class EmergencyDeclared(Event, frozen=True, kw_only=True):
    """So many workers died by a signal that nothing they inherited is believed: the code is loaded anew."""

    why: str


# what the load asks for


class PoolSized(Event, frozen=True, kw_only=True):
    """The load needs more workers, or has not needed so many for a while.

    :param count: as many as are wanted now.
    """

    count: int
    why: str


class MasterWoke(Event, frozen=True, kw_only=True):
    """The master goes on after it was stopped, or the machine was: it has not seen what happened meanwhile."""


class PauseTold(Event, frozen=True, kw_only=True):
    """All workers were told whether to accept clients."""

    is_paused: bool


# what became of generations


class GenerationEvent(Event, frozen=True, kw_only=True):
    generation: int


class MoldStarted(GenerationEvent, frozen=True, kw_only=True):
    pid: int


class MoldNotStarted(GenerationEvent, frozen=True, kw_only=True):
    why: str


class MoldLoaded(GenerationEvent, frozen=True, kw_only=True):
    pass


class MoldBroken(GenerationEvent, frozen=True, kw_only=True):
    """The application could not be loaded; ``why`` is its traceback."""

    why: str


class MoldDismissed(GenerationEvent, frozen=True, kw_only=True):
    """We told it to leave; or, with a reason, killed it."""

    why: str = ""


class MoldGone(GenerationEvent, frozen=True, kw_only=True):
    """The mold has ended and nobody it forked is still under way: all its open orders end here."""

    how: str


class GenerationSettled(GenerationEvent, frozen=True, kw_only=True):
    """Enough workers of the coming generation are ready: it serves.

    :param probation: seconds for which the one before it is kept; 0 is none.
    """

    probation: float = 0.0


class GenerationAbandoned(GenerationEvent, frozen=True, kw_only=True):
    """The coming generation failed; the one before serves on."""

    why: str


class ReforkAbandoned(GenerationEvent, frozen=True, kw_only=True):
    """The worker serves on, or is gone.

    :param generation: whose mold it would have been; 0 if it was not called yet.
    """

    why: str


class ProbationEnded(GenerationEvent, frozen=True, kw_only=True):
    """It is passed; or, with a reason, failed, and there is nothing to go back to."""

    why: str = ""


class GenerationRolledBack(GenerationEvent, frozen=True, kw_only=True):
    """The generation failed on probation, and the one before it serves again."""

    back_to: int
    why: str


class ServiceFailed(Event, frozen=True, kw_only=True):
    why: str


# how the service is


class FailuresForgotten(Event, frozen=True, kw_only=True):
    """A successor of those that failed has proven itself, or nobody failed again for a while: the row has ended."""


class ServiceDegraded(Event, frozen=True, kw_only=True):
    """It lacks workers, or could replace none, and that does not pass by itself.

    :param failures: of this kind, in a row.
    :param next_try: the moment of the next attempt; one in the past is under way.
    """

    why: str
    failures: int
    next_try: float


class ServiceRecovered(Event, frozen=True, kw_only=True):
    """It is healthy again."""


# what became of workers


class WorkerEvent(Event, frozen=True, kw_only=True):
    slot: int
    order: int


class WorkerOrdered(WorkerEvent, frozen=True, kw_only=True):
    """:param max_requests: this worker's limit, jitter included; so are ``max_age``, in seconds, and ``memory``.
    :param cause: what the order was for, see ``orders.Cause``."""

    generation: int
    cause: Cause
    max_requests: int = 0
    max_age: float = 0.0
    memory: MemoryLimits = MemoryLimits()


class WorkerNotForked(WorkerEvent, frozen=True, kw_only=True):
    """The machine refused: no processes, no memory."""

    why: str


class WorkerBorn(WorkerEvent, frozen=True, kw_only=True):
    pid: int


class WorkerReady(WorkerEvent, frozen=True, kw_only=True):
    pass


class WorkerBroken(WorkerEvent, frozen=True, kw_only=True):
    """The application could not be loaded or built in the worker; it ends by itself."""

    why: str


class WorkerLeft(WorkerEvent, frozen=True, kw_only=True):
    """The worker retires by its own decision, or by a signal that did not come from us.

    :param requests: as many as it had served.
    :param is_sound: not for a fault of its own, so its successor need not prove itself first.
    """

    why: str
    requests: int = 0
    is_sound: bool = False


class RequestsInterrupted(WorkerEvent, frozen=True, kw_only=True):
    """We told it to interrupt its requests up to a number; it may be unable to.

    :param why: for people: whose they are, and how long they take.
    """

    number: int
    why: str = ""


class SlowRequestsTold(WorkerEvent, frozen=True, kw_only=True):
    """We asked it for its stacks, for requests up to a number are slow; ``why`` is as above."""

    number: int
    why: str = ""


class WorkerExpelled(WorkerEvent, frozen=True, kw_only=True):
    """We asked it for its stacks and told it to leave: it has a request beyond the hard limit, or an operator waits.

    :param whose: for people: its requests were, and how long they took.
    :param requests: as many as it had served.
    """

    why: str
    whose: str = ""
    reason: Reason | None = None
    requests: int = 0


class WorkerDumped(WorkerEvent, frozen=True, kw_only=True):
    """We asked for its stacks once more, by the signal that is heard also where no Python code runs."""


class WorkerStoodStill(WorkerEvent, frozen=True, kw_only=True):
    """Its time was up, but it is stopped, by a signal or a debugger: it is not to blame."""


class WorkerWentOn(WorkerEvent, frozen=True, kw_only=True):
    """It runs again."""


class WorkerRetired(WorkerEvent, frozen=True, kw_only=True):
    """We told it to take nothing new and leave."""

    why: str
    reason: Reason | None = None


class WorkerKilled(WorkerEvent, frozen=True, kw_only=True):
    """We sent SIGKILL.

    :param requests: as many as it had served.
    """

    why: str
    reason: Reason | None = None
    requests: int = 0


class WorkerExited(WorkerEvent, frozen=True, kw_only=True):
    """The kernel says it is gone.

    :param how: for people, as "was killed by SIGSEGV".
    :param requests: as many as it had served.
    :param cut_off: requests it was serving at that moment.
    :param is_crash: it died by a signal.
    :param is_starved: the kernel killed it for want of memory.
    """

    how: str
    requests: int = 0
    cut_off: int = 0
    is_crash: bool = False
    is_starved: bool = False


class WorkerCalled(WorkerEvent, frozen=True, kw_only=True):
    """We told it to become the mold of a generation; it may decline."""

    generation: int


class WorkerPromoted(WorkerEvent, frozen=True, kw_only=True):
    """It has left its slot for good and is about to be that mold."""

    generation: int


class ChildrenEvent(Event, frozen=True, kw_only=True):
    """:param pid: of the worker that they were children of."""

    pid: int


class ChildrenLeft(ChildrenEvent, frozen=True, kw_only=True):
    """The worker is gone, but processes it had forked are not: they finish what it had under way."""


class ChildrenSeen(ChildrenEvent, frozen=True, kw_only=True):
    """They still live."""


class ChildrenGone(ChildrenEvent, frozen=True, kw_only=True):
    """:param are_killed: by us."""

    are_killed: bool = False


# what became of the door


class DoorRefused(Event, frozen=True, kw_only=True):
    pass


class DoorShut(Event, frozen=True, kw_only=True):
    pass
