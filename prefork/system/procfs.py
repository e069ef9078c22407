"""What ``/proc`` tells of one process: its limits, its threads, its program, the service it belongs to; proc(5).

It must not know what is too little, nor which process it is.
Invariant: looking changes nothing, and what is not told is an ``OSError``.
"""

import os
import re
from typing import NamedTuple

UNLIMITED = -1


class Limit(NamedTuple):
    """-1 is none."""

    soft: int
    hard: int

    @property
    def is_none(self) -> bool:
        return self.soft == UNLIMITED


def limits(pid: int | str = "self") -> dict[str, Limit]:
    """By the kernel's names: ``Max open files``, ``Max processes``."""
    with open(f"/proc/{pid}/limits") as file:
        rows = file.read().splitlines()[1:]
    found = {}
    for row in rows:
        match = re.match(r"(.+?) {2,}(\d+|unlimited) +(\d+|unlimited)", row)
        if match:
            found[match[1]] = Limit(_number(match[2]), _number(match[3]))
    return found


def _number(word: str) -> int:
    return UNLIMITED if word == "unlimited" else int(word)


def threads(pid: int) -> int:
    """How many it has, the first one included."""
    return len(os.listdir(f"/proc/{pid}/task"))


def threads_of_user(uid: int) -> int:
    """How many threads all processes of a user have: what its limit of processes counts, getrlimit(2)."""
    total = 0
    for name in os.listdir("/proc"):
        try:
            if name.isdecimal() and os.stat(f"/proc/{name}").st_uid == uid:
                total += threads(int(name))
        except OSError:  # gone
            pass
    return total


def has_lost_program(pid: int) -> bool:
    """Whether the file it was started from has been replaced, or removed."""
    return os.readlink(f"/proc/{pid}/exe").endswith(" (deleted)")


def swapped_bytes(pid: int) -> int:
    """Of its memory, what is swapped out."""
    with open(f"/proc/{pid}/status") as file:
        match = re.search(r"^VmSwap:\s+(\d+) kB$", file.read(), re.MULTILINE)
    return int(match[1]) * 1024 if match else 0


def service_of(pid: int) -> str:
    """The unit of systemd it belongs to, ``shop.service``; empty for none."""
    with open(f"/proc/{pid}/cgroup") as file:
        units = re.findall(r"[/]([^/\n]+\.service)(?=/|\n|$)", file.read())
    return units[-1] if units else ""


def meminfo() -> dict[str, int]:
    """Bytes by the kernel's names: ``MemTotal``, ``Committed_AS``."""
    with open("/proc/meminfo") as file:
        return {
            name: int(number) * 1024 for name, number in re.findall(r"^(\S+): +(\d+) kB$", file.read(), re.MULTILINE)
        }


def locker_of(path: str) -> int | None:
    """The pid of whoever holds a lock of flock(2) on the file; ``None`` where nobody does.

    :raises OSError: there is no such file, or the kernel does not tell.
    """
    status = os.stat(path)
    place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    with open("/proc/locks") as file:
        for row in file:
            fields = row.split()
            if "FLOCK" in fields and place in fields:
                return int(fields[fields.index(place) - 1])
    return None
