"""What a tree of processes uses: CPU time, context switches and memory, read from outside before and after a load.

CPU time is each process' own clock, to the nanosecond and with its ended threads (clock_getcpuclockid(3)), and what
``/proc/PID/stat`` says of children that were collected, which is the only place to have theirs: in steps of 10 ms, one
step a process at most, for the kernel sums before it rounds. Switches are per thread, ``/proc/PID/task/TID/status``;
who ends takes his with him, so where anybody ended there is no figure, rather than one that is too small.
Memory is PSS: what several processes share counts once in the sum.
It must not know what the processes do. Invariant: CPU time of a tree never shrinks, as long as its root lives and
nobody in it leaves his children's ends uncollected.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Self

import msgspec

from prefork.lab import tree
from prefork.system.smaps import proportional_bytes

_TICKS = os.sysconf("SC_CLK_TCK")  # a second, in proc(5)
_CHILDREN_FAULTS, _CHILDREN_USER, _CHILDREN_SYSTEM = 8, 13, 14  # fields of stat after the name, counted from 0
_ENDED_SHARE = 0.01  # of the CPU time: as much of ended threads more is no error of reading one file after the other


class Use(msgspec.Struct, frozen=True):
    """What was used from one reading to the next.

    :param seconds: from one to the other.
    :param switches: voluntary and involuntary; ``None`` where processes or threads ended meanwhile.
    """

    seconds: float
    cpu_seconds: float
    switches: int | None


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """One look at a tree.

    :param at: when, on the monotonic clock.
    :param cpu_seconds: of all that live, and of their children that were collected.
    :param ended_seconds: CPU time of threads that have ended, of those processes that live.
    :param switches: of all threads that live.
    :param threads: that live, by number.
    :param reaped_faults: page faults of all children that were collected: it grows with each.
    :param pss_bytes: of the whole tree.
    """

    at: float
    cpu_seconds: float
    ended_seconds: float
    switches: int
    threads: frozenset[int]
    reaped_faults: int
    pss_bytes: int
    processes: int

    def since(self, earlier: "Reading") -> Use:
        used = self.cpu_seconds - earlier.cpu_seconds
        has_lost = (
            not earlier.threads <= self.threads
            or self.reaped_faults != earlier.reaped_faults
            or self.ended_seconds - earlier.ended_seconds > _ENDED_SHARE * used
        )
        return Use(self.at - earlier.at, used, None if has_lost else self.switches - earlier.switches)


class Meter:
    """:param pid: the root of the tree."""

    def __init__(self, pid: int) -> None:
        self._root = pid

    def reading(self) -> Reading:
        at = time.monotonic()
        pids = tree.pids(self._root)
        seen = [found for found in map(_look, pids) if found is not None]
        return Reading(
            at=at,
            cpu_seconds=sum(one.own_seconds + one.reaped_seconds for one in seen),
            ended_seconds=sum(one.own_seconds - one.threads_seconds for one in seen),
            switches=sum(one.switches for one in seen),
            threads=frozenset(thread for one in seen for thread in one.threads),
            reaped_faults=sum(one.reaped_faults for one in seen),
            pss_bytes=self.pss_bytes(pids),
            processes=len(seen),
        )

    def pss_bytes(self, pids: Sequence[int] | None = None) -> int:
        """Of the whole tree; of a process that may not be read nothing."""
        return sum(proportional_bytes(pid) or 0 for pid in (tree.pids(self._root) if pids is None else pids))


class Window:
    """Readings of a time to come, from its beginning to its end, taken by the clock while a load runs.

    Not at its ends alone, because where requests have memory or processes of their own those are gone at the end.

    :param looks: what takes each of them; the first is at the beginning, the last at the end, the others evenly
        between.
    :param duration: seconds.
    """

    def __init__(self, looks: Sequence[Callable[[], Reading]], duration: float) -> None:
        self._looks = looks
        self._duration = duration
        self._readings: list[Reading] = []
        self._is_closed = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, zero: float) -> None:
        """:param zero: when that time begins, on the monotonic clock."""
        self._thread = threading.Thread(target=self._read, args=(zero,), daemon=True)
        self._thread.start()

    def _read(self, zero: float) -> None:
        pause = self._duration / (len(self._looks) - 1)
        for number, look in enumerate(self._looks):
            if self._is_closed.wait(max(0.0, zero + number * pause - time.monotonic())):
                return
            self._readings.append(look())

    def readings(self) -> list[Reading]:
        """All of them, once the time is over."""
        if self._thread is not None:
            self._thread.join()
        return self._readings

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._is_closed.set()
        if self._thread is not None:
            self._thread.join()


class _Process(msgspec.Struct, frozen=True):
    own_seconds: float
    threads_seconds: float
    reaped_seconds: float
    reaped_faults: int
    switches: int
    threads: list[int]


def _look(pid: int) -> _Process | None:
    """``None`` if it is no more."""
    stat = tree.stat_of(pid)
    if stat is None:
        return None
    try:
        own = time.clock_gettime((~pid << 3) | 2)  # CPUCLOCK_SCHED of a process: include/linux/posix-timers_types.h
    except OSError:
        return None
    threads = list(_threads(pid))
    return _Process(
        own_seconds=own,
        threads_seconds=sum(seconds for _, seconds, _ in threads),
        reaped_seconds=(int(stat[_CHILDREN_USER]) + int(stat[_CHILDREN_SYSTEM])) / _TICKS,
        reaped_faults=int(stat[_CHILDREN_FAULTS]),
        switches=sum(switches for _, _, switches in threads),
        threads=[thread for thread, _, _ in threads],
    )


def _threads(pid: int) -> Iterator[tuple[int, float, int]]:
    """Number, CPU seconds and context switches of each thread that lives."""
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError):
                with open(f"/proc/{pid}/task/{thread}/status", "rb") as file:
                    switches = sum(int(row.split()[1]) for row in file if b"voluntary_ctxt_switches" in row)
                with open(f"/proc/{pid}/task/{thread}/schedstat", "rb") as file:
                    yield int(thread), int(file.read().split()[0]) / 1e9, switches


def jain(counts: Sequence[float]) -> float | None:
    """Jain's index of fairness: 1 is even shares, 1/N is all for one of N; ``None`` of fewer than two, or of nothing.

    Source: Jain, Chiu and Hawe, A Quantitative Measure of Fairness, DEC-TR-301, 1984.
    """
    squares = sum(count * count for count in counts)
    return sum(counts) ** 2 / (len(counts) * squares) if len(counts) > 1 and squares else None
