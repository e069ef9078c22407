"""What a process weighs."""

import os
import subprocess
import sys

import pytest

from prefork.system import memory
from tests.children import NOBODY, Child, Link

MIB = 2**20


# A program of its own: the test's own process is large, and a child that shares it gets pages of its own from every
# collection and from whatever the test itself writes meanwhile.
FAMILY = """
import os, sys
shared = b"x" * int(sys.argv[1])
if pid := os.fork():
    print(pid, flush=True)
    os.waitpid(pid, 0)
else:
    sys.stdin.readline()
    own = b"y" * int(sys.argv[2])
    print("written", flush=True)
    sys.stdin.readline()
    os._exit(0)
"""


def test_memory_is_a_process_own_until_it_is_shared() -> None:
    """What a child got by its fork counts by its share alone; what it wrote since counts whole in both measures."""
    program = [sys.executable, "-S", "-c", FAMILY, str(64 * MIB), str(32 * MIB)]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        before = memory.weigh(child)
        parent.stdin.write("write\n")
        assert parent.stdout.readline() == "written\n"
        after = memory.weigh(child)
        parent.stdin.write("leave\n")
    assert before is not None
    assert after is not None
    assert before["uss"] < 32 * MIB <= before["pss"]
    assert {measure: (after[measure] - before[measure]) // (8 * MIB) for measure in after} == {"uss": 4, "pss": 4}


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
