"""A pool that sizes itself: it grows while clients need it, shrinks when they do not, and loses nobody by either."""

import os
import signal
from itertools import pairwise
from pathlib import Path

import pytest

from tests.end_to_end.clients import Question, ask
from tests.end_to_end.harness import DATAGRAM, STREAM, TCP, UDP, Gate, Master, Visitor, look_until, place, serving
from tests.end_to_end.load import Load
from tests.long import long_but

HASTY = ["--worker-idle-timeout", "100ms"]  # nothing here waits for the default


def wanted(master: Master) -> list[int]:
    """The counts that were wanted, one after the other."""
    lines = master.lines("workers wanted: ")
    return [int(line.partition("workers wanted: ")[2].split()[0].rstrip(",")) for line in lines if "instead of" in line]


def hold_ever_more(master: Master, gate: Gate, clients: int, workers: int) -> tuple[list[Question], list[Visitor]]:
    """So many clients, each with a request that a worker holds; those beyond ``workers`` are left in the queue."""
    questions = [Question(master.bind(), f"hold {gate.path}") for _ in range(clients)]
    return questions, gate.visitors(min(clients, workers))


def let_go(questions: list[Question], visitors: list[Visitor], gate: Gate) -> None:
    """Every client gets its answer, also those still in the queue."""
    for visitor in visitors:
        visitor.let_pass()
    for _ in range(len(questions) - len(visitors)):
        gate.visitor().let_pass()
    for question in questions:
        question.answer()


def wait_for_workers(master: Master, count: int) -> None:
    look_until(lambda: len(master.workers()) == count, f"{count} workers")


@pytest.mark.parametrize("url", long_but([TCP, "unix:"], "unix:"))
def test_it_grows_while_clients_wait_and_shrinks_when_they_have_gone(url: str, gate: Gate, tmp_path: Path) -> None:
    """By no more than 1, 2, 4 and so on, as the ramp says, to the most there may be; then back to the least."""
    sizes = ["--min-workers", "1", "--max-workers", "9", "--max-spare", "1", *HASTY]
    with serving(STREAM, "-b", place(url, tmp_path), *sizes) as master:
        assert len(master.workers()) == 1
        questions, visitors = hold_ever_more(master, gate, clients=12, workers=9)
        assert {visitor.pid for visitor in visitors} == set(master.workers().values())
        grown = [1, *wanted(master)]
        assert all(0 < later - earlier <= 2**step for step, (earlier, later) in enumerate(pairwise(grown)))
        assert grown[-1] == 9
        let_go(questions, visitors, gate)
        wait_for_workers(master, 1)
        master.wait_for("workers wanted: 1 instead of")
        assert ask(master.bind(), "still there?") == "STILL THERE?"


def test_a_queue_of_datagrams_makes_it_grow(gate: Gate) -> None:
    """The kernel says what memory waits there."""
    with serving(DATAGRAM, "-b", UDP, "--max-workers", "4", *HASTY) as master:
        questions, visitors = hold_ever_more(master, gate, clients=4, workers=4)
        assert len({visitor.pid for visitor in visitors}) == 4
        let_go(questions, visitors, gate)


def test_workers_with_threads_are_counted_by_their_threads(gate: Gate) -> None:
    """Four requests fill two workers of two threads; the third is the spare one."""
    flags = ["--concurrency", "thread", "--threads", "2", "--max-workers", "9", "--max-spare", "1", *HASTY]
    with serving(STREAM, "-b", TCP, *flags) as master:
        questions, visitors = hold_ever_more(master, gate, clients=4, workers=4)
        assert len({visitor.pid for visitor in visitors}) == 2
        wait_for_workers(master, 3)
        let_go(questions, visitors, gate)
        wait_for_workers(master, 1)


@pytest.mark.parametrize("url", long_but([TCP, UDP, "unix:", "unixgram:"], TCP, "unixgram:"))
def test_on_demand_there_is_nobody_until_somebody_comes(url: str, tmp_path: Path) -> None:
    """The master itself hears the first client; when none has come for a while, there is nobody again."""
    target = STREAM if url in (TCP, "unix:") else DATAGRAM
    on_demand = ["--min-workers", "0", "--max-workers", "4", *HASTY]
    with serving(target, "-b", place(url, tmp_path), *on_demand) as master:
        for word in ("one", "two", "three"):
            wait_for_workers(master, 0)
            assert ask(master.bind(), word) == word.upper()
        wait_for_workers(master, 0)


def test_on_demand_a_queue_is_no_reason_to_spin(gate: Gate) -> None:
    """While its only worker is held, and clients queue that nobody may serve, the master looks now and then."""
    with serving(STREAM, "-b", TCP, "--min-workers", "0", "--max-workers", "1", *HASTY) as master:
        questions, visitors = hold_ever_more(master, gate, clients=3, workers=1)
        before = time_of(master.pid)
        questions += [Question(master.bind(), f"hold {gate.path}") for _ in range(3)]
        assert time_of(master.pid) - before < 1.0
        let_go(questions, visitors, gate)


def time_of(pid: int) -> float:
    """Seconds of CPU."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_ttin_and_ttou_move_the_bounds(gate: Gate) -> None:
    """Both: one worker more at least, and one more at most; a reload keeps it."""
    with serving(STREAM, "-b", TCP, "--min-workers", "1", "--max-workers", "2", *HASTY) as master:
        master.signal(signal.SIGTTIN)
        master.wait_for("workers wanted: between 2 and 3, and 2 now")
        wait_for_workers(master, 2)
        before = set(master.workers().values())
        master.signal(signal.SIGHUP)
        master.wait_serving(generation=2)
        look_until(lambda: not before & set(master.workers().values()), "the workers of generation 1 have left")
        questions, visitors = hold_ever_more(master, gate, clients=5, workers=3)
        master.signal(signal.SIGTTOU)
        master.wait_for("workers wanted: between 1 and 2, and 2 now")
        let_go(questions, visitors, gate)
        wait_for_workers(master, 2)


def test_a_reload_during_growth_loses_nobody(gate: Gate) -> None:
    """Clients that are held, and those that queue, are answered by whichever generation."""
    with serving(STREAM, "-b", TCP, "--max-workers", "6", *HASTY) as master:
        questions = [Question(master.bind(), f"hold {gate.path}") for _ in range(8)]
        visitors = gate.visitors(2)
        master.signal(signal.SIGHUP)
        master.wait_for("worker 3", count=2)  # of the coming generation, which grows on
        let_go(questions, visitors, gate)
        master.wait_serving(generation=2)


def test_a_stop_during_growth_answers_everybody(gate: Gate) -> None:
    """Who was admitted is served, by those who are there."""
    with serving(STREAM, "-b", TCP, "--max-workers", "6", *HASTY) as master:
        questions = [Question(master.bind(), f"hold {gate.path}") for _ in range(8)]
        visitors = gate.visitors(2)
        master.signal(signal.SIGTERM)
        master.wait_for("stopping gracefully")
        let_go(questions, visitors, gate)
        master.expect_exit(0)


def test_a_load_that_comes_and_goes_loses_nobody(gate: Gate) -> None:
    """Growing and shrinking all the while."""
    with serving(STREAM, "-b", TCP, "--max-workers", "8", "--max-spare", "1", *HASTY) as master:
        for _ in range(3):
            with Load(master.bind(), clients=24) as load:
                look_until(lambda: wanted(master)[-1:] > [1], "more workers are wanted")
                load.wait_answered(500)
                load.finish()
            wait_for_workers(master, 1)
        assert max(wanted(master)) > 1


def test_a_reload_may_make_a_fixed_pool_one_that_sizes_itself(tmp_path: Path, gate: Gate) -> None:
    """And the other way round."""
    file = tmp_path / "prefork.toml"

    def write(*settings: str) -> None:
        head = ["log_level = 'debug'", "[service.echo]", f"target = '{STREAM}'", f"bind = ['{TCP}']"]
        file.write_text("\n".join([*head, *settings]))

    write("workers = 3")
    with serving("-c", str(file)) as master:
        write("max_workers = 5", "max_spare = 1", "worker_idle_timeout = '100ms'")
        master.signal(signal.SIGHUP)
        master.wait_serving(generation=2)
        wait_for_workers(master, 1)
        write("workers = 2")
        master.signal(signal.SIGHUP)
        master.wait_serving(generation=3)
        wait_for_workers(master, 2)


def test_a_memory_budget_bounds_it(gate: Gate) -> None:
    """A budget that no two workers fit into leaves one, however many wait."""
    with serving(STREAM, "-b", TCP, "--max-workers", "9", "--memory-budget", "1MiB", *HASTY) as master:
        questions, visitors = hold_ever_more(master, gate, clients=4, workers=1)
        begun = looks(master)
        look_until(lambda: looks(master) >= begun + 8, "the master has looked several times")
        assert wanted(master) == []
        let_go(questions, visitors, gate)


def looks(master: Master) -> int:
    """How often the master has slept so far."""
    return int(Path(f"/proc/{master.pid}/status").read_text().rpartition("\nvoluntary_ctxt_switches:")[2].split()[0])


def test_workers_auto_says_how_it_was_found() -> None:
    """One line, at the start and at each reload."""
    one = min(os.sched_getaffinity(0))
    with Master(STREAM, "-b", TCP, "-w", "auto", before_exec=lambda: os.sched_setaffinity(0, {one})) as master:
        master.wait_serving()
        assert " CPU" in master.wait_for("workers = auto is ")
        assert len(master.workers()) in (2, 3)  # a quota may leave less than the one
        master.signal(signal.SIGHUP)
        master.wait_for("workers = auto is ", count=2)
