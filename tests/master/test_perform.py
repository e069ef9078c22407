"""Orders as they are carried out, where that is more than one call."""

import contextlib
from collections.abc import Iterator
from typing import Any, cast

import pytest

from prefork.config.service import Service
from prefork.master.hands import Child, Hands
from prefork.master.perform import perform
from prefork.pool.orders import ShutDoor
from prefork.system.slots import PHASE, Scoreboard
from prefork.worker.protocol import OrderCell


@pytest.fixture
def hands() -> Iterator[Hands]:
    """Of a service without listeners, whose only worker was told to retire."""
    hands = Hands("echo", Service(target="app:Echo", bind=("unix:/nowhere/x.sock",)), [], Scoreboard.create(2))
    hands.children[1] = Child(slot=1, order=1, pid=4711, pidfd=-1)
    hands.line(1).orders[PHASE] = OrderCell.RETIRE
    with contextlib.closing(hands):
        yield hands
        hands.children.clear()


@pytest.mark.parametrize(("order", "phase"), [(ShutDoor(), OrderCell.DRAIN), (ShutDoor(drain=False), OrderCell.RETIRE)])
def test_who_is_leaving_serves_the_queue_only_where_nobody_serves_after_us(
    order: ShutDoor, phase: OrderCell, hands: Hands
) -> None:
    """It may be the last on the final stop; a door that is kept has somebody behind it later."""
    perform(order, hands, cast(Any, None))

    assert hands.line(1).orders[PHASE] == phase
