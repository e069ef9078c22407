"""The scoreboard: memory that the master and its workers share, so that a request costs stores and no system call.

It must not know what a state or a phase means to anybody; it only says which cell holds it.

A memfd holds one header line and then, for each slot, a line of orders that only the master writes, a line of totals
that only the worker in the slot writes, and one lane for each request that worker may serve at once. A line is a cache
line; a cell is eight bytes, written through ``memoryview.cast('Q')``: one store, never torn. Cells are not consistent
with each other: a lane's request number is written first and its start last, and who reads reads the number again.

Invariant: no two processes ever write the same line.
"""

import contextlib
import mmap
import os
from collections.abc import Iterator
from typing import NamedTuple

LINE = 64
CELLS = LINE // 8

# header, written by the master
ASLEEP = 0  # not 0: the master sleeps without limit; whoever becomes busy says so

# orders, written by the master
PHASE = 0

# totals, written by the worker
ORDER = 0
STATE = 1
REQUESTS = 2
ERRORS = 3
BUSY_NS = 4
PID = 5
STARTED = 6  # when the process started, as /proc says it: pid and start name one process for ever

# lane, written by the worker
NUMBER = 0
SINCE_NS = 1  # monotonic clock; 0: idle
PEER = 16  # byte offset in the lane: 48 bytes of text, ended by a zero where it is shorter
PEER_SIZE = LINE - PEER


class Request(NamedTuple):
    """A request under way: its number in the worker's life, its start on the monotonic clock, and its peer."""

    number: int
    since: float
    peer: str


class Scoreboard:
    """The shared memory of one service.

    :param fd: a memfd of the right size; it stays open as long as this object.
    :param lanes: requests a worker may serve at once.
    """

    def __init__(self, fd: int, lanes: int) -> None:
        self.fd = fd
        self.lanes = lanes
        self._stride = LINE * (2 + lanes)
        self._map = mmap.mmap(fd, 0)
        self._bytes = memoryview(self._map)
        self.header = self._bytes[:LINE].cast("Q")

    @classmethod
    def create(cls, slots: int, lanes: int = 1) -> "Scoreboard":
        """Memory for slots 1 to ``slots``; pages never touched cost nothing.

        :raises OSError: ENOMEM, EMFILE.
        """
        fd = os.memfd_create("prefork-scoreboard", os.MFD_CLOEXEC)
        os.ftruncate(fd, LINE * (1 + slots * (2 + lanes)))
        return cls(fd, lanes)

    def close(self) -> None:
        """Give the memory back. Slots taken from it may be used no more."""
        os.close(self.fd)
        self.header.release()
        self._bytes.release()
        with contextlib.suppress(BufferError):  # somebody still has a slot: it goes with the last
            self._map.close()

    def slot(self, number: int) -> "Slot":
        start = LINE + (number - 1) * self._stride
        return Slot(self._bytes[start : start + self._stride])

    def processes(self) -> Iterator[tuple[int, int]]:
        """Pid and start of whoever signed a slot last, of all slots; they may be long gone."""
        for start in range(LINE, len(self._bytes), self._stride):
            totals = self._bytes[start + LINE : start + 2 * LINE].cast("Q")
            if totals[PID]:
                yield totals[PID], totals[STARTED]


class Slot:
    """The lines of one slot."""

    def __init__(self, memory: memoryview) -> None:
        self.orders = memory[:LINE].cast("Q")
        self.totals = memory[LINE : 2 * LINE].cast("Q")
        self.lanes = [Lane(memory[at : at + LINE]) for at in range(2 * LINE, len(memory), LINE)]

    def take(self, order: int, state: int, pid: int, started: int) -> None:
        """In a newborn worker: clear what the one before left, then sign.

        :param order: number of the order it was forked by.
        :param started: see ``processes.started``.
        """
        for lane in self.lanes:
            lane.clear()
        for cell in range(CELLS):
            self.totals[cell] = 0
        self.totals[STARTED] = started
        self.totals[PID] = pid
        self.totals[STATE] = state
        self.totals[ORDER] = order

    def requests_under_way(self) -> list[Request]:
        return [request for lane in self.lanes if (request := lane.read()) is not None]

    def busy_since(self) -> float | None:
        """Start of the oldest request under way, in seconds on the monotonic clock."""
        starts = [since for lane in self.lanes if (since := lane.cells[SINCE_NS])]
        return min(starts) / 1e9 if starts else None


class Lane:
    """What one request at a time writes."""

    __slots__ = ("_peer", "cells")

    def __init__(self, memory: memoryview) -> None:
        self.cells = memory.cast("Q")
        self._peer = memory[PEER:]

    def clear(self) -> None:
        self.cells[SINCE_NS] = 0

    def begin(self, number: int, since_ns: int, peer: str) -> None:
        text = peer.encode(errors="replace")[:PEER_SIZE].ljust(PEER_SIZE, b"\0")
        self.cells[NUMBER] = number
        self._peer[:] = text
        self.cells[SINCE_NS] = since_ns

    def read(self) -> Request | None:
        """The request under way, or ``None``; what changed while it was read counts as idle."""
        number, since = self.cells[NUMBER], self.cells[SINCE_NS]
        peer = bytes(self._peer).rstrip(b"\0").decode(errors="replace")
        if not since or (self.cells[NUMBER], self.cells[SINCE_NS]) != (number, since):
            return None
        return Request(number, since / 1e9, peer)
