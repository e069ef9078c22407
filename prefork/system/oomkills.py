"""Processes that the kernel killed for want of memory: a counter of their control group tells, cgroups(7).

Such a death is a SIGKILL like any other, but the group's counter rises before the signal is sent. It counts without
naming anybody, so each death by SIGKILL that is asked about takes one kill that nobody has taken yet: a process that we
never hear of, killed for want of memory, leaves its kill to the next of ours that dies by SIGKILL, whoever sent it.
It must not know which process is whose.
Invariant: a kill is taken once, and what cannot be read is no kill.
Sources: the kernel's cgroup-v2.rst (``memory.events``) and cgroup-v1/memory.rst (``memory.oom_control``).
Read next: ``cgroups.py``, where the groups are; ``prefork/master/translate.py``, who asks.
"""

import contextlib
import re
import signal
from typing import NamedTuple

from prefork.system import cgroups
from prefork.system.processes import Ending

_KILLS = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)


class Count(NamedTuple):
    """How many were killed since the group was made, and which file says so."""

    kills: int
    path: str


class OomKills:
    """The kills in our group from now on."""

    def __init__(self) -> None:
        self._taken = _count().kills

    def explain(self, ended: Ending) -> Ending:
        """The same, with the counter that rose, where it is a death for want of memory."""
        if ended.signal != signal.SIGKILL:
            return ended
        kills, path = _count()
        if kills <= self._taken:
            return ended
        self._taken += 1
        return ended._replace(starved=f"oom_kill is {kills} in {path}")


def _count() -> Count:
    """Of the group itself: what died in one above it was somebody else's."""
    for directory, _, is_v2 in cgroups.groups("memory"):
        path = directory / ("memory.events" if is_v2 else "memory.oom_control")
        with contextlib.suppress(OSError):
            found = _KILLS.search(path.read_text())
            if found is not None:
                return Count(int(found[1]), str(path))
    return Count(0, "")
