"""CPUs this process may use: by its affinity mask, and by the limit of its control group, cgroups(7).

A container's limit is a share of time, not a set of processors: 1.5 CPUs is a quota of 150 ms in each 100 ms. The
host's number of processors says nothing of either. It must not know workers.
Invariant: at least a little of one CPU, and what cannot be read limits nothing.
Sources: the kernel's cgroup-v2.rst (``cpu.max``) and sched-bwc.rst (``cpu.cfs_quota_us``, ``cpu.cfs_period_us``).
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_MOUNTS = "/proc/self/mountinfo"
_GROUPS = "/proc/self/cgroup"


class Cpus(NamedTuple):
    """How many, and what says so."""

    amount: float
    why: str


def usable() -> Cpus:
    """CPUs this process may use: the least that any limit allows."""
    mask = len(os.sched_getaffinity(0))
    limits = [Cpus(float(mask), f"{mask} CPU{'s' * (mask != 1)} by the affinity mask")]
    limits += [Cpus(share, f"{share:g} CPUs by {where}") for share, where in _limits(_MOUNTS, _GROUPS)]
    return min(limits)


def _limits(mounts: str, groups: str) -> Iterator[tuple[float, str]]:
    """What the control groups of this process and all above them allow, and which file says so."""
    for directory, is_v2 in _directories(mounts, groups):
        path = directory / ("cpu.max" if is_v2 else "cpu.cfs_quota_us")
        with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
            words = path.read_text().split()
            quota, period = words if is_v2 else (words[0], (directory / "cpu.cfs_period_us").read_text())
            share = int(quota) / int(period)  # "max", which is no number, is no limit
            if share > 0:  # nor is -1
                yield share, str(path)


def _directories(mounts: str, groups: str) -> Iterator[tuple[Path, bool]]:
    """The group's directory in each hierarchy that limits CPUs, and those above it as far as they can be seen."""
    paths = _paths(groups)
    for root, mount, kind, options in _cgroup_mounts(mounts):
        is_v2 = kind == "cgroup2"
        if not is_v2 and "cpu" not in options:
            continue
        path = paths.get("" if is_v2 else "cpu")
        if path is None:
            continue
        # in a namespace of its own the mount's root may lie beside the group: then its top is all there is to see
        relative = os.path.relpath(path, root)
        directory = Path(mount) if relative.startswith("..") else Path(os.path.normpath(os.path.join(mount, relative)))
        while directory != Path(mount):
            yield directory, is_v2
            directory = directory.parent
        yield directory, is_v2


def _paths(groups: str) -> dict[str, str]:
    """The path of this process' group by controller; that of version 2 by an empty name."""
    found: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for line in Path(groups).read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            found.update(dict.fromkeys(controllers.split(","), path))
    return found


def _cgroup_mounts(mounts: str) -> Iterator[tuple[str, str, str, list[str]]]:
    """Root within its hierarchy, mount point, kind and controllers of each mount of control groups, proc(5)."""
    with contextlib.suppress(OSError):
        for line in Path(mounts).read_text().splitlines():
            left, _, right = line.partition(" - ")
            root, mount = left.split()[3:5]
            kind, _, options = right.split(" ", 2)
            if kind in ("cgroup", "cgroup2"):
                yield root, mount, kind, options.split(",")
