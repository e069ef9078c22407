"""Idle costs nothing: with no traffic and nothing due, no process of the tree wakes."""

import contextlib
import itertools
import re
import select
import time
from pathlib import Path

import pytest

from tests.end_to_end.clients import LIMIT, ask
from tests.end_to_end.harness import STREAM, TCP, Gate, Master, look_until, serving
from tests.end_to_end.load import Load
from tests.end_to_end.manager import Manager
from tests.long import long_but

DEADLINES = ["--max-requests", "1000000", "--request-hard", "3s", "--graceful-timeout", "2s", "--boot-timeout", "4s"]
DEADLINES += ["--max-age", "1h", "--memory-soft", "4GiB"]


def switches(master: Master) -> dict[str, int]:
    """Context switches so far of every thread of every process of the tree."""
    counts = {}
    for process in master.processes():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it was retiring, and is gone
            for task in Path(f"/proc/{process.pid}/task").iterdir():
                found = re.findall(r"ctxt_switches:\s*(\d+)", (task / "status").read_text())
                counts[f"{process.title} [{task.name}]"] = sum(map(int, found))
    return counts


def let_time_pass(seconds: float) -> None:
    """The subject here is what happens while nothing happens: a wait that nothing ends."""
    select.select([], [], [], seconds)


def settled(master: Master) -> dict[str, int]:
    """Wait until a second has passed without a switch: the last look after the last request is over."""
    deadline = time.monotonic() + LIMIT
    before = switches(master)
    while True:
        let_time_pass(1.0)
        now = switches(master)
        if now == before:
            return now
        assert time.monotonic() < deadline, {who: now[who] - before.get(who, 0) for who in now}
        before = now


SIZED = ["--min-workers", "4", "--max-workers", "20", "--worker-idle-timeout", "200ms", "--memory-budget", "8GiB"]


FLAGS = {"few": ["-w", "4"], "with deadlines": ["-w", "4", *DEADLINES], "sized": SIZED}
IDLE = [
    *itertools.product(FLAGS, ["warm", "even"], [1.0]),
    ("with deadlines", "warm", 10.0),  # what is due in seconds, and what the pool's size is looked at for
    ("sized", "even", 10.0),
]


@pytest.mark.parametrize(("flags", "balance", "seconds"), long_but(IDLE, ("few", "even", 1.0), ("sized", "warm", 1.0)))
def test_an_idle_service_does_not_wake(flags: str, balance: str, seconds: float, gate: Gate) -> None:
    """After boot, a request, a death and a load: no context switch in any process, also with limits set, or sized."""
    with serving(STREAM, "-b", TCP, "-b", "tcp://[::1]:0", "--balance", balance, *FLAGS[flags]) as master:
        assert ask(master.bind(1), "hello") == "HELLO"
        master.kill(master.workers()[2])
        master.ready_workers(gate, 4)
        with Load(master.bind(), clients=16) as load:
            load.wait_answered(1000)
            load.finish()
        before = settled(master)
        let_time_pass(seconds)
        after = switches(master)
        assert {who: after[who] - count for who, count in before.items() if after.get(who) != count} == {}


def test_a_service_manager_that_listens_does_not_wake_it(short_path: Path) -> None:
    """Without a watchdog nothing is due; what there was to tell is told."""
    with Manager(short_path) as manager, manager.master(STREAM, "-b", TCP, "-w", "2") as master:
        manager.wait_told("READY=1")
        before = settled(master)
        let_time_pass(1.0)
        assert switches(master) == before


def test_a_service_on_demand_does_not_wake_either() -> None:
    """Nobody is there but the master and its mold, and both sleep until a client comes."""
    flags = ["--min-workers", "0", "--max-workers", "4", "--worker-idle-timeout", "100ms"]
    with serving(STREAM, "-b", TCP, *flags) as master:
        for _ in range(2):
            before = settled(master)
            let_time_pass(1.0)
            assert switches(master) == before
            assert ask(master.bind(), "hello") == "HELLO"
            look_until(lambda: not master.workers(), "the worker has gone")
