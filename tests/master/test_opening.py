"""What a reload may change, and what only a restart can."""

import pytest

from prefork.config.instance import Instance
from prefork.config.service import Service
from prefork.config.units import Bytes
from prefork.errors import UsageError
from prefork.master.opening import refuse_restarts

MIB = 2**20


def limited(soft: int = 0, budget: int | None = None) -> Instance:
    service = Service(
        target="app:Echo",
        bind=("tcp://127.0.0.1:9000",),
        max_workers=4,
        memory_soft=Bytes(soft),
        memory_budget=None if budget is None else Bytes(budget),
    )
    return Instance(service={"echo": service})


def test_limits_of_memory_change_by_a_reload() -> None:
    """Also to none at all, and to another kind."""
    refuse_restarts(limited(300 * MIB), limited(400 * MIB))
    refuse_restarts(limited(300 * MIB), limited())
    refuse_restarts(limited(budget=900 * MIB), limited(300 * MIB))


@pytest.mark.parametrize("after", [limited(300 * MIB), limited(budget=900 * MIB)], ids=["limit", "budget"])
def test_the_first_limit_of_memory_needs_a_restart(after: Instance) -> None:
    """What weighs processes is imported before the master is ready, or never."""
    with pytest.raises(UsageError) as raised:
        refuse_restarts(limited(), after)
    why = "limits memory, which it did not before; restart for it in this version"
    assert str(raised.value) == f"[service.echo] {why}"
