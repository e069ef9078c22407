"""Memory shared by processes: whose line is whose, and what a reader sees while others write; one promise a test."""

import os
import time
from typing import Any, cast

import pytest

from prefork.system.slots import (
    ASLEEP,
    BUSY_NS,
    LABEL_SIZE,
    LANE,
    LANES,
    LINE,
    NUMBER,
    ORDER,
    PHASE,
    PID,
    SINCE_NS,
    STARTED,
    STATE,
    TOTALS,
    Lane,
    Request,
    Scoreboard,
)
from tests.children import LIMIT, Child, Link, said_by

ALL_BITS = 2**64 - 1
CELLS = LINE // 8


def lane() -> Lane:
    return Lane(memoryview(bytearray(LANE)))


def lines(cells: memoryview) -> list[memoryview]:
    """Line by line."""
    return [cells[at : at + CELLS] for at in range(0, len(cells), CELLS)]


# Whose line is whose


@pytest.mark.parametrize(("slots", "lanes"), [(1, 1), (3, 1), (1, 4), (5, 3), (64, 2)])
def test_no_two_processes_share_a_line(slots: int, lanes: int) -> None:
    """Every line of the memory has one writer: the master its header and orders, each worker its totals and lanes."""
    board = Scoreboard.create(slots, lanes)
    master = 1000
    owned = {master: [board.header]}
    for number in range(1, slots + 1):
        slot = board.slot(number)
        owned[master].append(slot.orders)
        owned[number] = [*lines(slot.totals), *lines(slot.timings.cells)]
        owned[number] += [half for lane in slot.first_lanes(lanes) for half in lines(lane.cells)]

    for writer, its_lines in owned.items():
        for cells in its_lines:
            for cell in range(CELLS):
                assert cells[cell] == 0, f"{writer} writes what is written already"
                cells[cell] = writer

    memory = memoryview(os.pread(board.fd, os.fstat(board.fd).st_size, 0)).cast("Q")
    lines_written = [set(memory[at : at + CELLS]) for at in range(0, len(memory), CELLS)]
    assert all(len(writers) == 1 and 0 not in writers for writers in lines_written)
    assert len(lines_written) == sum(map(len, owned.values()))


def test_memory_that_nobody_touched_costs_nothing() -> None:
    """A board for the highest number of slots takes no page before a worker writes."""
    board = Scoreboard.create(4000, lanes=8)
    assert os.fstat(board.fd).st_blocks == 0


def test_no_program_inherits_it_unasked() -> None:
    """It crosses an exec only where it is handed over."""
    assert not os.get_inheritable(Scoreboard.create(1).fd)


def test_what_a_worker_writes_the_master_reads() -> None:
    """A process that maps the same descriptor anew writes into the same cells."""
    board = Scoreboard.create(2, lanes=2)

    def write(parent: Link) -> None:
        slot = Scoreboard(board.fd, 2).slot(2)
        slot.take(order=7, state=1, pid=4711, started=99)
        slot.totals[LANES] = 2
        slot.first_lanes(2)[1].begin(3, 4_000_000_000, b"10.0.0.7:51022")

    said_by(write)

    slot = board.slot(2)
    assert (slot.totals[ORDER], slot.totals[STATE]) == (7, 1)
    assert slot.requests_under_way() == [Request(3, 4.0, "10.0.0.7:51022")]
    assert board.slot(1).requests_under_way() == []


# A new worker in an old slot


def test_taking_a_slot_clears_what_the_one_before_left() -> None:
    """A newborn worker has served nothing, however its predecessor died."""
    slot = Scoreboard.create(1, lanes=2).slot(1)
    for cells in (slot.totals, slot.timings.cells):
        cells[:] = memoryview(b"\x63" * cells.nbytes).cast("Q")
    for number, lane in enumerate(slot.lanes, 1):
        lane.begin(number, 5, b"left behind")

    slot.take(order=8, state=1, pid=4711, started=99)

    expected = [0] * (TOTALS // 8)
    expected[ORDER], expected[STATE], expected[PID], expected[STARTED] = 8, 1, 4711, 99
    assert list(slot.totals) == expected
    assert set(slot.timings.cells) == {0}
    assert (slot.requests_under_way(), slot.under_way()) == ([], [])


def test_taking_a_slot_leaves_the_masters_orders_alone() -> None:
    """An order given before the worker was born reaches it."""
    board = Scoreboard.create(1)
    slot = board.slot(1)
    slot.orders[PHASE], board.header[ASLEEP] = 2, 1

    slot.take(order=1, state=1, pid=4711, started=99)

    assert (slot.orders[PHASE], board.header[ASLEEP]) == (2, 1)


def test_looking_for_them_costs_no_memory() -> None:
    """An empty slot is a hole, and stays one."""
    board = Scoreboard.create(4000, lanes=64)
    board.slot(2000).take(order=1, state=1, pid=300, started=6)
    before = os.fstat(board.fd).st_blocks

    assert list(board.processes()) == [(300, 6)]
    assert os.fstat(board.fd).st_blocks == before


def test_the_board_names_every_process_that_took_a_slot() -> None:
    """Whoever signed last stands for its slot, also when it is long gone; an empty slot names nobody."""
    board = Scoreboard.create(4, lanes=2)
    board.slot(1).take(order=1, state=1, pid=100, started=5)
    board.slot(3).take(order=2, state=1, pid=300, started=6)
    board.slot(1).take(order=3, state=1, pid=101, started=7)

    assert list(board.processes()) == [(101, 7), (300, 6)]


# Requests under way


def test_a_slot_tells_the_number_and_start_of_its_requests_the_oldest_first() -> None:
    """With several requests at once the one that takes longest counts."""
    slot = Scoreboard.create(1, lanes=3).slot(1)
    slot.totals[LANES] = 3
    slot.lanes[0].begin(2, 9_000_000_000, b"late")
    slot.lanes[2].begin(1, 2_500_000_000, b"early")

    assert slot.under_way() == [(1, 2.5), (2, 9.0)]
    assert slot.requests_under_way() == [Request(2, 9.0, "late"), Request(1, 2.5, "early")]


def test_a_request_that_ended_is_not_under_way() -> None:
    """Clearing a lane makes it idle."""
    slot = Scoreboard.create(1).slot(1)
    slot.totals[LANES] = 1
    slot.lanes[0].begin(1, 5, b"peer")
    slot.lanes[0].clear()

    assert (slot.requests_under_way(), slot.under_way()) == ([], [])


def test_a_label_says_what_a_request_is_about() -> None:
    """What is longer than its room is cut; an empty one takes it back."""
    here = lane()
    here.begin(1, 5, b"peer")

    here.label(b"report 7 of 9 " * 9)
    assert here.read() == Request(1, 5e-9, "peer", ("report 7 of 9 " * 9)[:LABEL_SIZE])

    here.label(b"")
    assert here.read() == Request(1, 5e-9, "peer")


@pytest.mark.parametrize(
    ("peer", "shown"),
    [
        ("", ""),
        ("10.0.0.7:51022", "10.0.0.7:51022"),
        ("x" * 48, "x" * 48),
        ("x" * 49, "x" * 48),
        ("/run/größe.sock", "/run/größe.sock"),
        ("x" * 47 + "ö", "x" * 47 + "\N{REPLACEMENT CHARACTER}"),
        ("\udcff", "?"),
    ],
)
def test_a_peer_is_shown_as_far_as_its_lane_has_room(peer: str, shown: str) -> None:
    """A peer of any length and any characters is text again when it is read."""
    here = lane()
    here.begin(1, 5, b"a longer peer than the one that follows it")
    here.begin(2, 6, peer.encode(errors="replace"))

    request = here.read()
    assert request is not None
    assert request.peer == shown


class ChangesWhenRead:
    """The bytes of a peer, and beside it what another process does at just that moment."""

    def __init__(self, lane: Lane, change: str) -> None:
        self._lane = lane
        self._change = change

    def __bytes__(self) -> bytes:
        if self._change == "ended":
            self._lane.cells[SINCE_NS] = 0
        elif self._change == "another began":
            self._lane.cells[NUMBER] += 1
        elif self._change == "another began and is told whole":
            self._lane.cells[NUMBER] += 1
            self._lane.cells[SINCE_NS] += 1
        return b"peer"


@pytest.mark.parametrize("change", ["ended", "another began", "another began and is told whole"])
def test_what_changed_while_it_was_read_counts_as_idle(change: str) -> None:
    """A reader never joins the number of one request with the peer of another."""
    here = lane()
    here.begin(1, 5, b"peer")
    here._peer = cast(Any, ChangesWhenRead(here, change))

    assert here.read() is None


def test_what_did_not_change_while_it_was_read_is_under_way() -> None:
    """The reading above fails for its change alone."""
    here = lane()
    here.begin(1, 5, b"peer")
    here._peer = cast(Any, ChangesWhenRead(here, "nothing"))

    assert here.read() == Request(1, 5e-9, "peer")


# Beside a writer


READS = 20_000  # at least so many, and until the writer was seen to move


def test_a_cell_is_never_torn() -> None:
    """A reader beside a writer of all bits and none sees one or the other."""
    board = Scoreboard.create(1)

    def write(parent: Link) -> None:
        totals = board.slot(1).totals
        while True:
            totals[BUSY_NS] = ALL_BITS
            totals[BUSY_NS] = 0

    with Child(write):
        totals, seen, reads, deadline = board.slot(1).totals, set[int](), 0, time.monotonic() + LIMIT
        while reads < READS or len(seen) < 2:
            seen.add(totals[BUSY_NS])
            reads += 1
            assert time.monotonic() < deadline, f"the writer stood still: {seen}"

    assert seen == {0, ALL_BITS}


def test_a_request_is_never_read_half() -> None:
    """Number, start and peer read beside a working writer belong to one request."""
    board = Scoreboard.create(1)

    def work(parent: Link) -> None:
        lane, number = board.slot(1).first_lanes(1)[0], 0
        while True:
            number += 1
            lane.begin(number, number * 1_000_000_000, f"{number}:".encode() * 4)
            lane.clear()

    with Child(work):
        lane, numbers, reads, deadline = board.slot(1).first_lanes(1)[0], set[int](), 0, time.monotonic() + LIMIT
        while reads < READS or len(numbers) < 2:
            reads += 1
            request = lane.read()
            if request is not None:
                assert request == Request(request.number, float(request.number), f"{request.number}:" * 4)
                numbers.add(request.number)
            assert time.monotonic() < deadline, f"the writer stood still: {numbers}"
