"""The scoreboard: memory that the master and its workers share, so that a request costs stores and no system call.

It must not know what a state or a phase means to anybody; it only says which cell holds it.

A memfd holds one header line and then, for each slot, a line of orders that only the master writes, and what only the
worker in the slot writes: two lines of totals, its service times (``timings.py``), and a lane of two lines for each
request that it may serve at once. A line is a cache line; a cell is eight bytes, written through
``memoryview.cast('Q')``: one store, never torn. Cells are not consistent with each other: a lane's request number is
written first and its start last, and who reads reads the number again.

Invariant: no two processes ever write the same line at the same time. A child that a worker forked for one request
writes in that request's lane as long as it lives, and the worker before and after.
"""

import contextlib
import mmap
import os
from collections.abc import Iterator
from typing import NamedTuple

from prefork.system.timings import TIMINGS, Timings

LINE = 64

# header, written by the master
ASLEEP = 0  # not 0: the master sleeps without limit; whoever becomes busy says so
PAUSED = 1  # not 0: nobody accepts clients
LOG_LEVEL = 2  # of ``logging``; 0: as the brief says
LAYOUT = 6  # of the whole memory, for a later master that finds it
LANES_MADE = 7  # of each slot
THIS_LAYOUT = 1  # raised whenever a cell moves

# orders, written by the master
PHASE = 0
INTERRUPT = 1  # requests up to this number have taken too long
STACKS = 2  # how often the worker's stacks were asked for; with ``LAST_WORDS``, before it is killed
STACKS_OF = 3  # for the sake of requests up to this number
LAST_WORDS = 1 << 32

# totals, written by the worker
ORDER = 0
STATE = 1
REQUESTS = 2
ERRORS = 3
BUSY_NS = 4
PID = 5
STARTED = 6  # when the process started, as /proc says it: pid and start name one process for ever
LANES = 7  # how many of its lanes the worker uses
STACKS_TOLD = 8  # the value of ``STACKS`` that was obeyed last
SCRATCH = 9  # the descriptor in the worker, one higher, where its stacks are to be read
TOTALS = 2 * LINE  # bytes

# lane, written by the worker
NUMBER = 0
SINCE_NS = 1  # monotonic clock; 0: idle
FAILED = 8  # of a child: its handler raised
PEER = 16  # byte offset in the lane: 48 bytes of text, ended by a zero where it is shorter
PEER_SIZE = LINE - PEER
LABEL = LINE + 8  # the same, of 56 bytes
LABEL_SIZE = 2 * LINE - LABEL
LANE = 2 * LINE  # bytes


_HEAD = LINE + TOTALS + TIMINGS  # bytes of a slot before its lanes


class Request(NamedTuple):
    """A request under way: its number in the worker's life, its start on the monotonic clock, and its peer.

    :param label: what the handler says it is doing, if it says anything.
    """

    number: int
    since: float
    peer: str
    label: str = ""


class Scoreboard:
    """The shared memory of one service.

    :param fd: a memfd of the right size; it stays open as long as this object.
    :param lanes: requests a worker may serve at once.
    """

    def __init__(self, fd: int, lanes: int) -> None:
        self.fd = fd
        self.lanes = lanes
        self._stride = _HEAD + LANE * lanes
        self._map = mmap.mmap(fd, 0)
        self._bytes = memoryview(self._map)
        self.header = self._bytes[:LINE].cast("Q")

    @classmethod
    def create(cls, slots: int, lanes: int = 1) -> "Scoreboard":
        """Memory for slots 1 to ``slots``; pages never touched cost nothing.

        :raises OSError: ENOMEM, EMFILE.
        """
        fd = os.memfd_create("prefork-scoreboard", os.MFD_CLOEXEC)
        os.ftruncate(fd, LINE + slots * (_HEAD + LANE * lanes))
        return cls(fd, lanes)

    def sign(self) -> None:
        """Say how it is laid out, so that another master may ``find`` it."""
        self.header[LAYOUT], self.header[LANES_MADE] = THIS_LAYOUT, self.lanes

    @classmethod
    def find(cls, fd: int) -> "Scoreboard | None":
        """What another master has signed and left; ``None`` where it is none, or laid out as by another version."""
        try:
            header = memoryview(os.pread(fd, LINE, 0)).cast("Q")
            slots_size = os.fstat(fd).st_size - LINE
        except (OSError, TypeError):  # it cannot be read, or has no whole header
            return None
        is_ours = len(header) * header.itemsize == LINE and header[LAYOUT] == THIS_LAYOUT
        if not is_ours or slots_size % (_HEAD + LANE * header[LANES_MADE]):
            return None
        return cls(fd, header[LANES_MADE])

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
        for start in self._written():
            totals = self._bytes[start + LINE : start + LINE + TOTALS].cast("Q")
            if totals[PID]:
                yield totals[PID], totals[STARTED]

    def signed(self) -> "Iterator[tuple[int, Slot]]":
        """Number and lines of every slot that anybody ever had."""
        for start in self._written():
            number = (start - LINE) // self._stride + 1
            slot = self.slot(number)
            if slot.totals[PID]:
                yield number, slot

    def _written(self) -> Iterator[int]:
        return (start for start in range(LINE, len(self._bytes), self._stride) if not self._is_hole(start))

    def _is_hole(self, start: int) -> bool:
        """Whether nobody has written there: reading it through the map would make a page of it, lseek(2)."""
        try:
            return os.lseek(self.fd, start + LINE, os.SEEK_DATA) >= start + 2 * LINE
        except OSError:  # ENXIO: nothing but holes from here on
            return True


class Slot:
    """The lines of one slot."""

    def __init__(self, memory: memoryview) -> None:
        self.orders = memory[:LINE].cast("Q")
        self.totals = memory[LINE : LINE + TOTALS].cast("Q")
        self.timings = Timings(memory[LINE + TOTALS : _HEAD], self.totals[REQUESTS : BUSY_NS + 1])
        self._whole = memory
        self._memory = memory[_HEAD:]
        self._cells = self._memory.cast("Q")  # of all lanes
        self._made: list[Lane] = []

    @property
    def lanes(self) -> "list[Lane]":
        """Those the worker uses; most use one of many."""
        return self.first_lanes(self.totals[LANES])

    def first_lanes(self, count: int) -> "list[Lane]":
        """Lanes 0 to ``count`` - 1, as far as there is memory for them."""
        count = min(count, len(self._memory) // LANE)
        for number in range(len(self._made), count):
            self._made.append(Lane(self._memory[number * LANE : (number + 1) * LANE]))
        return self._made[:count]

    def take(self, order: int, state: int, pid: int, started: int) -> None:
        """In a newborn worker: clear what the one before left, then sign.

        :param order: number of the order it was forked by.
        :param started: see ``processes.started``.
        """
        for lane in self.lanes:
            lane.label(b"")
            lane.clear()
        for cell in range(len(self.totals)):
            self.totals[cell] = 0
        self.timings.clear()
        self.totals[STARTED] = started
        self.totals[PID] = pid
        self.totals[STATE] = state
        self.totals[ORDER] = order

    def copy(self) -> "Slot":
        """As it is now, with the lanes that are used: nobody writes there any more."""
        return Slot(memoryview(self._whole[: _HEAD + LANE * self.totals[LANES]].tobytes()))

    def requests_under_way(self) -> list[Request]:
        used = min(self.totals[LANES], len(self._memory) // LANE)
        busy = [number for number in range(used) if self._cells[number * LANE // 8 + SINCE_NS]]
        lanes = self.first_lanes(busy[-1] + 1) if busy else []
        return [request for number in busy if (request := lanes[number].read()) is not None]

    def under_way(self) -> list[tuple[int, float]]:
        """Number and start of each request under way, the oldest first; the start in seconds on the monotonic clock."""
        found = []
        for lane in range(min(self.totals[LANES], len(self._memory) // LANE)):
            at = lane * LANE // 8
            if since := self._cells[at + SINCE_NS]:
                number = self._cells[at + NUMBER]
                if self._cells[at + SINCE_NS] == since:  # else it has ended meanwhile, or another has begun
                    found.append((number, since / 1e9))
        return sorted(found)


class Lane:
    """What one request at a time writes."""

    __slots__ = ("_is_labelled", "_label", "_peer", "cells")

    def __init__(self, memory: memoryview) -> None:
        self.cells = memory.cast("Q")
        self._peer = memory[PEER : PEER + PEER_SIZE]
        self._label = memory[LABEL : LABEL + LABEL_SIZE]
        self._is_labelled = False

    def clear(self) -> None:
        """The request is done."""
        self.cells[SINCE_NS] = 0
        if self._is_labelled:
            self.label(b"")

    def begin(self, number: int, since_ns: int, peer: bytes) -> None:
        """:param peer: what is longer than its room is cut."""
        self.cells[NUMBER] = number
        self._peer[:] = peer.ljust(PEER_SIZE, b"\0") if len(peer) <= PEER_SIZE else peer[:PEER_SIZE]
        self.cells[SINCE_NS] = since_ns

    def label(self, text: bytes) -> None:
        """Say what the request is about; empty takes it back."""
        self._is_labelled = bool(text)
        self._label[:] = text[:LABEL_SIZE].ljust(LABEL_SIZE, b"\0")

    def read(self) -> Request | None:
        """The request under way, or ``None``; what changed while it was read counts as idle."""
        number, since = self.cells[NUMBER], self.cells[SINCE_NS]
        if not since:
            return None
        peer, label = _text(self._peer), _text(self._label)
        if (self.cells[NUMBER], self.cells[SINCE_NS]) != (number, since):
            return None
        return Request(number, since / 1e9, peer, label)


def _text(memory: memoryview) -> str:
    return bytes(memory).rstrip(b"\0").decode(errors="replace")
