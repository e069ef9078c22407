"""Under a service manager: what it passes is served, what it is told is true, and what it keeps outlives a master."""

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.clients import Question, ask
from tests.end_to_end.harness import STREAM, TCP, Application, Gate, Watched, look_until, target_for
from tests.end_to_end.load import Load
from tests.end_to_end.manager import Manager
from tests.long import long_but


@pytest.fixture
def manager(short_path: Path) -> Iterator[Manager]:
    with Manager(short_path) as manager:
        yield manager


@contextlib.contextmanager
def listening() -> Iterator[tuple[str, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}", listener


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


# sockets that are passed


def test_sockets_are_served_by_their_names(manager: Manager) -> None:
    """Also several of one name, in their order."""
    with listening() as (web, one), listening() as (other, two):
        passes = {"web": one.fileno(), "shop.socket": two.fileno()}
        binds = ("-b", "systemd:shop.socket", "-b", "systemd:web")
        with manager.master(STREAM, *binds, "-w", "2", passes=passes) as master:
            master.wait_serving()
            assert [ask(url, "hello") for url in (web, other)] == ["HELLO", "HELLO"]


def test_a_stop_leaves_what_was_passed_to_whoever_comes_next(manager: Manager) -> None:
    """Under load, from one master to the next, nobody is refused and nobody is lost."""
    with listening() as (url, listener), Load(url, clients=8) as load:
        for _ in range(3):
            with manager.master(STREAM, "-b", "systemd:web", "-w", "2", passes={"web": listener.fileno()}) as master:
                master.wait_serving()
                load.wait_answered(200)
                master.stop()
                assert master.lines("stopping gracefully: requests under way are finished, and who is queued waits")
        with manager.master(STREAM, "-b", "systemd:web", "-w", "2", passes={"web": listener.fileno()}):
            outcome = load.finish()
        assert (outcome.refused, outcome.lost, outcome.wrong, outcome.unanswered) == (0, 0, 0, 0), outcome


def test_what_was_passed_goes_on_through_an_upgrade(manager: Manager) -> None:
    """The next image finds it in the book, and its variables name nothing any more."""
    with (
        listening() as (url, listener),
        manager.master(STREAM, "-b", "systemd:web", "-w", "1", passes={"web": listener.fileno()}) as master,
    ):
        manager.wait_told("READY=1")
        master.signal(signal.SIGUSR2)
        manager.wait_told("RELOADING=1")
        told = manager.wait_told("READY=1", count=2)
        assert told["MAINPID"] == str(master.pid)
        assert ask(url, "hello") == "HELLO"


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (["shop.socket"], "systemd passed no such socket, but shop.socket; name it by FileDescriptorName=web"),
        ([], "systemd passed no sockets; let a socket unit start us"),
    ],
)
def test_a_socket_that_was_not_passed_is_one_line(names: list[str], why: str, manager: Manager) -> None:
    """With what was passed, and exit 4; the manager shows it too."""
    with listening() as (_, listener):
        passes = {name: listener.fileno() for name in names}
        with manager.master(STREAM, "-b", "systemd:web", passes=passes) as master:
            master.expect_exit(4)
            assert why in master.log[-1]
        assert manager.wait_told(f"STATUS={master.log[-1].removeprefix('prefork: ')}")


def test_a_socket_is_one_bind_only(manager: Manager) -> None:
    """By its name and by its number it is the same."""
    with listening() as (_, listener):
        binds = ("-b", "systemd:web", "-b", "fd:3")
        with manager.master(STREAM, *binds, passes={"web": listener.fileno()}) as master:
            master.expect_exit(4)
            assert "fd:3 is what another bind has already, by its name; leave out one of them" in master.log[-1]


def test_what_no_client_comes_to_is_refused(manager: Manager) -> None:
    """As what ListenNetlink= opens."""
    with (
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as other,
        manager.master(STREAM, "-b", "systemd:web", passes={"web": other.fileno()}) as master,
    ):
        master.expect_exit(4)
        assert "systemd:web: it is a socket, but it does not listen" in master.log[-1]


def test_a_socket_that_no_bind_names_is_said(manager: Manager) -> None:
    """It is somebody's mistake, and no reason not to serve."""
    with listening() as (_, listener), manager.master(STREAM, "-b", TCP, passes={"web": listener.fileno()}) as master:
        master.wait_serving()
        assert master.lines("systemd passed a socket named web, and no bind names it")


def test_whom_we_start_hears_nothing_of_the_manager(manager: Manager) -> None:
    """A handler that speaks to it would speak for us."""
    with listening() as (url, listener):
        passes = {"web": listener.fileno()}
        with manager.master(STREAM, "-b", "systemd:web", "-w", "1", passes=passes, watchdog=60) as master:
            master.wait_serving()
            for process in master.processes():
                text = Path(f"/proc/{process.pid}/environ").read_bytes() if process.kind != "master" else b""
                assert not [name for name in (b"NOTIFY_SOCKET", b"LISTEN_", b"WATCHDOG_") if name in text], process
            assert ask(url, "hello") == "HELLO"


# what is told


def test_ready_is_told_when_the_wanted_workers_are(manager: Manager, application: Application, gate: Gate) -> None:
    """Each waits at its start; before the last has passed nothing is ready."""
    hook = f"def wait(worker):\n    apps.pass_gate({gate.path!r})"
    application.write("1", *hook.splitlines())
    with manager.master(*application.arguments, "-b", TCP, "-w", "2", "--worker-start", "shop:wait") as master:
        first, second = gate.visitors(2)
        first.let_pass()
        manager.wait_told("STATUS=starting: 1 of 2 workers ready")
        assert not [message for message in manager.told if "READY" in message]
        second.let_pass()
        assert manager.wait_told("READY=1")["STATUS"] == "2 of 2 workers ready"
        master.stop()
        manager.wait_told("STOPPING=1")


def test_a_reload_that_fails_is_told_and_ends(manager: Manager, application: Application) -> None:
    """Whoever waits for it waits no longer; the line says why."""
    with manager.master(*application.arguments, "-b", TCP, "-w", "1") as master:
        manager.wait_told("READY=1")
        application.write("2", "import jsn")
        master.signal(signal.SIGHUP)
        assert int(manager.wait_told("RELOADING=1")["MONOTONIC_USEC"]) > 0
        status = manager.wait_told("READY=1", count=2)["STATUS"]
        why = "generation 2 was given up: ModuleNotFoundError: No module named 'jsn'"
        assert status == f"1 of 1 workers ready; {why}"
        assert ask(master.bind(), "hello") == "HELLO"


def test_a_watchdog_is_fed_by_a_loop_that_turns(manager: Manager) -> None:
    """Again and again, though nobody comes; a master that is stopped says nothing."""
    with manager.master(STREAM, "-b", TCP, "-w", "1", watchdog=0.3) as master:
        manager.wait_told("READY=1")
        manager.wait_told("WATCHDOG=1", count=5)
        master.signal(signal.SIGSTOP)
        look_until(lambda: master.processes("master")[0].condition == "T", "it is stopped")
        manager.hear()
        fed = len([message for message in manager.told if "WATCHDOG" in message])
        master.signal(signal.SIGCONT)
        manager.wait_told("WATCHDOG=1", count=fed + 1)


def test_a_long_drain_asks_for_time(manager: Manager, gate: Gate) -> None:
    """As long as it lasts; and the line says who is left."""
    with manager.master(STREAM, "-b", TCP, "-w", "1") as master:
        manager.wait_told("READY=1")
        question = Question(master.bind(), f"hold {gate.path}")
        visitor = gate.visitor()
        master.signal(signal.SIGTERM)
        told = manager.wait_told("STOPPING=1")
        assert told["EXTEND_TIMEOUT_USEC"] == "15000000"
        visitor.let_pass()
        assert question.answer()
        master.expect_exit(0)


# what is kept


@pytest.mark.parametrize("kind", long_but(["tcp", "unix"], "tcp"))
def test_a_master_that_is_killed_costs_nobody_a_refusal(kind: str, manager: Manager, short_path: Path) -> None:
    """Under load: who is served is answered, who comes waits for the next master."""
    url = f"tcp://127.0.0.1:{free_port()}" if kind == "tcp" else f"unix:{short_path}/socket"
    with contextlib.ExitStack() as masters:
        arguments = (STREAM, "-n", "kept", "-b", url, "-w", "4")
        first = masters.enter_context(manager.master(*arguments))
        manager.wait_told("READY=1")
        with Load(url, clients=8) as load:
            for count in range(2, 5):
                load.wait_answered(300)
                children = [process.pid for process in first.processes() if process.kind != "master"]
                with Watched(children) as watched:
                    first.signal(signal.SIGKILL)
                    assert first.exit_code() == -signal.SIGKILL
                    second = masters.enter_context(manager.master(*arguments))
                    manager.wait_told("READY=1", count=count)
                    watched.wait_all()
                first = second
            load.wait_answered(300)
            outcome = load.finish()
        assert (outcome.refused, outcome.lost, outcome.wrong, outcome.unanswered) == (0, 0, 0, 0), outcome
        first.stop()
        manager.hear()
        assert manager.kept == {}


def test_what_was_under_way_is_told_by_the_next_master(manager: Manager, gate: Gate) -> None:
    """Its worker has outlived its master, and finishes."""
    with manager.master(STREAM, "-n", "kept", "-b", f"tcp://127.0.0.1:{free_port()}", "-w", "1") as first:
        manager.wait_told("READY=1")
        question = Question(first.bind(), f"hold {gate.path}")
        visitor = gate.visitor()
        first.signal(signal.SIGKILL)
        assert first.exit_code() == -signal.SIGKILL
        with manager.master(STREAM, "-n", "kept", "-b", first.bind(), "-w", "1") as second:
            line = second.wait_for("the master before this one ended without a stop")
            assert f"its worker 1 [{visitor.pid}] still serves 127.0.0.1:" in line
            manager.wait_told("READY=1", count=2)
            visitor.let_pass()
            assert question.answer() == str(visitor.pid)


def test_what_the_next_master_does_not_want_is_forgotten(manager: Manager) -> None:
    """Its binds are others now: nothing listens at the old address any more."""
    with manager.master(STREAM, "-n", "kept", "-b", f"tcp://127.0.0.1:{free_port()}", "-w", "1") as first:
        manager.wait_told("READY=1")
        first.kill(*(process.pid for process in first.processes()))
        assert len(manager.kept) == 2
        before = set(manager.kept)
        with manager.master(STREAM, "-n", "kept", "-b", f"tcp://127.0.0.1:{free_port()}", "-w", "1") as second:
            manager.wait_told("READY=1", count=2)
            assert len(manager.kept) == 2
            assert len(before & set(manager.kept)) == 1  # the scoreboard
            with pytest.raises(ConnectionRefusedError):
                ask(first.bind(), "hello")
            second.stop()


def test_the_next_master_starts_as_configured(manager: Manager) -> None:
    """What was changed at run time ends with the master that was told."""
    with manager.master(STREAM, "-n", "kept", "-b", f"tcp://127.0.0.1:{free_port()}", "-w", "1") as first:
        manager.wait_told("READY=1")
        first.signal(signal.SIGTTIN)
        manager.wait_told("STATUS=2 of 2 workers ready")
        first.kill(*(process.pid for process in first.processes()))
        with manager.master(STREAM, "-n", "kept", "-b", first.bind(), "-w", "1"):
            assert manager.wait_told("READY=1", count=2)["STATUS"] == "1 of 1 workers ready"


CHANGES = {
    "wider": ("tcp://127.0.0.1:{port}", "tcp://0.0.0.0:{port}"),
    "both families": ("tcp://[::]:{port}?v6only=1", "tcp://[::]:{port}?v6only=0"),
    "mode": ("unix:{directory}/socket?mode=0600", "unix:{directory}/socket?mode=0666"),
    "wider datagrams": ("udp://127.0.0.1:{port}", "udp://0.0.0.0:{port}"),
    "mode for datagrams": ("unixgram:{directory}/socket?mode=0600", "unixgram:{directory}/socket?mode=0666"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_kept_is_in_nobodys_way(change: str, manager: Manager, short_path: Path) -> None:
    """The configuration has changed since, and the same port or path is asked for in another way."""
    port = free_port()
    before, after = (url.format(port=port, directory=short_path) for url in CHANGES[change])
    with manager.master(target_for(before), "-n", "kept", "-b", before, "-w", "1") as first:
        manager.wait_told("READY=1")
        first.kill(*(process.pid for process in first.processes()))
        with manager.master(target_for(after), "-n", "kept", "-b", after, "-w", "1") as second:
            manager.wait_told("READY=1", count=2)
            second.stop()
        manager.hear()
        assert manager.kept == {}


def test_a_socket_that_was_not_passed_is_not_among_what_was_kept(manager: Manager) -> None:
    """Its bind was another before; what a master left is none of the socket unit's names."""
    with manager.master(STREAM, "-n", "kept", "-b", f"tcp://127.0.0.1:{free_port()}", "-w", "1") as first:
        manager.wait_told("READY=1")
        first.kill(*(process.pid for process in first.processes()))
        with manager.master(STREAM, "-n", "kept", "-b", "systemd:web") as second:
            second.expect_exit(4)
            assert "systemd:web: systemd passed no sockets; let a socket unit start us" in second.log[-1]


def test_the_admin_page_comes_back_with_the_next_master(manager: Manager) -> None:
    """Its address is not taken by what is left of the last one."""
    admin = f"tcp://127.0.0.1:{free_port()}"
    arguments = (STREAM, "-n", "kept", "-b", f"tcp://127.0.0.1:{free_port()}", "-w", "1", "--admin", admin)
    with manager.master(*arguments) as first:
        first.wait_for("serves")
        manager.wait_told("READY=1")
        os.kill(first.pid, signal.SIGKILL)
        assert first.exit_code() == -signal.SIGKILL
        with manager.master(*arguments) as second:
            manager.wait_told("READY=1", count=2)
            second.wait_for("admin: process")
