"""``prefork doctor`` on real things: what is well is found well, and what was provoked is found, with exit 1."""

import json
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from prefork.system.sudo import typed
from tests.end_to_end.clients import LIMIT
from tests.end_to_end.harness import DATAGRAM, ROOT, STREAM, TCP, UDP, Application, Gate, Master, look_until, serving
from tests.end_to_end.nobody import NOBODY, open_the_way

NAME = f"doctor-{os.getpid()}"
NAMED = ("-n", NAME)
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
GOOD_UNIT = "[Service]\nType=notify\nKillMode=process\nOOMPolicy=continue\nRestart=always\nWatchdogSec=30\n"


class Examined(NamedTuple):
    """:param findings: each as JSON has it."""

    code: int
    findings: list[dict[str, Any]]
    err: str

    def of(self, check: str) -> list[tuple[str, str]]:
        return [(f["verdict"], f["measured"]) for f in self.findings if f["check"] == check]

    @property
    def biting(self) -> list[str]:
        return [f"{f['check']}: {f['measured']}" for f in self.findings if f["verdict"] == "bites"]


def doctor(
    *arguments: str, loads: bool = False, cwd: Path = ROOT, before_exec: Callable[[], None] | None = None
) -> Examined:
    """:param loads: whether the application is loaded too."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "prefork", "doctor", "--json", *arguments, *([] if loads else ["--no-load"])]
    done = subprocess.run(
        command, cwd=cwd, env=env, capture_output=True, text=True, timeout=LIMIT, preexec_fn=before_exec
    )
    return Examined(done.returncode, json.loads(done.stdout or '{"findings": []}')["findings"], done.stderr)


def test_what_is_well_is_found_well() -> None:
    """A service that is to run: nothing would bite, and each line says what was measured."""
    found = doctor(STREAM, "-b", TCP, "-b", "unix:@doctor", "-w", "2", loads=True)
    assert (found.code, found.biting) == (0, [])
    assert found.of("loading") == [("fine", "apps can be loaded")]
    assert ("fine", "tcp://127.0.0.1:0: free") in found.of("addresses")
    assert len(found.findings) > 20
    assert all(finding["measured"] for finding in found.findings)


def test_an_instance_that_runs_well_is_found_well() -> None:
    """Its own addresses are no trouble, by its name alone, and beside its configuration."""
    with serving(STREAM, *NAMED, "-b", TCP, "-w", "2") as master:
        by_name = doctor(NAME)
        assert (by_name.code, by_name.biting) == (0, [])
        assert by_name.of("addresses") == [("fine", f"{master.bind()}: served by this instance")]
        assert by_name.of("health") == [("fine", "apps: healthy, 2 of 2 workers ready")]
        assert by_name.of("before the fork") == [("fine", "each mold has one thread")]
        beside = doctor(STREAM, *NAMED, "-b", master.bind(), "-w", "2")
        assert (beside.code, beside.of("addresses")) == (0, by_name.of("addresses"))


def test_nothing_is_changed_and_no_worker_hears_of_it(gate: Gate) -> None:
    """Not one request, not one connection."""
    with serving(STREAM, *NAMED, "-b", f"unix:{Path(gate.path).parent}/s", "-b", TCP, "-w", "1") as master:
        before = set(master.processes())
        doctor(NAME)
        doctor(STREAM, *NAMED, "-b", master.bind(0), "-b", master.bind(1))
        status = [sys.executable, "-m", "prefork", "status", "--json", *NAMED]
        told = json.loads(subprocess.check_output(status, timeout=LIMIT))
        assert told["services"][0]["requests"] == 0
        assert {process.pid for process in master.processes()} == {process.pid for process in before}


# what was provoked


def test_a_low_limit_of_open_files() -> None:
    """The master could not hold one for each worker."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))

    found = doctor(STREAM, "-b", TCP, "-w", "200", before_exec=limit)
    assert found.code == 1
    assert found.of("open files") == [("bites", "100 (hard 100)")]


@pytest.mark.long
def test_a_limit_of_open_files_that_a_running_master_has() -> None:
    """Of the one that runs, not of who looks."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (70, 70))

    with Master(STREAM, *NAMED, "-b", TCP, "-w", "8", before_exec=limit) as master:
        master.wait_serving()
        found = doctor(NAME)
        assert (found.code, found.of("open files")) == (1, [("bites", "70 (hard 70)")])
        (finding,) = [f for f in found.findings if f["check"] == "open files"]
        assert finding["commands"][0] == typed(f"sudo prlimit --pid {master.pid} --nofile=4096:4096")


def test_a_stale_socket(short_path: Path) -> None:
    """It is a note: the next start replaces it. Something else at that path is not."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(f"{short_path}/stale")
    found = doctor(STREAM, "-b", f"unix:{short_path}/stale")
    assert (found.code, found.of("addresses")[0][0]) == (0, "note")
    (short_path / "file").write_text("")
    found = doctor(STREAM, "-b", f"unix:{short_path}/file")
    assert (found.code, found.of("addresses")) == (1, [("bites", f"unix:{short_path}/file: something else is there")])


@pytest.mark.long
def test_a_socket_that_somebody_serves(short_path: Path) -> None:
    """Nobody is connected to, to find out."""
    with socket.socket(socket.AF_UNIX) as living:
        living.bind(f"{short_path}/living")
        living.listen()
        living.setblocking(False)
        found = doctor(STREAM, "-b", f"unix:{short_path}/living")
        assert (found.code, found.of("addresses")) == (1, [("bites", f"unix:{short_path}/living: taken")])
        with pytest.raises(BlockingIOError):
            living.accept()


@pytest.mark.parametrize(("url", "kind"), [("tcp", socket.SOCK_STREAM), ("udp", socket.SOCK_DGRAM)])
def test_a_taken_port(url: str, kind: int) -> None:
    """With who has it."""
    with socket.socket(socket.AF_INET, kind) as holder:
        holder.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            holder.listen()
        bind = f"{url}://127.0.0.1:{holder.getsockname()[1]}"
        found = doctor(STREAM if url == "tcp" else DATAGRAM, "-b", bind)
        assert (found.code, found.of("addresses")) == (1, [("bites", f"{bind}: taken")])
        (finding,) = [f for f in found.findings if f["verdict"] == "bites"]
        assert f"[{os.getpid()}] has it" in finding["why"]


@pytest.mark.long
def test_an_address_that_the_machine_does_not_have() -> None:
    """As a start would find out."""
    found = doctor(STREAM, "-b", "tcp://192.0.2.7:9000")
    bites = [("bites", "tcp://192.0.2.7:9000: this machine has no such address")]
    assert (found.code, found.of("addresses")) == (1, bites)


def test_a_missing_directory(tmp_path: Path) -> None:
    """Of a socket, of the log, and of the pid file."""
    binds = ("-b", f"unix:{tmp_path}/a/s")
    found = doctor(STREAM, *binds, "--log-file", f"{tmp_path}/b/log", "--pid", f"{tmp_path}/c/pid")
    assert found.code == 1
    assert found.of("addresses") == [("bites", f"unix:{tmp_path}/a/s: no directory")]
    assert found.of("files") == [
        ("bites", f"log_file {tmp_path}/b/log: no directory"),
        ("bites", f"pid {tmp_path}/c/pid: no directory"),
    ]


@pytest.mark.long
def test_a_pid_file(tmp_path: Path) -> None:
    """Left by the dead it means nothing; held by the living, or not ours at all, it does."""
    path = tmp_path / "pid"
    path.write_text("4194304\n")
    assert doctor(STREAM, "-b", TCP, "--pid", str(path)).of("files")[0][0] == "fine"
    path.write_text("precious\n")
    found = doctor(STREAM, "-b", TCP, "--pid", str(path))
    assert (found.code, found.of("files")) == (1, [("bites", f"pid {path}: it holds something else than a pid")])
    path.unlink()
    with serving(STREAM, *NAMED, "-b", TCP, "--pid", str(path)):
        found = doctor(STREAM, "-b", TCP, "--pid", str(path))
        assert (found.code, found.of("files")) == (1, [("bites", f"pid {path}: held by another process")])


@pytest.mark.long
def test_another_instance_of_the_name(application: Application) -> None:
    """One that serves something else."""
    with serving(STREAM, *NAMED, "-b", TCP):
        found = doctor(*application.arguments, *NAMED, "-b", TCP)
        assert (found.code, found.of("name")) == (1, [("bites", f"{NAME} is held")])


def test_what_an_import_leaves_behind(application: Application) -> None:
    """A thread, by its name; nothing of it is left when the answer is there."""
    thread = (
        "import threading, time; threading.Thread(target=time.sleep, args=(60,), name='poller', daemon=True).start()"
    )
    application.write("1", thread)
    found = doctor(*application.arguments, "-b", TCP, loads=True)
    bites = [("bites", "shop starts 1 thread (poller) at import")]
    assert (found.code, found.of("before the fork")) == (1, bites)
    assert doctor(*application.arguments, "-b", TCP).of("before the fork") == []
    assert doctor(*application.arguments, "-b", TCP, "--no-preload", loads=True).code == 0
    with serving(*application.arguments, *NAMED, "-b", TCP):
        found = doctor(NAME)
        bites = [("bites", "the mold of shop g1 has 2 threads")]
        assert (found.code, found.of("before the fork")) == (1, bites)


@pytest.mark.long
def test_an_application_that_cannot_be_loaded(application: Application) -> None:
    """With the last line of the reason."""
    application.write("1", "import nosuch")
    found = doctor(*application.arguments, "-b", TCP, loads=True)
    assert (found.code, found.of("loading")) == (1, [("bites", "shop cannot be loaded")])
    (finding,) = [f for f in found.findings if f["verdict"] == "bites"]
    assert finding["why"].endswith("ModuleNotFoundError: No module named 'nosuch'")


def test_a_unit_that_gives_too_little_time(tmp_path: Path) -> None:
    """And the command it advises changes it."""
    unit = tmp_path / "shop.service"
    unit.write_text(GOOD_UNIT.replace("notify", "exec") + "TimeoutStopSec=10\n")
    found = doctor(STREAM, "-b", TCP, "--unit", str(unit))
    assert (found.code, found.biting) == (1, ["stop timeout: TimeoutStopSec=10, graceful_timeout 30s"])
    (finding,) = [f for f in found.findings if f["verdict"] == "bites"]
    subprocess.run(finding["commands"][0], shell=True, check=True)
    again = doctor(STREAM, "-b", TCP, "--unit", str(unit))
    assert (again.code, again.of("stop timeout")) == (0, [("fine", "TimeoutStopSec=45, graceful_timeout 30s")])


@pytest.mark.long
def test_a_unit_that_is_well(tmp_path: Path) -> None:
    """As the one of ``prefork init``."""
    unit = tmp_path / "shop.service"
    unit.write_text(GOOD_UNIT)
    found = doctor(STREAM, "-b", TCP, "--unit", str(unit))
    assert (found.code, found.biting) == (0, [])


@pytest.mark.long
def test_a_backlog_that_the_kernel_cuts() -> None:
    """net.core.somaxconn of this network."""
    found = doctor(STREAM, "-b", TCP, "--backlog", "1000000")
    assert found.code == 1
    ((verdict, measured),) = found.of("backlog")
    assert (verdict, measured.partition(", ")[2]) == ("bites", "backlog 1000000")


def test_a_reload_that_was_given_up(application: Application) -> None:
    """What serves is not what was deployed last."""
    with serving(*application.arguments, *NAMED, "-b", TCP) as master:
        application.write("2", "import nosuch")
        subprocess.run([sys.executable, "-m", "prefork", "reload", *NAMED], capture_output=True, timeout=LIMIT)
        master.wait_given_up(2)
        found = doctor(NAME)
        assert found.code == 1
        assert found.biting[0].startswith("generations: shop: the last reload, ")


@pytest.mark.long
def test_a_socket_that_was_tidied_away(short_path: Path) -> None:
    """The master listens where nobody can find it."""
    with serving(STREAM, *NAMED, "-b", f"unix:{short_path}/s"):
        os.unlink(f"{short_path}/s")
        found = doctor(NAME)
        assert (found.code, found.of("lost sockets")) == (1, [("bites", f"{short_path}/s is gone")])


@pytest.mark.long
def test_datagrams_that_found_no_room(gate: Gate) -> None:
    """Counted by the kernel for that socket."""
    with serving(DATAGRAM, *NAMED, "-b", UDP, "-w", "1") as master:
        host, _, port = master.bind().removeprefix("udp://").rpartition(":")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(f"hold {gate.path}".encode(), (host, int(port)))
            visitor = gate.visitor()
            for _ in range(2000):
                client.sendto(b"x" * 1000, (host, int(port)))
            look_until(lambda: bool(doctor(NAME).biting), "datagrams are dropped")
            assert "datagrams dropped" in doctor(NAME).biting[0]
            visitor.let_pass()


def as_nobody() -> None:
    """In the new process, before its program."""
    open_the_way()
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


@pytest.mark.long
@needs_root
def test_a_port_and_a_directory_that_are_not_for_this_user(short_path: Path) -> None:
    """What cannot be read is said to be so, and the rest is found."""
    found = doctor(STREAM, "-b", "tcp://127.0.0.1:80", "-b", f"unix:{short_path}/s", before_exec=as_nobody)
    assert found.code == 1, found.err
    assert found.of("addresses") == [
        ("bites", "tcp://127.0.0.1:80: not allowed"),
        ("bites", f"unix:{short_path}/s: not allowed"),
    ]
    (finding,) = [f for f in found.findings if f["measured"] == "tcp://127.0.0.1:80: not allowed"]
    assert finding["why"].startswith("a start by nobody ends with exit 4")


@needs_root
def test_an_application_is_loaded_as_the_user_of_its_unit_and_where_that_says(tmp_path: Path) -> None:
    """What that user may not read cannot be loaded."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "shop.py").write_text("from socketserver import StreamRequestHandler as Handler\n")
    unit = tmp_path / "shop.service"
    unit.write_text(f"{GOOD_UNIT}WorkingDirectory={home}\n")
    arguments = ("shop:Handler", "-b", TCP, "--unit", str(unit))
    found = doctor(*arguments, loads=True, before_exec=open_the_way)
    assert (found.code, found.of("loading")) == (0, [("fine", "shop can be loaded")])
    unit.write_text(f"{GOOD_UNIT}WorkingDirectory={home}\nUser=nobody\n")
    home.chmod(0o700)
    found = doctor(*arguments, loads=True, before_exec=open_the_way)
    assert (found.code, found.of("loading")) == (1, [("bites", "shop cannot be loaded")])


# what is asked


def test_nobody_of_that_name() -> None:
    """Exit 7, as of any command that asks an instance."""
    found = doctor("nobody-of-that-name")
    assert (found.code, found.findings) == (7, [])
    assert "no instance nobody-of-that-name runs here" in found.err


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ((STREAM,), "bind: it is not given"),
        (("shop", *NAMED), "both name an instance"),
        ((STREAM, "-b", TCP, "--unit", "/nonexistent"), "--unit: cannot read /nonexistent"),
        (("-c", "/nonexistent"), "cannot read /nonexistent"),
    ],
)
def test_what_makes_no_sense(arguments: tuple[str, ...], why: str) -> None:
    """Exit 2, and one line."""
    found = doctor(*arguments)
    assert (found.code, found.findings) == (2, [])
    assert why in found.err
    assert found.err.count("\n") == 1


def test_the_machine_alone(tmp_path: Path) -> None:
    """Where nothing is to run, and nothing runs, limits, network and machine are looked at."""
    found = doctor(cwd=tmp_path)
    assert {finding["group"] for finding in found.findings} >= {"limits", "network", "machine"}
    assert not found.of("addresses")


@pytest.mark.long
def test_a_closed_standard_output_is_no_finding(tmp_path: Path) -> None:
    """A watchdog that wants the exit code alone; nor is a closed standard error."""
    (tmp_path / "shop.py").write_text("from socketserver import StreamRequestHandler as Handler\n")
    command = [sys.executable, "-m", "prefork", "doctor", "shop:Handler", "-b", TCP]
    closing = ["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *command]
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}"}
    assert subprocess.run(closing, cwd=tmp_path, env=env, timeout=LIMIT).returncode == 0


def test_the_page_shows_what_is_found(tmp_path: Path) -> None:
    """Of an application that starts a thread: each line of the example is printed so."""
    thread = "threading.Thread(target=time.sleep, args=(60,), name='poller', daemon=True).start()"
    handler = "from socketserver import StreamRequestHandler as Handler"
    (tmp_path / "shop.py").write_text(f"import threading, time\n{thread}\n{handler}\n")
    (tmp_path / "prefork.toml").write_text('name = "shop"\n[service.shop]\ntarget = "shop:Handler"\nbind = ["fd:3"]\n')
    (tmp_path / "shop.service").write_text(GOOD_UNIT)
    page = (ROOT / "docs" / "doctor.md").read_text()
    command, *shown = page.partition("```console\n$ ")[2].partition("\n…")[0].splitlines()
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-m", *command.split()]
    done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 1
    printed = done.stdout.splitlines()
    assert len(shown) == 8
    assert [line.partition(", as user")[0] for line in printed[: len(shown)]] == [
        line.partition(", as user")[0] for line in shown
    ]
