"""How a worker's state may change, found by trying: each kind of news is told to the mind about a worker in each state.

It must not know the states nor what changes them; ``prefork/pool/learn.py`` does, and is asked.
Invariant: a change that the mind makes is in the answer, and no other.
Read next: ``picture.py``, which draws it.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from prefork.pool import events
from prefork.pool.learn import learn
from prefork.pool.orders import Cause
from prefork.pool.records import Generation, Pool, Refork, Stage, State, Wanted, Worker, fixed

NONE = "none"  # before it is ordered
GONE = "gone"  # not in the book any more
SLOT, ORDER = 1, 7
_READY_ONCE = (State.READY.name, State.RETIRING.name)
_OF_WHOM = {  # the mind believes what it is told; these are told of nobody else
    events.WorkerOrdered: (NONE,),
    events.WorkerNotForked: (State.STARTING.name,),  # it has no pid yet
    events.WorkerExpelled: _READY_ONCE,  # it has a request
    events.WorkerPromoted: _READY_ONCE,  # it was called
}


class Change(NamedTuple):
    """:param before: the name of a state, or ``NONE``; ``after`` likewise, or ``GONE``.
    :param news: the class of the event, as words.
    """

    before: str
    after: str
    news: str


def changes() -> list[Change]:
    """In the order of the states, then of the news."""
    kinds = [kind for kind in vars(events).values() if _is_of_worker(kind)]
    return [
        Change(before, after, _words(kind))
        for before in (NONE, *(state.name for state in State))
        for kind in kinds
        if before in _OF_WHOM.get(kind, (before,)) and (after := _after(before, kind)) != before
    ]


def _is_of_worker(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, events.WorkerEvent) and kind is not events.WorkerEvent


def _words(kind: type[events.Event]) -> str:
    """``WorkerNotForked`` as ``not forked``."""
    spaced = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in kind.__name__)
    return spaced.strip().removeprefix("worker ")


def _after(before: str, kind: type[events.WorkerEvent]) -> str:
    worker = learn(_book(before), kind(**dict(_fields(kind)))).workers.get(SLOT)
    if worker is not None:
        return worker.state.name
    return NONE if before == NONE else GONE


def _book(state: str) -> Pool:
    """Of a service with this one worker, which was called to become a mold where it can be."""
    workers = {}
    if state != NONE:
        pid = None if state == State.STARTING.name else 4711
        workers = {SLOT: Worker(SLOT, ORDER, 1, State[state], 0.0, 0.0, pid=pid)}
    refork = Refork(SLOT, ORDER, 0.0, generation=2, called_at=0.0) if state == State.READY.name else None
    return Pool(
        "a",
        Wanted(1, fixed(1)),
        serving=1,
        last_generation=1,
        generations={1: Generation(1, Stage.LOADED, 0.0, pid=4710)},
        workers=workers,
        refork=refork,
    )


def _fields(kind: type[events.WorkerEvent]) -> Iterator[tuple[str, Any]]:
    """A value for each field that needs one."""
    known: dict[str, Any] = {"at": 1.0, "slot": SLOT, "order": ORDER, "generation": 2}
    for field in msgspec.structs.fields(kind):
        if field.name in known:
            yield field.name, known[field.name]
        elif field.required:
            yield field.name, next(iter(Cause)) if field.type is Cause else field.type()
