"""Whatever dies comes back, ever more slowly if it keeps dying, and costs at most the request it was serving."""

import itertools
import os
import random
import resource
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.end_to_end.clients import Question, ask
from tests.end_to_end.harness import (
    STREAM,
    TCP,
    UDP,
    Application,
    Gate,
    Master,
    Watched,
    look_until,
    place,
    serving,
    target_for,
)
from tests.end_to_end.load import Load, Outcome, udp_drops
from tests.long import long_but

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


# workers


def test_a_killed_worker_is_replaced_in_its_slot(gate: Gate) -> None:
    """kill -9 of an idle worker: another serves in the same slot, and the others were not touched."""
    with serving(STREAM, "-b", TCP, "-w", "2") as master:
        before = master.workers()
        master.kill(before[1])
        assert len(master.ready_workers(gate, 2)) == 2
        after = master.workers()
        assert sorted(after) == [1, 2]
        assert after[2] == before[2]
        assert after[1] != before[1]


def test_all_workers_killed_at_once_are_replaced(gate: Gate) -> None:
    """Clients that come meanwhile wait in the queue; none is refused."""
    with serving(STREAM, "-b", TCP, "-w", "4") as master:
        before = set(master.workers().values())
        master.kill(*before)
        assert ask(master.bind(), "anybody?") == "ANYBODY?"
        assert not master.ready_workers(gate, 4) & before


@pytest.mark.parametrize("request_line", long_but(["exit 0", "exit 1", "segfault"], "exit 0", "segfault"))
def test_a_request_that_kills_its_worker_costs_only_itself(request_line: str, gate: Gate) -> None:
    """Those that wait behind it are served by the successor."""
    with serving(STREAM, "-b", TCP, "-w", "1") as master:
        held = Question(master.bind(), f"hold {gate.path}")
        visitor = gate.visitor()
        deadly = Question(master.bind(), request_line)
        behind = [Question(master.bind(), f"behind {n}") for n in range(5)]
        visitor.let_pass()
        assert held.answer() == str(visitor.pid)
        assert deadly.is_lost()
        assert [question.answer() for question in behind] == [f"BEHIND {n}" for n in range(5)]


def test_a_killed_busy_worker_costs_its_request_and_no_other(gate: Gate) -> None:
    """The client of the killed worker sees the connection end; the one of the other worker gets its answer."""
    with serving(STREAM, "-b", TCP, "-w", "2") as master:
        questions, visitors = master.hold_all(gate, 2)
        master.kill(visitors[0].pid)
        for visitor in visitors:
            visitor.let_pass()
        outcomes = sorted(question.is_lost() for question in questions)
        assert outcomes == [False, True]


def test_a_worker_told_to_leave_by_hand_is_replaced(gate: Gate) -> None:
    """TERM to a worker: it finishes its request, leaves, and another takes its place."""
    with serving(STREAM, "-b", TCP, "-w", "1") as master:
        held = Question(master.bind(), f"hold {gate.path}")
        visitor = gate.visitor()
        with Watched([visitor.pid]) as leaving:
            os.kill(visitor.pid, signal.SIGTERM)
            visitor.let_pass()
            assert held.answer() == str(visitor.pid)
            leaving.wait_all()
        assert int(ask(master.bind(), "pid")) != visitor.pid


def test_those_that_keep_dying_come_back_ever_more_slowly(application: Application, gate: Gate, tmp_path: Path) -> None:
    """The first death is replaced at once, the next ones after 0.1 s, 0.15 s, … while the others serve."""
    flag = tmp_path / "deadly"
    birth = f"import time; apps.tell({gate.path!r}, time.monotonic())"  # its own clock, however late we hear of it
    application.write("1", birth, f"os.path.exists({str(flag)!r}) and os._exit(1)")
    with serving(*application.arguments, "-b", TCP, "-w", "2", "--no-preload") as master:
        gate.visitors(2)
        flag.touch()
        master.kill(master.workers()[1])
        births = []
        for _ in range(6):
            births.append(float(gate.visitor().news))
            assert ask(master.bind(), "still there?") == "STILL THERE?"
        waits = [later - earlier for earlier, later in itertools.pairwise(births)]
        least = [0.1 * 1.5**n for n in range(5)]
        assert all(wait >= limit for wait, limit in zip(waits, least, strict=True)), waits
        flag.unlink()
        with Gate(Path(gate.path).with_name("second")) as second:  # newborns come to the first at any time
            assert len(master.ready_workers(second, 2)) == 2


# first boot


HOPELESS = {
    "import nothing_of_that_name": "nothing_of_that_name",
    "raise RuntimeError('no database')": "no database",
    "def broken(:": "SyntaxError",
    "os._exit(9)": "exited with 9",
    "os.kill(os.getpid(), signal.SIGKILL)": "killed by SIGKILL",
    "sys.exit('configuration is missing')": "configuration is missing",
}


@pytest.mark.parametrize(
    ("preload", "statement"),
    long_but(
        itertools.product(["--preload", "--no-preload"], HOPELESS),
        *(("--preload", "raise RuntimeError('no database')"), ("--no-preload", "def broken(:")),
        *(("--no-preload", "os._exit(9)"), ("--preload", "os.kill(os.getpid(), signal.SIGKILL)")),
        *(("--preload", "sys.exit('configuration is missing')"),),
    ),
)
def test_an_application_that_cannot_start_is_exit_3(
    preload: str, statement: str, application: Application, short_path: Path
) -> None:
    """The reason stands in the log, and no process and no socket is left."""
    application.write("1", statement)
    with Master(*application.arguments, "-b", f"unix:{short_path}/socket", "-w", "2", preload) as master:
        master.expect_exit(3)
        assert master.lines(HOPELESS[statement])


@pytest.mark.parametrize("preload", ["--preload", "--no-preload"])
def test_a_target_that_is_not_there_is_exit_3(preload: str, application: Application) -> None:
    """A class that the module does not have, and a class that is no handler."""
    for name in ("Hanlder", "os"):
        with Master(f"shop:{name}", *application.arguments[1:], "-b", TCP, preload) as master:
            master.expect_exit(3)
            assert master.lines(f"shop:{name}")


def test_death_before_ready_is_tried_three_times(application: Application, gate: Gate) -> None:
    """Workers that die before they are ready get three attempts, then the start has failed."""
    application.write("1", f"apps.tell({gate.path!r})", "os._exit(1)")
    with Master(*application.arguments, "-b", TCP, "-w", "1", "--no-preload") as master:
        gate.visitors(3)
        master.expect_exit(3)


@pytest.mark.parametrize("preload", ["--preload", "--no-preload"])
def test_an_application_that_never_starts_is_exit_3(preload: str, application: Application, gate: Gate) -> None:
    """An import that hangs is ended by the boot limit."""
    application.write("1", f"apps.pass_gate({gate.path!r})")
    with Master(*application.arguments, "-b", TCP, "-w", "1", preload, "--boot-timeout", "300ms") as master:
        master.expect_exit(3)  # whether the limit finds it in its import or, on a busy machine, before
        assert master.lines("was not loaded within") or (preload == "--no-preload" and master.lines("3 times in a row"))


def test_at_the_first_start_one_failing_service_fails_all(application: Application, tmp_path: Path) -> None:
    """Nobody wants half of what was asked for at the start: exit 3."""
    application.write("1", "raise RuntimeError('no database')")
    (tmp_path / "prefork.toml").write_text(f"""
        [service.good]
        target = "{STREAM}"
        bind = ["{TCP}"]
        [service.bad]
        target = "shop:Handler"
        pythonpath = ["{tmp_path}"]
        bind = ["{TCP}"]
        """)
    with Master("-c", str(tmp_path / "prefork.toml")) as master:
        master.expect_exit(3)
        assert master.lines("no database")


# molds


def test_a_killed_mold_costs_nobody(gate: Gate) -> None:
    """Workers do not mind their mold's death; one that dies afterwards is replaced from a mold loaded anew."""
    with serving(STREAM, "-b", TCP, "-w", "2") as master:
        before = master.ready_workers(gate, 2)
        master.kill(master.mold())
        assert master.ready_workers(gate, 2) == before
        master.kill(*before)
        assert not master.ready_workers(gate, 2) & before


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 12))])
def test_a_mold_killed_at_any_moment_costs_nobody(seed: int, gate: Gate) -> None:
    """Mold and workers killed in any order and as fast as can be: each time the wanted number is ready again.

    Not oftener than five times: those that keep dying come back ever more slowly, molds as well.
    """
    dice = random.Random(seed)
    with serving(STREAM, "-b", TCP, "-w", "3") as master:
        for _ in range(5):
            for _ in range(10):
                master.ready_workers(gate, 3)  # the proven are replaced at once
            victims = [process.pid for process in master.processes() if process.kind in ("mold", "worker")]
            dice.shuffle(victims)
            del victims[dice.randint(1, len(victims)) :]
            questions = []
            with Watched(victims) as watched:
                for pid in victims:
                    questions += [Question(master.bind(), "hello") for _ in range(dice.choice([0, 0, 1, 5]))]
                    watched.kill(pid)
            lost = [question.is_lost() for question in questions]
            assert sum(lost) <= len(victims)
            assert len(master.ready_workers(gate, 3)) == 3
            look_until(lambda: sorted(master.workers()) == [1, 2, 3], "each has the title of its slot")


def test_a_birth_outlives_its_mold(application: Application, gate: Gate) -> None:
    """The mold dies between its two forks: the worker that is born nevertheless is known, and serves."""
    application.write("1", f"os.register_at_fork(after_in_child=lambda: apps.pass_gate({gate.path!r}))")
    with Master(*application.arguments, "-b", TCP, "-w", "1") as master:
        for _ in range(2):
            gate.visitor().let_pass()
        master.wait_serving()
        master.kill(master.workers()[1])
        between = gate.visitor()
        master.kill(master.mold())
        between.let_pass()
        newborn = gate.visitor()
        newborn.let_pass()
        assert ask(master.bind(), "pid") == str(newborn.pid)


@pytest.mark.parametrize("which", ["the process between", "the newborn"])
def test_a_worker_killed_right_after_the_fork_is_replaced(which: str, application: Application, gate: Gate) -> None:
    """Neither the process between the two forks nor the newborn can die without a successor."""
    application.write("1", f"os.register_at_fork(after_in_child=lambda: apps.pass_gate({gate.path!r}))")
    with Master(*application.arguments, "-b", TCP, "-w", "1") as master:
        for _ in range(2):
            gate.visitor().let_pass()
        master.wait_serving()
        master.kill(master.workers()[1])
        if which == "the newborn":
            gate.visitor().let_pass()
        master.kill(gate.visitor().pid)
        for _ in range(2):
            gate.visitor().let_pass()
        assert ask(master.bind(), "anybody?") == "ANYBODY?"


def test_a_mold_that_cannot_load_again_is_said_and_survived(application: Application, gate: Gate) -> None:
    """Broken code on disk and a dead mold: the workers serve on, the log says why, and a reload heals."""
    with serving(*application.arguments, "-b", TCP, "-w", "2") as master:
        before = master.ready_workers(gate, 2)
        application.write("2", "raise RuntimeError('half a deploy')")
        master.kill(master.mold())
        master.wait_for("half a deploy")
        assert master.ready_workers(gate, 2) == before
        application.write("3")
        with Watched(before) as old:
            master.signal(signal.SIGHUP)
            old.wait_all()
        assert len(master.ready_workers(gate, 2)) == 2
        assert ask(master.bind(), "version") == "3"


def test_a_stopped_mold_is_waited_for(gate: Gate) -> None:
    """A mold that sleeps delays births, and nothing else."""
    with serving(STREAM, "-b", TCP, "-w", "2") as master:
        first, second = master.ready_workers(gate, 2)
        mold = master.mold()
        os.kill(mold, signal.SIGSTOP)
        try:
            master.kill(first)
            assert ask(master.bind(), "pid") == str(second)
            assert master.is_running()
        finally:
            os.kill(mold, signal.SIGCONT)
        assert len(master.ready_workers(gate, 2)) == 2


# the machine


@needs_root
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is missing")
@pytest.mark.parametrize("allowed", [0, 4])
def test_no_process_left_for_a_worker_is_survived(allowed: int, gate: Gate) -> None:
    """fork fails with EAGAIN, the first or the second: the log says so, the rest serve on, and it heals when it can."""
    user = Somebody()
    with Master(STREAM, "-b", TCP, "-w", "2", prefix=user.prefix) as master:
        master.wait_serving()
        first, second = master.ready_workers(gate, 2)
        user.limit_processes(master.mold(), str(allowed))
        master.kill(first)
        master.wait_for("cannot fork", count=2)
        assert ask(master.bind(), "pid") == str(second)
        user.limit_processes(master.mold(), user.usual)
        assert len(master.ready_workers(gate, 2)) == 2


@needs_root
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is missing")
def test_no_process_left_for_a_mold_is_survived(gate: Gate) -> None:
    """A reload for which no mold can be started is given up, and the old generation serves on."""
    user = Somebody()
    with Master(STREAM, "-b", TCP, "-w", "2", prefix=user.prefix) as master:
        master.wait_serving()
        before = master.ready_workers(gate, 2)
        user.limit_processes(master.pid, "0")
        master.signal(signal.SIGHUP)
        master.wait_given_up(2)
        assert master.ready_workers(gate, 2) == before
        user.limit_processes(master.pid, user.usual)
        with Watched(before) as old:
            master.signal(signal.SIGHUP)
            old.wait_all()
        assert len(master.ready_workers(gate, 2)) == 2


class Somebody:
    """A user nobody else is, whose processes can be counted; it may still read what root may."""

    def __init__(self) -> None:
        self.uid = str(1_000_000 + os.getpid() * 1000 + random.randrange(1000))
        become = ["setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups"]
        capabilities = "+dac_override,+dac_read_search"
        self.usual = str(resource.getrlimit(resource.RLIMIT_NPROC)[0])
        self.prefix = [*become, f"--inh-caps={capabilities}", f"--ambient-caps={capabilities}"]

    def limit_processes(self, pid: int, limit: str) -> None:
        """Set the soft limit alone, so that it can be lifted again."""
        subprocess.run([*self.prefix, "prlimit", f"--pid={pid}", f"--nproc={limit}:"], check=True)


# strangers


def test_strangers_left_behind_are_reaped(gate: Gate) -> None:
    """A daemon of the application that outlives its parent hangs on the master, and is no zombie when it ends."""
    with serving(STREAM, "-b", TCP, "-w", "2") as master:
        leave_stranger(master, gate)


@needs_root
@pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare is missing")
def test_as_pid_1_strangers_are_reaped_and_term_stops(gate: Gate) -> None:
    """In a container the master is the first process: strangers are its own, and no signal has a default action."""
    with Master(STREAM, "-b", TCP, "-w", "2", prefix=["unshare", "--pid", "--fork", "--mount-proc"]) as master:
        master.wait_serving()
        (first,) = master.processes("master")
        assert f"NSpid:\t{first.pid}\t1\n" in Path(f"/proc/{first.pid}/status").read_text()
        master.pid = first.pid
        leave_stranger(master, gate)
        master.kill(master.workers()[1])
        assert len(master.ready_workers(gate, 2)) == 2
        master.stop()


def leave_stranger(master: Master, gate: Gate) -> None:
    assert ask(master.bind(), f"daemon {gate.path}")
    visitor = gate.visitor()
    (stranger,) = [process for process in master.children() if process.session == process.pid]
    with Watched([stranger.pid]) as watched:
        visitor.let_pass()
        watched.wait_all()
    look_until(lambda: not any(process.is_zombie for process in master.children()), "no zombie is left")


# under load


def kill_under_load(url: str, kills: int, gate: Gate) -> Outcome:
    """Kill random workers, one after the other, while sixteen clients are served by four of them."""
    dice = random.Random(kills)
    with serving(target_for(url), "-b", url, "-w", "4") as master, Load(master.bind(), clients=16) as load:
        for _ in range(kills):
            load.wait_answered(200)
            master.kill(dice.choice(list(master.workers().values())))
        load.wait_answered(200)
        assert len(master.ready_workers(gate, 4)) == 4
        load.halt()
        before_the_end = load.counts()
        assert before_the_end.refused == 0, before_the_end
        if url.startswith("udp"):
            assert udp_drops(master.bind()) == 0
        if target_for(url) == STREAM:
            return load.finish()
        master.stop()  # only now is it sure that no answer will come any more
        return load.finish(nobody_is_left=True)


@pytest.mark.parametrize("url", long_but([TCP, "unix:", UDP, "unixgram:"], "unix:", UDP))
@pytest.mark.parametrize("kills", [10, pytest.param(200, marks=[pytest.mark.long, pytest.mark.timeout(600)])])
def test_a_kill_costs_at_most_one_request(url: str, kills: int, gate: Gate, short_path: Path) -> None:
    """Under constant load, each SIGKILL of a random worker costs at most the request it was serving."""
    outcome = kill_under_load(place(url, short_path), kills, gate)
    assert outcome.wrong == 0, outcome
    assert outcome.lost + outcome.unanswered <= kills, outcome
