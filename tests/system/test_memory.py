"""What a process weighs."""

import os

import pytest

from prefork.system import memory
from tests.children import NOBODY, Child, Link

MIB = 2**20


def test_memory_is_a_process_own_until_it_is_shared() -> None:
    """What a child got by its fork counts by its share alone; what it wrote since counts whole in both measures."""
    shared = b"x" * (64 * MIB)

    def live(parent: Link) -> None:
        parent.say()
        parent.hear()
        own = b"y" * (32 * MIB)
        parent.say(len(own))
        parent.hear()

    with Child(live) as child:
        child.hear()
        before = memory.weigh(child.pid)
        child.say()
        child.hear()
        after = memory.weigh(child.pid)
        child.say()
    assert before is not None
    assert after is not None
    assert before["uss"] < 32 * MIB <= len(shared) / 2 <= before["pss"]
    assert all(32 * MIB <= after[measure] - before[measure] < 40 * MIB for measure in ("uss", "pss"))


def test_who_is_gone_has_no_weight() -> None:
    """Neither has a zombie, nor who never was."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert memory.weigh(pid) is None
    os.waitpid(pid, 0)
    assert memory.weigh(pid) is None


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_who_belongs_to_somebody_else_may_not_be_weighed() -> None:
    """That is told apart from being gone: the one is a lack, the other no news."""

    def live(parent: Link) -> None:
        os.setuid(NOBODY)
        try:
            memory.weigh(os.getppid())
        except PermissionError as error:
            parent.say(str(error))

    with Child(live) as child:
        assert child.hear() == f"process {os.getpid()} may not be read"
