"""A request that does not end is ended, and only that one."""

import os
import re
import signal
import socket
from pathlib import Path

import pytest

from tests.end_to_end.clients import Question, ask, endpoint
from tests.end_to_end.harness import STREAM, TCP, Application, Gate, Master, Watched, look_until, serving
from tests.end_to_end.test_idle import let_time_pass
from tests.end_to_end.test_modes import MODES, sockets_of
from tests.long import long_but

SOFT = ("--timeout", "1s", "--request-hard", "1h")  # what a busy machine needs for the next request is less

# the soft limit


def test_a_request_that_takes_too_long_is_interrupted_where_it_is(gate: Gate) -> None:
    """Its traceback is logged with peer, number and age, its client is closed, and its worker replaced in peace."""
    with serving(STREAM, "-b", TCP, "-w", "1", *SOFT) as master:
        stuck = Question(master.bind(), f"hold {gate.path}")
        host, port = stuck.socket.getsockname()
        with Watched([gate.visitor().pid]) as worker:
            assert stuck.is_lost()
            line = master.wait_for("RequestTimeout: ")
            assert re.search(rf"{host}:{port} #1 is interrupted after \d+\.\d s; its limit is 1 s", line)
            assert master.lines("in pass_gate"), "the traceback says where it was"
            master.wait_for("retires: a request exceeded its limit of 1 s")
            worker.wait_all()
        assert ask(master.bind(), "next") == "NEXT"
        assert not master.lines("is killed")


def test_a_worker_may_be_kept_after_a_timeout(gate: Gate) -> None:
    """The same process answers the next client."""
    with serving(STREAM, "-b", TCP, "-w", "1", *SOFT, "--on-timeout", "keep") as master:
        stuck = Question(master.bind(), f"hold {gate.path}")
        pid = gate.visitor().pid
        assert stuck.is_lost()
        assert int(ask(master.bind(), "pid")) == pid


def test_a_handler_may_answer_that_it_was_too_slow(gate: Gate) -> None:
    """It catches what interrupts it; nothing else does, not even where every Exception is caught."""
    with serving(STREAM, "-b", TCP, "-w", "1", *SOFT) as master:
        patient = Question(master.bind(), f"stubborn {gate.path}")
        gate.visitor()
        assert patient.answer() == "too slow"


def test_timeouts_of_workers_that_have_just_begun_are_no_crashes(gate: Gate) -> None:
    """Each of six requests in a row costs a worker, and no replacement waits."""
    with serving(STREAM, "-b", TCP, "-w", "1", *SOFT) as master:
        for _ in range(6):
            stuck = Question(master.bind(), f"hold {gate.path}")
            gate.visitor()
            assert stuck.is_lost()
        assert ask(master.bind(), "next") == "NEXT"
        assert not master.lines("failures in a row")


def name_of(connection: socket.socket) -> str:
    """As the log names it."""
    host, port = connection.getsockname()
    return f"{host}:{port}"


@pytest.mark.parametrize("mode", long_but(["sync", "thread", "fork", "hybrid"], "thread", "fork"))
def test_who_waits_for_a_silent_client_is_interrupted(mode: str) -> None:
    """In every mode: what blocks is ended, the traceback says where, the client is closed, and the next one served."""
    with serving(STREAM, "-b", TCP, *MODES[mode], *SOFT) as master:
        with endpoint(master.bind()).connect() as silent:
            peer = name_of(silent)
            assert silent.recv(1) == b""
        assert f"{peer} #1 is interrupted after " in master.wait_for("RequestTimeout: ")
        assert master.lines("self.rfile.readline()")
        assert ask(master.bind(), "next") == "NEXT"


@pytest.mark.parametrize("mode", long_but(["sync", "thread", "fork", "hybrid"], "thread", "fork"))
def test_who_never_waits_is_interrupted(mode: str, gate: Gate) -> None:
    """Three requests that compute without end, in one worker where it takes so many; all are interrupted."""
    with serving(STREAM, "-b", TCP, *MODES[mode], *SOFT) as master:
        questions = [Question(master.bind(), f"spin {gate.path}") for _ in range(3)]
        gate.visitors(3)
        assert all(question.is_lost() for question in questions)
        master.wait_for("RequestTimeout: ", count=3)
        assert ask(master.bind(), "next") == "NEXT"


@pytest.mark.parametrize("mode", ["thread", "fork"])
def test_a_worker_of_many_requests_may_be_kept_after_a_timeout(mode: str, gate: Gate) -> None:
    """The same process goes on; where it was a child that was interrupted, it does so anyway."""
    keep = () if mode == "fork" else ("--on-timeout", "keep")
    with serving(STREAM, "-b", TCP, *MODES[mode], *SOFT, *keep) as master:
        before = master.workers()
        with endpoint(master.bind()).connect() as silent:
            assert silent.recv(1) == b""
        master.wait_for("RequestTimeout: ")
        assert ask(master.bind(), "next") == "NEXT"
        assert master.workers() == before
        assert not master.lines("retires")


@pytest.mark.parametrize(
    "target", long_but(["Pooled", "Extending", "ExtendingThreads", "ExtendingChildren"], "Pooled", "ExtendingChildren")
)
def test_servers_that_handle_requests_their_own_way_are_interrupted_too(target: str) -> None:
    """A pool of threads of its own, a loop of its own: as far as handlers are called by ``finish_request``."""
    handler = ("--handler", "tests.end_to_end.targets:Handler")
    with serving(f"tests.end_to_end.targets:{target}", "-b", TCP, "-w", "1", *handler, *SOFT) as master:
        with endpoint(master.bind()).connect() as silent:
            assert silent.recv(1) == b""
        master.wait_for("RequestTimeout: ")
        assert ask(master.bind(), "next") == "NEXT"


# the slow log


@pytest.mark.parametrize("mode", long_but(["sync", "thread", "fork", "hybrid"], "thread", "fork"))
def test_a_slow_request_is_told_with_its_stack_and_goes_on(mode: str, gate: Gate) -> None:
    """Peer, number, age and where it is, in the log; then it is answered as if nothing had happened."""
    with serving(STREAM, "-b", TCP, *MODES[mode], "--request-slow", "300ms") as master:
        slow = Question(master.bind(), f"hold {gate.path}")
        visitor = gate.visitor()
        name = name_of(slow.socket)
        assert re.search(rf"it serves {name} #1 for \d+\.\d s", master.wait_for("is slow"))
        master.wait_for(" in pass_gate")
        visitor.let_pass()
        assert int(slow.answer()) == visitor.pid
        assert ask(master.bind(), "next") == "NEXT"
    assert len(master.lines(f"it serves {name} ")) == len(master.lines(" in pass_gate")) == 1


def test_stacks_of_threads_that_never_wait_are_told_without_harm(gate: Gate) -> None:
    """Two of three threads compute all the time while their stacks are read."""
    with serving(STREAM, "-b", TCP, *MODES["thread"], "--request-slow", "300ms") as master:
        for _ in range(2):
            Question(master.bind(), f"spin {gate.path}")
        gate.visitors(2)
        for round_number in range(1, 4):
            held = Question(master.bind(), f"hold {gate.path}")
            visitor = gate.visitor()
            master.wait_for(f"{name_of(held.socket)} #{2 + round_number} for ")
            master.wait_for(" in _spin", count=2 * round_number)
            visitor.let_pass()
            assert int(held.answer()) == visitor.pid
        master.kill(*master.workers().values())


def test_stacks_follow_the_log_file(gate: Gate, tmp_path: Path) -> None:
    """Moved away and opened anew, it is the new file that has them."""
    path, url = tmp_path / "log", f"unix:{gate.path}.socket"
    with Master(STREAM, "-b", url, "-w", "1", "--request-slow", "300ms", "--log-file", str(path)) as master:
        look_until(lambda: path.exists() and "generation 1 serves" in path.read_text(), "the service serves")
        path.rename(tmp_path / "old")
        master.signal(signal.SIGUSR1)
        (worker,) = master.workers().values()
        look_until(lambda: str(path) in sockets_of(worker), "the worker has opened the log anew")
        slow = Question(url, f"hold {gate.path}")
        visitor = gate.visitor()
        look_until(lambda: " in pass_gate" in path.read_text(), "the stack is in the new file")
        visitor.let_pass()
        assert int(slow.answer()) == visitor.pid


# the hard limit


@pytest.mark.parametrize("mode", long_but(["sync", "thread", "fork", "hybrid"], "thread", "fork"))
def test_before_a_worker_is_killed_its_stack_is_told(mode: str, gate: Gate) -> None:
    """Also where it is stuck in C with the interpreter's lock: no Python code could tell it there."""
    with serving(STREAM, "-b", TCP, *MODES[mode], "--request-hard", "1s") as master:
        stuck = Question(master.bind(), f"stuck-in-c {gate.path}")
        pid = gate.visitor().pid
        with Watched([pid]) as worker:
            peer = name_of(stuck.socket)
            assert f"it was serving {peer} #1 for " in master.wait_for("is told to leave at once")
            master.wait_for(" in _stuck_in_c")
            assert stuck.is_lost()
            worker.wait_all()
        assert ask(master.bind(), "next") == "NEXT"
    assert len(master.lines(" in _stuck_in_c")) == 1


def test_other_threads_of_a_worker_beyond_the_hard_limit_may_finish(gate: Gate) -> None:
    """It takes nothing new; what ends within the quick limit is answered, and then nobody needs to be killed."""
    with serving(STREAM, "-b", TCP, *MODES["thread"], "--request-hard", "1s", "--quick-timeout", "1h") as master:
        questions = [Question(master.bind(), f"hold {gate.path}") for _ in range(2)]
        visitors = gate.visitors(2)
        with Watched([visitors[0].pid]) as worker:
            master.wait_for("is told to leave at once")
            look_until(lambda: int(ask(master.bind(), "pid")) != visitors[0].pid, "it takes nothing new")
            for visitor in visitors:
                visitor.let_pass()
            assert [int(question.answer()) for question in questions] == [visitors[0].pid] * 2
            worker.wait_all()
        assert not master.lines("is killed")


def test_a_stuck_request_is_ended_and_the_log_says_whose_it_was(gate: Gate) -> None:
    """The hard limit costs the worker its life; its peer, number and age are logged, and it is replaced."""
    with serving(STREAM, "-b", TCP, "-w", "1", "--request-hard", "1s") as master:
        stuck = Question(master.bind(), f"hold {gate.path}")
        host, port = stuck.socket.getsockname()
        pid = gate.visitor().pid

        assert stuck.is_lost()

        line = master.wait_for("exceeded the hard limit of 1 s")
        assert f"[{pid}]" in line
        assert re.search(rf"{host}:{port} #1 for \d+\.\d s", line)
        assert ask(master.bind(), "next") == "NEXT"


def test_an_idle_worker_has_no_deadline(gate: Gate) -> None:
    """Its last request is longer ago than the limit, for another worker exceeded it meanwhile; it serves on."""
    with serving(STREAM, "-b", TCP, "-w", "2", "--request-hard", "1s") as master:
        workers = master.ready_workers(gate, 2)
        stuck = Question(master.bind(), f"hold {gate.path}")
        idle = workers - {gate.visitor().pid}
        assert stuck.is_lost()
        assert idle < master.ready_workers(gate, 2)


# excuses

LIMITS = ("--timeout", "1500ms", "--request-slow", "1s", "--request-hard", "3s", "--quick-timeout", "100ms")


def test_a_stopped_worker_is_not_to_blame(gate: Gate) -> None:
    """Beyond all its limits nobody interrupts or kills it; once it goes on, they begin anew, and it answers."""
    with serving(STREAM, "-b", TCP, "-w", "1", *LIMITS) as master:
        held = Question(master.bind(), f"hold {gate.path}")
        visitor = gate.visitor()
        os.kill(visitor.pid, signal.SIGSTOP)
        master.wait_for("is stopped, by a signal or a debugger")
        let_time_pass(3.0)
        visitor.let_pass()
        os.kill(visitor.pid, signal.SIGCONT)
        assert int(held.answer()) == visitor.pid
        assert visitor.pid in master.workers().values()


def test_a_stopped_worker_that_goes_on_has_its_limits_again(gate: Gate) -> None:
    """An excuse is no pardon."""
    with serving(STREAM, "-b", TCP, "-w", "1", *LIMITS) as master:
        held = Question(master.bind(), f"hold {gate.path}")
        visitor = gate.visitor()
        os.kill(visitor.pid, signal.SIGSTOP)
        master.wait_for("is stopped, by a signal or a debugger")
        os.kill(visitor.pid, signal.SIGCONT)
        master.wait_for("goes on, and its limits begin anew")
        assert held.is_lost()
        master.wait_for("RequestTimeout: ")


def test_a_master_that_was_stopped_blames_nobody(gate: Gate) -> None:
    """A request under way all the while is older than every limit, and yet it is answered."""
    with serving(STREAM, "-b", TCP, "-w", "1", *LIMITS) as master:
        os.kill(master.pid, signal.SIGSTOP)
        held = Question(master.bind(), f"hold {gate.path}")
        visitor = gate.visitor()
        let_time_pass(3.5)
        visitor.let_pass()
        os.kill(master.pid, signal.SIGCONT)
        assert int(held.answer()) == visitor.pid
        master.wait_for("the master goes on after it stood still")
        assert visitor.pid in master.workers().values()


def test_a_stopped_worker_has_its_drain_limit_when_it_goes_on(gate: Gate) -> None:
    """A graceful stop waits for it, and it answers; whoever will not wait stops quickly."""
    with serving(STREAM, "-b", TCP, "-w", "1", "--graceful-timeout", "1s") as master:
        held = Question(master.bind(), f"hold {gate.path}")
        visitor = gate.visitor()
        os.kill(visitor.pid, signal.SIGSTOP)
        master.signal(signal.SIGTERM)
        master.wait_for("is stopped, by a signal or a debugger")
        let_time_pass(1.5)
        visitor.let_pass()
        os.kill(visitor.pid, signal.SIGCONT)
        assert int(held.answer()) == visitor.pid
        master.expect_exit(0)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_worker_does_not_outlive_a_quick_stop(signum: signal.Signals, gate: Gate) -> None:
    """INT, or a second TERM, means it."""
    with serving(STREAM, "-b", TCP, "-w", "1", "--graceful-timeout", "300ms", "--quick-timeout", "300ms") as master:
        held = Question(master.bind(), f"hold {gate.path}")
        os.kill(gate.visitor().pid, signal.SIGSTOP)
        master.signal(signal.SIGTERM)
        master.wait_for("is stopped, by a signal or a debugger")
        master.signal(signum)
        assert held.is_lost()
        master.expect_exit(5)


def test_a_worker_stopped_while_it_boots_is_not_to_blame(application: Application, gate: Gate) -> None:
    """It becomes ready when it goes on."""
    application.write("1", f"apps.pass_gate({gate.path!r})")
    with Master(*application.arguments, "-b", TCP, "-w", "1", "--no-preload", "--boot-timeout", "3s") as master:
        visitor = gate.visitor()
        os.kill(visitor.pid, signal.SIGSTOP)
        master.wait_for("is stopped, by a signal or a debugger")
        let_time_pass(1.5)
        visitor.let_pass()
        os.kill(visitor.pid, signal.SIGCONT)
        master.wait_serving()
        assert int(ask(master.bind(), "pid")) == visitor.pid


# idle connections


@pytest.mark.parametrize("mode", ["sync", "thread", "fork"])
def test_a_silent_client_costs_one_line_and_no_more(mode: str) -> None:
    """Its connection is closed when the idle timeout is up; no traceback, and the worker serves on."""
    with serving(STREAM, "-b", TCP, *MODES[mode], "--idle-timeout", "300ms") as master:
        before = master.workers()
        with endpoint(master.bind()).connect() as silent:
            assert silent.recv(1) == b""
            assert name_of(silent) in master.wait_for("was silent for 0.3 s")
        assert ask(master.bind(), "next") == "NEXT"
        assert master.workers() == before
        assert not master.lines("Traceback")


def test_a_handlers_own_timeout_wins(application: Application) -> None:
    """Whatever the service has for all others."""
    application.path.write_text(application.path.read_text() + "    timeout = 0.2\n")
    with serving(*application.arguments, "-b", TCP, "--idle-timeout", "1h") as master:
        with endpoint(master.bind()).connect() as silent:
            assert silent.recv(1) == b""
        master.wait_for("was silent for 0.2 s")


def test_accepted_connections_are_kept_alive_as_configured(application: Application) -> None:
    """By what they inherit from the listener."""
    options = "self.request.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)"
    idle = "self.request.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)"
    body = f"    def answer(self, line):\n        return f'{{{options}}} {{{idle}}}\\n'.encode()\n"
    application.path.write_text("import socket\n" + application.path.read_text() + body)
    with serving(*application.arguments, "-b", TCP, "--keepalive", "90s") as master:
        assert ask(master.bind(), "options") == "1 90"
    with serving(*application.arguments, "-b", TCP) as master:
        assert ask(master.bind(), "options").startswith("0 ")
