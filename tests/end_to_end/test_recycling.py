"""Workers are replaced after so many requests, the replacement first, and nobody waits for it."""

from pathlib import Path

import pytest

from tests.end_to_end.clients import Question, ask
from tests.end_to_end.harness import STREAM, TCP, UDP, Gate, place, serving, target_for
from tests.end_to_end.load import Load
from tests.long import long_but


@pytest.mark.parametrize("url", long_but([TCP, "unix:", UDP, "unixgram:"], TCP, UDP))
def test_a_worker_is_replaced_after_its_requests(url: str, short_path: Path) -> None:
    """Each worker of one that are wanted serves at least as many requests as it may, then another takes over."""
    url = place(url, short_path)
    with serving(target_for(url), "-b", url, "-w", "1", "--max-requests", "5") as master:
        pids: list[str] = []
        while len(set(pids)) < 4:
            pids.append(ask(master.bind(), "pid"))
        served = [pids.count(pid) for pid in sorted(set(pids), key=pids.index)]
        assert all(count >= 5 for count in served[:-1]), served


def test_the_replacement_comes_first(gate: Gate) -> None:
    """A worker that has served enough and is held by a client does not leave the service without one."""
    with serving(STREAM, "-b", TCP, "-w", "1", "--max-requests", "1") as master:
        first = ask(master.bind(), "pid")
        held = Question(master.bind(), f"hold {gate.path}")
        visitor = gate.visitor()
        assert int(ask(master.bind(), "pid")) not in (int(first), visitor.pid)
        visitor.let_pass()
        assert held.answer() == str(visitor.pid)


def test_without_a_limit_nobody_is_replaced() -> None:
    """Max-requests is off unless it is asked for."""
    with serving(STREAM, "-b", TCP, "-w", "1") as master:
        assert len({ask(master.bind(), "pid") for _ in range(100)}) == 1


def test_few_are_replaced_at_a_time() -> None:
    """Under load there are never more workers than wanted and a quarter more, however many are worn out at once."""
    with serving(STREAM, "-b", TCP, "-w", "8", "--max-requests", "20", "--balance", "even") as master:
        most = 0
        with Load(master.bind(), clients=32) as load:
            while len(master.lines("it has served")) < 40:
                load.wait_answered(1)
                most = max(most, len(master.processes("worker")))
            outcome = load.finish()
        assert outcome.refused + outcome.admitted_in_vain == 0, outcome
        assert most <= 8 + 2
