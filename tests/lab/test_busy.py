"""How busy the CPUs were while a load was measured: from texts, no clock."""

import math

from prefork.lab.busy import Busy, Window, of_cpus

STAT = """\
cpu  100 0 100 700 50 0 50 0 0 0
cpu0 90 0 90 0 0 0 20 0 0 0
cpu1 10 0 10 700 50 0 30 0 5 0
intr 12 0 1
"""


def test_only_cpus_that_may_be_used_are_looked_at() -> None:
    """One that is full counts for all if it is the only one."""
    assert of_cpus(STAT, {0}) == Busy(200, 200)
    assert of_cpus(STAT, {1}) == Busy(50, 800)
    assert of_cpus(STAT, {0, 1}).share == 0.25
    assert of_cpus("", {0}).share == 0.0


def test_only_the_measured_time_is_looked_at() -> None:
    """Neither the warm-up before it nor the wait for the last replies after it."""
    readings = iter([Busy(90, 100), Busy(140, 200), Busy(900, 1000)])
    window = Window(10.0, 20.0, lambda: next(readings))
    assert [window.look(at) for at in (8.0, 10.5, 19.0, 20.5, 30.0)] == [2.0, 9.5, 1.0, math.inf, math.inf]
    assert window.share() == 0.5


def test_what_ends_early_is_looked_at_until_then() -> None:
    """A load that ends in its warm-up has no such time."""
    readings = iter([Busy(0, 0), Busy(30, 40)])
    window = Window(10.0, 20.0, lambda: next(readings))
    assert window.share() == 0.0
    assert window.look(12.0) == 8.0
    assert window.share() == 0.75
