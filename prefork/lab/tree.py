"""A process and all that descend from it, as ``/proc`` shows them.

It must not know what they are. Who escaped, by a parent that died, is in the tree only where a sub-reaper above took
him in: our masters and the references are such.
Invariant: a process comes after its parent; zombies are not among them.
"""

import contextlib
import os
import signal


def pids(root: int) -> list[int]:
    """The living ones; empty where the root is gone."""
    children: dict[int, list[int]] = {}
    living = set()
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (stat := stat_of(int(entry))) is not None and stat[0] != b"Z":
            living.add(int(entry))
            children.setdefault(int(stat[1]), []).append(int(entry))
    found = [root] if root in living else []
    for pid in found:  # it grows meanwhile
        found += children.get(pid, [])
    return found


def stat_of(pid: int) -> list[bytes] | None:
    """``/proc/PID/stat`` from the third field on, proc(5): the state, the parent, …; ``None`` if it is no more."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()
    except OSError:
        return None


def kill(root: int) -> int:
    """Kill our child ``root``, not yet reaped, and all that descend from it.

    Each is stopped before its children are looked up, so that none bears another meanwhile.

    :returns: how many there were.
    """
    met: dict[int, int] = {}  # a descriptor each, so that no pid can come to mean somebody else
    try:
        while new := [pid for pid in pids(root) if pid not in met]:
            for pid in new:
                with contextlib.suppress(ProcessLookupError):
                    met[pid] = os.pidfd_open(pid)
                    signal.pidfd_send_signal(met[pid], signal.SIGSTOP)
        for pidfd in met.values():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    finally:
        for pidfd in met.values():
            os.close(pidfd)
    return len(met)
