"""Wishes: what a rule yields, and what it is given beside the book.

It must not know which rules there are. Invariant: a wish is an order or the moment of one, so no rule ever waits.
Read next: ``rules.py``, which asks all rules in their order.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from msgspec import Struct

from prefork.pool.orders import Order
from prefork.pool.records import Load, Policy, Pool, Reading


class Later(Struct, frozen=True):
    """Nothing to do before ``at``."""

    at: float


class Readings(Struct, frozen=True, dict=True):
    """What is true now and in no record.

    :param slots: what the scoreboard says.
    :param handshakes: TCP handshakes under way on our listeners.
    :param load: of a pool that sizes itself; ``None`` of a fixed one.
    :param memory: by slot, the last samples of what its worker uses, in bytes, the newest last; where it was weighed.
    """

    slots: Mapping[int, Reading]
    handshakes: int = 0
    load: Load | None = None
    memory: Mapping[int, tuple[int, ...]] = MappingProxyType({})

    @functools.cached_property
    def oldest(self) -> float | None:
        """When the oldest request under way began: as long as that is within a limit, all are."""
        return min((r.busy_since for r in self.slots.values() if r.busy_since is not None), default=None)


Wish = Order | Later
Rule = Callable[[Pool, Readings, Policy, float], Iterator[Wish]]


def when_due(due: float, now: float, order: Order) -> Iterator[Wish]:
    """The order from the moment on at which it is due."""
    yield order if now >= due else Later(due)
