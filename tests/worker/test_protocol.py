"""Records cross between processes whole and unchanged, and what is none is refused; one promise a test."""

import contextlib
import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefork.address import Address
from prefork.system.logs import Logs
from prefork.system.privileges import LIMITS, Privileges
from prefork.worker.notices import Notices
from prefork.worker.protocol import (
    PACKET_MAX,
    PIPE_BUF,
    PROTOCOL,
    TEXT_MAX,
    Born,
    Brief,
    Broken,
    Call,
    Declined,
    Failed,
    Fork,
    Leave,
    Left,
    Loaded,
    LogMoved,
    NotForked,
    Promoted,
    Ready,
    Record,
    Wake,
    decode,
    encode,
    protocol_of,
    tail,
)

KINDS = (
    Brief,
    Fork,
    Leave,
    Loaded,
    Failed,
    NotForked,
    Born,
    Call,
    Declined,
    Promoted,
    Ready,
    Broken,
    Left,
    Wake,
    LogMoved,
)
NUMBERS = st.integers(0, 2**53)
ADDRESSES = st.builds(
    Address, st.text(max_size=9), host=st.text(max_size=40), port=NUMBERS, v6only=st.none() | st.booleans(), fd=NUMBERS
)
FIELDS: dict[object, st.SearchStrategy[object]] = {
    int: NUMBERS,
    float: st.floats(0, allow_nan=False, allow_infinity=False),
    str: st.text(max_size=40),
    bool: st.booleans(),
    list[str]: st.lists(st.text(max_size=40), max_size=3),
    Logs: st.builds(Logs, file=st.text(max_size=40), feed=NUMBERS, access=st.text(max_size=40), captures=st.booleans()),
    Privileges: st.builds(
        Privileges,
        uid=NUMBERS,
        groups=st.lists(NUMBERS, max_size=3),
        rlimits=st.dictionaries(st.sampled_from(sorted(LIMITS)), st.lists(NUMBERS, min_size=2, max_size=2)),
        cpus=st.lists(st.lists(NUMBERS, max_size=3), max_size=3),
    ),
    list[tuple[Address, int]]: st.lists(st.tuples(ADDRESSES, NUMBERS), max_size=3),
}


def fields_of(kind: Any) -> dict[str, st.SearchStrategy[object]]:
    return {name: FIELDS[of] for name, of in kind.__annotations__.items()}


RECORDS = st.one_of([st.builds(kind, **fields_of(kind)) for kind in KINDS])
NOTICES = st.one_of(
    [st.builds(kind, slot=NUMBERS, order=NUMBERS, why=st.text(max_size=9000)) for kind in (Broken, Left)]
)


@given(RECORDS)
def test_a_record_is_decoded_as_it_was_encoded(record: Record) -> None:
    """What one process says is what the other hears, in kind and in every field."""
    heard = decode(encode(record))
    assert (type(heard), heard) == (type(record), record)


@given(RECORDS)
def test_an_encoded_record_holds_no_line_break(record: Record) -> None:
    """So a line of the notice pipe is a record."""
    assert b"\n" not in encode(record)


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"hello",
        b"\xff",
        b"null",
        b"5",
        b"{}",
        b"[]",
        b'"Wake"',
        b"[[]]",
        b'["Nonsense"]',
        b'["Fork"]',
        b'["Fork", 1, 2]',
        b'["Fork", 1, 2, 3, 4]',
        b'["Wake", 1]',
        encode(Fork(1, 2, 3))[:-1],
    ],
)
def test_what_is_no_record_is_refused_with_its_beginning(packet: bytes) -> None:
    """A master and a mold of different versions misunderstand nothing silently."""
    with pytest.raises(ValueError, match=f"not a record of protocol {PROTOCOL}: ") as raised:
        decode(packet)
    assert repr(packet[:80]) in str(raised.value)


@pytest.mark.parametrize(
    ("packet", "version"),
    [
        (b'["Brief", 1]', 1),
        (b'["Brief", 99, "fields", {"of": "another"}, [1, 2]]', 99),
        (b'["Brief"]', None),
        (b'["Brief", "1"]', None),
        (b'["Fork", 1, 2, 3]', None),
        (b"not json", None),
        (b"\xff", None),
        (b"", None),
        (b"5", None),
        (b"null", None),
    ],
)
def test_the_version_of_a_brief_can_be_read_whatever_else_it_holds(packet: bytes, version: int | None) -> None:
    """Its place is the same for ever, so that every version can name the other."""
    assert protocol_of(packet) == version


@given(st.builds(Brief, **fields_of(Brief)))
def test_the_version_of_our_own_brief_is_its_first_field(brief: Brief) -> None:
    """What this version sends the next one can judge."""
    assert protocol_of(encode(brief)) == brief.protocol


# Long texts


@pytest.mark.parametrize("length", [0, 1, TEXT_MAX - 1, TEXT_MAX])
def test_a_text_that_fits_is_sent_whole(length: int) -> None:
    """Nothing is cut without need."""
    assert tail("x" * length) == "x" * length


def test_of_a_text_that_is_too_long_the_end_is_sent() -> None:
    """Of a traceback that is the part that matters; a mark shows that something is missing."""
    assert tail("beginning " + "x" * TEXT_MAX) == "… " + "x" * TEXT_MAX
    assert tail("abcdef", 2) == "… ef"


@given(st.text(max_size=3 * PACKET_MAX // 16))
def test_the_reason_of_a_failed_mold_fits_into_its_packet(why: str) -> None:
    """Whatever the text: JSON writes one character in at most twelve bytes."""
    assert len(encode(Failed(tail(why, PACKET_MAX // 16)))) <= PACKET_MAX


@given(NOTICES)
def test_a_notice_is_written_whole_and_ends_with_its_reason(notice: Broken | Left) -> None:
    """A record too long for one write loses the beginning of its reason and nothing else."""
    reader, writer = os.pipe2(os.O_NONBLOCK)
    try:
        Notices(writer).send(notice)
        line = os.read(reader, 1 << 16)
    finally:
        os.close(reader)
        os.close(writer)

    heard = decode(line)
    assert line.endswith(b"\n")
    assert len(line) <= PIPE_BUF
    assert isinstance(heard, type(notice))
    assert (heard.slot, heard.order) == (notice.slot, notice.order)
    assert notice.why.endswith(heard.why[2:] if heard.why != notice.why else heard.why)


def test_a_notice_that_does_not_fit_into_the_pipe_is_dropped_whole() -> None:
    """Nobody waits, and the reader never sees half a record."""
    reader, writer = os.pipe2(os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"x" * 4096)
    Notices(writer).send(Ready(1, 2))
    told = b""
    with contextlib.suppress(BlockingIOError):
        while True:
            told += os.read(reader, 1 << 16)
    os.close(reader)
    os.close(writer)

    assert set(told) == set(b"x")


def test_a_notice_to_a_master_that_is_gone_is_dropped() -> None:
    """The lifeline tells of that, and the pipe is no reason to die."""
    reader, writer = os.pipe2(os.O_NONBLOCK)
    os.close(reader)
    Notices(writer).send(Wake())
    os.close(writer)
