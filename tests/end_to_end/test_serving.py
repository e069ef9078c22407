"""A service is reached by its binds, shows itself in ps, and one client's trouble stays with that client."""

import errno
import os
import re
import resource
import select
import signal
import socket
from pathlib import Path

import pytest

from tests.end_to_end.clients import LIMIT, Question, ask, endpoint
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
    place,
    serving,
    target_for,
)


@pytest.fixture(params=[TCP, "tcp://[::1]:0", "unix:", UDP, "udp://[::1]:0", "unixgram:"])
def bind(request: pytest.FixtureRequest, short_path: Path) -> str:
    """A bind of each kind."""
    return place(request.param, short_path)


def test_each_kind_of_bind_is_served(bind: str) -> None:
    """A line is answered over TCP and UDP of both families and over Unix sockets of both kinds."""
    with serving(target_for(bind), "-b", bind, "-w", "2") as master:
        assert [ask(master.bind(), f"hello {n}") for n in range(3)] == ["HELLO 0", "HELLO 1", "HELLO 2"]


def test_one_service_has_several_binds(short_path: Path) -> None:
    """Each worker serves every bind of its service."""
    with serving(STREAM, "-b", TCP, "-b", f"unix:{short_path}/socket", "-b", "tcp://[::1]:0", "-w", "1") as master:
        pids = {ask(master.bind(number), "pid") for number in range(3)}
        assert pids == {str(pid) for pid in master.workers().values()}


def test_clients_of_two_binds_are_served_at_once(short_path: Path, gate: Gate) -> None:
    """While one worker is held by a client of the first bind, an idle one takes the client of the second."""
    with serving(STREAM, "-b", TCP, "-b", f"unix:{short_path}/socket", "-w", "2") as master:
        for round_ in range(20):
            first, second = (Question(master.bind(number), f"hold {gate.path}") for number in range(2))
            visitors = gate.visitors(2)
            assert len({visitor.pid for visitor in visitors}) == 2, round_
            for visitor in visitors:
                visitor.let_pass()
            first.answer()
            second.answer()


def test_titles_show_who_is_who(gate: Gate) -> None:
    """ps names the master, the mold with its generation, and each worker with its slot and what it does."""
    name = f"shop-{os.getpid()}"  # a name belongs to the user of the whole machine
    with serving(STREAM, "-b", TCP, "-w", "2", "-n", name) as master:
        titles = [
            f"prefork: master {name}",
            f"prefork: mold {name}/apps g1",
            f"prefork: worker {name}/apps 1 g1 idle",
            f"prefork: worker {name}/apps 2 g1 idle",
        ]
        # the process between two forks may not be collected yet
        look_until(lambda: sorted(process.title for process in master.processes()) == titles, "each has its title")
        question = Question(master.bind(), f"hold {gate.path}")
        visitor = gate.visitor()
        host, port = question.socket.getsockname()
        (busy,) = [p for p in master.processes("worker") if p.state != "idle"]
        assert busy.pid == visitor.pid
        assert busy.state == f"busy {host}:{port} #1"
        visitor.let_pass()
        assert question.answer() == str(visitor.pid)


@pytest.mark.parametrize(
    ("titles", "workers", "idle", "busy"),
    [
        ("state", ["-w", "1"], "idle", "busy"),
        ("none", ["-w", "1"], "", ""),
        ("state", ["-w", "1", "--threads", "4"], "idle", "busy 1 of 4"),
        ("none", ["-w", "1", "--threads", "4"], "", ""),
    ],
)
def test_titles_show_as_much_as_is_asked_for(titles: str, workers: list[str], idle: str, busy: str, gate: Gate) -> None:
    """Which state a worker is in, without its client, or nothing but who it is."""
    with serving(STREAM, "-b", TCP, "--titles", titles, *workers) as master:
        question = Question(master.bind(), f"hold {gate.path}")
        visitor = gate.visitor()
        assert [process.state for process in master.processes("worker")] == [busy]
        visitor.let_pass()
        question.answer()
        look_until(lambda: [process.state for process in master.processes("worker")] == [idle], "it has ended")


def test_the_master_is_the_parent_of_all() -> None:
    """Workers hang on the master, not on the mold that forked them, and nothing is a zombie."""
    with serving(STREAM, "-b", TCP, "-w", "3") as master:

        def are_its_children() -> bool:
            family = [process for process in master.processes() if process.pid != master.pid]
            return {process.parent for process in family} == {master.pid} and not any(p.is_zombie for p in family)

        look_until(are_its_children, "the processes between two forks are collected")


def test_workers_are_apart_from_the_terminal() -> None:
    """A worker has its own process group, an empty standard input, and does not mind a terminal's signals."""
    with serving(STREAM, "-b", TCP, "-w", "1") as master:
        pid, group, stdin, ignored = ask(master.bind(), "process").split()
        assert (group, stdin, ignored) == (pid, "/dev/null", "SIGHUP,SIGINT")


def test_handlers_that_raise_cost_their_own_request_only() -> None:
    """An exception, SystemExit included, is logged; the same worker serves the next client."""
    with serving(STREAM, "-b", TCP, "-w", "1") as master:
        pid = ask(master.bind(), "pid")
        assert Question(master.bind(), "raise the alarm").is_lost()
        assert Question(master.bind(), "system-exit in peace").is_lost()
        assert ask(master.bind(), "pid") == pid
        master.wait_for("ValueError: the alarm")
        master.wait_for("SystemExit: in peace")


def test_a_client_that_resets_costs_its_own_connection_only(gate: Gate) -> None:
    """A connection reset in the queue, before its line or in the middle of a request, ends nothing but itself."""
    with serving(STREAM, "-b", TCP, "-w", "1") as master:
        pid = ask(master.bind(), "pid")
        held = Question(master.bind(), f"hold {gate.path}")
        visitor = gate.visitor()
        for line in (b"", b"half a li", b"a whole line\n"):
            client = endpoint(master.bind()).connect()
            client.send(line)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()  # with a reset
        held.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        held.socket.close()
        visitor.let_pass()
        assert ask(master.bind(), "pid") == pid


def test_descriptors_do_not_leak() -> None:
    """A worker has as many open after a hundred requests, failed ones among them, as after the first."""
    with serving(STREAM, "-b", TCP, "-w", "1") as master:
        before = ask(master.bind(), "open-files")
        for _ in range(50):
            ask(master.bind(), "hello")
            assert Question(master.bind(), "raise again").is_lost()
        assert ask(master.bind(), "open-files") == before


def test_two_services_stand_under_one_master(tmp_path: Path) -> None:
    """Each service of a file has its own binds, workers and mold."""
    name = f"shop-{os.getpid()}"
    (tmp_path / "prefork.toml").write_text(f"""
        name = "{name}"
        [service.lines]
        target = "{STREAM}"
        bind = ["{TCP}"]
        workers = 2
        [service.packets]
        target = "{DATAGRAM}"
        bind = ["{UDP}"]
        workers = 1
        """)
    with Master("-c", str(tmp_path / "prefork.toml")) as master:
        master.wait_serving(services=2)
        assert ask(master.bind(service="lines"), "hello") == "HELLO"
        assert int(ask(master.bind(service="packets"), "pid")) == master.workers("packets")[1]
        assert sorted(p.title for p in master.processes("mold")) == [
            f"prefork: mold {name}/lines g1",
            f"prefork: mold {name}/packets g1",
        ]
        assert sorted(master.workers("lines")) == [1, 2]


KINDS = [(STREAM, TCP), (DATAGRAM, UDP)]


@pytest.mark.parametrize(("target", "url"), KINDS)
def test_warm_balance_prefers_one_worker(target: str, url: str) -> None:
    """Requests that find everybody idle all go to one worker, which is warm; the others stay idle."""
    with serving(target, "-b", url, "-w", "4", "--balance", "warm") as master:
        assert len(set(pids_of_idle_requests(master, 20))) == 1


@pytest.mark.parametrize(("target", "url"), KINDS)
def test_even_balance_takes_turns(target: str, url: str) -> None:
    """Requests that find everybody idle go round: each worker gets its share."""
    with serving(target, "-b", url, "-w", "4", "--balance", "even") as master:
        pids = pids_of_idle_requests(master, 20)
        assert sorted(pids.count(pid) for pid in set(pids)) == [5, 5, 5, 5]


def pids_of_idle_requests(master: Master, count: int) -> list[str]:
    pids = []
    for _ in range(count):
        master.wait_idle()
        pids.append(ask(master.bind(), "pid"))
    return pids


def test_a_worker_out_of_descriptors_leaves_its_clients_to_others(gate: Gate) -> None:
    """Where one worker can accept nothing, another serves; the poor one says so, and serves again when it can."""
    with serving(STREAM, "-b", TCP, "-w", "2") as master:
        first, second = sorted(master.ready_workers(gate, 2))
        _forbid_descriptors(first)
        assert {ask(master.bind(), "pid") for _ in range(20)} == {str(second)}
        _allow_descriptors(first)
        assert master.ready_workers(gate, 2) == {first, second}


def test_a_client_waits_while_nobody_has_a_descriptor(gate: Gate) -> None:
    """With the only worker out of descriptors the client is neither refused nor lost, and the worker does not spin."""
    with serving(STREAM, "-b", TCP, "-w", "1") as master:
        (pid,) = master.ready_workers(gate, 1)
        _forbid_descriptors(pid)
        question = Question(master.bind(), "pid")
        assert os.strerror(errno.EMFILE) in master.wait_for("cannot accept")
        waits, cpu = _waits(pid), _cpu_ticks(pid)
        look_until(lambda: _waits(pid) >= waits + 5, "it has tried again five times")
        assert _cpu_ticks(pid) - cpu <= 5
        _allow_descriptors(pid)
        assert question.answer() == str(pid)


def test_the_master_survives_having_no_descriptor(gate: Gate) -> None:
    """A master that can open nothing cannot replace the dead; it says so, lives, and does when it can."""
    with serving(STREAM, "-b", TCP, "-w", "2") as master:
        first, second = sorted(master.ready_workers(gate, 2))
        _forbid_descriptors(master.pid)
        with Watched([first]) as victim:
            victim.kill(first)
            victim.wait_all()
        master.wait_for("cannot fork")
        assert ask(master.bind(), "pid") == str(second)
        _allow_descriptors(master.pid)
        healed = master.ready_workers(gate, 2)
        assert second in healed
        assert first not in healed


def _forbid_descriptors(pid: int) -> None:
    """No new descriptor from now on: the soft limit alone, so that it can be lifted again."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, hard))


def _allow_descriptors(pid: int) -> None:
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (min(hard, 1024), hard))


def _waits(pid: int) -> int:
    """How often the process has gone to sleep."""
    return int(re.findall(r"^voluntary_ctxt_switches:\s*(\d+)", Path(f"/proc/{pid}/status").read_text(), re.M)[0])


def _cpu_ticks(pid: int) -> int:
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return int(user) + int(system)


def test_a_signal_storm_changes_nothing_it_should_not(gate: Gate) -> None:
    """Two hundred reload, reopen and child signals as fast as they can be sent: still served, and the same number."""
    with serving(STREAM, "-b", TCP, "-w", "2") as master:
        for number in range(200):
            master.signal((signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD)[number % 3])
            if number % 20 == 0:
                assert ask(master.bind(), "still there?") == "STILL THERE?"
        master.wait_serving(generation=2)
        assert len(master.ready_workers(gate, 2)) == 2


def test_a_stopped_master_does_not_stop_the_service(gate: Gate) -> None:
    """Workers serve while the master sleeps, and its first look after waking kills nobody."""
    with serving(STREAM, "-b", TCP, "-w", "2") as master:
        before = master.ready_workers(gate, 2)
        master.signal(signal.SIGSTOP)
        try:
            assert master.ready_workers(gate, 2) == before
        finally:
            master.signal(signal.SIGCONT)
        master.signal(signal.SIGUSR1)
        master.wait_for("log reopened")
        assert master.ready_workers(gate, 2) == before


def test_an_answer_does_not_wait_for_the_master(gate: Gate) -> None:
    """A slow client holds its worker and nobody else."""
    with serving(STREAM, "-b", TCP, "-w", "2") as master:
        slow = endpoint(master.bind()).connect()
        slow.send(b"half a li")
        assert ask(master.bind(), "hello") == "HELLO"
        slow.send(b"ne\n")
        readable, _, _ = select.select([slow], [], [], LIMIT)
        assert readable
        assert slow.recv(64) == b"HALF A LINE\n"
        slow.close()


def test_threads_that_no_worker_will_have_are_named(application: Application) -> None:
    """A thread started while importing stays behind in the mold: once, in words, before anybody wonders."""
    start = "import threading; threading.Thread(target=threading.Event().wait, name='refresher', daemon=True).start()"
    application.write("1", start)
    with serving(*application.arguments, "-b", TCP, "-w", "2") as master:
        assert "refresher" in master.wait_for("do not survive a fork")
        assert sum("thread" in line for line in master.log) == 1
