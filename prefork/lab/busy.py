"""How busy the processors were that this process may use, and whether a service is on this machine too.

Where a control group allows less of their time than there is, what it denies is idle here.
Invariant: what cannot be read is no busyness. Source: proc_stat(5), the lines ``cpu0``, ``cpu1`` and so on.
"""

import math
import os
import socket
from collections.abc import Callable, Set
from typing import NamedTuple

from prefork.lab.aim import Aim

_IDLE = slice(3, 5)  # idle and iowait, of user nice system idle iowait irq softirq steal guest guest_nice
_GUESTS = 8  # which are in user and nice already


class Busy(NamedTuple):
    """A reading, or the difference of two.

    :param busy: ticks of those CPUs that were not idle.
    :param total: ticks of them.
    """

    busy: int
    total: int

    def since(self, before: "Busy") -> "Busy":
        return Busy(self.busy - before.busy, self.total - before.total)

    @property
    def share(self) -> float:
        """1 is all of them, all the time."""
        return self.busy / self.total if self.total > 0 else 0.0


def read() -> Busy:
    try:
        with open("/proc/stat") as stat:
            return of_cpus(stat.read(), os.sched_getaffinity(0))
    except (OSError, ValueError):
        return Busy(0, 0)


def of_cpus(stat: str, numbers: Set[int]) -> Busy:
    """:param stat: the text of ``/proc/stat``.
    :raises ValueError: it is no such text.
    """
    names = {f"cpu{number}" for number in numbers}
    busy = total = 0
    for line in stat.splitlines():
        name, *words = line.split()
        if name in names:
            ticks = [int(word) for word in words]
            total += sum(ticks[:_GUESTS])
            busy += sum(ticks[:_GUESTS]) - sum(ticks[_IDLE])
    return Busy(busy, total)


class Window:
    """What is busy from one instant to another, both of the monotonic clock.

    :param take: takes a reading.
    """

    def __init__(self, begin: float, end: float, take: Callable[[], Busy] = read) -> None:
        self._moments = (begin, end)
        self._take = take
        self._readings: list[Busy] = []

    def look(self, now: float) -> float:
        """Take the reading that is due; how many seconds it is until there is one again."""
        while len(self._readings) < len(self._moments):
            left = self._moments[len(self._readings)] - now
            if left > 0:
                return left
            self._readings.append(self._take())
        return math.inf

    def share(self) -> float:
        """Of the time until its end, or until now if that is sooner."""
        if len(self._readings) == 1:
            self._readings.append(self._take())
        return self._readings[1].since(self._readings[0]).share if self._readings else 0.0


def is_here(aim: Aim) -> bool:
    """Whether a service is on this machine: then the kernel reaches it from its own address."""
    if aim.family == socket.AF_UNIX:
        return True
    with socket.socket(aim.family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(aim.address)
        except OSError:
            return False
        return bool(probe.getsockname()[0] == aim.address[0])
