"""The ledger: the requests of one worker, written where the master reads them, and in its title.

It must not know how a request is handled. A request costs stores in shared memory and no message.
Invariant: a request that began ends once, and its lane is idle before another begins in it.
Read next: ``prefork/system/slots.py``, the memory; ``concurrency.py``, who begins and ends requests.
"""

import os
import threading
from time import monotonic_ns
from typing import Any

from prefork.address import describe_peer
from prefork.system import processes, slots
from prefork.system.slots import ASLEEP, BUSY_NS, ERRORS, REQUESTS, SINCE_NS, Lane
from prefork.system.titles import Title, set_title
from prefork.worker.notices import Notices
from prefork.worker.protocol import Brief, Fork, OrderCell, StateCell, Wake

_TITLE_ROOM = 80  # bytes behind the worker's name: a peer, or a label, and a number
_IDLE, _BUSY = b"idle", b"busy"
_REMIND_EVERY = 100  # requests after which a worn-out worker says so again


class Ledger:
    """The books of a worker that serves one request at a time.

    :ivar begun: requests it has taken, ``ended`` those it has done.
    :ivar leaving: why the worker should leave by itself; empty while it should not.
    :ivar is_sound: it leaves, and nothing is wrong with what it runs.
    :param scratch: where the worker's stacks are to be read; -1 where it has none.
    """

    def __init__(self, brief: Brief, order: Fork, notices: Notices, scratch: int = -1) -> None:
        board = slots.Scoreboard(brief.scoreboard, brief.lanes)
        self._header = board.header
        self._slot = board.slot(order.slot)
        self._slot.take(order.order, StateCell.STARTING, os.getpid(), processes.started(os.getpid()))
        self._totals = self._slot.totals
        self._notices = notices
        self._max_requests = order.max_requests
        self._refork_after = brief.refork_after
        self._tells_requests = brief.titles == "request"
        self._tells_states = brief.titles != "none"
        self._serving: tuple[int, ...] = (OrderCell.SERVE,)  # what the order cell may say while we serve
        self._who = f"worker {brief.label} {order.slot} g{brief.generation}"
        self._lane = self.use_lanes(1)[0]
        self.begun = 0
        self.ended = 0
        self.leaving = ""
        self.is_sound = False
        self._totals[slots.SCRATCH] = scratch + 1
        set_title(f"{self._who} starting")
        self._title = Title(f"{self._who} ", _TITLE_ROOM)

    @property
    def phase(self) -> int:
        """What the master wants of this worker."""
        return self._slot.orders[slots.PHASE]

    @property
    def overdue(self) -> int:
        """Requests up to this number have taken too long."""
        return self._slot.orders[slots.INTERRUPT]

    @property
    def stacks_asked(self) -> int:
        """How often the master has asked for our stacks."""
        return self._slot.orders[slots.STACKS]

    @property
    def stacks_asked_of(self) -> int:
        """For the sake of requests up to this number."""
        return self._slot.orders[slots.STACKS_OF]

    def tell_stacks(self) -> None:
        """What the master asked for last is where it can read it."""
        self._totals[slots.STACKS_TOLD] = self.stacks_asked
        self._notices.send(Wake())

    @property
    def log_level(self) -> int:
        """What the master wants to be logged; 0: as the brief says."""
        return self._header[slots.LOG_LEVEL]

    def requests_under_way(self) -> list[slots.Request]:
        return self._slot.requests_under_way()

    def leave_in_peace(self, why: str) -> None:
        """The worker should leave, and its successor need not be any better."""
        if not self.leaving:
            self.is_sound = True
            self.leaving = why

    @property
    def is_wanted(self) -> bool:
        """Whether to take another request."""
        return self._slot.orders[slots.PHASE] in self._serving and not self.leaving

    @property
    def is_dismissed(self) -> bool:
        """Whether the worker is to leave, whoever said so."""
        return self._slot.orders[slots.PHASE] in (OrderCell.RETIRE, OrderCell.DRAIN) or bool(self.leaving)

    @property
    def is_paused(self) -> bool:
        """Whether nobody of the service is to accept clients."""
        return bool(self._header[slots.PAUSED])

    def decline(self) -> None:
        """Serve on, although it was told to become a mold."""
        self._serving = (OrderCell.SERVE, OrderCell.PROMOTE)

    def reconsider(self) -> None:
        """It may have been told anew."""
        self._serving = (OrderCell.SERVE,)

    @property
    def under_way(self) -> int:
        return self.begun - self.ended

    def use_lanes(self, count: int) -> list[Lane]:
        self._totals[slots.LANES] = count
        return self._slot.first_lanes(count)

    def enter(self, state: StateCell) -> None:
        """The worker is ready now, or retiring."""
        self._totals[slots.STATE] = state
        what = "retiring" if state is StateCell.RETIRING else "idle" if self._tells_states else ""
        set_title(f"{self._who} {what}".rstrip())

    def begin(self, client_address: Any) -> Lane:
        """A request was taken."""
        self.begun = number = self.begun + 1
        peer = describe_peer(client_address)
        lane = self._lane
        lane.begin(number, monotonic_ns(), peer.encode("utf-8", "replace"))
        if self._header[ASLEEP]:
            self._notices.send(Wake())
        if self._tells_requests:
            self._title.show(f"busy {peer} #{number}".encode("utf-8", "replace"))
        elif self._tells_states:
            self._title.show(_BUSY)
        return lane

    def end(self, lane: Lane, raised: object) -> None:
        """A request is done.

        :param raised: what its handler raised; ``None`` where it did not.
        """
        self._close(lane, raised)
        if self._tells_states:
            self._title.show(_IDLE)

    def tell(self, lane: Lane, raised: object) -> None:
        """A request ends in a child, or has ended with it: nobody wants to hear of it, unless ``access.py`` does."""

    def label(self, text: str) -> None:
        """Say what the request under way is about, in the scoreboard and the title."""
        if not self.under_way:
            return
        label = " ".join(text.split()).encode(errors="replace")
        self._lane.label(label)
        if self._tells_requests:
            self._title.show(b"busy %b #%d" % (label, self.begun))

    def belong_to_child(self, lane: Lane) -> None:
        """In a child that handles the request in ``lane``: the rest of the books is its parent's."""
        self._lane = lane
        request = lane.read()
        what = f" {request.peer} #{request.number}" if request and self._tells_requests else ""
        set_title(f"{self._who} child{what}")

    def _close(self, lane: Lane, raised: object) -> None:
        totals = self._totals
        self.ended = ended = self.ended + 1
        ended_ns = monotonic_ns()
        duration_ns = ended_ns - lane.cells[SINCE_NS]
        self._slot.timings.count(duration_ns, ended_ns)
        totals[BUSY_NS] += duration_ns
        totals[REQUESTS] = ended
        if raised is not None:
            totals[ERRORS] += 1
            if isinstance(raised, MemoryError):
                self.leaving, self.is_sound = "a handler ran out of memory", False
        lane.clear()
        if ended == self._refork_after:
            self._notices.send(Wake())
        if self._max_requests:
            worn_for = ended - self._max_requests
            if worn_for >= 0 and worn_for % _REMIND_EVERY == 0:
                self._notices.send(Wake())


class SharedLedger(Ledger):
    """The books of a worker that serves several requests at a time, in threads or children.

    :param size: how many. A server's own loop may take more: those count as well, and are shown by no lane.
    """

    def __init__(self, brief: Brief, order: Fork, notices: Notices, size: int, scratch: int = -1) -> None:
        super().__init__(brief, order, notices, scratch)
        self._size = size
        self._free = self.use_lanes(size)[::-1]
        self._lock = threading.Lock()  # guards all that follows, and the books themselves
        self._hidden: set[Lane] = set()
        self._by_thread: dict[int, Lane] = {}

    @property
    def has_room(self) -> bool:
        return self.under_way < self._size

    def begin(self, client_address: Any) -> Lane:
        with self._lock:
            self.begun += 1
            lane = self._free.pop() if self._free else self._hide()
            lane.begin(self.begun, monotonic_ns(), describe_peer(client_address).encode(errors="replace"))
            self._show()
        if self._header[ASLEEP]:
            self._notices.send(Wake())
        return lane

    def _hide(self) -> Lane:
        """A lane that nobody sees."""
        lane = Lane(memoryview(bytearray(slots.LANE)))
        self._hidden.add(lane)
        return lane

    def end(self, lane: Lane, raised: object) -> None:
        with self._lock:
            self._close(lane, raised)
            if lane in self._hidden:
                self._hidden.discard(lane)
            else:
                self._free.append(lane)
            self._show()

    def belong_to_thread(self, lane: Lane | None) -> None:
        """From now on the calling thread handles the request in ``lane``, or none."""
        if lane is None:
            self._by_thread.pop(threading.get_ident(), None)
        else:
            self._by_thread[threading.get_ident()] = lane

    def belong_to_child(self, lane: Lane) -> None:
        super().belong_to_child(lane)
        self.belong_to_thread(lane)

    def label(self, text: str) -> None:
        lane = self._by_thread.get(threading.get_ident())
        if lane is not None:
            lane.label(" ".join(text.split()).encode(errors="replace"))

    def _show(self) -> None:
        if self._tells_states:
            self._title.show(b"busy %d of %d" % (self.under_way, self._size) if self.under_way else _IDLE)
