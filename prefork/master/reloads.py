"""Reloads: who waits for which generations, and how each of them ended.

It must not know how a generation is brought in. Invariant: whoever asked is answered once, by the generation that he
asked for in each service, or by one after it.
Read next: ``operators.py``, who asks; ``prefork/pool/generations.py``, when a generation serves or is given up.
"""

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct, field

from prefork.control.messages import Done, Failed, Reply
from prefork.control.server import Client
from prefork.pool import events
from prefork.pool.records import Pool

STOPPING = "the instance is stopping"
GIVEN_UP = "it was given up; restart for it"
UPGRADED = "an upgrade came before the probation was over; ask again"


class _Reloading(Struct, eq=False):
    """A reload under way.

    :param goals: the generation asked for, of each service whose outcome is not known yet.
    :param upgraded: what was done before, where it is the reload of an upgrade.
    """

    client: Client
    has_progress: bool
    goals: dict[str, int]
    upgraded: Sequence[str] = ()
    bad: list[str] = field(default_factory=list)
    good: list[str] = field(default_factory=list)


class Reloads:
    """Those under way."""

    def __init__(self) -> None:
        self._under_way: list[_Reloading] = []

    @property
    def are_over(self) -> bool:
        return not self._under_way

    @property
    def watching(self) -> list[Client]:
        """Who wants to hear how far they are."""
        return [one.client for one in self._under_way if one.has_progress]

    def begin(
        self, client: Client, has_progress: bool, pools: Mapping[str, Pool], upgraded: Sequence[str] = ()
    ) -> Reply | None:
        """Every service has been asked for its next generation, but for those that were given up.

        :returns: the answer, if it is known already.
        """
        goals = {name: pool.wanted.generation for name, pool in pools.items() if not pool.failed}
        bad = [f"{name}: {GIVEN_UP}" for name, pool in pools.items() if pool.failed]
        if not goals:
            return Failed(why="\n".join(bad))
        self._under_way = [one for one in self._under_way if not one.client.is_gone]
        self._under_way.append(_Reloading(client, has_progress, goals, upgraded, bad))
        return None

    def learn(self, name: str, event: events.Event, after: Pool, text: str) -> Iterator[tuple[Client, Reply]]:
        """What to tell whom.

        :param text: what the log says of the event.
        """
        match event:
            case events.GenerationSettled(generation=generation) if after.probation is None:
                yield from self._end(name, generation, text, is_good=True)
            case events.GenerationAbandoned(generation=generation):
                on_probation = after.probation.generation if after.probation is not None else 0
                yield from self._end(name, generation, text, is_good=False, beyond=on_probation)
            case events.ProbationEnded(generation=generation, why=why):
                yield from self._end(name, generation, text, is_good=not why)
            case events.GenerationRolledBack(generation=generation):
                yield from self._end(name, generation, text, is_good=False)
            case events.ServiceFailed():
                yield from self._end(name, after.wanted.generation, text, is_good=False)
            case events.StopAsked() if after.is_stopping:
                under_way, self._under_way = self._under_way, []
                for one in under_way:
                    yield one.client, Failed(why="\n".join([*one.bad, STOPPING]))

    def hurry(self) -> Iterator[tuple[Client, Reply]]:
        """Another image is about to go on, which would not know who waits: for a probation that it begins anew."""
        under_way, self._under_way = self._under_way, []
        for one in under_way:
            yield one.client, Failed(why="\n".join([*one.bad, *one.good, UPGRADED]))

    def forget(self) -> None:
        self._under_way = []

    def _end(
        self, name: str, generation: int, text: str, *, is_good: bool, beyond: int = 0
    ) -> Iterator[tuple[Client, Reply]]:
        """The generation serves, or is given up; so is every reload that asked for it, or for one before it.

        :param beyond: whoever asked for this one, or for one before it, waits for another outcome.
        """
        for one in self._under_way[:]:
            if beyond < one.goals.get(name, 0) <= generation:
                del one.goals[name]
                (one.good if is_good else one.bad).append(f"{name}: {text}")
            if not one.goals:
                self._under_way.remove(one)
                told = "\n".join([*one.upgraded, *(one.bad or one.good)])
                yield one.client, Failed(why=told) if one.bad else Done(text=told)
