"""What to do: decisions on their way to the kernel. Names are orders; each is harmless when given twice."""

from enum import StrEnum

from msgspec import Struct

from prefork.pool.reasons import Reason


class Cause(StrEnum):
    """What a new worker is for: it decides from which allowance it is forked."""

    FRESH = "fresh"  # first boot, scale-up, or the successor of one that will be retired
    DIED = "died"  # replaces one that had proven itself
    CRASHED = "crashed"  # replaces one that had not


class Order(Struct, frozen=True):
    pass


class Step(Struct, frozen=True):
    """An order that comes next, and the moment from which it is due."""

    order: Order
    due: float


class StartMold(Order, frozen=True):
    generation: int


class DismissMold(Order, frozen=True):
    generation: int


class KillMold(Order, frozen=True):
    generation: int
    why: str


class SettleGeneration(Order, frozen=True):
    generation: int


class AbandonGeneration(Order, frozen=True):
    generation: int
    why: str


class EndProbation(Order, frozen=True):
    """Let the generation serve for good: what came before it is no longer needed.

    :param why: it failed, but there is nothing to go back to; empty where it is passed.
    """

    generation: int
    why: str = ""


class RollBack(Order, frozen=True):
    """Let the generation before serve again."""

    generation: int
    back_to: int
    why: str


class AskRefork(Order, frozen=True):
    """:param requests: that the worker has served."""

    slot: int
    order: int
    requests: int


class CallWorker(Order, frozen=True):
    """Tell the worker to become the mold of a generation, if it can."""

    slot: int
    order: int
    generation: int


class AbandonRefork(Order, frozen=True):
    """:param generation: that the worker was called for; 0 if it was not yet."""

    generation: int
    why: str


class DeclareEmergency(Order, frozen=True):
    why: str


class FailService(Order, frozen=True):
    why: str


class ForgetFailures(Order, frozen=True):
    pass


class CallDegraded(Order, frozen=True):
    """Say that the service is degraded: why, after how many failures in a row, and when it tries again."""

    why: str
    failures: int
    next_try: float


class CallHealthy(Order, frozen=True):
    pass


class SizePool(Order, frozen=True):
    """Want as many workers as the load needs."""

    count: int
    why: str


class TellPause(Order, frozen=True):
    """Tell all workers whether to accept clients."""

    is_paused: bool


class SpawnWorker(Order, frozen=True):
    slot: int
    order: int
    generation: int
    cause: Cause


class RetireWorker(Order, frozen=True):
    """:param drain: on the final stop: first serve what is queued."""

    slot: int
    order: int
    why: str
    reason: Reason
    drain: bool = False


class InterruptRequests(Order, frozen=True):
    """Interrupt the worker's requests up to a number: they have taken too long."""

    slot: int
    order: int
    number: int


class TellSlowRequests(Order, frozen=True):
    """Put the worker's stacks into the log, for the sake of its requests up to a number."""

    slot: int
    order: int
    number: int


class ExpelWorker(Order, frozen=True):
    """Put its stacks into the log and tell it to leave; in a moment it will be killed."""

    slot: int
    order: int
    why: str
    reason: Reason


class DumpWorker(Order, frozen=True):
    """Put its stacks into the log if it could not do so itself."""

    slot: int
    order: int


class LookAfterWorker(Order, frozen=True):
    """See whether it still stands still."""

    slot: int
    order: int


class KillWorker(Order, frozen=True):
    """:param is_final: also if it is stopped, by a signal or a debugger."""

    slot: int
    order: int
    why: str
    reason: Reason
    is_final: bool = False


class LookForChildren(Order, frozen=True):
    """See whether processes of a dead worker still live.

    :param pid: the worker's.
    """

    pid: int


class KillChildren(Order, frozen=True):
    """:param pid: as above."""

    pid: int


class RefuseNew(Order, frozen=True):
    pass


class ShutDoor(Order, frozen=True):
    """:param drain: workers that are leaving already serve what is queued as well; else it waits for the next."""

    drain: bool = True
