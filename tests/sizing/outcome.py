"""What a day cost: the waits of its clients, and the seconds of its workers."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from prefork.pool.records import Bounds
from tests.sizing.days import Day
from tests.sizing.floor import Floor, Supervisor
from tests.sizing.supervisors import Apache, Fixed, Ours, PhpDynamic, PhpOnDemand

LEAST, SPARE, MOST_SPARE = 5, 5, 10  # Apache's defaults, for everybody who keeps spare workers

SUPERVISORS: dict[str, Callable[[int], Supervisor]] = {
    "fixed": Fixed,
    "ours": lambda most: Ours(Bounds(LEAST, most), SPARE, MOST_SPARE),
    "Apache prefork": lambda most: Apache(SPARE, MOST_SPARE, most),
    "php-fpm dynamic": lambda most: PhpDynamic(SPARE, MOST_SPARE, most),
    "ours, on demand": lambda most: Ours(Bounds(0, most), 0, 0),
    "php-fpm ondemand": PhpOnDemand,
}


@dataclass(frozen=True)
class Outcome:
    """:param turns: changes of direction of the pool's size, those of a spare worker or two not counted."""

    floor: Floor
    mean: float
    p99: float
    worst: float
    worker_seconds: float
    forks: int
    turns: int


def spend(day: Day, supervisor: Supervisor, seconds: float | None = None) -> Outcome:
    """:param seconds: stop then, instead of at the end of the day; whoever queues at the end has waited so far."""
    floor = Floor(supervisor, day.clients, day.boot).run(day.seconds if seconds is None else seconds)
    waits = sorted(floor.waits + [floor.now - client.at for client in floor.queue])
    mean = sum(waits) / len(waits)
    p99 = waits[int(0.99 * len(waits))]
    turns = changes_of_direction([size for _, size in floor.sizes])
    return Outcome(floor, mean, p99, waits[-1], floor.worker_seconds, floor.forks, turns)


def changes_of_direction(sizes: list[int], slack: int = 5) -> int:
    """How often a series turned around, where it then went at least ``slack`` the other way."""
    turns, direction, extreme = 0, 0, sizes[0]
    for before, size in pairwise(sizes):
        if direction >= 0 and size <= extreme - slack:
            turns += direction > 0
            direction, extreme = -1, size
        elif direction <= 0 and size >= extreme + slack:
            turns += direction < 0
            direction, extreme = 1, size
        elif (direction >= 0 and size > max(extreme, before)) or (direction < 0 and size < extreme):
            extreme = size
    return turns
