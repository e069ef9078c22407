"""What operators do to a service that runs: recycle its workers, pause it, and follow what happens to it."""

import contextlib
import json
import os
import pty
import signal
import socket
import termios
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.clients import LIMIT, Question, ask
from tests.end_to_end.harness import (
    STREAM,
    TCP,
    UDP,
    Application,
    Gate,
    Watched,
    look_until,
    place,
    serving,
    target_for,
)
from tests.end_to_end.installation import Installation
from tests.end_to_end.load import Load
from tests.end_to_end.test_control import NAME, NAMED, Outcome, connected, echo, replies, start, status, steer
from tests.end_to_end.test_idle import settled
from tests.end_to_end.test_targets import LOOPS, target
from tests.long import long_but

WAYS = (["--threads", "4"], ["--concurrency", "fork"])

# recycle


@pytest.mark.parametrize("way", long_but([[], *WAYS], []))
def test_all_workers_are_replaced_under_load_and_nothing_is_lost(way: list[str]) -> None:
    """It returns when they are gone; never are fewer ready than wanted, nor more there than the surge allows."""
    options = ["--quick-timeout", str(LIMIT), *way]  # none of them is to be killed, however slow the machine
    with serving(STREAM, *NAMED, "-b", TCP, "-w", "4", *options) as master, Load(master.bind(), clients=16) as load:
        load.wait_answered(100)
        for rounds, flags in enumerate((["--all"], [], ["--now"]), 1):
            with Watched(master.workers().values()) as old:
                outcome = steer("recycle", "apps", *flags)
                assert (outcome.code, outcome.out, outcome.err) == (0, "apps: 4 workers were replaced\n", "")
                assert not old.living()
            assert echo()["ended"] == {"asked": 4 * rounds}
            load.wait_answered(100)
        counted = load.finish()
        assert counted.refused + counted.admitted_in_vain == 0, counted
        assert echo()["started"] == 16


def test_one_worker_is_replaced_its_successor_first(gate: Gate) -> None:
    """By slot, and by pid; one that is held by a client leaves when that is answered."""
    with serving(STREAM, *NAMED, "-b", TCP, "-w", "2") as master:
        questions, visitors = master.hold_all(gate, 2)
        before = master.workers()
        asked = start("recycle", "apps", "1", *NAMED)
        master.wait_for(f"worker 1 [{before[1]}] of generation 1 is retired: an operator asked for it")
        by_pid = start("recycle", "apps", str(before[2]), *NAMED)
        assert ask(master.bind(), "next") == "NEXT"  # of a successor
        for visitor in visitors:  # who came to the gate first may hold the second question
            visitor.let_pass()
        assert {question.answer() for question in questions} == {str(visitor.pid) for visitor in visitors}
        outcomes = {Outcome(process).out for process in (asked, by_pid)}
        assert outcomes == {f"apps: worker {slot} [{pid}] was replaced\n" for slot, pid in before.items()}
        for wrong, why in (("99", "there is no worker 99; there is "), ("x", "'x' is neither a slot nor a pid")):
            refused = steer("recycle", "apps", wrong)
            assert refused.code == (2 if wrong == "x" else 1)
            assert why in refused.err
        both = steer("recycle", "apps", "1", "--all")
        assert both.end == (2, "1 and --all: one worker or all of them; leave one of the two out")


@pytest.mark.parametrize("now", [False, True])
def test_a_stuck_worker_is_replaced_too(now: bool, gate: Gate) -> None:
    """Its successor is there first; it is killed beyond its time, or at once with its stacks in the log."""
    grace = "1h" if now else "0.2s"
    with serving(STREAM, *NAMED, "-b", TCP, "-w", "1", "--graceful-timeout", grace) as master:
        stuck = Question(master.bind(), f"stuck-in-c {gate.path}")
        gate.visitor()
        outcome = steer("recycle", "apps", *(["1", "--now"] if now else []))
        assert outcome.code == 0
        assert outcome.out.endswith("was replaced, it had to be killed\n")
        assert stuck.is_lost()
        assert ask(master.bind(), "next") == "NEXT"
        assert echo()["ended"] == {"asked" if now else "drain": 1}
        lines = [line for line in master.log if "is ready" in line or "is retired" in line or "is killed" in line]
        assert ["is ready" in line for line in lines] == [True, True, False, False]
        if now:
            assert "its stacks are in the log: an operator asked for it at once; it was serving" in master.wait_for(
                "is told to leave at once"
            )
            assert master.lines("in _stuck_in_c")


# pause


PAUSED = [
    *((url, []) for url in (TCP, "unix:", UDP, "unixgram:")),
    *((url, way) for way in ([*WAYS, ["--balance", "even"]]) for url in (TCP, UDP)),
]


@pytest.mark.parametrize(("url", "way"), long_but(PAUSED, (TCP, []), (UDP, [])))
def test_clients_of_a_paused_service_queue_and_are_served_later(url: str, way: list[str], short_path: Path) -> None:
    """Also those who come while its workers are replaced; none is refused, none lost."""
    flags = ("-b", place(url, short_path), "-w", "3", *way)
    with serving(target_for(url), *NAMED, *flags) as master, Load(master.bind(), clients=8) as load:
        load.wait_answered(100)
        assert steer("pause", "apps").out == "apps: paused: nobody is accepted, clients queue\n"
        look_until(lambda: not echo()["busy"] and _is_still(load), "nobody is served any more")
        answered = load.counts().answered
        assert steer("reload").code == 0
        assert steer("recycle", "apps").code == 0
        assert echo()["is_paused"]
        assert load.counts().answered == answered
        assert steer("resume", "apps").out == "apps: resumed: clients are accepted\n"
        load.wait_answered(200)
        counted = load.finish()
        assert counted.refused + counted.admitted_in_vain == 0, counted
        assert not echo()["is_paused"]


def _is_still(load: Load) -> bool:
    """Whether nothing was answered while the master was asked for its status, twice."""
    before = load.counts().answered
    return not any(echo()["busy"] for _ in range(2)) and load.counts().answered == before


def test_health_tells_whether_an_instance_answers_and_whether_it_is_ready() -> None:
    """By exit codes, for probes: paused it lives but should get nobody, and gone it does neither."""
    with serving(STREAM, *NAMED, "-b", TCP, "-w", "1") as master:
        assert (answers := steer("health")).code == 0, answers
        assert steer("health", "--ready").out == f"{NAME} is ready\n"
        assert steer("pause", "apps").code == 0
        assert steer("health").out == f"{NAME} answers\n"
        assert steer("health", "--ready").end == (1, f"{NAME} is not ready: apps: paused by an operator")
        assert steer("resume", "apps").code == 0
        assert steer("health", "--ready").code == 0
        master.stop()
    assert [steer("health", *way).code for way in ([], ["--ready"])] == [7, 7]


def test_a_request_under_way_is_finished_and_its_limit_goes_on(gate: Gate) -> None:
    """A pause accepts nobody, and that is all it does."""
    with serving(STREAM, *NAMED, "-b", TCP, "-w", "2", "--timeout", "0.3s") as master:
        held = Question(master.bind(), f"hold {gate.path}")
        gate.visitor()
        assert steer("pause", "apps").code == 0
        assert held.is_lost()
        master.wait_for("retires: a request exceeded its limit")
        assert echo()["ended"].keys() <= {"timeout"}


@pytest.mark.parametrize("mode", ["sync", "thread"])
def test_a_paused_service_serves_its_queue_when_it_stops(mode: str) -> None:
    """Who was admitted is answered."""
    with serving(STREAM, *NAMED, "-b", TCP, "-w", "2", "--concurrency", mode) as master:
        assert steer("pause", "apps").code == 0
        queued = [Question(master.bind(), f"hello {number}") for number in range(20)]
        assert steer("stop").code == 0
        assert [question.answer() for question in queued] == [f"HELLO {number}" for number in range(20)]
        master.expect_exit(0)


def test_a_paused_pool_on_demand_is_not_woken_by_its_queue() -> None:
    """Nobody is kept or forked for clients whom nobody may accept, and the master sleeps; they are served later."""
    flags = ("--min-workers", "0", "--max-workers", "4", "--worker-idle-timeout", "0.1s")
    with serving(STREAM, *NAMED, "-b", TCP, *flags) as master:
        assert ask(master.bind(), "hello") == "HELLO"
        assert steer("pause", "apps").code == 0
        queued = [Question(master.bind(), f"hello {number}") for number in range(8)]
        look_until(lambda: not master.workers(), "nobody is needed")
        settled(master)
        assert (echo()["wanted"], echo()["starting"], echo()["ready"]) == (0, 0, 0)
        assert steer("resume", "apps").code == 0
        assert [question.answer() for question in queued] == [f"HELLO {number}" for number in range(8)]


def test_a_pause_survives_an_upgrade_and_so_do_those_who_follow(tmp_path: Path) -> None:
    """The next image knows of the pause, of what was counted and told, and goes on telling."""
    installation = Installation(tmp_path)
    with installation.serving(*NAMED, "-b", TCP, "-w", "2") as master:
        follower = Follower("--json")
        assert steer("recycle", "apps", "1").code == 0
        assert steer("pause", "apps").code == 0
        installation.become("0.2.0")
        assert steer("upgrade").code == 0
        service = echo()
        assert service["is_paused"]
        assert service["ended"] == {"asked": 1, "reload": 2}
        assert (service["started"], service["loads"]) == (5, {"serves": 2})
        queued = Question(master.bind(), "hello")
        assert steer("resume", "apps").code == 0
        assert queued.answer() == "HELLO"
        later = Follower("--json", "--last", "200")
        assert follower.next_line() == later.next_line()  # what happened before the upgrade is remembered after it
        master.stop()
        told = follower.wait_end()
        assert told == later.wait_end()
        kinds = {"recycle-asked", "pause-asked", "upgraded", "resume-asked", "stopped"}
        assert kinds <= {one["event"] for one in told}


class Follower:
    """``prefork events``, with these flags."""

    def __init__(self, *flags: str) -> None:
        self._process = start("events", *NAMED, *flags)
        assert self._process.stdout is not None
        self._output = self._process.stdout
        self.lines: list[str] = []

    def next_line(self) -> str:
        self.lines.append(self._output.readline())
        return self.lines[-1]

    def wait_end(self) -> list[dict[str, Any]]:
        """Everything that it told, where it was asked for JSON; it ends with 0 and says nothing else."""
        self.lines += self._output.readlines()
        assert Outcome(self._process).end == (0, "")
        return [json.loads(line) if line.startswith("{") else {} for line in self.lines]


@pytest.mark.parametrize("name", LOOPS[:1])
def test_a_loop_of_its_own_cannot_be_paused_and_says_so(name: str) -> None:
    """It goes on; the log has one line a worker."""
    with serving(*target(name), *NAMED, "-b", TCP, "-w", "1") as master:
        assert steer("pause", "targets").code == 0
        master.wait_for("pause: this worker goes on, for its server has a loop of its own")
        assert ask(master.bind(), "still there?") == "STILL THERE?"
        assert steer("resume", "targets").code == 0
        assert len(master.lines("pause: this worker")) == 1


# events


def test_who_follows_hears_what_the_log_says_until_the_end(application: Application) -> None:
    """One line an event, whatever its text; exit 0 when the instance ends."""
    with serving(*application.arguments, *NAMED, "-b", TCP, "-w", "2") as master:
        lines, records, past = Follower(), Follower("--json", "--last", "1"), Follower("--json", "--no-follow")
        assert past.wait_end()[-1]["event"] == "generation-settled"
        assert '"generation-settled"' in records.next_line()
        assert lines.next_line().endswith(" generation-settled: shop: generation 1 serves with 2 workers\n")
        application.write("2", "raise RuntimeError('broken')")
        assert steer("reload").code == 3
        victim = master.workers()[2]
        master.kill(victim)
        master.wait_for("was killed by SIGKILL")
        assert steer("stop").code == 0
        told = records.wait_end()
        assert len(lines.wait_end()) == len(told)
        (abandoned,) = [one for one in told if one["event"] == "generation-abandoned"]
        assert (abandoned["level"], abandoned["service"], abandoned["generation"]) == ("error", "shop", 2)
        assert abandoned["text"].splitlines()[-1] == "RuntimeError: broken"
        assert any("serves on: " in line and "RuntimeError: broken" in line for line in lines.lines)
        (died,) = [one for one in told if one["event"] == "worker-exited"]
        assert (died["slot"], died["pid"], died["generation"]) == (2, victim, 1)


def test_a_pipe_that_closes_and_a_key_that_interrupts_end_it_quietly() -> None:
    """No traceback; 130 as a terminal's users know it."""
    with serving(STREAM, *NAMED, "-b", TCP, "-w", "1"):
        interrupted, piped = start("events", *NAMED), start("events", *NAMED)
        for process in (interrupted, piped):
            assert process.stdout is not None
            assert process.stdout.readline()
        interrupted.send_signal(signal.SIGINT)
        outcome = Outcome(interrupted)
        assert (outcome.code, outcome.err) == (130, "")
        assert piped.stdout is not None
        piped.stdout.close()
        assert piped.wait(LIMIT) == 0
        assert piped.stderr is not None
        with piped.stderr as left:
            assert left.read() == ""


def test_a_follower_that_goes_costs_nobody_anything() -> None:
    """Who shut its end, who vanished, who never reads: the next one is told everything."""
    with serving(STREAM, *NAMED, "-b", TCP, "-w", "1") as master:
        with connected() as half, connected() as whole:
            for client in (half, whole):
                client.sendall(b'{"kind":"events","version":1,"last":1}\n')
                next(replies(client))
            half.shutdown(socket.SHUT_WR)
            look_until(lambda: status()["pid"] == master.pid, "it answers")
        for count in ("2", "1"):
            assert steer("scale", "apps", count).code == 0
        follower = Follower("--json")
        follower.next_line()
        assert steer("stop").code == 0
        assert [one["event"] for one in follower.wait_end()].count("count-asked") == 2
        master.expect_exit(0)


# on a terminal


def test_a_bar_shows_how_far_it_is_and_goes_when_it_is_interrupted(gate: Gate) -> None:
    """The line is empty again, and the terminal as it was."""
    with serving(STREAM, *NAMED, "-b", TCP, "-w", "2", "--max-surge", "2") as master:
        questions, visitors = master.hold_all(gate, 2)
        ours, theirs = pty.openpty()
        before = termios.tcgetattr(ours)
        process = start("recycle", "apps", *NAMED, stderr=theirs)
        os.close(theirs)
        master.wait_for("is retired: an operator asked for it", count=2)
        visitors[0].let_pass()
        seen = b""
        while b"1 of 2 workers replaced" not in seen:
            seen += os.read(ours, 4096)
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):  # EIO: nobody holds the other side any more
            while chunk := os.read(ours, 4096):
                seen += chunk
        assert Outcome(process).code != 0
        assert b"[##########----------] apps: 1 of 2 workers replaced\r\x1b[K" in seen
        assert termios.tcgetattr(ours) == before
        os.close(ours)
        visitors[1].let_pass()
        assert sorted(question.answer() for question in questions) == sorted(str(visitor.pid) for visitor in visitors)
