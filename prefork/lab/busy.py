"""How busy the whole machine was meanwhile, and whether a service is on it too.

Invariant: what cannot be read is no busyness. Source: proc_stat(5), the line ``cpu``.
"""

import os
import socket
from typing import NamedTuple

from prefork.lab.aim import Aim

_IDLE = slice(3, 5)  # idle and iowait, of user nice system idle iowait irq softirq steal guest guest_nice
_GUESTS = 8  # which are in user and nice already


class Busy(NamedTuple):
    """A reading, or the difference of two.

    :param busy: ticks of all CPUs that were not idle.
    :param total: ticks of all CPUs.
    """

    busy: int
    total: int

    def since(self, before: "Busy") -> "Busy":
        return Busy(self.busy - before.busy, self.total - before.total)

    @property
    def share(self) -> float:
        """1 is all CPUs, all the time."""
        return self.busy / self.total if self.total > 0 else 0.0


def read() -> Busy:
    try:
        with open("/proc/stat") as stat:
            ticks = [int(word) for word in stat.readline().split()[1:]]
    except (OSError, ValueError):
        return Busy(0, 0)
    total = sum(ticks[:_GUESTS])
    return Busy(total - sum(ticks[_IDLE]), total)


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


def cpus() -> int:
    """Of the machine, as far as it shows them."""
    return os.cpu_count() or 1
