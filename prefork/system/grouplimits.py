"""What a control group allows a process and those beside it, and what it has held them back for already, cgroups(7).

For who looks at an instance from outside; ``cpus.py`` and ``memorylimit.py`` are what a master knows of its own.
Invariant: a figure that no file tells is ``None``, and the least limit of the group and those above it is told.
Sources: the kernel's cgroup-v2.rst (``memory.max``, ``pids.max``, ``cpu.max``, ``cpu.stat``, ``memory.events``), and
cgroup-v1/{memory,pids}.rst, sched-bwc.rst.
"""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from prefork.system import cgroups

_UNLIMITED = 1 << 60  # version 1 writes a number beyond all memory


class Group(NamedTuple):
    """:param memory: bytes it may use; ``processes`` it may have, threads counted, and ``tasks`` it has.
    :param cpus: that it may use at a time.
    :param periods: of its share of CPU, since it was made; ``throttled`` of them in which it had to wait.
    :param killed: processes that the kernel killed for want of memory.
    """

    memory: int | None = None
    processes: int | None = None
    tasks: int | None = None
    cpus: float | None = None
    periods: int | None = None
    throttled: int | None = None
    killed: int | None = None


def look(pid: int | None = None) -> Group:
    """:param pid: of the process; ``None`` is this one."""
    memory = list(cgroups.directories("memory", pid))
    processes = list(cgroups.directories("pids", pid))
    cpu = list(cgroups.directories("cpu", pid))
    return Group(
        memory=_least(_numbers(memory, "memory.max", "memory.limit_in_bytes")),
        processes=_least(_numbers(processes, "pids.max", "pids.max")),
        tasks=next(_numbers(processes, "pids.current", "pids.current"), None),
        cpus=min(_shares(cpu), default=None),
        periods=next(_fields(cpu, "cpu.stat", "nr_periods"), None),
        throttled=next(_fields(cpu, "cpu.stat", "nr_throttled"), None),
        killed=next(_fields(memory, "memory.events", "oom_kill"), None)
        or next(_fields(memory, "memory.oom_control", "oom_kill"), None),
    )


def _least(numbers: Iterator[int]) -> int | None:
    return min((number for number in numbers if number < _UNLIMITED), default=None)


def _numbers(directories: list[tuple[Path, bool]], name: str, old_name: str) -> Iterator[int]:
    for directory, is_v2 in directories:
        with contextlib.suppress(OSError, ValueError):  # "max", which is no number, is no limit
            yield int((directory / (name if is_v2 else old_name)).read_text())


def _shares(directories: list[tuple[Path, bool]]) -> Iterator[float]:
    for directory, is_v2 in directories:
        with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
            words = (directory / ("cpu.max" if is_v2 else "cpu.cfs_quota_us")).read_text().split()
            quota, period = words if is_v2 else (words[0], (directory / "cpu.cfs_period_us").read_text())
            if int(quota) > 0:
                yield int(quota) / int(period)


def _fields(directories: list[tuple[Path, bool]], name: str, field: str) -> Iterator[int]:
    """Of a file with a name and a number a line."""
    for directory, _ in directories:
        with contextlib.suppress(OSError):
            match = re.search(rf"^{field} (\d+)$", (directory / name).read_text(), re.MULTILINE)
            if match:
                yield int(match[1])
