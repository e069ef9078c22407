"""What was told: a log line as a record, with whom it is about, for whoever follows what happens.

It must not decide what is told, nor know who listens.
Invariant: a record names what the book knew of a worker or a generation when it happened, and nothing else.
Read next: ``log.py``, which words the lines; ``prefork/master/chronicle.py``, who remembers them.
"""

import functools
import logging
import re
import time
from typing import Any, NamedTuple

from prefork.control.messages import Told
from prefork.pool import events
from prefork.pool.records import Pool

_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")


class About(NamedTuple):
    """Whom an event is about, as far as that is known."""

    slot: int | None = None
    pid: int | None = None
    generation: int | None = None


NOBODY = About()


@functools.cache
def kind(event: type[events.Event]) -> str:
    """``worker-exited`` of ``WorkerExited``."""
    return _HUMP.sub("-", event.__name__).lower()


def about(before: Pool, event: events.Event, after: Pool) -> About:
    match event:
        case events.WorkerEvent(slot=slot, order=order):
            for pool in (after, before):  # a newborn has its pid after it, one that is gone had it before
                worker = pool.workers.get(slot)
                if worker is not None and worker.order == order:
                    return About(slot, worker.pid, worker.generation)
            return About(slot)
        case events.GenerationEvent(generation=number):
            mold = after.generations.get(number) or before.generations.get(number)
            return About(pid=mold.pid if mold is not None else None, generation=number)
        case events.ChildrenEvent(pid=pid):
            return About(pid=pid)
    return NOBODY


def fields(event: str, service: str = "", who: About = NOBODY) -> dict[str, Any]:
    """What a log line carries besides its text: values only where they are known."""
    found: dict[str, Any] = {"event": event, "service": service or None}
    found |= {"slot": who.slot, "worker_pid": who.pid, "generation": who.generation}
    return {name: value for name, value in found.items() if value is not None}


def told(level: int, event: str, text: str, service: str = "", who: About = NOBODY) -> Told:
    """:param level: of ``logging``."""
    return Told(
        at=time.time(),
        level=logging.getLevelName(level).lower(),
        event=event,
        text=text,
        service=service,
        slot=who.slot,
        pid=who.pid,
        generation=who.generation,
    )
