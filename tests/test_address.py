"""Addresses of clients, as people read them."""

import pytest

from prefork.address import describe_peer


@pytest.mark.parametrize(
    ("peer", "shown"),
    [
        (("10.0.0.7", 51022), "10.0.0.7:51022"),
        (("::1", 9, 0, 0), "[::1]:9"),
        ("/run/client.sock", "/run/client.sock"),
        (b"\0client", "@client"),
        (b"\0\xff", "@\\xff"),
        ("", "unix"),
        (b"", "unix"),
        (None, "unix"),
    ],
)
def test_a_peer_is_shown_as_its_address(peer: object, shown: str) -> None:
    """Every kind of socket has its own notion of a peer; log and titles have one."""
    assert describe_peer(peer) == shown
