"""Where a reply ends does not depend on how its bytes are cut into pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefork.errors import UsageError
from prefork.lab.escapes import unescaped
from prefork.lab.exchange import Reader, reader_of
from prefork.lab.http_talk import HttpReader, request_of
from prefork.lab.load import Load

REPLIES = {
    "line": b"some words\n",
    "bytes=7": b"1234567",
    "length=1": b"\x05hello",
    "length=4": b"\x00\x00\x00\x05hello",
    r"until=\r\n.\r\n": b"a\r\nb..\r\n\r\r\n.\r\n",
}


def cuts(data: bytes) -> list[list[bytes]]:
    """In one piece, in two at every place, and byte by byte."""
    return [[data], *([data[:at], data[at:]] for at in range(1, len(data))), [bytes([byte]) for byte in data]]


def read(reader: Reader, pieces: list[bytes]) -> bytes:
    """The reply, which is whole with the last piece and not before."""
    assert [reader.feed(piece) for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    return reader.reply


@pytest.mark.parametrize("how", REPLIES)
def test_a_reply_ends_at_its_end(how: str) -> None:
    """Whatever its pieces, twice on the same connection."""
    for pieces in cuts(REPLIES[how]):
        reader = reader_of(how)
        for _ in range(2):
            assert read(reader, pieces) == REPLIES[how]
            assert not reader.has_surplus
            assert not reader.turn()


@pytest.mark.parametrize("how", REPLIES)
def test_what_comes_with_a_reply_is_the_beginning_of_the_next(how: str) -> None:
    """It is seen to be more than the reply, and is not lost."""
    reader = reader_of(how)
    assert reader.feed(REPLIES[how] * 2 + REPLIES[how][:1])
    assert reader.reply == REPLIES[how]
    assert reader.has_surplus
    assert reader.turn()
    assert reader.reply == REPLIES[how]
    assert not reader.turn()
    assert reader.feed(REPLIES[how][1:])
    assert reader.reply == REPLIES[how]


def test_the_end_of_the_connection_ends_a_reply_only_where_it_is_meant_to() -> None:
    """And not one of which nothing has come."""
    for keeps in (True, False):
        reader = reader_of("eof", keeps)
        assert not reader.end()
        assert not reader.feed(b"ab")
        assert not reader.feed(b"c")
        assert reader.end()
        assert reader.reply == (b"abc" if keeps else b"")
        reader.clear()
        assert not reader.end()
    line = reader_of("line")
    assert not line.feed(b"half a line")
    assert not line.end()


@given(st.binary(max_size=300), st.lists(st.integers(0, 300)))
def test_random_pieces(payload: bytes, places: list[int]) -> None:
    """A counted reply of any bytes, cut anywhere."""
    data = len(payload).to_bytes(2, "big") + payload
    at = sorted({place for place in places if 0 < place < len(data)})
    pieces = [data[start:end] for start, end in zip([0, *at], [*at, len(data)], strict=True)]
    assert read(reader_of("length=2"), pieces) == data


@pytest.mark.parametrize("how", ["lines", "bytes", "bytes=0", "bytes=-1", "bytes=x", "length=9", "until=", "eof=1", ""])
def test_what_names_no_end_is_refused(how: str) -> None:
    """In one line."""
    with pytest.raises(UsageError, match="--reply: "):
        reader_of(how)


HTTP = {
    "sized": (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", True),
    "chunked": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", True),
    "closing": (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc", False),
    "of version 1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc", False),
    "after a 100": (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", True),
}


@pytest.mark.parametrize("name", HTTP)
def test_an_http_reply_ends_at_its_end(name: str) -> None:
    """And says whether its connection may be kept; then the next one follows."""
    data, may_keep = HTTP[name]
    for pieces in cuts(data):
        reader = HttpReader()
        for _ in range(2):
            assert read(reader, pieces) == b"abc"
            assert (reader.may_keep, reader.fault()) == (may_keep, None)
            if not may_keep:
                reader.clear()
            reader.turn()


def test_an_http_body_may_end_with_its_connection() -> None:
    """Where nothing said how long it is; otherwise it was cut off."""
    reader = HttpReader()
    assert not reader.feed(b"HTTP/1.1 200 OK\r\n\r\nab")
    assert not reader.feed(b"c")
    assert reader.end()
    assert (reader.reply, reader.may_keep) == (b"abc", False)
    reader.clear()
    assert not reader.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab")
    assert not reader.end()


def test_a_reply_to_head_has_no_body() -> None:
    """Whatever length it tells, and twice."""
    reader = HttpReader(has_body=False)
    for _ in range(2):
        assert reader.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n")
        assert (reader.reply, reader.may_keep) == (b"", True)
        reader.turn()


def test_a_failing_server_says_so_by_its_status() -> None:
    """400 and above; what is not HTTP at all is another thing."""
    for status in (204, 302, 399, 400, 404, 503):
        reader = HttpReader()
        assert reader.feed(b"HTTP/1.1 %d So It Is\r\nContent-Length: 0\r\n\r\n" % status)
        assert reader.fault() == (("status", f"the server answered with status {status}") if status >= 400 else None)
    with pytest.raises(ValueError, match="not HTTP"):
        HttpReader().feed(b"220 smtp.example.net\r\n")


def test_an_http_request() -> None:
    """With what HTTP wants of it, unless the load says otherwise."""
    load = Load(url="tcp://127.0.0.1:80", path="/a?b", per_connection=None)
    assert request_of(load, "127.0.0.1") == b"GET /a?b HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    posting = Load(
        url="tcp://127.0.0.1:80", path="/", method="POST", send=b"{}", headers=(("Host", "shop"), ("X-A", "b"))
    )
    assert request_of(posting, "127.0.0.1") == (
        b"POST / HTTP/1.1\r\nContent-Length: 2\r\nConnection: close\r\nHost: shop\r\nX-A: b\r\n\r\n{}"
    )


def test_escapes() -> None:
    """As one types them; a backslash that begins nothing is refused."""
    assert unescaped(r"GET / é\r\n\t\0\x7f\\n", "--send") == "GET / é\r\n\t\0\x7f\\n".encode()
    for wrong in (r"\d", "end\\", r"\x1"):
        with pytest.raises(UsageError, match=r"--send: .* is no escape"):
            unescaped(wrong, "--send")
