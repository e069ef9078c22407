"""What applications and their clients do to a service without meaning it, and what it costs nobody else."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.clients import Question, ask, is_refused
from tests.end_to_end.harness import ROOT, STREAM, TCP, Application, Gate, Master, look_until, serving


def waits(pid: int) -> int:
    """How often the process has gone to sleep of its own will."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("voluntary_ctxt_switches:")[2].split()[0])


def test_a_default_timeout_does_not_make_a_worker_deaf(application: Application) -> None:
    """An application that sets one for its own sockets is stopped as quickly as any other."""
    application.write("1", "import socket; socket.setdefaulttimeout(1000)")
    with serving(*application.arguments, "-b", TCP, "-w", "2", "--graceful-timeout", "1h") as master:
        assert ask(master.bind(), "version") == "1"
        master.signal(signal.SIGTERM)
        assert master.exit_code() == 0


def test_a_helper_forked_while_importing_holds_nothing_of_ours(application: Application, gate: Gate) -> None:
    """It lives on, and the service stops and lets go of its address all the same."""
    application.write("1", "if os.fork() == 0:", f"    apps.pass_gate({gate.path!r})", "    os._exit(0)")
    with serving(*application.arguments, "-b", TCP, "-w", "1") as master:
        helper = gate.visitor()
        held = [os.readlink(f"/proc/{helper.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{helper.pid}/fd")]
        assert sum(link.startswith("socket:") for link in held) == 1  # its own, to the gate
        master.signal(signal.SIGTERM)
        assert master.exit_code() == 0
        helper.let_pass()


def test_a_client_with_an_unprintable_path_is_served(tmp_path: Path, short_path: Path) -> None:
    """Its name goes into titles and log lines, and breaks none."""
    url = f"unix:{short_path}/socket"
    with serving(STREAM, "-b", url, "-w", "1") as master:
        workers = master.workers()
        for name in (b"caf\xe9", b"two\nlines", b"\0abstract\xff"):
            with socket.socket(socket.AF_UNIX) as client:
                client.bind(name if name.startswith(b"\0") else os.fsencode(short_path) + b"/" + name)
                client.settimeout(30)
                client.connect(f"{short_path}/socket")
                client.send(b"hello\n")
                assert client.recv(64) == b"HELLO\n"
        assert master.workers() == workers


def writable_pipes(pid: int) -> list[str]:
    """Its ends of pipes to write to, but for standard output and error."""
    links = [f"/proc/{pid}/fd/{fd}" for fd in os.listdir(f"/proc/{pid}/fd") if int(fd) > 2]
    return [
        link
        for link in links
        if os.readlink(link).startswith("pipe:") and os.stat(link, follow_symlinks=False).st_mode & 0o200
    ]


def test_junk_on_the_notice_pipe_does_not_end_the_master() -> None:
    """A descriptor closed twice may be one of ours the second time: what is written there is passed over."""
    with serving(STREAM, "-b", TCP, "-w", "1") as master:
        for link in writable_pipes(master.workers()[1]):
            pipe = os.open(link, os.O_WRONLY | os.O_NONBLOCK)
            os.write(pipe, b'["Ready", 1]\n\xff junk\n["Ready", "x", null]\nno end')
            os.close(pipe)
        master.wait_for("something unreadable", count=2)
        assert ask(master.bind(), "hello") == "HELLO"


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "0<&- 1>&-", "1>/dev/full"])
def test_standard_streams_may_be_closed_or_full(closed: str, application: Application) -> None:
    """Nothing is printed there, and nothing fails for it."""
    application.write("1", "print('loading')")
    command = f'exec {sys.executable} -m prefork run "$@" {closed}'
    arguments = ["sh", "-c", command, "sh", *application.arguments, "-b", TCP, "-w", "1"]
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with subprocess.Popen(arguments, cwd=ROOT, env=buffered, stderr=subprocess.PIPE, text=True) as master:
        assert master.stderr is not None
        log = ""
        while "serves with" not in log:
            line = master.stderr.readline()
            assert line, log
            log += line
        master.terminate()
        assert master.wait(30) == 0


def test_every_death_makes_somebody_look(gate: Gate) -> None:
    """The dead may have been woken alone for a client: with nobody to replace it, the others look."""
    with serving(STREAM, "-b", TCP, "-w", "2") as master:
        first, second = sorted(master.ready_workers(gate, 2))
        master.wait_idle()
        mold = master.mold()
        os.kill(mold, signal.SIGSTOP)
        before = waits(second)
        master.kill(first)
        look_until(lambda: waits(second) > before, "the other worker has looked")
        os.kill(mold, signal.SIGCONT)


def test_a_client_queued_while_the_only_worker_boots_is_served_before_a_stop(
    application: Application, gate: Gate
) -> None:
    """Its handshake is complete, so it is answered, although nobody was ready when TERM came."""
    application.write("1")
    arguments = (*application.arguments, "-b", TCP, "-w", "1", "--no-preload")
    with serving(*arguments) as master:
        application.write("1", f"apps.pass_gate({gate.path!r})")
        master.kill(master.workers()[1])
        booting = gate.visitor()
        question = Question(master.bind(), "version")
        master.signal(signal.SIGTERM)
        master.wait_for("is retired: the service stops")
        booting.let_pass()
        assert question.answer() == "1"
        assert master.exit_code() == 0


def test_a_broken_deploy_changes_no_setting(tmp_path: Path, application: Application, gate: Gate) -> None:
    """Neither the number of workers nor the limits of requests under way."""
    config = tmp_path / "prefork.toml"

    def write(*settings: str) -> None:
        table = ["[service.shop]", 'target = "shop:Handler"', f'bind = ["{TCP}"]']
        table += [f'pythonpath = ["{application.path.parent}"]', *settings]
        config.write_text("\n".join(table) + "\n")

    application.write("1")
    write("workers = 2")
    with Master("-c", str(config)) as master:
        master.wait_serving()
        held = Question(master.bind(), f"hold {gate.path}")
        visitor = gate.visitor()
        application.write("2", "raise RuntimeError('broken')")
        write("workers = 1", 'request_hard = "1ms"', 'boot_timeout = "1ms"')
        master.signal(signal.SIGHUP)
        master.wait_for("generation 2 is given up")
        assert len(master.workers()) == 2
        visitor.let_pass()
        assert held.answer() == str(visitor.pid)
        master.kill(visitor.pid)
        assert len(master.ready_workers(gate, 2)) == 2


def test_the_next_master_can_have_the_address_while_an_orphan_is_busy(gate: Gate) -> None:
    """Who finishes a request for a killed master listens no more."""
    with serving(STREAM, "-b", TCP, "-w", "2", "--graceful-timeout", "1h") as master:
        held = Question(master.bind(), f"hold {gate.path}")
        orphan = gate.visitor()
        url = master.bind()
        master.signal(signal.SIGKILL)
        master.exit_code()
        look_until(lambda: is_refused(url), "the orphan has let go of its listener")
        with serving(STREAM, "-b", url, "-w", "1") as successor:
            assert ask(successor.bind(), "hello") == "HELLO"
        orphan.let_pass()
        assert held.answer() == str(orphan.pid)


def test_very_long_limits_are_limits(gate: Gate) -> None:
    """A month is more milliseconds than the kernel counts at once."""
    month = ("--boot-timeout", "720h", "--graceful-timeout", "720h", "--request-hard", "720h")
    with serving(STREAM, "-b", TCP, "-w", "1", *month) as master:
        held = Question(master.bind(), f"hold {gate.path}")
        visitor = gate.visitor()
        master.signal(signal.SIGTERM)
        visitor.let_pass()
        assert held.answer() == str(visitor.pid)
        assert master.exit_code() == 0
