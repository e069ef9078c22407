"""Keys have names, in whatever pieces a terminal sends them."""

import pytest

from prefork.top.keys import Keys


@pytest.mark.parametrize(
    ("data", "names"),
    [
        (b"qx+", ["q", "x", "+"]),
        (b"\x1b[A\x1b[B\x1bOA", ["up", "down", "up"]),
        (b"\x1b[5~\x1b[6~\x1b[H\x1b[4~", ["page-up", "page-down", "home", "end"]),
        (b"\x1b", ["escape"]),
        (b"\t\r\x7f", ["tab", "enter", "backspace"]),
        (b"\x1b[1;5A\x1b[200~\x00\x01", []),  # what has no name, with no part of it taken for a key
        ("é\u202e".encode(), ["é"]),
        (b"\xff\xfe", []),
    ],
)
def test_what_is_typed_has_a_name(data: bytes, names: list[str]) -> None:
    """A character is its own name; a sequence is one key."""
    assert Keys().read(data) == names


def test_a_torn_sequence_is_one_key() -> None:
    """As a slow line brings it."""
    keys = Keys()
    assert (keys.read(b"a\x1b["), keys.read(b"5"), keys.read(b"~b")) == (["a"], [], ["page-up", "b"])
