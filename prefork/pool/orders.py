"""What to do: decisions on their way to the kernel. Names are orders; each is harmless when given twice."""

from dataclasses import dataclass
from enum import StrEnum


class Cause(StrEnum):
    """What a new worker is for: it decides from which allowance it is forked."""

    FRESH = "fresh"  # first boot, scale-up, or the successor of one that will be retired
    DIED = "died"  # replaces one that had proven itself
    CRASHED = "crashed"  # replaces one that had not


@dataclass(frozen=True, slots=True)
class Order:
    pass


@dataclass(frozen=True, slots=True)
class StartMold(Order):
    generation: int


@dataclass(frozen=True, slots=True)
class DismissMold(Order):
    generation: int


@dataclass(frozen=True, slots=True)
class KillMold(Order):
    generation: int
    why: str


@dataclass(frozen=True, slots=True)
class SettleGeneration(Order):
    generation: int


@dataclass(frozen=True, slots=True)
class AbandonGeneration(Order):
    generation: int
    why: str


@dataclass(frozen=True, slots=True)
class FailService(Order):
    why: str


@dataclass(frozen=True, slots=True)
class SpawnWorker(Order):
    slot: int
    order: int
    generation: int
    cause: Cause


@dataclass(frozen=True, slots=True)
class RetireWorker(Order):
    """:param drain: on the final stop: first serve what is queued."""

    slot: int
    order: int
    why: str
    drain: bool = False


@dataclass(frozen=True, slots=True)
class InterruptRequests(Order):
    """Interrupt the worker's requests up to a number: they have taken too long."""

    slot: int
    order: int
    number: int


@dataclass(frozen=True, slots=True)
class TellSlowRequests(Order):
    """Put the worker's stacks into the log, for the sake of its requests up to a number."""

    slot: int
    order: int
    number: int


@dataclass(frozen=True, slots=True)
class ExpelWorker(Order):
    """Put its stacks into the log and tell it to leave; in a moment it will be killed."""

    slot: int
    order: int
    why: str


@dataclass(frozen=True, slots=True)
class DumpWorker(Order):
    """Put its stacks into the log if it could not do so itself."""

    slot: int
    order: int


@dataclass(frozen=True, slots=True)
class LookAfterWorker(Order):
    """See whether it still stands still."""

    slot: int
    order: int


@dataclass(frozen=True, slots=True)
class KillWorker(Order):
    """:param is_final: also if it is stopped, by a signal or a debugger."""

    slot: int
    order: int
    why: str
    is_final: bool = False


@dataclass(frozen=True, slots=True)
class RefuseNew(Order):
    pass


@dataclass(frozen=True, slots=True)
class ShutDoor(Order):
    pass
