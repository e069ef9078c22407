"""What happened: the news that changes the book. Names are past tense; ``at`` is seconds on the monotonic clock.

Whatever names a worker carries slot and order, so that news of an incarnation long gone is known as stale.
"""

from dataclasses import dataclass

from prefork.pool.orders import Cause
from prefork.pool.records import Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    at: float


# what operators asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class StopAsked(Event):
    """:param shuts_door: nobody will serve after us, so a door that would be kept is shut as well."""

    phase: Phase
    shuts_door: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadAsked(Event):
    """:param configured: the worker count of the configuration just read."""

    configured: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleAsked(Event):
    by: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MasterWoke(Event):
    """The master goes on after it was stopped, or the machine was: it has not seen what happened meanwhile."""


# what became of generations


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationEvent(Event):
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MoldStarted(GenerationEvent):
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MoldNotStarted(GenerationEvent):
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MoldLoaded(GenerationEvent):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class MoldBroken(GenerationEvent):
    """The application could not be loaded; ``why`` is its traceback."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MoldDismissed(GenerationEvent):
    """We told it to leave; or, with a reason, killed it."""

    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MoldGone(GenerationEvent):
    """The mold has ended and nobody it forked is still under way: all its open orders end here."""

    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationSettled(GenerationEvent):
    """Enough workers of the coming generation are ready: it serves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationAbandoned(GenerationEvent):
    """The coming generation failed; the one before serves on."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceFailed(Event):
    why: str


# what became of workers


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerEvent(Event):
    slot: int
    order: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOrdered(WorkerEvent):
    """:param max_requests: this worker's limit, jitter included.
    :param cause: what the order was for, see ``orders.Cause``."""

    generation: int
    cause: Cause
    max_requests: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerNotForked(WorkerEvent):
    """The machine refused: no processes, no memory."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerBorn(WorkerEvent):
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerReady(WorkerEvent):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerBroken(WorkerEvent):
    """The application could not be loaded or built in the worker; it ends by itself."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerLeft(WorkerEvent):
    """The worker retires by its own decision, or by a signal that did not come from us.

    :param requests: as many as it had served.
    :param is_sound: not for a fault of its own, so its successor need not prove itself first.
    """

    why: str
    requests: int = 0
    is_sound: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestsInterrupted(WorkerEvent):
    """We told it to interrupt its requests up to a number; it may be unable to.

    :param why: for people: whose they are, and how long they take.
    """

    number: int
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowRequestsTold(WorkerEvent):
    """We asked it for its stacks, for requests up to a number are slow; ``why`` is as above."""

    number: int
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerExpelled(WorkerEvent):
    """We asked it for its stacks and told it to leave: it has a request beyond the hard limit.

    :param requests: as many as it had served.
    """

    why: str
    requests: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerDumped(WorkerEvent):
    """We asked for its stacks once more, by the signal that is heard also where no Python code runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStoodStill(WorkerEvent):
    """Its time was up, but it is stopped, by a signal or a debugger: it is not to blame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerWentOn(WorkerEvent):
    """It runs again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRetired(WorkerEvent):
    """We told it to take nothing new and leave."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerKilled(WorkerEvent):
    """We sent SIGKILL.

    :param requests: as many as it had served.
    """

    why: str
    requests: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerExited(WorkerEvent):
    """The kernel says it is gone.

    :param how: for people, as "was killed by SIGSEGV".
    :param requests: as many as it had served.
    :param cut_off: requests it was serving at that moment.
    """

    how: str
    requests: int = 0
    cut_off: int = 0


# what became of the door


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorRefused(Event):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorShut(Event):
    pass
