"""Pausing, as operators ask for it: refused where it could mean nothing, and answered at once.

It must not know how workers are told. Invariant: what is refused changes nothing.
Read next: ``operators.py``, who asks; ``prefork/pool/pausing.py``, what comes of it.
"""

import time
from collections.abc import Callable

from prefork.control.messages import Done, Pause, Refused, Reply, Resume
from prefork.pool import events
from prefork.pool.records import Pool

now = time.monotonic


def ask(request: Pause | Resume, pool: Pool, learn: Callable[[events.Event], object]) -> Reply:
    """:param learn: puts an event into the book of the service."""
    if pool.failed:
        return Refused(why=f"{pool.name}: it was given up; restart for it")
    if pool.is_stopping:
        return Refused(why=f"{pool.name}: the instance is stopping, and serves what is queued")
    pauses = isinstance(request, Pause)
    before = pool.wanted.is_paused
    learn(events.PauseAsked(at=now()) if pauses else events.ResumeAsked(at=now()))
    tail = ", as before" if before is pauses else ""
    text = "paused: nobody is accepted, clients queue" if pauses else "resumed: clients are accepted"
    return Done(text=f"{pool.name}: {text}{tail}")
