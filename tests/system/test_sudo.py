"""What is advised can be typed by whoever reads it."""

import os

import pytest

from prefork.system.sudo import typed


@pytest.mark.parametrize(
    ("uid", "advised"), [(0, "nginx -t && nginx -s reload"), (1000, "sudo nginx -t && sudo nginx -s reload")]
)
def test_root_needs_no_sudo(uid: int, advised: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And where it is not installed could not type it."""
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    assert typed("sudo nginx -t && sudo nginx -s reload") == advised
