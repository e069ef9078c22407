"""Steering a running master by its control socket, with the commands its operators use."""

import contextlib
import json
import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prefork.control.client import Place, connect, find
from prefork.control.messages import Stop, address_of
from prefork.errors import CommandError
from prefork.system.sockets import hold_name
from tests.children import NOBODY, Child, Link, become_nobody, said_by
from tests.end_to_end.clients import LIMIT, Question, ask
from tests.end_to_end.harness import (
    ROOT,
    STREAM,
    TCP,
    Application,
    Gate,
    Master,
    Process,
    Watched,
    look_until,
    serving,
)
from tests.end_to_end.load import Load
from tests.end_to_end.test_idle import let_time_pass, settled, switches
from tests.long import long_but

NAME = f"test-{os.getpid()}"
NAMED = ("-n", NAME)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


class Outcome:
    """How a command ended, and what it printed."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.out, err = process.communicate(timeout=LIMIT)
        self.err = err or ""  # it has a terminal of its own
        self.code = process.returncode

    def __repr__(self) -> str:
        return f"exit {self.code}, {self.out!r}, {self.err!r}"

    @property
    def end(self) -> tuple[int, str]:
        """Exit code, and the line that says why."""
        return self.code, self.err.removeprefix("prefork: ").strip()


def start(*arguments: str, stderr: int = subprocess.PIPE) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "prefork", *arguments]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=stderr,
        stdin=subprocess.DEVNULL,
    )


def run(*arguments: str) -> Outcome:
    return Outcome(start(*arguments))


def steer(command: str, *arguments: str) -> Outcome:
    """A command to the instance of this test."""
    return run(command, "-n", NAME, *arguments)


def status() -> dict[str, Any]:
    outcome = steer("status", "--json")
    assert outcome.code == 0, outcome
    found: dict[str, Any] = json.loads(outcome.out)
    return found


def echo() -> dict[str, Any]:
    """The only service, by its status."""
    (service,) = status()["services"]
    return dict(service)


def connected(name: str = NAME) -> socket.socket:
    """A bare connection, as somebody without our code has it."""
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(LIMIT)
    client.connect(f"\0prefork/{os.getuid()}/{name}/control")
    return client


def replies(client: socket.socket) -> Iterator[dict[str, Any]]:
    with client.makefile("rb") as lines, contextlib.suppress(ConnectionResetError):
        for line in lines:
            yield json.loads(line)


# reload


def test_a_reload_returns_when_the_new_generation_serves(application: Application) -> None:
    """Exit 0, and the very next request is answered by the new code."""
    with serving(*application.arguments, *NAMED, "-b", TCP, "-w", "2") as master:
        with Watched(master.workers().values()) as old:
            application.write("2")
            outcome = steer("reload")
            assert (outcome.code, outcome.err) == (0, "")
            assert "generation 2 serves with 2 workers" in outcome.out
            old.wait_all()
        assert ask(master.bind(), "version") == "2"
        assert echo()["last_load"]["outcome"] == "serves"


@pytest.mark.parametrize(
    "statement", long_but(["def broken(:", "raise RuntimeError('half a deploy')", "os._exit(9)"], "def broken(:")
)
def test_a_broken_deploy_is_exit_3_with_the_reason_of_the_log(statement: str, application: Application) -> None:
    """Whoever asked for it reads what the log says, all its lines."""
    with serving(*application.arguments, *NAMED, "-b", TCP, "-w", "2") as master:
        application.write("2", statement)
        outcome = steer("reload")
        assert outcome.code == 3
        first, *rest = outcome.err.removeprefix("prefork: ").splitlines()
        line = master.wait_given_up(2)
        assert line.endswith(first)
        assert rest == master.log[master.log.index(line) + 1 :][: len(rest)]
        assert ask(master.bind(), "version") == "1"
        service = echo()
        assert (service["phase"], service["generation"], service["coming"]) == ("healthy", 1, None)
        assert (service["last_load"]["outcome"], service["last_load"]["generation"]) == ("abandoned", 2)
        application.write("3")
        assert steer("reload").code == 0
        assert ask(master.bind(), "version") == "3"


def test_a_reason_of_odd_characters_is_told(application: Application) -> None:
    """What neither UTF-8 nor a terminal can say costs nobody anything."""
    with serving(*application.arguments, *NAMED, "-b", TCP, "-w", "1") as master:
        application.write("2", r"raise RuntimeError('caf\udce9 \x1b[2J \x00')")
        outcome = steer("reload")
        assert outcome.code == 3
        assert "RuntimeError: caf?" in outcome.err
        assert steer("status").code == 0
        assert ask(master.bind(), "version") == "1"


def test_a_deploy_that_hangs_is_exit_3_after_the_boot_limit(application: Application, gate: Gate) -> None:
    """The command waits as long as the master does."""
    with serving(*application.arguments, *NAMED, "-b", TCP, "-w", "1", "--boot-timeout", "3s") as master:
        application.write("2", f"apps.pass_gate({gate.path!r})")
        waiting = start("reload", "-n", NAME)
        gate.visitor()
        outcome = Outcome(waiting)
        assert outcome.code == 3
        assert "not loaded within 3 s" in outcome.err
        assert ask(master.bind(), "version") == "1"


def test_a_configuration_that_cannot_be_used_is_exit_3(tmp_path: Path) -> None:
    """With the one line that names place, setting and remedy; status remembers it."""
    path = tmp_path / "prefork.toml"
    text = f"name = '{NAME}'\n[service.lines]\ntarget = '{STREAM}'\nbind = ['{TCP}']\nworkers = 1\n"
    path.write_text(text)
    with Master("-c", str(path)) as master:
        master.wait_serving()
        path.write_text(text.replace("workers", "worker"))
        outcome = steer("reload")
        assert outcome.code == 3
        assert "reload refused, everything serves on as it was" in outcome.err
        assert "perhaps workers" in outcome.err
        assert echo()["last_load"]["outcome"] == "refused"
        path.write_text(f"control = 'none'\n{text}")
        assert "control changes from '' to 'none'; restart for it" in steer("reload").err


def test_reloads_that_merge_are_all_answered_by_the_generation_they_asked_for(
    application: Application, gate: Gate
) -> None:
    """One that is under way, and several that become one: the first fails with its code, the others succeed."""
    with serving(*application.arguments, *NAMED, "-b", TCP, "-w", "1") as master:
        application.write("2", f"apps.pass_gate({gate.path!r})", "raise RuntimeError('half a deploy')")
        first = start("reload", "-n", NAME)
        loading = gate.visitor()
        application.write("3")
        others = [start("reload", "-n", NAME) for _ in range(3)]
        master.wait_for("asks for: reload", count=4)
        loading.let_pass()
        outcome = Outcome(first)
        assert outcome.code == 3
        assert "half a deploy" in outcome.err
        for other in map(Outcome, others):
            assert other.code == 0, other
            assert "generation 3 serves" in other.out
        assert ask(master.bind(), "version") == "3"
        assert not master.lines("generation 4 is asked for")


def test_a_reload_of_several_services_names_each_that_fails(application: Application, tmp_path: Path) -> None:
    """It returns when all are settled, and one failure is a failure."""
    application.write("1")
    path = tmp_path / "prefork.toml"
    good = f"[service.good]\ntarget = '{STREAM}'\nbind = ['{TCP}']\nworkers = 1\n"
    bad = f"[service.bad]\ntarget = 'shop:Handler'\nbind = ['{TCP}']\nworkers = 1\npythonpath = ['{tmp_path}']\n"
    path.write_text(f"name = '{NAME}'\n{good}{bad}")
    with Master("-c", str(path)) as master:
        master.wait_serving(services=2)
        application.write("2", "raise RuntimeError('half a deploy')")
        outcome = steer("reload")
        assert outcome.code == 3
        assert "bad: generation 2 is given up" in outcome.err
        assert "good:" not in outcome.err
        generations = {service["name"]: service["generation"] for service in status()["services"]}
        assert generations == {"good": 2, "bad": 1}


def test_a_stop_in_the_middle_of_a_reload_answers_it(application: Application, gate: Gate) -> None:
    """Exit 3: what was asked for will not come."""
    with serving(*application.arguments, *NAMED, "-b", TCP, "-w", "1") as master:
        application.write("2", f"apps.pass_gate({gate.path!r})")
        waiting = start("reload", "-n", NAME)
        gate.visitor()
        service = echo()
        assert (service["phase"], service["generation"], service["coming"]) == ("reloading", 1, 2)
        assert steer("stop").code == 0
        assert Outcome(waiting).end == (3, "the instance is stopping")
        master.expect_exit(0)


def test_who_looks_on_sees_how_far_it_is(application: Application) -> None:
    """On a terminal the waiting is told line by line."""
    with serving(*application.arguments, *NAMED, "-b", TCP, "-w", "2"):
        ours, theirs = pty.openpty()
        process = start("reload", "-n", NAME, stderr=theirs)
        os.close(theirs)
        seen = b""
        with contextlib.suppress(OSError):  # EIO: nobody holds the other side any more
            while chunk := os.read(ours, 4096):
                seen += chunk
        os.close(ours)
        assert Outcome(process).code == 0
        for text in ("generation 2 is loaded", "1 of 2 workers of generation 2 are ready"):
            assert text in seen.decode()


# stop


def test_a_stop_returns_when_the_instance_is_gone() -> None:
    """Its name is free then, and nothing is left."""
    with serving(STREAM, *NAMED, "-b", TCP, "-w", "2") as master:
        outcome = steer("stop")
        assert (outcome.code, outcome.out, outcome.err) == (0, "stopped, exit 0\n", "")
        assert not master.is_running()
        assert steer("status").code == 7
        master.expect_exit(0)


def test_a_stop_waits_for_requests_under_way(gate: Gate) -> None:
    """Meanwhile status tells whom it waits for."""
    with serving(STREAM, *NAMED, "-b", TCP, "-w", "2") as master:
        held = Question(master.bind(), f"hold {gate.path}")
        visitor = gate.visitor()
        waiting = start("stop", "-n", NAME)
        master.wait_for("stopping gracefully")
        look_until(lambda: len(master.workers()) == 1, "the idle one has left")
        service = echo()
        assert service["phase"] == "stopping"
        assert [worker["pid"] for worker in service["workers"]] == [visitor.pid]
        assert steer("reload").end == (3, "the instance is stopping")
        assert steer("scale", "apps", "3").end == (1, f"{NAME}: the instance is stopping")
        assert waiting.poll() is None
        visitor.let_pass()
        assert held.answer() == str(visitor.pid)
        assert Outcome(waiting).code == 0
        master.expect_exit(0)


def test_a_stop_now_kills_what_is_left(gate: Gate) -> None:
    """Also after a graceful one, which is answered with it; the master's own exit code tells what it cost."""
    with serving(STREAM, *NAMED, "-b", TCP, "-w", "1") as master:
        held = Question(master.bind(), f"hold {gate.path}")
        gate.visitor()
        patient = start("stop", "-n", NAME)
        master.wait_for("stopping gracefully")
        assert steer("stop", "--now").out == "stopped, exit 5\n"
        assert Outcome(patient).out == "stopped, exit 5\n"
        assert held.is_lost()
        master.expect_exit(5)


def test_a_master_that_is_killed_ends_the_waiting(gate: Gate) -> None:
    """It is gone, which is what was asked for; a reload has failed."""
    with serving(STREAM, *NAMED, "-b", TCP, "-w", "1") as master:
        Question(master.bind(), f"hold {gate.path}")
        gate.visitor()
        waiting = start("stop", "-n", NAME)
        master.wait_for("stopping gracefully")
        os.kill(master.pid, signal.SIGKILL)
        outcome = Outcome(waiting)
        assert (outcome.code, outcome.out) == (0, "it is gone, and has not said how it ended\n")


# scale


def test_scaling_changes_the_count_and_it_lasts(application: Application, gate: Gate) -> None:
    """To a number, by some more, by some less; a reload keeps it, and status shows both numbers."""
    with serving(*application.arguments, *NAMED, "-b", TCP, "-w", "2") as master:
        assert steer("scale", "shop", "4").out == "shop: workers wanted: 4 instead of 2\n"
        assert len(master.ready_workers(gate, 4)) == 4
        assert steer("scale", "shop", "+1").out == "shop: workers wanted: 5 instead of 4\n"
        assert steer("scale", "shop", "-2").out == "shop: workers wanted: 3 instead of 5\n"
        assert steer("scale", "shop", "3").out == "shop: workers wanted: 3, as before\n"
        assert steer("reload").code == 0
        service = echo()
        assert (service["wanted"], service["configured"], service["generation"]) == (3, [2, 2], 2)
        look_until(lambda: len(master.workers()) == 3, "the others have left")


def test_what_cannot_be_scaled_is_refused() -> None:
    """One line; nothing changes."""
    with serving(STREAM, *NAMED, "-b", TCP, "-w", "2"):
        for arguments, code, why in [
            (("nix", "3"), 1, "there is no service 'nix'; there is apps"),
            (("apps", "-5"), 1, "-3 workers: a service has between 0 and 4000"),
            (("apps", "99999"), 1, "99999 workers: a service has between 0 and 4000"),
            (("apps", "many"), 2, "'many' is no number of workers; write it as 6, +2 or -1"),
        ]:
            outcome = steer("scale", *arguments)
            assert outcome.code == code
            assert outcome.err.strip().endswith(why)
        assert echo()["wanted"] == 2


# status


def test_status_tells_of_every_worker_while_all_are_stuck(gate: Gate) -> None:
    """Nobody is asked who could fail to answer."""
    with serving(STREAM, *NAMED, "-b", TCP, "-w", "3") as master:
        assert ask(master.bind(), "hello") == "HELLO"
        questions, visitors = master.hold_all(gate, 3)
        found = status()
        assert (found["version"], found["name"], found["pid"]) == (1, NAME, master.pid)
        (service,) = found["services"]
        assert (service["phase"], service["ready"], service["busy"], service["idle"]) == ("healthy", 3, 3, 0)
        assert service["requests"] == 1
        assert service["binds"] == [master.bind()]
        assert {worker["pid"] for worker in service["workers"]} == {visitor.pid for visitor in visitors}
        peers = {question.socket.getsockname()[1] for question in questions}
        current = [request for worker in service["workers"] for request in worker["current"]]
        assert {int(request["peer"].rpartition(":")[2]) for request in current} == peers
        assert all(request["age_seconds"] >= 0 for request in current)
        table = steer("status").out
        assert "3 of 3 workers ready, 3 busy" in table
        assert all(f"127.0.0.1:{peer} #" in table for peer in peers)
        for visitor in visitors:
            visitor.let_pass()


def test_figures_of_workers_that_are_gone_are_kept(gate: Gate) -> None:
    """The sums of a service only grow."""
    with serving(STREAM, *NAMED, "-b", TCP, "-w", "1") as master:
        for _ in range(3):
            ask(master.bind(), "hello")
        Question(master.bind(), "raise trouble").is_lost()
        master.wait_idle()
        master.kill(master.workers()[1])
        master.ready_workers(gate, 1)
        master.wait_idle()
        service = echo()
        assert (service["requests"], service["errors"]) == (5, 1)


def test_a_crash_loop_is_a_degraded_service() -> None:
    """With its reason and when the next try is."""
    with serving(STREAM, *NAMED, "-b", TCP, "-w", "1") as master:
        for count in range(1, 5):
            Question(master.bind(), "exit 3").is_lost()
            master.wait_for("exited with 3 after", count=count)
        with connected() as client:  # without the time that a command takes to start
            client.sendall(b'{"kind":"status","version":1}\n')
            snapshot = next(reply for reply in replies(client) if reply["kind"] == "snapshot")
        (service,) = snapshot["services"]
        assert service["phase"] == "degraded"
        assert service["degraded"]["failures"] == 4
        assert "die before they have proven themselves" in service["degraded"]["why"]


# which instance


def test_a_name_is_needed_only_where_several_run(tmp_path: Path) -> None:
    """One is found; of two each by its name, and without one both are named."""
    assert run("status").code in (2, 7)
    others = run("status").code == 2  # somebody else's run beside us, where the network is not our own
    with serving(STREAM, *NAMED, "-b", TCP, "-w", "1") as first:
        if not others:
            assert json.loads(run("status", "--json").out)["pid"] == first.pid
        with serving(STREAM, "-n", f"{NAME}-b", "-b", TCP, "-w", "1") as second:
            outcome = run("status")
            assert outcome.code == 2
            assert NAME in outcome.err
            assert f"{NAME}-b" in outcome.err
            assert "--name" in outcome.err
            assert status()["pid"] == first.pid
            assert run("scale", "apps", "2", "--name", f"{NAME}-b").code == 0
            assert echo()["wanted"] == 1
            assert run("stop", "-n", f"{NAME}-b").code == 0
            second.expect_exit(0)
        assert ask(first.bind(), "hello") == "HELLO"


@pytest.mark.parametrize("command", [["status"], ["status", "--json"], ["reload"], ["stop"], ["scale", "apps", "2"]])
def test_without_an_instance_every_command_is_exit_7(command: list[str]) -> None:
    """One line that says so."""
    outcome = run(*command, "--name", "nobody-has-this-name")
    assert outcome.code == 7
    assert "no instance nobody-has-this-name runs here" in outcome.err
    assert len(outcome.err.splitlines()) == 1


# where it listens


def test_a_control_socket_may_have_a_path(short_path: Path) -> None:
    """It is its owner's alone, and gone at the end; the name alone says that a path is needed."""
    path = short_path / "control.sock"
    with serving(STREAM, *NAMED, "-b", TCP, "-w", "1", "--control", str(path)) as master:
        assert path.stat().st_mode & 0o777 == 0o600
        code, why = steer("status").end
        assert code == 1
        assert "runs, but has no control socket under its name; give its path by --control" in why
        assert json.loads(run("status", "--json", "--control", str(path)).out)["pid"] == master.pid
        assert run("stop", "--control", str(path)).code == 0
        master.expect_exit(0)
        assert not path.exists()
        assert run("stop", "--control", str(path)).code == 7


@pytest.mark.parametrize("place", long_but(["missing/control.sock", "/proc/control.sock", "taken"], "taken"))
def test_a_control_socket_that_cannot_be_made_is_one_warning(place: str, short_path: Path, gate: Gate) -> None:
    """A directory that is missing or cannot be written, a path that is no socket: everything else works."""
    (short_path / "taken").write_text("a file")
    with serving(STREAM, *NAMED, "-b", TCP, "-w", "1", "--control", str(short_path / place)) as master:
        assert len(master.lines(" WARNING ")) == 1
        assert "control: cannot listen on" in master.wait_for(" WARNING ")
        assert ask(master.bind(), "hello") == "HELLO"
        master.signal(signal.SIGHUP)
        master.wait_serving(generation=2)
        assert steer("status").code == 1
    assert (short_path / "taken").read_text() == "a file"


def test_a_control_socket_of_somebody_who_lives_is_left_alone(short_path: Path) -> None:
    """The second goes without one."""
    path = str(short_path / "control.sock")
    with serving(STREAM, *NAMED, "-b", TCP, "-w", "1", "--control", path) as first:
        with serving(STREAM, "-n", f"{NAME}-b", "-b", TCP, "-w", "1", "--control", path) as second:
            second.wait_for("control: cannot listen on")
        assert json.loads(run("status", "--json", "--control", path).out)["pid"] == first.pid


def test_nobody_has_to_have_one() -> None:
    """``none``: no socket and no warning."""
    with serving(STREAM, *NAMED, "-b", TCP, "-w", "1", "--control", "none") as master:
        assert steer("status").code == 1
        assert master.lines(" WARNING ") == []


# trouble


@needs_root
def test_another_user_is_refused() -> None:
    """Exit 1 and the reason; nothing is done."""
    address = f"@{NAME}/control"  # anybody may connect there; a path in a private directory keeps them out before
    with serving(STREAM, *NAMED, "-b", TCP, "-w", "1", "--control", address) as master:

        def ask_as_nobody(parent: Link) -> str:
            become_nobody()
            with connect(find(path=address)) as connection:
                try:
                    return str(list(connection.ask(Stop(now=True))))
                except CommandError as error:
                    return str(error)

        assert (
            said_by(ask_as_nobody)
            == f"{address}: user {NOBODY} may not steer an instance of user 0; be that user, or root"
        )
        assert master.lines("asks for") == []
        assert ask(master.bind(), "hello") == "HELLO"


@needs_root
def test_root_steers_everybodys_instances_and_believes_no_impostor() -> None:
    """A name belongs to its user; whoever else took its address is not asked anything."""

    def hold(parent: Link) -> None:
        become_nobody()
        holder = hold_name(NAME)
        parent.say(holder is not None)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"\0prefork/{os.getuid()}/{NAME}/control")
            listener.listen()
            parent.say()
            parent.hear()

    def take(parent: Link) -> None:
        os.setuid(NOBODY - 1)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"\0prefork/{NOBODY}/{NAME}-b/control")
            listener.listen()
            parent.say()
            parent.hear()

    with Child(hold) as owner, Child(take) as thief:
        assert owner.hear() is True
        owner.hear()
        thief.hear()
        code, why = steer("status", "--timeout", "200ms").end
        assert code == 1
        assert "does not answer" in why
        with pytest.raises(CommandError, match="took its address"), connect(impostor_of(f"{NAME}-b")):
            pass


def impostor_of(name: str) -> Place:
    """Where the instance of this name of nobody's would be."""
    return find(NAME)._replace(address=address_of(name, NOBODY))


def test_a_stopped_master_is_told_after_the_limit() -> None:
    """The command does not wait for ever for somebody who cannot hear."""
    with serving(STREAM, *NAMED, "-b", TCP, "-w", "1") as master:
        master.signal(signal.SIGSTOP)
        try:
            for command in (["status"], ["reload"], ["stop"]):
                code, why = steer(*command, "--timeout", "200ms").end
                assert code == 1
                assert "does not answer within 0.2 s; its master may be stopped" in why
        finally:
            master.signal(signal.SIGCONT)
        master.expect_exit(0)  # what was asked meanwhile is heard


def test_clients_that_stall_flood_or_vanish_cost_nobody_anything(gate: Gate) -> None:
    """While hundreds do, every request of the service is answered, and so is an operator's."""
    with (
        serving(STREAM, *NAMED, "-b", TCP, "-w", "2") as master,
        contextlib.ExitStack() as open_ones,
        Load(master.bind(), clients=4) as load,
    ):
        for number in range(300):
            client = open_ones.enter_context(connected())
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                match number % 6:
                    case 0:
                        client.sendall(b'{"kind":"status","version":1}\n' * 100)  # and reads nothing
                    case 1:
                        client.sendall(b"x" * (1 << 20))
                    case 2:
                        client.sendall(b'{"kind":')
                    case 3:
                        client.sendall(b'{"kind":"status","version":1}\n')
                        client.close()
                    case 4:
                        client.sendall(b'{"kind":"reload","version":9}\n')
        load.wait_answered(1000)
        assert steer("status").code == 0
        assert steer("scale", "apps", "3").code == 0
        outcome = load.finish()
        assert (outcome.admitted_in_vain, outcome.refused) == (0, 0), outcome


def open_files(pid: int) -> list[str]:
    """What the process holds open; what it closes while we look is not among it."""
    found = []
    for number in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/{pid}/fd/{number}"))
    return found


def test_connections_leave_no_descriptor_behind() -> None:
    """Five hundred, and a status each; neither mold nor worker inherits any, nor the socket they came by."""
    with serving(STREAM, *NAMED, "-b", TCP, "-w", "1") as master:
        rows = Path("/proc/net/unix").read_text().splitlines()
        [listener] = [f"socket:[{row.split()[6]}]" for row in rows if row.endswith(f"/{NAME}/control")]
        before = open_files(master.pid)
        assert listener in before
        with connected() as held:
            held.sendall(b'{"kind":"ping","version":1}\n')
            assert next(replies(held))["kind"] == "pong"
            [connection] = set(open_files(master.pid)) - set(before)
            for _ in range(500):
                with connected() as client:
                    client.sendall(b'{"kind":"status","version":1}\n')
                    kinds = [reply["kind"] for _, reply in zip(range(2), replies(client), strict=False)]
                    assert kinds == ["workers", "snapshot"]
            assert steer("reload").code == 0

            def children() -> list[Process]:
                return master.processes("mold") + master.processes("worker")

            look_until(lambda: {process.generation for process in children()} == {2}, "the generation before is gone")
            for process in children():
                assert not {listener, connection} & set(open_files(process.pid))
        look_until(lambda: len(open_files(master.pid)) == len(before), "as many descriptors as before")


def test_unknown_versions_and_kinds_get_one_refusal() -> None:
    """A line that says which version is spoken here, then the end."""
    with serving(STREAM, *NAMED, "-b", TCP, "-w", "1"):
        for line, why in [
            (b'{"kind":"reload","version":2}\n', "the other end speaks version 2 of the protocol, and this one 1"),
            (b'{"kind":"levitate","version":1}\n', "levitate"),
        ]:
            with connected() as client:
                client.sendall(line)
                (reply,) = replies(client)
                assert reply["kind"] == "refused"
                assert why in reply["why"]


def test_an_idle_instance_with_a_client_does_not_wake(gate: Gate) -> None:
    """Neither the socket nor somebody who is connected and silent costs a wake."""
    with serving(STREAM, *NAMED, "-b", TCP, "-w", "2") as master, connected() as client:
        client.sendall(b'{"kind":"ping","version":1}\n')
        assert next(replies(client))["kind"] == "pong"
        before = settled(master)
        let_time_pass(1.0)
        assert switches(master) == before
