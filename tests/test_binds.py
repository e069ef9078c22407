"""Binds as their users write them, good and bad; one promise a test."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefork.address import Address
from prefork.binds import SCHEMES, parse

GOOD = {
    "tcp://127.0.0.1:9000": Address("tcp", host="127.0.0.1", port=9000),
    "tcp://127.0.0.1:0": Address("tcp", host="127.0.0.1"),
    "tcp://127.0.0.1:65535/": Address("tcp", host="127.0.0.1", port=65535),
    "tcp://:9000": Address("tcp", host="0.0.0.0", port=9000),
    "tcp://Localhost:9000": Address("tcp", host="localhost", port=9000),
    "tcp://[::]:9000": Address("tcp", host="::", port=9000),
    "tcp://[::]:9000?v6only=0": Address("tcp", host="::", port=9000, v6only=False),
    "tcp://[::1]:9000?v6only=1": Address("tcp", host="::1", port=9000, v6only=True),
    "udp://[fe80::1%lo]:53": Address("udp", host="fe80::1%lo", port=53),
    "udp://0.0.0.0:53": Address("udp", host="0.0.0.0", port=53),
    "unix:/run/x.sock": Address("unix", path="/run/x.sock"),
    "unix:///run/x.sock": Address("unix", path="/run/x.sock"),
    "unix:x.sock": Address("unix", path="x.sock"),
    "unix:/run/größe#1.sock": Address("unix", path="/run/größe#1.sock"),
    "unix:/run/x.sock?mode=0600": Address("unix", path="/run/x.sock", mode=0o600),
    "unix:/run/x.sock?mode=777&user=www&group=33": Address(
        "unix", path="/run/x.sock", mode=0o777, user="www", group="33"
    ),
    "unixgram:/run/x.sock": Address("unixgram", path="/run/x.sock"),
    "unix:@x": Address("unix", path="@x"),
    "unixgram:@x": Address("unixgram", path="@x"),
    "unix:/" + "x" * 106: Address("unix", path="/" + "x" * 106),
    "systemd:shop.socket": Address("systemd", name="shop.socket"),
    "systemd:web:2": Address("systemd", name="web", number=2),
}

# and a piece of what would be right
BAD = {
    "": "begin with tcp:",
    "9000": "begin with tcp:",
    "127.0.0.1:9000": "perhaps tcp://127.0.0.1:9000",
    "localhost:9000": "perhaps tcp://localhost:9000",
    "/run/x.sock": "perhaps unix:/run/x.sock",
    "TCP://127.0.0.1:9000": "begin with tcp:",
    "http://127.0.0.1:9000": "begin with tcp:",
    "a\nb": "begin with tcp:",
    "systemd:": "systemd:shop.socket",
    "systemd:größe": "systemd:shop.socket",
    "systemd:" + "x" * 256: "systemd:shop.socket",
    "systemd:web:": "as systemd:web:2",
    "systemd:web:0": "as systemd:web:2",
    "systemd:web:one": "as systemd:web:2",
    "fd:": "fd:3",
    "fd:0": "from 3",
    "fd:-3": "fd:3",
    "fd:99999999999": "fd:3",
    "fd:x": "fd:3",
    "tls://127.0.0.1:9000": "use one of tcp, udp, unix, unixgram",
    "tcp:127.0.0.1:9000": "as tcp://127.0.0.1:9000",
    "tcp://": "as tcp://127.0.0.1:9000",
    "tcp://127.0.0.1": "as tcp://127.0.0.1:9000",
    "tcp://127.0.0.1:": "as tcp://127.0.0.1:9000",
    "tcp://127.0.0.1:http": "a port from 0 to 65535",
    "tcp://127.0.0.1:65536": "a port from 0 to 65535",
    "udp://127.0.0.1:-1": "a port from 0 to 65535",
    "tcp://::1:9000": "a host and a port",
    "tcp://[::1:9000": "a host and a port",
    "tcp://[here]:9000": "a host and a port",
    "tcp://me@127.0.0.1:9000": "as tcp://127.0.0.1:9000",
    "tcp://:secret@127.0.0.1:9000": "as tcp://127.0.0.1:9000",
    "tcp://127.0.0.1:9000/path": "as tcp://127.0.0.1:9000",
    "tcp://127.0.0.1:9000#part": "as tcp://127.0.0.1:9000",
    "tcp://127.0.0.1:9000?v6only=1": "tcp://[::]:9000?v6only=1",
    "tcp://[::]:9000?v6only=yes": "0 or 1",
    "tcp://[::]:9000?v6only": "0 or 1",
    "tcp://[::]:9000?mode=0600": "knows v6only",
    "unix:": "unix:/run/my.sock",
    "unix://": "unix:@name",
    "unix:/run/x.sock?mode=rw": "mode=0660",
    "unix:/run/x.sock?mode=0888": "mode=0660",
    "unix:/run/x.sock?mode=1777": "mode=0660",
    "unix:/run/x.sock?mode=": "mode=0660",
    "unix:/run/x.sock?mode=%0A": "mode=0660",
    "unix:/run/x.sock?owner=www": "knows mode, user, group",
    "unix:@x?mode=0600": "leave it out",
    "unix:/" + "x" * 107: "at most 107",
    "unix:/" + "ö" * 54: "at most 107",
    "unix:/run/x\0y.sock": "leave it out",
}


@pytest.mark.parametrize(("text", "address"), GOOD.items(), ids=repr)
def test_a_good_bind_is_the_address_it_means(text: str, address: Address) -> None:
    """What its user writes is read as one record."""
    assert parse(text) == address


@pytest.mark.parametrize(("text", "remedy"), BAD.items(), ids=repr)
def test_a_bad_bind_is_one_line_that_names_it_and_what_would_be_right(text: str, remedy: str) -> None:
    """The error is read once and needs no manual."""
    with pytest.raises(ValueError) as raised:
        parse(text)
    line = str(raised.value)
    assert len(line.splitlines()) == 1
    assert line.startswith(repr(text))
    assert remedy in line


@pytest.mark.parametrize(
    ("bind", "kind"),
    [
        ("tcp://127.0.0.1:1", (False, True, False)),
        ("udp://127.0.0.1:1", (False, False, False)),
        ("unix:/x", (True, True, False)),
        ("unix:@x", (True, True, True)),
        ("unixgram:/x", (True, False, False)),
        ("unixgram:@x", (True, False, True)),
    ],
)
def test_an_address_knows_its_kind(bind: str, kind: tuple[bool, bool, bool]) -> None:
    """Whether it is Unix, a stream, abstract."""
    address = parse(bind)
    assert (address.is_unix, address.is_stream, address.is_abstract) == kind


PIECES = st.text(st.sampled_from(string.ascii_letters + string.digits + "/@?&=#%+:[]._-\\ \n\0ö"), max_size=12)
HOSTS = st.one_of(
    PIECES, st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(lambda a: f"[{a}]"), st.sampled_from(["", "[::]"])
)
QUERIES = st.one_of(
    st.just(""),
    PIECES.map("?{}".format),
    st.builds("?v6only={}".format, st.sampled_from("012")),
    st.builds("?mode={:o}&user={}&group={}".format, st.integers(0, 0o1777), PIECES, PIECES),
)
BINDS = st.one_of(
    st.builds("{}://{}:{}{}".format, st.sampled_from(["tcp", "udp"]), HOSTS, st.integers(-1, 65536), QUERIES),
    st.builds("{}:{}{}{}".format, st.sampled_from(["unix", "unixgram"]), st.sampled_from(["", "//"]), PIECES, QUERIES),
    st.text(),
)


@given(BINDS)
def test_what_is_read_is_written_so_that_it_is_read_the_same(text: str) -> None:
    """An address that was parsed survives being printed and parsed again, and any other text is refused in one line."""
    try:
        address = parse(text)
    except ValueError as error:
        refused = str(error)
    else:
        assert address.scheme in SCHEMES
        assert parse(str(address)) == address
        return
    assert repr(text) in refused
    assert len(refused.splitlines()) == 1
