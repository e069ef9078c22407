"""Recycles: who had which workers replaced, and how far that is.

It must not decide whom to replace next; that is for the rules. Invariant: whoever asked is answered once, when the last
of those workers is gone, or when it is certain that they will not be replaced.
Read next: ``operators.py``, who asks; ``prefork/pool/recycling.py``, who is replaced when.
"""

import time
from collections.abc import Callable, Iterator

from msgspec import Struct

from prefork.control.messages import Done, Failed, Progress, Recycle, Refused, Reply
from prefork.control.server import Client
from prefork.pool import events, health, recycling
from prefork.pool.records import Pool

now = time.monotonic


class _Recycling(Struct, eq=False):
    """:param left: slot and order of those that are not gone yet.
    :param whom: for people.
    """

    client: Client
    has_progress: bool
    service: str
    left: set[tuple[int, int]]
    total: int
    whom: str
    killed: int = 0


class Recycles:
    """Those under way."""

    def __init__(self) -> None:
        self._under_way: list[_Recycling] = []

    @property
    def are_over(self) -> bool:
        return not self._under_way

    def begin(
        self, client: Client, request: Recycle, pool: Pool, learn: Callable[[events.Event], object]
    ) -> Reply | None:
        """:param learn: puts an event into the book of the service.
        :returns: the answer, if it is known already.
        """
        choice = recycling.choose(pool, request.who)
        if not isinstance(choice, str) and (trouble := health.trouble(pool, now())) is not None:
            choice = f"it is degraded: {trouble.why}; ask again when it is healthy"
        if isinstance(choice, str):
            return Refused(why=f"{pool.name}: {choice}")
        if not choice:
            return Done(text=f"{pool.name}: nobody serves, so nobody is replaced")
        chosen = tuple((worker.slot, worker.order) for worker in choice)
        whom = f"worker {choice[0].slot} [{choice[0].pid}]" if len(choice) == 1 else f"{len(choice)} workers"
        learn(events.RecycleAsked(at=now(), workers=chosen, is_urgent=request.now))
        self._under_way = [one for one in self._under_way if not one.client.is_gone]
        self._under_way.append(_Recycling(client, request.progress, pool.name, set(chosen), len(chosen), whom))
        return None

    def learn(self, name: str, event: events.Event, after: Pool, text: str) -> Iterator[tuple[Client, Reply]]:
        """What to tell whom.

        :param text: what the log says of the event.
        """
        match event:
            case events.WorkerKilled(slot=slot, order=order):
                for one in self._of(name):
                    one.killed += (slot, order) in one.left
            case events.WorkerExited() | events.WorkerPromoted() | events.MoldGone():
                there = {(worker.slot, worker.order) for worker in after.workers.values()}
                for one in self._of(name):
                    if not one.left <= there:
                        one.left &= there
                        yield from self._tell(one)
            case events.StopAsked() if after.is_stopping:
                yield from self._end(name, f"{name}: the instance is stopping")
            case events.ServiceFailed():
                yield from self._end(name, f"{name}: {text}")

    def hurry(self) -> Iterator[tuple[Client, Reply]]:
        """Another image is about to go on, which would not know who waits."""
        for name in {one.service for one in self._under_way}:
            yield from self._end(name, f"{name}: an upgrade came meanwhile; ask again")

    def forget(self) -> None:
        self._under_way = []

    def _of(self, name: str) -> list[_Recycling]:
        return [one for one in self._under_way if one.service == name]

    def _tell(self, one: _Recycling) -> Iterator[tuple[Client, Reply]]:
        done = one.total - len(one.left)
        if one.has_progress:
            text = f"{one.service}: {done} of {one.total} workers replaced"
            yield one.client, Progress(text=text, service=one.service, done=done, total=one.total)
        if not one.left:
            self._under_way.remove(one)
            yield one.client, Done(text=f"{one.service}: {one.whom} {_replaced(one)}")

    def _end(self, name: str, why: str) -> Iterator[tuple[Client, Reply]]:
        ended = self._of(name)
        self._under_way = [one for one in self._under_way if one.service != name]
        for one in ended:
            yield one.client, Failed(why=f"{why}; {one.total - len(one.left)} of {one.total} workers were replaced")


def _replaced(one: _Recycling) -> str:
    text = "was replaced" if one.total == 1 else "were replaced"
    if not one.killed:
        return text
    return f"{text}, {'it' if one.total == 1 else one.killed} had to be killed"
