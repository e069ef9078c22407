"""How many workers on how many machines: enough for the rate, with some of the machines lost or restarting.

Pure: it must not know what is printed. Invariant: with the machines it asks for, less those that may be away, the goal
is met; with all of them, nobody is busier than was asked.
Read next: ``fleet.py``, how long requests take there.
"""

import math

import msgspec
from msgspec.structs import replace

from prefork.lab.fleet import Balancer, Fleet, Machine, Service

MOST_MACHINES = 10_000
_EVERY = 16  # numbers of workers up to this are all tried, beyond it each eighth more
_ALIKE = 0.02  # percentiles that differ less are the same, and fewer workers decide


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of a fleet.

    :param rate: requests a second, with what they are to grow by.
    :param q: the share that the goal is for, as 0.99.
    :param goal: seconds from arrival to reply.
    :param utilisation: of the most a machine can do, while all are there.
    :param spare: machines that may fail at a time.
    :param rolling: machines that are restarted at a time; below 1 it is a share of them.
    """

    rate: float
    q: float
    goal: float
    utilisation: float = 0.7
    spare: int = 1
    rolling: float = 1.0
    balancer: Balancer = "random"

    def restarting(self, machines: int) -> int:
        """How many of so many are restarted at a time."""
        return math.ceil(self.rolling * machines - 1e-9) if self.rolling < 1 else int(self.rolling)

    def away(self, machines: int) -> int:
        """The most that are not there at a time, be they lost or restarting."""
        return max(self.spare, self.restarting(machines))


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """What one size of machine comes to.

    :param needed: machines that just meet the goal.
    :param machines: to have: with those that may be away, and not busier than was asked.
    :param most_workers: that were considered.
    :param others: machines it would take with other numbers of workers; ``None`` where no number is enough.
    """

    fleet: Fleet
    needed: int
    machines: int
    most_workers: int
    others: dict[int, int | None] = {}

    @property
    def memory(self) -> int:
        """Bytes that the service takes on one machine."""
        service = self.fleet.service
        return service.base_bytes + self.fleet.workers * service.worker_bytes

    @property
    def cost(self) -> tuple[float, float]:
        """By which sizes are compared: the price where there is one, or the CPUs; then the machines."""
        machine = self.fleet.machine
        each = machine.price if machine.price is not None else machine.cpus
        return each * self.machines, self.machines


def sized(service: Service, machine: Machine, wish: Wish) -> Size | str:
    """The number of workers with which the fewest of these machines are enough.

    :returns: or why no number is.
    """
    most = service.most_workers(machine)
    if most < 1:
        return "not one worker fits into its memory"
    tried: dict[int, Size | None] = {}

    def attempt(workers: int) -> None:
        if workers not in tried:
            fleet = Fleet(service=service, machine=machine, workers=workers, balancer=wish.balancer)
            tried[workers] = _enough(fleet, wish, most)

    for workers in _candidates(most):
        attempt(workers)
    found = _best(tried, wish)
    if found is None:
        alone = Fleet(service=service, machine=machine, workers=most, balancer=wish.balancer)
        if alone.node(MOST_MACHINES, wish.rate / MOST_MACHINES).beyond(wish.goal) > 1 - wish.q:
            return "the service alone takes longer than the goal, with nobody waiting"
        return f"{MOST_MACHINES} of them are too few"
    around = found.fleet.workers
    for workers in range(max(1, around - around // 8), min(most, around + around // 8) + 1):
        attempt(workers)
    best = _best(tried, wish) or found
    others = {workers: size.machines if size is not None else None for workers, size in sorted(tried.items())}
    return replace(best, others=others)


def _candidates(most: int) -> list[int]:
    found = list(range(1, min(most, _EVERY) + 1))
    while found[-1] < most:
        found.append(min(most, found[-1] + found[-1] // 8))
    return found


def _enough(fleet: Fleet, wish: Wish, most_workers: int) -> Size | None:
    needed = fleet.least_machines(wish.rate, wish.q, wish.goal, 1.0, MOST_MACHINES)
    easy = fleet.least_machines(wish.rate, wish.q, wish.goal, wish.utilisation, MOST_MACHINES)
    if needed is None or easy is None:
        return None
    machines = easy
    while machines - wish.away(machines) < needed:
        machines += 1
        if machines > MOST_MACHINES:
            return None
    return Size(fleet=fleet, needed=needed, machines=machines, most_workers=most_workers)


def _best(tried: dict[int, Size | None], wish: Wish) -> Size | None:
    """The fewest machines; of those the best percentile, as far as it matters; of those the fewest workers."""

    def rank(size: Size) -> tuple[int, int, int]:
        takes = size.fleet.node(size.machines, wish.rate).percentile(wish.q)
        return size.machines, round(math.log(takes) / _ALIKE), size.fleet.workers

    enough = [size for size in tried.values() if size is not None]
    fewest = min((size.machines for size in enough), default=0)
    return min((size for size in enough if size.machines == fewest), key=rank, default=None)
