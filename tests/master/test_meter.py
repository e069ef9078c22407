"""What the meter makes of the scoreboard's figures; time is an argument, and every figure is given."""

from prefork.master.meter import Meter
from prefork.pool.records import Load, Reading
from tests.pool.test_rules import serving

SECONDS = 10.0


def busy(since: float, seconds: float, under_way: int = 1, at_once: int = 1) -> Reading:
    return Reading(busy_since=since, busy=under_way, at_once=at_once, busy_seconds=seconds)


def idle(seconds: float, at_once: int = 1) -> Reading:
    return Reading(at_once=at_once, busy_seconds=seconds)


def test_busy_workers_and_queued_clients_are_needed() -> None:
    """Both, and remembered for the window; then forgotten."""
    meter, pool = Meter(), serving(3)
    slots = {1: busy(1.0, 1.0), 2: busy(1.0, 1.0), 3: idle(0.0)}
    assert meter.read(pool, slots, 4, SECONDS, 2.0) == Load(2.0, 4, 1, peak=6, falls_at=12.0)
    slots = {1: busy(1.0, 2.0), 2: idle(1.0), 3: idle(0.0)}
    assert meter.read(pool, slots, 0, SECONDS, 3.0) == Load(1.0, 0, 1, peak=6, falls_at=12.0)
    slots = {1: busy(1.0, 11.0), 2: idle(1.0), 3: idle(0.0)}
    assert meter.read(pool, slots, 0, SECONDS, 12.0) == Load(1.0, 0, 1, peak=1, falls_at=22.0)


def test_what_happens_between_two_looks_is_seen_by_its_sum() -> None:
    """No request is under way at any look, yet two and a half workers were in use on the average."""
    meter, pool = Meter(), serving(4)
    meter.read(pool, {slot: idle(0.0) for slot in range(1, 5)}, 0, SECONDS, 1.0)
    slots = {1: idle(1.0), 2: idle(1.0), 3: idle(0.5), 4: idle(0.0)}
    assert meter.read(pool, slots, 0, SECONDS, 2.0) == Load(0.0, 0, 1, peak=3, falls_at=12.0)


def test_nobody_was_busy_for_longer_than_there_was_time() -> None:
    """A long request that ends between two cells is counted twice there; it does not fill the pool."""
    meter, pool = Meter(), serving(1)
    meter.read(pool, {1: busy(0.0, 500.0)}, 0, SECONDS, 500.0)
    assert meter.read(pool, {1: busy(0.0, 1000.0)}, 0, SECONDS, 500.5).peak == 1
    assert meter.read(pool, {1: idle(500.0)}, 0, SECONDS, 501.0).peak == 1


def test_the_pace_of_requests_is_told() -> None:
    """Ten of them took a second together."""
    meter, pool = Meter(), serving(1)
    meter.read(pool, {1: idle(0.0)}, 0, SECONDS, 1.0)
    served = Reading(requests=10, busy_seconds=1.0)
    assert meter.read(pool, {1: served}, 9, SECONDS, 2.5) == Load(0.0, 9, 1, each=0.1, peak=1, falls_at=12.5)


def test_a_successor_in_the_same_slot_is_somebody_else() -> None:
    """Its sums begin anew."""
    meter = Meter()
    meter.read(serving(2), {1: idle(100.0), 2: idle(0.0)}, 0, SECONDS, 1.0)
    later = serving(1)
    assert meter.read(later, {1: idle(100.0)}, 0, SECONDS, 2.0).peak == 0


def test_workers_with_lanes_count_by_the_share_in_use() -> None:
    """Six of two times eight."""
    slots = {1: busy(0.0, 9.0, under_way=4, at_once=8), 2: busy(0.0, 9.0, under_way=2, at_once=8)}
    assert Meter().read(serving(2), slots, 3, SECONDS, 1.0) == Load(0.75, 3, 8, peak=2, falls_at=11.0)


def test_two_looks_at_one_moment_are_one() -> None:
    """Every order is followed by another decision at once."""
    meter, pool = Meter(), serving(1)
    first = meter.read(pool, {1: busy(0.0, 1.0)}, 0, SECONDS, 1.0)
    assert meter.read(pool, {1: busy(0.0, 1.0)}, 0, SECONDS, 1.0) == first
