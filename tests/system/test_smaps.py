"""A process has a share of what it shares, and one that is gone has none."""

import os
from pathlib import Path

from prefork.system.smaps import proportional_bytes
from tests.children import Child, Link

SIZE = 32 << 20


def test_what_is_shared_counts_by_its_share() -> None:
    """Of memory that a fork shares, half counts for each; of its own, all."""
    whole = proportional_bytes(os.getpid()) or 0
    content = b"x" * SIZE
    with_content = proportional_bytes(os.getpid()) or 0
    assert with_content - whole > SIZE * 0.9

    def live(parent: Link) -> None:
        parent.hear()

    with Child(live) as child:
        child.wait_asleep()
        shared = proportional_bytes(os.getpid()) or 0
        assert with_content - shared > SIZE * 0.4
        child.say()
    assert len(content) == SIZE


def test_who_is_gone_or_not_ours_has_no_figure() -> None:
    """Which is no error."""
    with Child(lambda parent: None) as child:
        child.hear()
        child.end()
        assert proportional_bytes(child.pid) is None
    assert not Path(f"/proc/{child.pid}").exists()
