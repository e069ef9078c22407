"""Workers are replaced when they are worn out, the replacement first, and nobody waits for it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.clients import LIMIT, Question, ask
from tests.end_to_end.harness import ROOT, STREAM, TCP, UDP, Gate, Master, Visitor, place, serving, target_for
from tests.end_to_end.load import Load
from tests.end_to_end.test_idle import settled
from tests.long import long_but

# by requests


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


def hold_who_served(master: Master, gate: Gate) -> tuple[int, Question, Visitor]:
    """A worker that has served a request, held by another; one that was faster replaced is let go."""
    for _ in range(100):
        first = int(ask(master.bind(), "pid"))
        held = Question(master.bind(), f"hold {gate.path}")
        visitor = gate.visitor()
        if visitor.pid == first:
            return first, held, visitor
        visitor.let_pass()
        held.answer()
    raise AssertionError("whoever served was replaced before it could be held, a hundred times")


def test_the_replacement_comes_first(gate: Gate) -> None:
    """A worker that has served enough and is held by a client does not leave the service without one."""
    with serving(STREAM, "-b", TCP, "-w", "1", "--max-requests", "1") as master:
        first, held, visitor = hold_who_served(master, gate)
        assert int(ask(master.bind(), "pid")) not in (first, visitor.pid)
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


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_thousand_recycles_gain_no_descriptor() -> None:
    """Neither in the master nor in its mold, and nothing is lost; processes that are weighed leave nothing either."""
    flags = ["--max-requests", "5", "--memory-soft", "4GiB", "--balance", "even"]
    with serving(STREAM, "-b", TCP, "-w", "4", *flags) as master:
        counts = []
        for recycles in (range(50, 51), range(100, 1051, 50)):
            with Load(master.bind(), clients=8) as load:
                for count in recycles:
                    master.wait_for("it has served", count=count)
                outcome = load.finish()
            assert outcome.refused + outcome.admitted_in_vain == 0, outcome
            settled(master)
            assert len(master.workers()) == 4
            counts.append((descriptors(master.pid), descriptors(master.mold())))
        assert counts[0] == counts[1]


# by age


@pytest.mark.parametrize("rounds", [10, pytest.param(100, marks=[pytest.mark.long, pytest.mark.timeout(600)])])
@pytest.mark.parametrize("way", long_but([[], ["--threads", "8"]], []))
def test_replacing_the_old_under_load_costs_nothing(way: list[str], rounds: int) -> None:
    """However short their lives: every request is answered, and none is replaced before its time."""
    with serving(STREAM, "-b", TCP, "-w", "2", "--max-age", "200ms", "--max-age-jitter", "100ms", *way) as master:
        with Load(master.bind(), clients=8) as load:
            for count in range(10, 2 * rounds + 1, 10):
                master.wait_for(" s old", count=count)
            outcome = load.finish()
        assert outcome.refused + outcome.admitted_in_vain == 0, outcome
        ages = [re.search(r"is retired: it is ([\d.]+) s old", line) for line in master.lines(" s old")]
        assert all(age is not None and float(age[1]) >= 0.2 for age in ages)


def test_the_old_are_replaced_while_nobody_asks_for_anything() -> None:
    """At their time, which the master knows beforehand."""
    with serving(STREAM, "-b", TCP, "-w", "1", "--max-age", "200ms") as master:
        master.wait_for(" s old", count=3)


# by memory


def workers_of(master: Master, name: str) -> list[dict[str, Any]]:
    """As ``prefork status`` tells of them."""
    command = [sys.executable, "-m", "prefork", "status", "--json", "--name", name]
    text = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=LIMIT).stdout
    workers: list[dict[str, Any]] = json.loads(text)["services"][0]["workers"]
    return workers


@pytest.mark.parametrize("way", [[], ["--threads", "8"]], ids=["sync", "threads"])
def test_a_worker_that_leaks_is_replaced_under_load(way: list[str]) -> None:
    """Its successor first; every request is answered, and status tells what the others weigh."""
    name = f"recycling-{os.getpid()}"
    with serving(STREAM, "-b", TCP, "-w", "2", "-n", name, "--memory-soft", "96MiB", *way) as master:
        with Load(master.bind(), clients=8) as load:
            load.wait_answered(100)
            leaky = ask(master.bind(), "leak 128")
            line = master.wait_for(f"[{leaky}] of generation 1 is retired: it uses ")
            load.wait_answered(100)
            others = [worker for worker in workers_of(master, name) if worker["pid"] != int(leaky)]
            outcome = load.finish()
        assert outcome.refused + outcome.admitted_in_vain == 0, outcome
        assert re.search(r"\d+\.\d MiB, more than its memory_soft of 9\d\.\d MiB", line)
        ready = [number for number, text in enumerate(master.log) if text.endswith("is ready")]
        assert len([number for number in ready if number < master.log.index(line)]) == 3
        weights = [worker["memory"] for worker in others if worker["memory"]]
        assert weights
        assert all(weight["measure"] == "uss" and weight["bytes"] < 96 * 2**20 for weight in weights)
        assert not master.lines("is killed")


def test_a_worker_that_bursts_is_killed_and_the_log_says_whose_request_it_was(gate: Gate) -> None:
    """It costs that request; who holds less serves on."""
    with serving(STREAM, "-b", TCP, "-w", "2", "--memory-hard", "96MiB") as master:
        heavy = Question(master.bind(), f"leak-and-hold 128 {gate.path}")
        host, port = heavy.socket.getsockname()
        line = master.wait_for("is killed: it uses ")  # it may still be on its way to the gate
        what = r"\d+\.\d MiB, more than its memory_hard of 9\d\.\d MiB"
        assert re.search(rf"is killed: it uses {what}; it was serving {host}:{port} #1 for ", line)
        assert heavy.is_lost()
        assert ask(master.bind(), "next") == "NEXT"
        assert len(master.lines("is killed")) == 1


@pytest.mark.parametrize(("flags", "is_there"), [([], False), (["--memory-soft", "4GiB"], True)])
def test_the_master_has_psutil_where_it_weighs_and_only_there(flags: list[str], is_there: bool) -> None:
    """It is imported before the first worker is ready, or never."""
    with serving(STREAM, "-b", TCP, "-w", "1", *flags) as master:
        assert ("_psutil" in Path(f"/proc/{master.pid}/maps").read_text()) is is_there
