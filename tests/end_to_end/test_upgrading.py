"""Upgrading in place: the code becomes another, and whoever is a client notices nothing."""

import contextlib
import os
import re
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prefork.control.client import ask_status, connect, find
from prefork.control.messages import (
    Done,
    Dump,
    Failed,
    Pause,
    Reload,
    Reply,
    Request,
    Resume,
    Scale,
    Upgrade,
)
from prefork.errors import CommandError
from prefork.system.pidfile import PidFile
from tests.end_to_end.clients import LIMIT, Question, ask
from tests.end_to_end.harness import (
    DATAGRAM,
    STREAM,
    TCP,
    UDP,
    Application,
    Gate,
    Master,
    Watched,
    look_until,
)
from tests.end_to_end.installation import Installation
from tests.end_to_end.load import Load
from tests.end_to_end.test_commands import at_gate
from tests.end_to_end.test_control import NAME, NAMED, Outcome, needs_root, start, steer
from tests.end_to_end.test_targets import opened
from tests.end_to_end.test_versions import Environment

ON_TRIAL = "try"
GOING_ON = "resume"


def wait_at(gate: Gate, part: str) -> str:
    """Code for the head of a package: who tries, or who goes on, waits at the gate."""
    return (
        f"import os; from tests.end_to_end import apps\nif os.environ.get('PREFORK_BOOK', '').startswith({part!r}): "
        f"apps.pass_gate({gate.path!r})"
    )


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path)


def say(request: Request) -> Reply:
    """A command to the instance of this test, and the end of the answer."""
    with connect(find(NAME), LIMIT) as connection:
        *_, last = connection.ask(request)
    return last


def status() -> dict[str, Any]:
    with connect(find(NAME), LIMIT) as connection:
        return ask_status(connection).as_plain()


def service() -> dict[str, Any]:
    (found,) = status()["services"]
    return dict(found)


def upgrade() -> str:
    """Upgrade by the control socket; what became of it."""
    reply = say(Upgrade())
    assert isinstance(reply, Done), reply
    return reply.text


def why_not() -> str:
    """Upgrade by the control socket; why it failed."""
    reply = say(Upgrade())
    assert isinstance(reply, Failed), reply
    return reply.why


def open_files(master: Master) -> int:
    return len(os.listdir(f"/proc/{master.pid}/fd"))


def wait_upgraded(master: Master, count: int = 1) -> None:
    """Until the image is the next, and the generation of its code serves."""
    master.wait_for("goes on from version", count=count)
    master.wait_serving(generation=count + 1)


def test_an_upgrade_changes_the_code_and_nothing_else(installation: Installation, gate: Gate) -> None:
    """Pid, listeners, counts and names stay; no client is refused or lost; a request under way is finished."""
    with installation.serving(*NAMED, "-b", TCP, "-w", "2") as master, Load(master.bind(), clients=8) as load:
        say(Scale(service="apps", by=1))
        load.wait_answered(200)
        held = Question(master.bind(), f"hold {gate.path}")
        visitor = gate.visitor()
        with Watched(master.workers().values()) as workers:
            before = service()
            installation.become("0.2.0")
            operator = start("upgrade", *NAMED)
            master.wait_for("version 0.2.0 goes on from version")
            assert service()["requests"] >= before["requests"] >= 200
            visitor.let_pass()
            assert held.answer() == str(visitor.pid)
            outcome = Outcome(operator)
            assert (outcome.code, outcome.err) == (0, ""), outcome
            assert "version 0.2.0 goes on from version 0.1.0" in outcome.out
            assert "generation 2 serves with 3 workers" in outcome.out
            workers.wait_all()
        after = status()
        assert (after["package"], after["pid"], after["name"]) == ("0.2.0", master.pid, NAME)
        (now,) = after["services"]
        assert (now["wanted"], now["configured"], now["generation"]) == (3, (2, 2), 2)
        load.wait_answered(200)
        outcome_of_load = load.finish()
        assert outcome_of_load.refused == outcome_of_load.admitted_in_vain == 0, outcome_of_load


def test_upgrade_after_upgrade_gains_and_forgets_nothing(installation: Installation) -> None:
    """No descriptor in the master or its workers; what operators have changed and what was served stays known."""
    with installation.serving(*NAMED, "-b", TCP, "-w", "1") as master:
        before = open_files(master), ask(master.bind(), "open-files")
        say(Scale(service="apps", to=2))
        os.kill(master.workers()[1], signal.SIGTERM)  # who is gone has served as well
        master.wait_for("exited with 0 after 1 request")
        for count, version in enumerate(("0.2.0", "0.3.0"), 1):
            installation.become(version)
            assert f"version {version} goes on" in upgrade()
            look_until(lambda: len(service()["workers"]) == 2, "the old workers are gone")
            look_until(lambda: open_files(master) == before[0] + 1, "the master holds one for the worker more")
            assert service()["requests"] == count
            assert ask(master.bind(), "open-files") == before[1]
        assert (service()["wanted"], service()["configured"]) == (2, (1, 1))


BROKEN = {
    "def broken(:": "SyntaxError",
    "import no_such_module": "No module named 'no_such_module'",
    "import os; os._exit(9)": "exited with 9",
    "import os; os._exit(0)": "exited with 0",
    "import os, signal; os.kill(os.getpid(), signal.SIGKILL)": "was killed by SIGKILL",
}


def test_an_installation_that_does_not_start_is_refused(installation: Installation) -> None:
    """With the reason, to whoever asked, by command or by signal; and it is tried again when it is asked for again."""
    with installation.serving(*NAMED, "-b", TCP, "-w", "2") as master:
        workers = master.workers()
        for statement, why in BROKEN.items():
            installation.become("0.2.0", statement)
            told = why_not()
            assert told.startswith(
                "upgrade refused, everything serves on as it was: the new installation does not start"
            )
            assert why in told
        installation.become("0.2.0", "def broken(:")
        master.signal(signal.SIGUSR2)
        master.wait_for("upgrade refused", count=len(BROKEN) + 1)
        outcome = steer("upgrade")
        assert outcome.code == 3
        assert "SyntaxError" in outcome.err
        assert (status()["package"], service()["generation"], master.workers()) == ("0.1.0", 1, workers)
        assert ask(master.bind(), "hello") == "HELLO"
        look_until(lambda: not any(p.is_zombie for p in master.children()), "no zombie is left")
        installation.become("0.2.0")
        assert "version 0.2.0 goes on" in upgrade()


def test_a_configuration_that_needs_a_restart_is_refused(installation: Installation) -> None:
    """Before anything is changed, by what the new installation reads."""
    text = "[service.echo]\ntarget = '{}'\nbind = ['tcp://127.0.0.1:0']\nworkers = {}\n"
    path = installation.directory / "prefork.toml"
    path.write_text(text.format(STREAM, 1))
    with Master("-c", str(path), *NAMED, cwd=installation.directory) as master:
        master.wait_serving()
        path.write_text(text.format(STREAM, "'many'"))
        assert "workers: 'many' is not a whole number" in why_not()
        path.write_text(text.format(STREAM, 1).replace("127.0.0.1:0", "127.0.0.2:0"))
        assert "changes its bind or backlog; restart for it" in why_not()
        path.write_text(text.format(STREAM, 2))
        upgrade()
        assert (service()["wanted"], service()["configured"]) == (2, (2, 2))


@contextlib.contextmanager
def trying(installation: Installation, gate: Gate, *arguments: str) -> Iterator[tuple[Master, "Asked"]]:
    """A master that was told to upgrade, while its trial is held at the gate."""
    with installation.serving(*NAMED, "-b", TCP, "-w", "1", *arguments) as master:
        installation.become("0.2.0", wait_at(gate, ON_TRIAL))
        yield master, Asked(gate)


class Asked:
    """An operator who waits for an upgrade whose trial has reached the gate."""

    def __init__(self, gate: Gate) -> None:
        self._command = start("upgrade", *NAMED)
        self.trial = gate.visitor()

    def outcome(self) -> Outcome:
        return Outcome(self._command)


def test_a_trial_that_hangs_is_given_up(installation: Installation, gate: Gate) -> None:
    """After the boot limit; meanwhile the master does all else, and whoever asks again asks for the same upgrade."""
    with trying(installation, gate, "--boot-timeout", "3s") as (master, asked), Watched([asked.trial.pid]) as trial:
        master.signal(signal.SIGUSR2)
        say(Scale(service="apps", to=2))
        assert ask(master.bind(), "hello") == "HELLO"
        outcome = asked.outcome()
        assert outcome.code == 3
        assert "did not say that it starts within its time; raise boot_timeout" in outcome.err
        trial.wait_all()
        assert len(master.lines("tries what is installed now")) == 1
        assert service()["wanted"] == 2


def test_a_trial_that_ends_while_its_master_is_stopped_counts(installation: Installation, gate: Gate) -> None:
    """Its end is then told in two ways at once, and it is not taken for a stranger's."""
    with trying(installation, gate) as (master, asked), Watched([asked.trial.pid]) as trial:
        master.signal(signal.SIGSTOP)
        asked.trial.let_pass()
        trial.wait_all()
        master.signal(signal.SIGCONT)
        assert asked.outcome().code == 0


def test_a_stop_ends_an_upgrade(installation: Installation, gate: Gate) -> None:
    """At once, and the trial with it."""
    with trying(installation, gate) as (master, asked), Watched([asked.trial.pid]) as trial:
        master.signal(signal.SIGTERM)
        outcome = asked.outcome()
        assert outcome.code == 3
        assert outcome.err.strip().endswith("the instance is stopping")
        trial.wait_all()
        master.expect_exit(0)


def test_a_trial_goes_with_its_master(installation: Installation, gate: Gate) -> None:
    """Whatever code it is in, and nobody would end it otherwise."""
    with trying(installation, gate) as (master, asked), Watched([asked.trial.pid]) as trial:
        master.signal(signal.SIGKILL)
        trial.wait_all()
        assert asked.outcome().code == 3
        assert master.exit_code() == -signal.SIGKILL


def test_an_upgrade_is_refused_while_something_else_is_under_way(
    installation: Installation, application: Application, gate: Gate, short_path: Path
) -> None:
    """While a generation is being loaded, and while the instance stops; in one line, exit 1."""
    arguments = [*application.arguments[1:], *NAMED, "-b", TCP, "-w", "1"]
    with (
        Gate(short_path / "load") as loading,
        installation.serving(*arguments, target=application.arguments[0]) as master,
    ):
        application.write("2", f"apps.pass_gate({loading.path!r})")
        master.signal(signal.SIGHUP)
        visitor = loading.visitor()
        code, why = steer("upgrade").end
        assert code == 1
        assert why.endswith("generation 2 is being loaded; ask again when it serves, or is given up")
        visitor.let_pass()
        master.wait_serving(generation=2)
        held = Question(master.bind(), f"hold {gate.path}")
        holder = gate.visitor()
        master.signal(signal.SIGTERM)
        master.wait_for("stopping gracefully")
        code, why = steer("upgrade").end
        assert (code, why) == (1, f"{NAME}: upgrade refused: the instance is stopping")
        holder.let_pass()
        assert held.answer() == str(holder.pid)
        master.expect_exit(0)


def test_what_happens_during_the_exec_is_found_after_it(installation: Installation, gate: Gate) -> None:
    """Deaths and signals wait for the next image, and clients are served meanwhile."""
    with installation.serving(*NAMED, "-b", TCP, "-w", "2") as master:
        killed, other = sorted(master.workers().values())
        installation.become("0.2.0", wait_at(gate, GOING_ON))
        operator = start("upgrade", *NAMED)
        image = gate.visitor()
        assert image.pid == master.pid
        master.signal(signal.SIGTTIN)
        master.kill(killed)
        assert ask(master.bind(), "pid") == str(other)
        image.let_pass()
        assert Outcome(operator).code == 0
        master.wait_for("was killed by SIGKILL")
        look_until(lambda: (service()["wanted"], service()["ready"]) == (3, 3), "three workers are ready")


def test_a_stop_during_the_exec_is_obeyed_after_it(installation: Installation, gate: Gate) -> None:
    with installation.serving(*NAMED, "-b", TCP, "-w", "2") as master:
        installation.become("0.2.0", wait_at(gate, GOING_ON))
        master.signal(signal.SIGUSR2)
        image = gate.visitor()
        master.signal(signal.SIGTERM)
        image.let_pass()
        master.expect_exit(0)


def test_nobody_is_being_born_during_the_exec(installation: Installation) -> None:
    """An order to fork that the mold has not answered is waited for, so that its worker is nobody's stranger."""
    with installation.serving(*NAMED, "-b", TCP, "-w", "2") as master:
        mold = master.mold()
        os.kill(mold, signal.SIGSTOP)
        master.kill(master.workers()[1])
        master.wait_for("was killed by SIGKILL")
        installation.become("0.2.0")
        operator = start("upgrade", *NAMED)
        tries = re.search(r"process (\d+) tries", master.wait_for("tries what is installed now"))
        assert tries is not None
        with Watched([int(tries[1])]) as trial:
            trial.wait_all()
        os.kill(mold, signal.SIGCONT)
        assert Outcome(operator).code == 0
        look_until(lambda: len(service()["workers"]) == service()["ready"] == 2, "two workers are ready")
        known = {worker["pid"] for worker in service()["workers"]}
        look_until(lambda: {p.pid for p in master.processes("worker")} == known, "there is no worker that nobody knows")


def test_an_exec_that_fails_changes_nothing(tmp_path: Path) -> None:
    """What was prepared for it is undone: signals are heard, and the next upgrade is one."""
    environment = Environment(tmp_path)
    installation = Installation(tmp_path / "package")
    command = [environment.python, "-m", "prefork"]
    with Master(STREAM, *NAMED, "-b", TCP, "-w", "1", cwd=installation.directory, command=command) as master:
        master.wait_serving()
        remove = "import os, sys\nif os.environ.get('PREFORK_BOOK', '').startswith('try'): os.unlink(sys.executable)"
        installation.become("0.2.0", remove)
        before = open_files(master)
        assert why_not().endswith("this process cannot become the new installation: No such file or directory")
        look_until(lambda: open_files(master) == before, "all that was opened for it is closed")
        assert ask(master.bind(), "hello") == "HELLO"
        master.signal(signal.SIGTTIN)
        look_until(lambda: service()["ready"] == 2, "a worker more is ready")
        os.symlink(sys.executable, environment.python)
        installation.become("0.3.0")
        assert "version 0.3.0 goes on from version 0.1.0" in upgrade()


def test_a_fault_of_the_running_version_costs_nothing_but_the_upgrade(installation: Installation) -> None:
    """Whatever it is: the services are worth more."""
    installation.change("master/leaving.py", "    kept = _Kept()", "    kept = 1 / 0")
    with installation.serving(*NAMED, "-b", TCP, "-w", "1") as master:
        outcome = steer("upgrade")
        assert outcome.code == 1
        assert "an internal error of the version that runs, see its log" in outcome.err
        master.wait_for("ZeroDivisionError")
        assert ask(master.bind(), "hello") == "HELLO"


def test_a_book_that_is_none_of_ours_is_one_line_and_exit_2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFORK_BOOK", "resume 9")
    with Master(STREAM, "-b", TCP) as master:
        master.wait_for_end_of_log()
        (line,) = master.log
        assert line == "prefork: environment PREFORK_BOOK: 'resume 9' is between one master and the next; unset it"
        master.expect_exit(2)


def test_an_image_that_cannot_read_the_book_starts_anew(installation: Installation, gate: Gate) -> None:
    """On the same listeners, by what is told to every version: workers are replaced one by one, as by a reload."""
    with installation.serving(*NAMED, "-b", TCP, "-w", "2") as master, Load(master.bind(), clients=4) as load:
        say(Scale(service="apps", by=1))
        load.wait_answered(100)
        held = Question(master.bind(), f"hold {gate.path}")
        visitor = gate.visitor()
        with Watched([master.mold(), *master.workers().values()]) as others:
            installation.become("0.2.0").change("master/book.py", "BODY = 2", "BODY = 3")
            operator = start("upgrade", *NAMED)
            master.wait_for("whose book it cannot read")
            visitor.let_pass()
            assert held.answer() == str(visitor.pid)
            outcome = Outcome(operator)
            assert (outcome.code, outcome.err) == (0, ""), outcome
            assert "whose book it cannot read" in outcome.out
            others.wait_all()
        found = service()
        assert (found["generation"], found["wanted"], found["configured"]) == (2, 3, (2, 2))
        load.wait_answered(100)
        outcome_of_load = load.finish()
        assert outcome_of_load.refused == outcome_of_load.admitted_in_vain == 0, outcome_of_load


def test_where_new_code_fails_the_workers_of_a_book_nobody_reads_serve_on(
    installation: Installation, application: Application
) -> None:
    """A broken deploy takes nothing down, also where it came with another master."""
    arguments = [*application.arguments[1:], *NAMED, "-b", TCP, "-w", "2"]
    with installation.serving(*arguments, target=application.arguments[0]) as master:
        workers = master.workers()
        installation.become("0.2.0").change("master/book.py", "BODY = 2", "BODY = 3")
        application.write("2", "raise RuntimeError('half a deploy')")
        assert "half a deploy" in why_not()
        assert (master.workers(), ask(master.bind(), "version")) == (workers, "1")
        application.write("3")
        with Watched(workers.values()) as old:
            assert isinstance(say(Reload()), Done)
            old.wait_all()
        assert ask(master.bind(), "version") == "3"


def test_an_access_log_that_cannot_be_opened_takes_nothing_down(installation: Installation, gate: Gate) -> None:
    """Where it is new with the version, the upgrade is refused; lost between trial and exec, it is in the log."""
    directory, path = installation.directory / "logs", installation.directory / "prefork.toml"
    text = f"[service.apps]\ntarget = '{STREAM}'\nbind = ['{TCP}']\n"
    path.write_text(text)
    with Master("-c", str(path), *NAMED, cwd=installation.directory) as master:
        master.wait_serving()
        path.write_text(f"access_log = '{directory}/access'\n{text}")
        installation.become("0.2.0").change("master/book.py", "BODY = 2", "BODY = 3")
        assert f"access_log: cannot open {directory}/access: No such file or directory" in why_not()
        assert status()["package"] == "0.1.0"
        directory.mkdir()
        installation.become("0.2.0", wait_at(gate, GOING_ON))
        operator = start("upgrade", *NAMED)
        image = gate.visitor()
        directory.rename(installation.directory / "elsewhere")
        image.let_pass()
        assert Outcome(operator).code == 0
        told = master.wait_for(f"access_log: cannot open {directory}/access: ", count=2)
        assert told.endswith("; until the next start or upgrade its lines go into the log")
        look_until(
            lambda: ask(master.bind(), "hello") == "HELLO" and bool(master.lines(" ok ")), "a line is in the log"
        )
        directory.mkdir()
        installation.become("0.3.0")
        upgrade()
        access = directory / "access"
        look_until(
            lambda: ask(master.bind(), "hello") == "HELLO" and " ok " in access.read_text(), "one is in its file"
        )


def test_workers_of_a_book_nobody_reads_are_told_by_signals_for_ever(
    installation: Installation, application: Application
) -> None:
    """Also by an image after that: they have a scoreboard that nobody else knows, and must not be killed for it."""
    arguments = [*application.arguments[1:], *NAMED, "-b", TCP, "-w", "2"]
    with installation.serving(*arguments, target=application.arguments[0]) as master:
        workers = master.workers()
        installation.become("0.2.0").change("master/book.py", "BODY = 2", "BODY = 3")
        application.write("2", "raise RuntimeError('half a deploy')")
        assert "half a deploy" in why_not()
        with pytest.raises(CommandError, match="worker 1 is of another version"):
            say(Dump(who=1))
        application.write("3")
        with Watched(workers.values()) as old:
            assert isinstance(say(Upgrade()), Done)
            old.wait_all()
        assert ask(master.bind(), "version") == "3"
        assert not master.lines("is killed")


def test_a_pause_that_the_next_image_could_not_read_is_no_time_to_upgrade(installation: Installation) -> None:
    """It would end silently, or for ever."""
    with installation.serving(*NAMED, "-b", TCP, "-w", "1") as master:
        installation.become("0.2.0").change("master/book.py", "BODY = 2", "BODY = 3")
        say(Pause(service="apps"))
        assert "version 0.2.0 cannot read that apps is paused; resume it, and ask again" in why_not()
        say(Resume(service="apps"))
        assert isinstance(say(Upgrade()), Done)
        assert ask(master.bind(), "hello") == "HELLO"


def test_what_only_a_book_nobody_reads_would_explain_is_closed(
    installation: Installation, gate: Gate, short_path: Path
) -> None:
    """Descriptors are, and a command that runs ends: nobody would wait for it, nor end it at its limit."""
    waiting = short_path / "waiting"
    waiting.write_text(f"#!/bin/sh\n{at_gate(gate)}\n")
    waiting.chmod(0o755)
    with installation.serving(*NAMED, "-b", TCP, "-w", "1", "--on-ready", str(waiting)) as master:
        visitor = gate.visitor()
        with Watched([visitor.pid]) as command:
            installation.become("0.2.0").change("master/book.py", "BODY = 2", "BODY = 3")
            assert isinstance(say(Upgrade()), Done)
            command.wait_all()
        look_until(lambda: len(master.processes("mold")) == 1, "the generation before is gone")
        before = open_files(master)
        installation.become("0.3.0").change("master/book.py", "BODY = 2", "BODY = 4")
        assert isinstance(say(Upgrade()), Done)
        look_until(lambda: open_files(master) <= before, "it has no more descriptors than before")


@pytest.mark.parametrize("is_free", [True, False])
def test_an_admin_process_may_come_with_an_upgrade(is_free: bool, installation: Installation, tmp_path: Path) -> None:
    """Where the image before knew of none; where its address is taken, everything serves on as it was."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        admin = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        if is_free:
            taken.close()
        table = f'[service.apps]\ntarget = "{STREAM}"\nbind = ["{TCP}"]\nworkers = 1\n'
        path = tmp_path / "prefork.toml"
        path.write_text(f'name = "{NAME}"\n{table}')
        with Master("-c", str(path), cwd=installation.directory) as master:
            master.wait_serving()
            # as a version that had no such process
            installation.become("0.2.0").change("master/book.py", "BODY = 2", "BODY = 3")
            path.write_text(f'name = "{NAME}"\nadmin = "{admin}"\n{table}')
            if is_free:
                assert isinstance(say(Upgrade()), Done)
                look_until(lambda: bool(master.processes("admin")), "it is there")
            else:
                assert f"admin: cannot listen on {admin}: address already in use" in why_not()
            assert ask(master.bind(service="apps"), "hello") == "HELLO"


@pytest.mark.parametrize("kinds", [(TCP, "unix:", "unix:@", "fd:"), (UDP, "unixgram:")])
def test_every_kind_of_listener_is_taken_along(
    kinds: tuple[str, ...], installation: Installation, short_path: Path
) -> None:
    """The path of a Unix socket stays whose it was: the last image removes it, unless somebody else made it."""
    target = STREAM if TCP in kinds else DATAGRAM
    with contextlib.ExitStack() as resources:
        binds, pass_fds = [], []
        lent = ""
        for kind in kinds:
            if kind == "fd:":
                listener, lent = resources.enter_context(opened("unix:", short_path))
                pass_fds.append(listener.fileno())
                binds.append(f"fd:{listener.fileno()}")
            else:
                path = {"unix:@": f"prefork-test-{os.getpid()}", TCP: "", UDP: ""}.get(
                    kind, f"{short_path}/{kind[:-1]}"
                )
                binds.append(kind + path)
        flags = [flag for bind in binds for flag in ("-b", bind)]
        control = short_path / "control"
        flags += ["--control", str(control)]
        with installation.serving(*flags, "-w", "2", target=target, pass_fds=tuple(pass_fds)) as master:
            urls = [lent if bind.startswith("fd:") else master.bind(number) for number, bind in enumerate(binds)]
            for count in (1, 2):
                master.signal(signal.SIGUSR2)
                wait_upgraded(master, count)
                with connect(find(path=str(control)), LIMIT) as connection:
                    assert ask_status(connection).snapshot.pid == master.pid
                assert [ask(url, "hello") for url in urls] == ["HELLO"] * len(urls)
            master.stop()  # and sees that no path is left
        assert not control.exists()
        assert not lent or os.path.exists(lent.removeprefix("unix:"))


def test_files_and_commands_are_taken_along(installation: Installation, gate: Gate, short_path: Path) -> None:
    """The pid file stays locked, a rotated log is given to all, and a command that runs ends in its own time."""
    pid_file, log = short_path / "pid", short_path / "log"
    waiting = short_path / "waiting"
    waiting.write_text(f"#!/bin/sh\n{at_gate(gate)}\necho it is over\nexit 7\n")
    waiting.chmod(0o755)
    flags = ["--pid", str(pid_file), "--log-file", str(log), "--on-ready", str(waiting)]
    with Master(STREAM, *NAMED, "-b", TCP, "-w", "1", *flags, cwd=installation.directory) as master:
        command = gate.visitor()
        look_until(lambda: service()["ready"] == 1, "it serves")
        installation.become("0.2.0")
        with Watched([master.mold(), *master.workers().values()]) as old:
            upgrade()
            old.wait_all()
        assert pid_file.read_text() == f"{master.pid}\n"
        with pytest.raises(BlockingIOError):
            PidFile(str(pid_file))
        log.rename(short_path / "log.1")
        master.signal(signal.SIGUSR1)
        children = [master.mold(), *master.workers().values()]
        look_until(lambda: all(str(log) in files_of(pid) for pid in (master.pid, *children)), "all have the new file")
        command.let_pass()
        look_until(lambda: "it is over" in log.read_text() and "exited with 7" in log.read_text(), "its end is told")
        master.stop()
    assert not pid_file.exists()


def files_of(pid: int) -> set[str]:
    return {os.path.realpath(link) for link in Path(f"/proc/{pid}/fd").iterdir()}


@needs_root
@pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare is missing")
def test_a_master_that_is_pid_1_upgrades(installation: Installation, gate: Gate) -> None:
    """In a container: no signal has a default action there, also while nobody has handlers."""
    prefix = ["unshare", "--pid", "--fork", "--mount-proc"]
    with Master(STREAM, "-b", TCP, "-w", "2", prefix=prefix, cwd=installation.directory) as master:
        master.wait_serving()
        (first,) = master.processes("master")
        master.pid = first.pid
        installation.become("0.2.0", wait_at(gate, GOING_ON))
        master.signal(signal.SIGUSR2)
        image = gate.visitor()
        master.signal(signal.SIGTTIN)
        image.let_pass()
        wait_upgraded(master)
        assert len(master.ready_workers(gate, 3)) == 3
        master.stop()
