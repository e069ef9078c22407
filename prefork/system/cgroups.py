"""Where the control groups of this process are mounted, cgroups(7): for who reads one of their limits.

Version 1 has a hierarchy a controller, version 2 one for all; in a container what is mounted may be the group itself,
or begin below what we are in. It must not know what is limited, or counted.
Invariant: a directory that is told is the group of this process or one above it, the group first; what cannot be read
is not told.
Read next: ``cpus.py``, ``memorylimit.py`` and ``oomkills.py``.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

MOUNTS = "/proc/self/mountinfo"
GROUPS = "/proc/self/cgroup"


class Group(NamedTuple):
    """The directory of a process' group in one hierarchy, and of the topmost that can be seen there."""

    directory: Path
    top: Path
    is_v2: bool


def directories(controller: str, pid: int | None = None) -> Iterator[tuple[Path, bool]]:
    """The group's directory in each hierarchy that has the controller, and those above it as far as they can be seen.

    :param controller: as the kernel calls it: ``cpu``, ``memory``.
    :param pid: of another process, seen from where we are; ``None`` is ours.
    :returns: each with whether it is of version 2.
    """
    for directory, top, is_v2 in groups(controller, pid):
        while directory != top:
            yield directory, is_v2
            directory = directory.parent
        yield directory, is_v2


def groups(controller: str, pid: int | None = None) -> Iterator[Group]:
    """The group of a process itself in each hierarchy that has the controller, or may have it; see ``directories``."""
    paths = _paths(GROUPS if pid is None else f"/proc/{pid}/cgroup")
    for root, mount, kind, options in _mounts():
        is_v2 = kind == "cgroup2"
        if not is_v2 and controller not in options:
            continue
        path = paths.get("" if is_v2 else controller)
        if path is None:
            continue
        # in a namespace of its own the mount's root may lie beside the group: then its top is all there is to see
        relative = os.path.relpath(path, root)
        directory = Path(mount) if relative.startswith("..") else Path(os.path.normpath(os.path.join(mount, relative)))
        yield Group(directory, Path(mount), is_v2)


def _paths(groups: str) -> dict[str, str]:
    """The path of a process' group by controller; that of version 2 by an empty name."""
    found: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for line in Path(groups).read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            found.update(dict.fromkeys(controllers.split(","), path))
    return found


def _mounts() -> Iterator[tuple[str, str, str, list[str]]]:
    """Root within its hierarchy, mount point, kind and controllers of each mount of control groups, proc(5)."""
    with contextlib.suppress(OSError):
        for line in Path(MOUNTS).read_text().splitlines():
            left, _, right = line.partition(" - ")
            root, mount = left.split()[3:5]
            kind, _, options = right.split(" ", 2)
            if kind in ("cgroup", "cgroup2"):
                yield root, mount, kind, options.split(",")
