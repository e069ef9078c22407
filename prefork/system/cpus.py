"""CPUs this process may use: by its affinity mask, and by the limit of its control group, cgroups(7).

A container's limit is a share of time, not a set of processors: 1.5 CPUs is a quota of 150 ms in each 100 ms. The
host's number of processors says nothing of either. It must not know workers.
Invariant: at least a little of one CPU, and what cannot be read limits nothing.
Sources: the kernel's cgroup-v2.rst (``cpu.max``) and sched-bwc.rst (``cpu.cfs_quota_us``, ``cpu.cfs_period_us``).
Read next: ``cgroups.py``, where the groups are.
"""

import contextlib
import os
from collections.abc import Iterator
from typing import NamedTuple

from prefork.system import cgroups


class Cpus(NamedTuple):
    """How many, and what says so."""

    amount: float
    why: str


def usable() -> Cpus:
    """CPUs this process may use: the least that any limit allows."""
    mask = len(os.sched_getaffinity(0))
    limits = [(float(mask), "the affinity mask"), *_limits()]
    amount, where = min(limits)
    return Cpus(amount, f"{amount:g} CPU{'s' * (amount != 1)} by {where}")


def _limits() -> Iterator[tuple[float, str]]:
    """What the control groups of this process and all above them allow, and which file says so."""
    for directory, is_v2 in cgroups.directories("cpu"):
        path = directory / ("cpu.max" if is_v2 else "cpu.cfs_quota_us")
        with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
            words = path.read_text().split()
            quota, period = words if is_v2 else (words[0], (directory / "cpu.cfs_period_us").read_text())
            share = int(quota) / int(period)  # "max", which is no number, is no limit
            if share > 0:  # nor is -1
                yield share, str(path)
