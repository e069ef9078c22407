"""What a process weighs."""

import os

from prefork.system import memory


def test_a_process_has_memory_and_one_that_is_gone_has_none() -> None:
    """In bytes, its share of what it shares included."""
    mine = memory.proportional_bytes(os.getpid())
    assert mine is not None
    assert mine > 1_000_000
    assert memory.proportional_bytes(2**22 + 1) is None
