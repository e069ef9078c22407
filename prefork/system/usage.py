"""What a tree of processes uses: memory and CPU time of each, looked up a few at a time, each figure with its age.

For whoever looks at a master from outside: weighing hundreds of processes takes long enough to be noticed, 0.1 ms for a
small one (``memory.py``), and that time should not be the master's. It must not know what the processes are.
Invariant: a look takes no longer than it may, but for one process, and whoever was not looked at for longest is first.
"""

import os
import time
from collections.abc import Collection
from typing import NamedTuple

GLANCE = 0.05  # seconds that somebody who waits for it may be kept waiting: of 500 processes not all are read
_TICKS = os.sysconf("SC_CLK_TCK")  # a second, in proc(5)


class Usage(NamedTuple):
    """:param pss: bytes, with its share of what others have as well; ``None`` where it may not be read.
    :param uss: bytes that it has alone.
    :param cpu_seconds: that it has used in its life.
    :param at: when it was looked up, on the monotonic clock.
    """

    pss: int | None
    uss: int | None
    cpu_seconds: float
    at: float


class Census:
    """See above; it remembers what it saw.

    :param fresh: seconds for which a figure is not looked up anew.
    """

    def __init__(self, fresh: float = 0.0) -> None:
        from prefork.system.memory import weigh  # and psutil with it

        self._fresh = fresh
        self._weigh = weigh
        self._seen: dict[int, Usage] = {}

    def look(self, pids: Collection[int], seconds: float) -> dict[int, Usage]:
        """What is known of these processes.

        :param seconds: that looking may take; what it has no time for is as old as it is, or missing.
        """
        self._seen = {pid: usage for pid, usage in self._seen.items() if pid in pids}
        begun = time.monotonic()
        for pid in sorted(pids, key=self._seen_at):
            if begun < self._seen_at(pid) + self._fresh:
                break
            usage = self._look_up(pid)
            if usage is None:
                self._seen.pop(pid, None)
            else:
                self._seen[pid] = usage
            if time.monotonic() >= begun + seconds:
                break
        return dict(self._seen)

    def _look_up(self, pid: int) -> Usage | None:
        """``None`` of a process that is gone."""
        try:
            weight = self._weigh(pid) or {}
        except PermissionError:
            weight = {}
        cpu = _cpu_seconds(pid)
        return None if cpu is None else Usage(weight.get("pss"), weight.get("uss"), cpu, time.monotonic())

    def _seen_at(self, pid: int) -> float:
        usage = self._seen.get(pid)
        return float("-inf") if usage is None else usage.at


def _cpu_seconds(pid: int) -> float | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            user, system = map(int, file.read().rpartition(b")")[2].split()[11:13])
    except (OSError, ValueError):
        return None
    return (user + system) / _TICKS
