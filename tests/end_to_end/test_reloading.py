"""A new generation replaces the old without anybody noticing, or is given up without anybody noticing."""

import itertools
import os
import signal
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
from tests.end_to_end.load import Load, udp_drops
from tests.long import long_but

MODES = ["--preload", "--no-preload"]


# to good code


@pytest.mark.parametrize("preload", MODES)
def test_a_reload_brings_changed_code(preload: str, application: Application, gate: Gate) -> None:
    """HUP: the next generation serves with the code on disk, and mold and workers of the old one are gone."""
    with serving(*application.arguments, "-b", TCP, "-w", "2", preload) as master:
        assert ask(master.bind(), "version") == "1"
        with Watched([master.mold(), *master.workers().values()]) as old:
            application.write("2")
            master.signal(signal.SIGHUP)
            master.wait_serving(generation=2)
            old.wait_all()
        assert ask(master.bind(), "version") == "2"
        assert len(master.ready_workers(gate, 2)) == 2
        assert {p.generation for p in master.processes() if p.kind in ("mold", "worker")} == {2}
        assert len(master.workers()) == 2


def test_a_reload_sees_a_changed_module_below_the_target(application: Application, tmp_path: Path) -> None:
    """Not the target's module alone: everything is imported anew."""
    (tmp_path / "stock.py").write_text("count = 1\n")
    application.write("1", "import stock")
    text = application.path.read_text().replace("version = '1'", "version = str(stock.count)")
    application.path.write_text(text)
    with serving(*application.arguments, "-b", TCP, "-w", "1") as master:
        assert ask(master.bind(), "version") == "1"
        with Watched(master.workers().values()) as old:
            (tmp_path / "stock.py").write_text("count = 2\n")
            master.signal(signal.SIGHUP)
            old.wait_all()
        assert ask(master.bind(), "version") == "2"


def test_a_request_under_way_is_finished_by_the_old_code(application: Application, gate: Gate) -> None:
    """The new generation serves while a worker of the old one finishes what it has; the idle one leaves first."""
    with serving(*application.arguments, "-b", TCP, "-w", "2") as master:
        questions, visitors = master.hold_all(gate, 2)
        workers = master.workers()
        first, second = sorted(visitors, key=lambda visitor: visitor.pid == workers[2])
        first.let_pass()  # of two that are idle the second would be the first to leave
        look_until(lambda: [p.state for p in master.processes("worker")].count("idle") == 1, "the first is idle")
        with Watched(workers.values()) as old:
            application.write("2")
            master.signal(signal.SIGHUP)
            master.wait_serving(generation=2)
            old.forget(old.wait_one())
            assert old.living() == {second.pid}
            assert ask(master.bind(), "version") == "2"
            second.let_pass()
            assert {question.answer() for question in questions} == {str(pid) for pid in workers.values()}
            old.wait_all()


def test_a_request_under_way_has_the_drain_limit(application: Application, gate: Gate) -> None:
    """A worker of the old generation that does not finish is killed, and only its client notices."""
    with serving(*application.arguments, "-b", TCP, "-w", "1", "--graceful-timeout", "300ms") as master:
        held = Question(master.bind(), f"hold {gate.path}")
        gate.visitor()
        application.write("2")
        master.signal(signal.SIGHUP)
        assert held.is_lost()
        master.wait_for("was killed by SIGKILL")
        assert ask(master.bind(), "version") == "2"


def test_two_hups_are_one_reload_or_two_and_end_with_the_latest_code(application: Application, gate: Gate) -> None:
    """A HUP that comes while a generation is loading is not forgotten: what it asked for follows."""
    application.write("1")
    with serving(*application.arguments, "-b", TCP, "-w", "2") as master:
        application.write("2", f"apps.pass_gate({gate.path!r})")
        master.signal(signal.SIGHUP)
        loading = gate.visitor()
        application.write("3")
        for _ in range(5):
            master.signal(signal.SIGHUP)
        loading.let_pass()
        master.wait_serving(generation=3)
        with Watched(p.pid for p in master.processes("worker") if p.generation < 3) as old:
            old.wait_all()
        assert ask(master.bind(), "version") == "3"
        assert not master.lines("generation 4 serves"), "five signals are at most two reloads"


def test_a_hup_during_the_first_boot_is_not_forgotten(application: Application, gate: Gate) -> None:
    """The code of the HUP is what serves in the end."""
    application.write("1", f"apps.pass_gate({gate.path!r})")
    with Master(*application.arguments, "-b", TCP, "-w", "1") as master:
        loading = gate.visitor()
        application.write("2")
        master.signal(signal.SIGHUP)
        master.wait_for("reload")
        loading.let_pass()
        master.wait_serving(generation=2)
        with Watched(p.pid for p in master.processes("worker") if p.generation < 2) as old:
            old.wait_all()
        assert ask(master.bind(), "version") == "2"


# to bad code

BROKEN = {
    "def broken(:": "SyntaxError",
    "raise RuntimeError('half a deploy')": "half a deploy",
    "import nothing_of_that_name": "nothing_of_that_name",
    "os._exit(9)": "exited with 9",
    "os.kill(os.getpid(), signal.SIGSEGV)": "killed by SIGSEGV",
}


@pytest.mark.parametrize(
    ("preload", "broken"),
    long_but(
        itertools.product(MODES, BROKEN),
        *(("--preload", "def broken(:"), ("--no-preload", "raise RuntimeError('half a deploy')")),
        *(("--preload", "os._exit(9)"), ("--no-preload", "os.kill(os.getpid(), signal.SIGSEGV)")),
    ),
)
def test_a_broken_deploy_is_given_up(preload: str, broken: str, application: Application, gate: Gate) -> None:
    """Code that cannot load: the log says why, the very same workers serve on, and the next good reload works."""
    with serving(*application.arguments, "-b", TCP, "-w", "2", preload) as master:
        before = master.ready_workers(gate, 2)
        application.write("2", broken)
        master.signal(signal.SIGHUP)
        master.wait_given_up(2)
        assert master.lines(BROKEN[broken])
        assert master.ready_workers(gate, 2) == before
        assert ask(master.bind(), "version") == "1"
        application.write("3")
        with Watched(before) as old:
            master.signal(signal.SIGHUP)
            master.wait_serving(generation=3)
            old.wait_all()
        assert ask(master.bind(), "version") == "3"


@pytest.mark.parametrize("preload", long_but(MODES, "--preload"))
def test_a_deploy_that_hangs_is_given_up(preload: str, application: Application, gate: Gate) -> None:
    """An import that does not end within the boot limit, in the mold or in the workers: the old one serves on."""
    arguments = [*application.arguments, "-b", TCP, "-w", "2", preload, "--boot-timeout", "3s"]
    with serving(*arguments) as master, Gate(Path(gate.path).with_name("second")) as second:
        before = master.ready_workers(second, 2)
        application.write("2", f"apps.pass_gate({gate.path!r})")
        master.signal(signal.SIGHUP)
        gate.visitor()
        assert ask(master.bind(), "version") == "1"
        master.wait_given_up(2)
        assert master.ready_workers(second, 2) == before


def test_a_deploy_without_the_class_is_given_up(application: Application, gate: Gate) -> None:
    """A module that loads and does not hold the target any more."""
    with serving(*application.arguments, "-b", TCP, "-w", "1") as master:
        application.path.write_text("")
        master.signal(signal.SIGHUP)
        assert "Handler" in master.wait_given_up(2)
        assert ask(master.bind(), "version") == "1"


@pytest.mark.parametrize(
    "text", ["[service.a\n", "", "[service.a]\ntarget = 'x:Y'\nbind = ['tcp://127.0.0.1:0']\nworker = 3\n"]
)
def test_a_broken_configuration_is_refused(text: str, tmp_path: Path, gate: Gate) -> None:
    """A file that cannot be read any more: the log says why, and nothing changes."""
    path = tmp_path / "prefork.toml"
    path.write_text(f"[service.lines]\ntarget = '{STREAM}'\nbind = ['{TCP}']\nworkers = 2\n")
    with Master("-c", str(path)) as master:
        master.wait_serving()
        before = master.ready_workers(gate, 2)
        path.write_text(text)
        master.signal(signal.SIGHUP)
        master.wait_for("reload refused")
        assert master.ready_workers(gate, 2) == before


def test_a_changed_configuration_is_read(tmp_path: Path, gate: Gate) -> None:
    """A reload reads the file again: here it asks for more workers of another handler."""
    path = tmp_path / "prefork.toml"
    text = f"[service.lines]\ntarget = '{STREAM}'\nbind = ['{TCP}']\nworkers = 2\n"
    path.write_text(text)
    with Master("-c", str(path)) as master:
        master.wait_serving()
        path.write_text(text.replace("workers = 2", "workers = 4"))
        master.signal(signal.SIGHUP)
        master.wait_serving(generation=2)
        assert len(master.ready_workers(gate, 4)) == 4
        path.write_text(text.replace("workers = 2", "workers = 1"))
        with Watched(master.workers().values()) as old:
            master.signal(signal.SIGHUP)
            master.wait_serving(generation=3)
            old.wait_all()
        assert len(master.ready_workers(gate, 1)) == 1
        look_until(lambda: len(master.workers()) == 1, "the others have left")


# while reloading


@pytest.mark.parametrize(
    ("preload", "signum"),
    long_but(
        itertools.product(MODES, [signal.SIGTERM, signal.SIGINT]),
        *(("--preload", signal.SIGTERM), ("--no-preload", signal.SIGINT)),
    ),
)
def test_a_stop_in_the_middle_of_a_reload_wins(
    preload: str, signum: signal.Signals, application: Application, gate: Gate
) -> None:
    """Neither waits for the new code to load: exit 0."""
    with serving(*application.arguments, "-b", TCP, "-w", "2", preload) as master:
        application.write("2", f"apps.pass_gate({gate.path!r})")
        master.signal(signal.SIGHUP)
        gate.visitor()
        assert ask(master.bind(), "version") == "1"
        master.signal(signum)
        master.expect_exit(0)


def test_a_mold_killed_in_the_middle_of_a_reload_is_a_failed_reload(application: Application, gate: Gate) -> None:
    """The old generation serves on, and the next reload works."""
    with serving(*application.arguments, "-b", TCP, "-w", "2") as master:
        application.write("2", f"apps.pass_gate({gate.path!r})")
        master.signal(signal.SIGHUP)
        master.kill(gate.visitor().pid)
        master.wait_given_up(2)
        assert ask(master.bind(), "version") == "1"
        application.write("3")
        master.signal(signal.SIGHUP)
        master.wait_serving(generation=3)


def test_the_old_generation_still_heals_while_the_new_one_loads(application: Application, gate: Gate) -> None:
    """A worker killed in the middle of a reload is replaced by its own generation."""
    with serving(*application.arguments, "-b", TCP, "-w", "1") as master:
        application.write("2", f"apps.pass_gate({gate.path!r})")
        master.signal(signal.SIGHUP)
        loading = gate.visitor()
        master.kill(master.workers()[1])
        assert ask(master.bind(), "version") == "1"
        loading.let_pass()
        master.wait_serving(generation=2)


# other signals


def test_ttin_and_ttou_change_the_count_and_it_lasts(application: Application, gate: Gate) -> None:
    """One worker more, one less; a reload keeps what was asked for, for the configured count did not change."""
    with serving(*application.arguments, "-b", TCP, "-w", "1") as master:
        master.signal(signal.SIGTTIN)
        assert len(master.ready_workers(gate, 2)) == 2
        master.signal(signal.SIGHUP)
        master.wait_serving(generation=2)
        with Watched(p.pid for p in master.processes("worker") if p.generation < 2) as old:
            old.wait_all()
        assert len(master.ready_workers(gate, 2)) == 2
        with Watched(master.workers().values()) as workers:
            master.signal(signal.SIGTTOU)
            workers.forget(workers.wait_one())
            assert len(workers.living()) == 1
        assert len(master.ready_workers(gate, 1)) == 1


def test_ttou_retires_the_idle_and_spares_the_busy(gate: Gate) -> None:
    """A worker told to leave finishes its request first."""
    with serving(STREAM, "-b", TCP, "-w", "2") as master:
        questions, visitors = master.hold_all(gate, 2)
        master.signal(signal.SIGTTOU)
        master.wait_for("is retired")
        for visitor in visitors:
            visitor.let_pass()
        assert {question.answer() for question in questions} == {str(visitor.pid) for visitor in visitors}


def test_ttou_down_to_nothing_and_back(gate: Gate) -> None:
    """With no worker wanted clients wait in the queue; the next TTIN serves them."""
    with serving(STREAM, "-b", TCP, "-w", "1") as master:
        with Watched(master.workers().values()) as last:
            master.signal(signal.SIGTTOU)
            last.wait_all()
        question = Question(master.bind(), "anybody?")
        master.signal(signal.SIGTTIN)
        assert question.answer() == "ANYBODY?"


def test_usr1_reopens_the_log_of_all(application: Application, short_path: Path, gate: Gate) -> None:
    """After a file was moved away and USR1, master and workers write to a new one and no longer to the old."""
    application.write("1", f"apps.pass_gate({gate.path!r})")
    log, moved = short_path / "log", short_path / "log.1"
    url = f"unix:{short_path}/socket"
    with Master(*application.arguments, "-b", url, "-w", "1", "--log-file", str(log)) as master:
        gate.visitor().let_pass()
        assert Question(url, "raise before").is_lost()
        log.rename(moved)
        application.write("2")
        with Watched(master.workers().values()) as old:
            (worker,) = old.pidfds
            master.signal(signal.SIGUSR1)
            look_until(lambda: has_open(worker, log), "the worker writes to the new file")
            assert Question(url, "raise after").is_lost()
            master.signal(signal.SIGHUP)
            old.wait_all()
        assert Question(url, "raise anew").is_lost()
        master.stop()
        before, after = moved.read_text(), log.read_text()
        assert "generation 1 serves" in before
        assert "ValueError: before" in before
        assert "generation 2 serves" not in before
        assert "ValueError: after" not in before
        assert "ValueError: after" in after
        assert "ValueError: anew" in after
        assert "generation 2 serves" in after
        assert "stopped" in after
        assert not master.log, "nothing of it on standard error"


def has_open(pid: int, path: Path) -> bool:
    """Whether a descriptor of the process leads to ``path``, as the path stands now."""
    return any(os.path.realpath(link) == str(path) for link in Path(f"/proc/{pid}/fd").iterdir())


def test_a_reload_reaches_every_service(application: Application, tmp_path: Path) -> None:
    """One of two services fails to reload: it serves on with its old code, and the other one with the new."""
    path = tmp_path / "prefork.toml"
    path.write_text(f"""
        [service.good]
        target = "{STREAM}"
        bind = ["{TCP}"]
        workers = 1
        [service.shop]
        target = "shop:Handler"
        pythonpath = ["{tmp_path}"]
        bind = ["{TCP}"]
        workers = 1
        """)
    with Master("-c", str(path)) as master:
        master.wait_serving(services=2)
        application.write("2", "raise RuntimeError('half a deploy')")
        master.signal(signal.SIGHUP)
        assert "shop: " in master.wait_given_up(2)
        assert "good: " in master.wait_for("generation 2 serves")
        assert ask(master.bind(service="shop"), "version") == "1"
        assert ask(master.bind(service="good"), "hello") == "HELLO"


# under load


def reload_under_load(url: str, reloads: int, recycles: int) -> None:
    """Reloads and recycles under constant load, then TERM in the middle of it."""
    target = target_for(url)
    flags = ["--max-requests", "200", "--max-requests-jitter", "200"]
    with serving(target, "-b", url, "-w", "4", *flags) as master, Load(master.bind(), clients=16) as load:
        for generation in range(2, reloads + 2):
            load.wait_answered(100)
            master.signal(signal.SIGHUP)
            master.wait_serving(generation)
        master.wait_for("it has served", count=recycles)
        load.wait_answered(100)
        if url.startswith("udp"):  # its sender cannot know what came too late for a stop
            outcome = load.finish()
            assert udp_drops(master.bind()) == 0
            assert outcome.refused == 0, outcome
            master.stop()
        else:
            before = load.counts()
            assert before.refused == 0, before
            master.stop()
            outcome = load.finish(nobody_is_left=True)
        assert outcome.admitted_in_vain == 0, outcome


@pytest.mark.parametrize("url", long_but([TCP, "unix:", UDP, "unixgram:"], TCP, UDP))
@pytest.mark.parametrize(
    ("reloads", "recycles"), [(2, 10), pytest.param(20, 200, marks=[pytest.mark.long, pytest.mark.timeout(600)])]
)
def test_reloads_recycles_and_a_stop_cost_nothing(url: str, reloads: int, recycles: int, short_path: Path) -> None:
    """Under constant load, no request that was admitted stays unanswered, and none is refused before the stop."""
    reload_under_load(place(url, short_path), reloads, recycles)


@pytest.mark.parametrize("url", long_but([TCP, "unix:", UDP, "unixgram:"], TCP, "unixgram:"))
def test_a_broken_deploy_costs_nothing(url: str, tmp_path: Path, short_path: Path) -> None:
    """Under constant load, a reload to broken code is given up without anybody noticing."""
    url = place(url, short_path)
    base = target_for(url).rpartition(":")[2]
    module = tmp_path / "shop.py"
    module.write_text(f"from tests.end_to_end.apps import {base} as Handler\n")
    arguments = ["shop:Handler", "--pythonpath", str(tmp_path), "-b", url, "-w", "2"]
    with serving(*arguments) as master, Load(master.bind(), clients=16) as load:
        for generation, text in enumerate(["def broken(:", "import os; os._exit(1)", ""], start=2):
            load.wait_answered(100)
            module.write_text(text)
            master.signal(signal.SIGHUP)
            master.wait_given_up(generation)
        load.wait_answered(100)
        outcome = load.finish()
        assert outcome.refused + outcome.admitted_in_vain == 0, outcome
