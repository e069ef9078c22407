"""Reforks: who waits for a worker to become a mold, for its generation, and for what that saves.

It must not know how a worker becomes one. Invariant: whoever asked is answered once: with what was saved, or why there
is no such generation.
Read next: ``operators.py``, who asks; ``savings.py``, what is measured; ``prefork/pool/reforking.py``, who is chosen.
"""

from collections.abc import Iterator

from msgspec import Struct

from prefork.control.messages import Done, Failed, Reply
from prefork.control.server import Client
from prefork.master.reloads import STOPPING
from prefork.pool import events
from prefork.pool.records import Pool

NOT_MEASURED = "memory saved: not measured, for an upgrade came meanwhile"


class _Reforking(Struct, eq=False):
    """A refork under way.

    :param text: how the log says that its generation serves; empty as long as it does not.
    """

    client: Client
    has_progress: bool
    service: str
    text: str = ""


class Reforks:
    """Those under way."""

    def __init__(self) -> None:
        self._under_way: list[_Reforking] = []

    @property
    def are_over(self) -> bool:
        return not self._under_way

    @property
    def watching(self) -> list[Client]:
        """Who wants to hear how far they are."""
        return [one.client for one in self._under_way if one.has_progress]

    def begin(self, client: Client, has_progress: bool, service: str) -> None:
        self._under_way = [one for one in self._under_way if not one.client.is_gone]
        self._under_way.append(_Reforking(client, has_progress, service))

    def learn(self, name: str, event: events.Event, after: Pool, text: str) -> Iterator[tuple[Client, Reply]]:
        """What to tell whom.

        :param text: what the log says of the event.
        """
        match event:
            case events.GenerationSettled():  # on probation or not
                for one in self._under_way:
                    one.text = text if one.service == name else one.text
            case events.GenerationAbandoned() if after.probation is None:
                yield from self._end(name, Failed(why=f"{name}: {text}"))
            case events.GenerationRolledBack() | events.ServiceFailed():
                yield from self._end(name, Failed(why=f"{name}: {text}"))
            case events.ReforkAbandoned() if text:
                yield from self._end(name, Failed(why=f"{name}: {text}"))
            case events.StopAsked() if after.is_stopping:
                under_way, self._under_way = self._under_way, []
                for one in under_way:
                    done = Done(text=f"{one.service}: {one.text}") if one.text else None
                    yield one.client, done or Failed(why=STOPPING)

    def tell_savings(self, name: str, text: str) -> Iterator[tuple[Client, Reply]]:
        """One of the service is over, and this is what it was good for."""
        serves = next((one.text for one in self._under_way if one.service == name), "")
        yield from self._end(name, Done(text=f"{name}: {serves}\n{name}: {text}"))

    def hurry(self) -> Iterator[tuple[Client, Reply]]:
        """Another image is about to go on, which would not know who waits."""
        for one in self._under_way[:]:
            yield from self.tell_savings(one.service, NOT_MEASURED)

    def forget(self) -> None:
        self._under_way = []

    def _end(self, name: str, outcome: Reply) -> Iterator[tuple[Client, Reply]]:
        ended = [one for one in self._under_way if one.service == name]
        self._under_way = [one for one in self._under_way if one.service != name]
        for one in ended:
            yield one.client, outcome
