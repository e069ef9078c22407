"""Memory this process and its children may use: what the machine has, and the limit of its control group, cgroups(7).

It must not know who uses how much: what a process weighs is in ``memory.py``.
Invariant: never more than the machine has, and what cannot be read limits nothing.
Sources: the kernel's cgroup-v2.rst (``memory.max``) and cgroup-v1/memory.rst (``memory.limit_in_bytes``).
Read next: ``cgroups.py``, where the groups are.
"""

import contextlib
import os
from collections.abc import Iterator
from typing import NamedTuple

from prefork.system import cgroups


class MemoryLimit(NamedTuple):
    """Bytes, and what says so."""

    amount: int
    why: str


def usable() -> MemoryLimit:
    """The least that any limit allows."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([MemoryLimit(machine, "the machine's"), *_limits()])


def _limits() -> Iterator[MemoryLimit]:
    """Of the control groups of this process and all above them."""
    for directory, is_v2 in cgroups.directories("memory"):
        path = directory / ("memory.max" if is_v2 else "memory.limit_in_bytes")
        with contextlib.suppress(OSError, ValueError):  # "max", which is no number, is no limit
            yield MemoryLimit(int(path.read_text()), str(path))
