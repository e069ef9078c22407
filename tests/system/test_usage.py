"""What processes use: real ones, looked up within a time, each figure with its age."""

import os
import time

from prefork.system.usage import Census
from tests.children import Child


def test_a_process_has_memory_and_cpu_time() -> None:
    """Both are those of the process that was asked for."""
    me = os.getpid()
    before = time.process_time()
    usage = Census().look([me], 10)[me]
    assert usage.pss is not None
    assert usage.uss is not None
    assert 0 < usage.uss <= usage.pss < 2**40
    assert before - 0.1 <= usage.cpu_seconds <= time.process_time() + 0.1


def test_a_process_that_is_gone_has_no_figure() -> None:
    """Nor does its last one stay."""
    census = Census()
    with Child(lambda parent: parent.hear()) as child:
        assert list(census.look([child.pid], 10)) == [child.pid]
    assert census.look([child.pid], 10) == {}


def test_what_there_is_no_time_for_keeps_its_age() -> None:
    """A look that may take no time looks up one at most, and who was looked at longest ago comes first."""
    census = Census()
    pids = [os.getpid(), os.getppid()]
    assert len(census.look(pids, 0)) == 1
    first = census.look(pids, 0)
    assert set(first) == set(pids)
    second = census.look(pids, 0)
    newer = [pid for pid in pids if second[pid].at > first[pid].at]
    assert len(newer) == 1
    assert first[newer[0]].at == min(usage.at for usage in first.values())


def test_a_fresh_figure_is_not_looked_up_anew() -> None:
    """What was seen a moment ago still holds."""
    census = Census(fresh=1000)
    me = os.getpid()
    assert census.look([me], 10) == census.look([me], 10)
