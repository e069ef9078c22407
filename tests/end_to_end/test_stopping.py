"""How a service ends: what was admitted is answered, nothing new is, and the exit code tells if anybody was cut off."""

import contextlib
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.clients import LIMIT, Question, ask, endpoint, is_refused
from tests.end_to_end.harness import (
    DATAGRAM,
    ROOT,
    STREAM,
    TCP,
    UDP,
    Gate,
    Master,
    is_asleep,
    look_until,
    place,
    serving,
    target_for,
)
from tests.end_to_end.load import Load
from tests.long import long_but

STREAMS = [TCP, "tcp://[::1]:0", "unix:"]
DATAGRAMS = [UDP, "udp://[::1]:0", "unixgram:"]
QUICK_STOPS = [signal.SIGINT, signal.SIGQUIT]


@contextlib.contextmanager
def one_held(gate: Gate, url: str, *arguments: str, bind_dir: Path) -> Iterator[tuple[Master, Question]]:
    """One worker, held by a request at the gate."""
    url = place(url, bind_dir)
    with serving(target_for(url), "-b", url, "-w", "1", *arguments) as master:
        yield master, Question(master.bind(), f"hold {gate.path}")


# graceful


@pytest.mark.parametrize("url", long_but([*STREAMS, *DATAGRAMS], TCP, "unix:", "unixgram:"))
def test_an_idle_service_ends_at_once_and_leaves_nothing(url: str, short_path: Path) -> None:
    """TERM: exit 0, one line that says so, no process, no socket."""
    url = place(url, short_path)
    with serving(target_for(url), "-b", url, "-w", "3") as master:
        assert ask(master.bind(), "hello") == "HELLO"
        master.signal(signal.SIGTERM)
        master.expect_exit(0)
        master.wait_for("stopped")


@pytest.mark.parametrize("url", STREAMS)
def test_what_is_queued_is_answered_and_what_comes_later_is_refused(url: str, gate: Gate, short_path: Path) -> None:
    """At TERM the request under way and twenty connections in the queue are served to the end; new ones are refused."""
    with one_held(gate, url, bind_dir=short_path) as (master, held):
        visitor = gate.visitor()
        queued = [Question(master.bind(), f"queued {n}") for n in range(20)]
        master.signal(signal.SIGTERM)
        master.wait_for("stopping gracefully")
        # the door is shut a moment after the line: whoever still gets in is admitted, and says nothing
        look_until(lambda: is_refused(master.bind()), "new clients are refused")
        visitor.let_pass()
        assert held.answer() == str(visitor.pid)
        assert [question.answer() for question in queued] == [f"QUEUED {n}" for n in range(20)]
        master.expect_exit(0)


def test_a_cont_behind_the_term_is_no_sign_that_anybody_stood_still(gate: Gate, short_path: Path) -> None:
    """systemd and timeout(1) send one to whomever they end; without a TERM before it, it is one."""
    with one_held(gate, TCP, bind_dir=short_path) as (master, held):
        visitor = gate.visitor()
        master.signal(signal.SIGTERM)
        master.wait_for("stopping gracefully")
        master.signal(signal.SIGCONT)
        master.signal(signal.SIGUSR1)
        master.wait_for("log reopened")
        visitor.let_pass()
        assert held.answer() == str(visitor.pid)
        master.expect_exit(0)
        assert not master.lines("stood still")


@pytest.mark.parametrize("url", DATAGRAMS)
def test_queued_datagrams_are_answered(url: str, gate: Gate, short_path: Path) -> None:
    """At TERM the datagram under way and those in the socket's queue are served to the end."""
    with one_held(gate, url, bind_dir=short_path) as (master, held):
        visitor = gate.visitor()
        queued = [Question(master.bind(), f"queued {n}") for n in range(8)]
        master.signal(signal.SIGTERM)
        master.wait_for("stopping gracefully")
        visitor.let_pass()
        assert held.answer() == str(visitor.pid)
        assert [question.answer() for question in queued] == [f"QUEUED {n}" for n in range(8)]
        master.expect_exit(0)


def test_a_unix_datagram_that_comes_later_is_refused(gate: Gate, short_path: Path) -> None:
    """Once the door is shut, a sender is told so instead of being kept waiting for nothing."""
    with one_held(gate, "unixgram:", bind_dir=short_path) as (master, held):
        visitor = gate.visitor()
        with endpoint(master.bind()).connect() as sender:
            sender.setblocking(False)
            master.signal(signal.SIGTERM)
            master.wait_for("stopping gracefully")
            with pytest.raises((BrokenPipeError, ConnectionRefusedError)):
                while True:
                    with contextlib.suppress(BlockingIOError):  # the queue is full
                        sender.send(b"too late?\n")
        visitor.let_pass()
        held.answer()
        master.expect_exit(0)


def test_a_client_blocked_on_a_full_backlog_is_refused_not_forgotten(gate: Gate, short_path: Path) -> None:
    """Whoever still waits to get into a full queue at TERM is turned away; whoever is in it is served."""
    with one_held(gate, "unix:", "--backlog", "1", bind_dir=short_path) as (master, held):
        visitor = gate.visitor()
        queued = []
        while True:
            client = socket.socket(socket.AF_UNIX)
            client.setblocking(False)
            try:
                client.connect(f"{short_path}/socket")
            except BlockingIOError:
                client.close()
                break
            client.send(b"queued\n")
            queued.append(client)
        with subprocess.Popen(
            [sys.executable, "-c", _CONNECT, f"{short_path}/socket"], stdout=subprocess.PIPE, text=True
        ) as blocked:
            assert blocked.stdout is not None
            assert blocked.stdout.readline() == "connecting\n"
            look_until(lambda: is_asleep(blocked.pid), "the client is blocked")
            master.signal(signal.SIGTERM)
            master.wait_for("stopping gracefully")
            visitor.let_pass()
            held.answer()
            for client in queued:
                client.settimeout(LIMIT)
                assert client.recv(64) == b"QUEUED\n"
                client.close()
            master.expect_exit(0)
            assert blocked.stdout.read() in ("refused\n", "answered\n")


_CONNECT = """
import socket, sys
print("connecting", flush=True)
try:
    client = socket.socket(socket.AF_UNIX)
    client.connect(sys.argv[1])
    client.send(b"blocked\\n")
    print("answered" if client.recv(64) == b"BLOCKED\\n" else "lost")
except (ConnectionRefusedError, FileNotFoundError):  # woken late, it looks up a path that is no more
    print("refused")
"""


def test_term_while_booting_wins(tmp_path: Path, gate: Gate) -> None:
    """A master whose application is still importing stops at once, without waiting for the boot limit."""
    (tmp_path / "slow.py").write_text(
        f"from tests.end_to_end.apps import Stream as Handler, pass_gate\npass_gate({gate.path!r})\n"
    )
    with Master("slow:Handler", "-b", f"unix:{tmp_path}/socket", "--pythonpath", str(tmp_path)) as master:
        gate.visitor()
        master.signal(signal.SIGTERM)
        master.expect_exit(0)


def test_term_while_workers_boot_wins(tmp_path: Path, gate: Gate) -> None:
    """The same where each worker imports the application for itself."""
    (tmp_path / "slow.py").write_text(
        f"from tests.end_to_end.apps import Stream as Handler, pass_gate\npass_gate({gate.path!r})\n"
    )
    arguments = ["slow:Handler", "-b", TCP, "-w", "2", "--no-preload", "--pythonpath", str(tmp_path)]
    with Master(*arguments) as master:
        gate.visitors(2)
        master.signal(signal.SIGTERM)
        master.expect_exit(0)


def test_clients_queued_while_booting_are_served_before_a_stop(tmp_path: Path, gate: Gate) -> None:
    """A handshake completed before the first worker was ready counts like any other, if a worker gets ready in time."""
    (tmp_path / "slow.py").write_text(
        f"from tests.end_to_end.apps import Stream as Handler, pass_gate\npass_gate({gate.path!r})\n"
    )
    with Master("slow:Handler", "-b", TCP, "-w", "1", "--pythonpath", str(tmp_path)) as master:
        visitor = gate.visitor()
        question = Question(master.bind(), "early bird")
        visitor.let_pass()
        assert question.answer() == "EARLY BIRD"


def test_an_application_that_ignores_term_is_stopped(gate: Gate) -> None:
    """Our orders to a worker are not SIGTERM, so a handler that ignores that one changes nothing."""
    with serving(STREAM, "-b", TCP, "-w", "2") as master:
        for pid in master.ready_workers(gate, 2):
            assert pid
        ask(master.bind(), "ignore-term")
        master.signal(signal.SIGTERM)
        master.expect_exit(0)


# what is cut off


def test_the_drain_limit_cuts_off(gate: Gate, short_path: Path) -> None:
    """A request that does not end within the drain limit is killed, and the exit code is 5."""
    with one_held(gate, TCP, "--graceful-timeout", "300ms", bind_dir=short_path) as (master, held):
        gate.visitor()
        master.signal(signal.SIGTERM)
        assert held.is_lost()
        master.expect_exit(5)


def test_a_worker_stuck_in_c_is_cut_off(gate: Gate) -> None:
    """A handler that never lets the interpreter run again cannot delay the stop beyond the drain limit."""
    with serving(STREAM, "-b", TCP, "-w", "2", "--graceful-timeout", "300ms") as master:
        stuck = Question(master.bind(), f"stuck-in-c {gate.path}")
        gate.visitor()
        master.signal(signal.SIGTERM)
        assert stuck.is_lost()
        master.expect_exit(5)


def test_a_second_term_stops_now(gate: Gate, short_path: Path) -> None:
    """The first TERM waits for the held request, the second does not."""
    with one_held(gate, TCP, "--graceful-timeout", "1h", bind_dir=short_path) as (master, held):
        gate.visitor()
        master.signal(signal.SIGTERM)
        master.wait_for("stopping gracefully")
        master.signal(signal.SIGTERM)
        assert held.is_lost()
        master.expect_exit(5)


@pytest.mark.parametrize("signum", QUICK_STOPS)
def test_a_quick_stop_is_quick(signum: signal.Signals, gate: Gate, short_path: Path) -> None:
    """INT and QUIT leave little time, whatever the drain limit: exit 5 if that cut anybody off."""
    with one_held(gate, TCP, "--graceful-timeout", "1h", bind_dir=short_path) as (master, held):
        gate.visitor()
        master.signal(signum)
        assert held.is_lost()
        master.expect_exit(5)


@pytest.mark.parametrize("signum", QUICK_STOPS)
def test_a_quick_stop_of_an_idle_service_cuts_nobody_off(signum: signal.Signals) -> None:
    """INT and QUIT exit with 0 when everything was drained."""
    with serving(STREAM, "-b", TCP, "-w", "2", "--quick-timeout", "30s") as master:
        assert ask(master.bind(), "hello") == "HELLO"
        master.signal(signum)
        master.expect_exit(0)


@pytest.mark.parametrize("signum", QUICK_STOPS)
def test_a_quick_stop_still_answers_what_is_quick(signum: signal.Signals, gate: Gate, short_path: Path) -> None:
    """A request that ends within the quick limit is answered."""
    with one_held(gate, TCP, "--quick-timeout", "30s", bind_dir=short_path) as (master, held):
        visitor = gate.visitor()
        master.signal(signum)
        master.wait_for("stopping quickly")
        visitor.let_pass()
        assert held.answer() == str(visitor.pid)
        master.expect_exit(0)


def test_int_after_term_shortens_the_stop(gate: Gate, short_path: Path) -> None:
    """An impatient operator need not wait for the drain limit."""
    with one_held(gate, TCP, "--graceful-timeout", "1h", bind_dir=short_path) as (master, held):
        gate.visitor()
        master.signal(signal.SIGTERM)
        master.wait_for("stopping gracefully")
        master.signal(signal.SIGINT)
        assert held.is_lost()
        master.expect_exit(5)


def test_a_held_request_cut_off_counts_those_behind_it(gate: Gate, short_path: Path) -> None:
    """Connections that were still queued when the limit came are cut off as well, and the exit code says so."""
    with one_held(gate, TCP, "--graceful-timeout", "300ms", bind_dir=short_path) as (master, held):
        gate.visitor()
        queued = Question(master.bind(), "me too")
        master.signal(signal.SIGTERM)
        assert held.is_lost()
        assert queued.is_lost()
        master.expect_exit(5)


# exit codes of what never began


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "prefork", "run", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT, stdin=subprocess.DEVNULL)


MISTAKES: list[tuple[list[str], list[str]]] = [
    ([], ["TARGET"]),
    ([STREAM], ["bind"]),
    ([STREAM, "-b", "http://localhost"], ["http://localhost", "tcp:"]),
    ([STREAM, "-b", "tcp://127.0.0.1"], ["port"]),
    ([STREAM, "-b", "tls://127.0.0.1:1"], ["tls", "not in this version"]),
    ([STREAM, "-b", TCP, "-w", "-1"], ["workers", "-1"]),
    ([STREAM, "-b", TCP, "-w", "many"], ["workers", "many"]),
    ([STREAM, "-b", TCP, "--graceful-timeout", "soon"], ["graceful_timeout", "soon"]),
    ([STREAM, "-b", TCP, "--balance", "cold"], ["balance", "cold"]),
    ([STREAM, "-b", TCP, "--flavour", "mint"], ["--flavour"]),
    ([STREAM, "-b", "unix:/tmp/a.sock", "-b", "unix:/tmp/a.sock"], ["/tmp/a.sock", "twice"]),
    (["not a target", "-b", TCP], ["not a target", "MODULE:NAME"]),
    (["-c", "/nonexistent/prefork.toml"], ["/nonexistent/prefork.toml"]),
]


@pytest.mark.parametrize(("arguments", "names"), long_but(MISTAKES, *MISTAKES[::4]))
def test_a_mistake_is_one_error_and_exit_2(arguments: list[str], names: list[str]) -> None:
    """Bad usage names the field and the value, shows no traceback, and nothing was touched."""
    done = run(*arguments)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert all(name in done.stderr for name in names), done.stderr
    assert "listening on" not in done.stderr


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("[service.a]\ntarget = 'x:Y'\nbind = ['tcp://127.0.0.1:0']\nworker = 2\n", ["worker", "service.a"]),
        ("[service.a]\ntarget = 'x:Y'\nbind = ['tcp://127.0.0.1:0']\nworkers = 'two'\n", ["workers"]),
        ("[service.a]\nbind = ['tcp://127.0.0.1:0']\n", ["target"]),
        ("[service.a\n", ["TOML"]),
        ("colour = 'red'\n[service.a]\ntarget = 'x:Y'\nbind = ['tcp://127.0.0.1:0']\n", ["colour"]),
    ],
)
def test_a_mistake_in_a_file_is_one_error_and_exit_2(text: str, names: list[str], tmp_path: Path) -> None:
    """The error names the file and what is wrong in it."""
    path = tmp_path / "prefork.toml"
    path.write_text(text)
    done = run("-c", str(path))
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert all(name in done.stderr for name in [str(path), *names]), done.stderr


def test_a_taken_port_is_exit_4() -> None:
    """Somebody else listens there: the error names the address, and earlier binds are given back."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        done = run(STREAM, "-b", TCP, "-b", url)
        assert done.returncode == 4, done.stderr
        assert url in done.stderr
        assert "Traceback" not in done.stderr


def test_an_address_of_another_machine_is_exit_4() -> None:
    """An address this machine does not have."""
    done = run(STREAM, "-b", "tcp://192.0.2.1:0")
    assert done.returncode == 4, done.stderr


def test_a_living_unix_socket_is_not_stolen(short_path: Path) -> None:
    """Exit 4, and whoever lives there serves on; the paths bound before it are given back."""
    path = f"{short_path}/socket"
    with serving(STREAM, "-b", f"unix:{path}", "-w", "1") as master:
        done = run(STREAM, "-b", f"unix:{short_path}/other", "-b", f"unix:{path}")
        assert done.returncode == 4, done.stderr
        assert ask(master.bind(), "hello") == "HELLO"
        assert not (short_path / "other").exists()


def test_a_stale_unix_socket_is_replaced(short_path: Path) -> None:
    """What a killed master left behind does not keep its successor from starting."""
    path = f"{short_path}/socket"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(path)
    stale.close()
    with serving(STREAM, "-b", f"unix:{path}", "-w", "1") as master:
        assert ask(master.bind(), "hello") == "HELLO"


def test_a_path_that_is_no_socket_is_left_alone(short_path: Path) -> None:
    """A file with content is not ours to remove: exit 4."""
    (short_path / "socket").write_text("precious")
    assert run(STREAM, "-b", f"unix:{short_path}/socket").returncode == 4
    assert (short_path / "socket").read_text() == "precious"


def test_a_given_name_is_exclusive(short_path: Path) -> None:
    """A second instance of a given name is exit 6; a name that was not given is numbered instead."""
    name = f"only-{short_path.name}"
    with serving(STREAM, "-b", TCP, "-w", "1", "-n", name):
        done = run(STREAM, "-b", TCP, "-n", name)
        assert done.returncode == 6, done.stderr
        assert name in done.stderr
    with serving(STREAM, "-b", TCP, "-w", "1") as first, serving(STREAM, "-b", TCP, "-w", "1") as second:
        names = [master.processes("master")[0].name for master in (first, second)]
        assert len(set(names)) == 2


# stops under load


def stop_under_load(url: str, stops: int) -> None:
    for _ in range(stops):
        with serving(target_for(url), "-b", url, "-w", "2") as master, Load(master.bind(), clients=32) as load:
            load.wait_answered(1000)
            master.signal(signal.SIGTERM)
            master.expect_exit(0)
            outcome = load.finish(nobody_is_left=True)
            assert outcome.admitted_in_vain == 0, outcome


def stop_udp_under_load(stops: int) -> None:
    for _ in range(stops):
        with serving(DATAGRAM, "-b", UDP, "-w", "2") as master, Load(master.bind(), clients=32) as load:
            load.wait_answered(1000)
            master.signal(signal.SIGTERM)
            master.expect_exit(0)
            outcome = load.finish(nobody_is_left=True)
            assert outcome.wrong == 0, outcome


@pytest.mark.parametrize("url", long_but([TCP, "unix:", "unixgram:"], TCP, "unixgram:"))
def test_a_stop_under_saturating_load_loses_nothing(url: str, short_path: Path) -> None:
    """TERM under 32 saturating clients leaves no completed handshake, and no accepted datagram, unanswered."""
    stop_under_load(place(url, short_path), stops=2)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("url", [TCP, "unix:", "unixgram:"])
def test_ten_stops_under_saturating_load_lose_nothing(url: str, short_path: Path) -> None:
    """The same ten times."""
    stop_under_load(place(url, short_path), stops=10)


def test_a_udp_stop_under_saturating_load_ends_clean() -> None:
    """UDP tells no sender what was taken; so only: no wrong answer, everything drained, exit 0."""
    stop_udp_under_load(stops=2)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_ten_udp_stops_under_saturating_load_end_clean() -> None:
    """The same ten times."""
    stop_udp_under_load(stops=10)
