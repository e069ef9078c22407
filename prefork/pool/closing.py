"""Closing: on the final stop the door is shut, and every worker serves what is queued and leaves.

It must not know how a listener is closed without loss. What takes too long to leave is for ``limits.py``.
Invariant: no worker is retired before the door is shut.
Read next: ``RefuseNew`` and ``ShutDoor`` in ``prefork/master/perform.py``, how that is done.
"""

from collections.abc import Iterator

from prefork.pool.orders import RefuseNew, RetireWorker, ShutDoor
from prefork.pool.reasons import Reason
from prefork.pool.records import Door, Phase, Policy, Pool, State
from prefork.pool.wishes import Later, Readings, Wish

HANDSHAKE_LIMIT = 1.0  # seconds a handshake under way may take when we stop


def close_door(pool: Pool, readings: Readings, policy: Policy, now: float) -> Iterator[Wish]:
    """On the final stop: admit nothing new, let handshakes under way finish, then close our own listeners."""
    if not pool.is_stopping or pool.door is Door.SHUT:
        return
    if pool.wanted.keeps_door:  # nobody is refused: who comes now is queued
        yield ShutDoor(drain=False)
        return
    # a quick stop needs some of its time to serve what the handshakes bring
    limit = HANDSHAKE_LIMIT if pool.wanted.phase is Phase.DRAINING else min(HANDSHAKE_LIMIT, policy.quick / 2)
    if pool.door is Door.OPEN:
        yield RefuseNew()
    elif not readings.handshakes or now >= pool.door_since + limit or pool.wanted.phase is Phase.NOW:
        yield ShutDoor()
    else:
        yield Later(now + limit / 10)


def drain_workers(pool: Pool, readings: Readings, policy: Policy, now: float) -> Iterator[Wish]:
    """On the final stop, the door shut: every worker serves what is queued, closes and leaves.

    Where the door is kept it leaves when its request is done.
    """
    if not pool.is_stopping or pool.door is not Door.SHUT:
        return
    for worker in pool.in_state(State.STARTING, State.READY):
        if worker.pid is not None:
            drain = not pool.wanted.keeps_door
            yield RetireWorker(worker.slot, worker.order, "the service stops", Reason.STOP, drain)
