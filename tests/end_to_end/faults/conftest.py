"""After each fault nothing is left, whatever the test itself looked at: no process, no zombie, no name."""

import ctypes
import os
from collections.abc import Iterator

import pytest

from prefork.system.processes import PR_SET_CHILD_SUBREAPER
from tests.end_to_end.harness import Process, all_processes, look_until


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """We adopt whoever loses its parent below us, so that nobody can hide: each ends before the test does."""
    _adopt_orphans(True)
    try:
        before = {process.pid for process in descendants()}
        names = names_held()
        yield
        look_until(lambda: not any(is_alive(p) for p in descendants() if p.pid not in before), "nobody is left alive")
        for orphan in descendants():
            if orphan.pid not in before and orphan.parent == os.getpid():
                os.waitpid(orphan.pid, 0)  # its master was killed, so its collection falls to us
        left = [process for process in descendants() if process.pid not in before]
        assert not left, f"zombies are left: {left}"
        assert names_held() <= names, "an abstract name is still held"
    finally:
        _adopt_orphans(False)


def is_alive(process: Process) -> bool:
    return not process.is_zombie


def descendants() -> list[Process]:
    """All that hangs on this process, of whatever session."""
    everybody = {process.pid: process for process in all_processes()}

    def is_ours(process: Process) -> bool:
        parent: Process | None = process
        while parent is not None and parent.parent != os.getpid():
            parent = everybody.get(parent.parent)
        return parent is not None

    return [process for process in everybody.values() if is_ours(process)]


def names_held() -> set[str]:
    """The abstract names of instances, unix(7), in a network that is ours alone; where others use it, none."""
    if os.geteuid() != 0:
        return set()
    with open("/proc/thread-self/net/unix") as rows:
        return {row.split()[-1] for row in rows if "@prefork/" in row}


def _adopt_orphans(shall: bool) -> None:
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, int(shall), 0, 0, 0)
