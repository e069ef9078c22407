"""Preforked workers inside a program: they serve as under ``prefork run``, and the program stays its own master."""

import os
import signal
import socketserver
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import prefork
from prefork.errors import UsageError
from prefork.socketserver import PreforkingMixIn, PreforkingTCPServer
from tests.end_to_end import apps
from tests.end_to_end.clients import Question, ask, endpoint, is_refused
from tests.end_to_end.harness import ROOT, Gate, Master, Watched, look_until
from tests.end_to_end.load import Load
from tests.end_to_end.test_idle import let_time_pass

HEAD = "from tests.end_to_end.program import *"
SERVER = 'server = PreforkingTCPServer(("127.0.0.1", 0), apps.Stream, workers=2)'
SERVE = "listening(server); server.serve_forever()"
LOCAL = '("127.0.0.1", 0)'


class Program(Master):
    """A program that is its own master.

    :param lines: its statements.
    """

    def __init__(self, *lines: str) -> None:
        super().__init__()
        self._command = [sys.executable, "-c", "\n".join([HEAD, *lines])]

    def hears(self, text: str) -> None:
        self.wait_for(f"program: {text}")


def own_over(base: str) -> str:
    return f'type("Server", (PreforkingMixIn, {base}), {{}})'


# the pool


@pytest.mark.parametrize(
    ("kind", "address", "handler"),
    [
        ("PreforkingTCPServer", LOCAL, "Stream"),
        ("PreforkingTCPServer", '("::1", 0)', "Stream"),
        ("PreforkingUDPServer", LOCAL, "Datagram"),
        ("PreforkingUnixStreamServer", '"PATH"', "Stream"),
        ("PreforkingUnixDatagramServer", '"PATH"', "Datagram"),
        (own_over("socketserver.TCPServer"), LOCAL, "Stream"),
        (own_over("socketserver.UDPServer"), LOCAL, "Datagram"),
        (own_over("socketserver.UnixStreamServer"), '"PATH"', "Stream"),
    ],
)
def test_requests_are_handled_in_several_processes(
    kind: str, address: str, handler: str, gate: Gate, short_path: Path
) -> None:
    """Ours and the standard library's servers, of each kind of socket; TERM ends them well."""
    address = address.replace("PATH", str(short_path / "socket"))
    with Program(f"server = {kind}({address}, apps.{handler}, workers=2)", SERVE, "say('returned')") as program:
        url = program.bind().replace("tcp://::1:", "tcp://[::1]:")
        questions = [Question(url, f"hold {gate.path}") for _ in range(2)]
        visitors = gate.visitors(2)
        assert len({visitor.pid for visitor in visitors} - {program.pid}) == 2
        for visitor in visitors:
            visitor.let_pass()
        assert {question.answer() for question in questions} == {str(visitor.pid) for visitor in visitors}
        program.stop()
        program.hears("returned")


def test_a_worker_has_its_own_surroundings() -> None:
    """Its own process group, the null device for standard input, and no ear for the terminal's signals."""
    with Program(SERVER, SERVE) as program:
        program.wait_serving()
        pid, group, stdin, ignored = ask(program.bind(), "process").split()
        assert (group, stdin, ignored) == (pid, "/dev/null", "SIGHUP,SIGINT")
        titles = {process.title for process in program.processes("worker")}
        assert all("PreforkingTCPServer" in title for title in titles)


def test_a_killed_worker_is_replaced(gate: Gate) -> None:
    """At once, as under ``prefork run``."""
    with Program(SERVER, SERVE) as program:
        first = program.ready_workers(gate, 2)
        victim = first.pop()
        program.kill(victim)
        assert program.ready_workers(gate, 2) >= first
        program.wait_for("was killed by SIGKILL")


def test_hup_replaces_the_workers(gate: Gate) -> None:
    """By others of the same code; nobody else is replaced."""
    with Program(SERVER, SERVE) as program:
        first = program.ready_workers(gate, 2)
        with Watched(first) as before:
            program.signal(signal.SIGHUP)
            program.wait_serving(2)
            before.wait_all()
        assert not program.ready_workers(gate, 2) & first


def test_max_requests_replaces_a_worker() -> None:
    """A setting of the pool, given to the constructor."""
    server = SERVER.replace("workers=2", "workers=1, max_requests=1")
    with Program(server, SERVE) as program:
        program.wait_serving()
        first = ask(program.bind(), "pid")
        look_until(lambda: ask(program.bind(), "pid") != first, "another worker answers")


def test_max_age_and_memory_soft_replace_a_worker() -> None:
    """The same rules as under ``prefork run``, also while nobody asks for anything."""
    with Program(SERVER.replace("workers=2", 'workers=1, max_age="200ms"'), SERVE) as program:
        program.wait_for("s old", count=3)
    with Program(SERVER.replace("workers=2", 'workers=1, memory_soft="1MiB"'), SERVE) as program:
        program.wait_serving()
        first = ask(program.bind(), "pid")
        look_until(lambda: ask(program.bind(), "pid") != first, "another worker answers")
        program.wait_for("more than its memory_soft of")


@pytest.mark.parametrize("base", ["socketserver.TCPServer", "socketserver.ForkingTCPServer"])
def test_requests_are_bounded_by_request_timeout(base: str, gate: Gate) -> None:
    """By that, and not by ``timeout``, which the standard library has for the wait of ``handle_request``."""
    server = f'server = {own_over(base)}(("127.0.0.1", 0), apps.Stream, workers=1, request_timeout=LIMIT)'
    with Program(server.replace("LIMIT", '"1s"'), SERVE) as program:
        program.wait_serving()
        with endpoint(program.bind()).connect() as silent:
            assert silent.recv(1) == b""
        program.wait_for("its limit is 1 s")
        assert ask(program.bind(), "next") == "NEXT"
    with Program(server.replace("LIMIT", "None"), "server.timeout = 0.3", SERVE) as program:
        held = Question(program.bind(), f"hold {gate.path}")
        visitor = gate.visitor()
        let_time_pass(1.5)
        visitor.let_pass()
        assert int(held.answer()) == visitor.pid


def test_the_stacks_of_a_slow_request_go_where_the_program_writes_its_errors(gate: Gate) -> None:
    """To standard error."""
    with Program(SERVER.replace("workers=2", 'workers=1, request_slow="300ms"'), SERVE) as program:
        held = Question(program.bind(), f"hold {gate.path}")
        visitor = gate.visitor()
        program.wait_for(" in pass_gate")
        visitor.let_pass()
        assert int(held.answer()) == visitor.pid


def test_workers_that_never_become_ready_are_an_error() -> None:
    """After as many tries as under ``prefork run``, with a reason."""
    with Program(
        SERVER,
        "os.register_at_fork(after_in_child=lambda: os._exit(1))",
        "try: server.serve_forever()",
        "except prefork.errors.NotLoadedError as error: say('failed:', error)",
    ) as program:
        program.hears("failed: PreforkingTCPServer cannot serve: its workers died 3 times in a row")
        program.expect_exit(0)


# stopping


def test_shutdown_from_another_thread_and_serving_again(gate: Gate) -> None:
    """It returns when serving has ended; the listener is as it was, and who comes meanwhile is served by the next."""
    with Program(
        SERVER,
        f"def stop(): pass_gate({gate.path!r}); server.shutdown(); say('shut down')",
        "threading.Thread(target=stop).start()",
        SERVE,
        "say('blocking:', os.get_blocking(server.fileno()), server.socket.gettimeout())",
        f"pass_gate({gate.path!r})",
        "server.serve_forever()",
    ) as program:
        program.wait_serving()
        held = Question(program.bind(), f"hold {gate.path}")
        stop, visitor = sorted(gate.visitors(2), key=lambda visitor: visitor.pid != program.pid)
        stop.let_pass()
        program.wait_for("is retired", count=2)
        visitor.let_pass()
        assert held.answer() == str(visitor.pid)
        program.hears("shut down")
        program.hears("blocking: True None")
        again = gate.visitor()
        queued = Question(program.bind(), "hello")
        again.let_pass()
        assert queued.answer() == "HELLO"


def test_shutdown_in_a_signal_handler_of_the_program() -> None:
    """The program's own TERM handler stays in force, may call ``shutdown``, and is still there afterwards."""
    with Program(
        SERVER,
        "def stop(signum, frame): say('mine'); server.shutdown()",
        "signal.signal(signal.SIGTERM, stop)",
        SERVE,
        "say('still mine:', signal.getsignal(signal.SIGTERM) is stop)",
    ) as program:
        program.wait_serving()
        program.signal(signal.SIGTERM)
        program.hears("mine")
        program.hears("still mine: True")
        program.expect_exit(0)


def test_a_signal_that_upgrades_a_master_is_the_programs_own() -> None:
    """No other program could become this one, so USR2 means what its handler says."""
    with Program(
        SERVER, "signal.signal(signal.SIGUSR2, lambda signum, frame: (say('mine'), server.shutdown()))", SERVE
    ) as program:
        program.wait_serving()
        program.signal(signal.SIGUSR2)
        program.hears("mine")
        program.expect_exit(0)


def test_shutdown_before_serving_is_remembered() -> None:
    """``serve_forever`` then returns before anybody is forked, and the one after it serves."""
    with Program(SERVER, "server.shutdown(); server.serve_forever(); say('returned')", SERVE) as program:
        program.hears("returned")
        assert ask(program.bind(), "hello") == "HELLO"


def test_shutdown_in_a_handler_stops_the_whole_pool() -> None:
    """As it stops the server in the original; the handler's own client is answered."""
    with Program(
        "class Handler(apps.Stream):",
        "    def handle(self):",
        "        self.server.shutdown()",
        "        super().handle()",
        SERVER.replace("apps.Stream", "Handler"),
        SERVE,
        "say('returned')",
    ) as program:
        program.wait_serving()
        assert ask(program.bind(), "hello") == "HELLO"
        program.hears("returned")
        program.expect_exit(0)


def test_term_loses_nobody(gate: Gate) -> None:
    """What is under way and what is queued is answered, new clients are refused, and ``serve_forever`` returns."""
    with Program(
        SERVER.replace("workers=2", "workers=1"),
        SERVE,
        "say('returned')",
        "try: server.serve_forever()",
        "except RuntimeError as error: say('again:', error)",
    ) as program:
        held = Question(program.bind(), f"hold {gate.path}")
        visitor = gate.visitor()
        queued = [Question(program.bind(), f"client {number}") for number in range(20)]
        program.signal(signal.SIGTERM)
        look_until(lambda: is_refused(program.bind()), "new clients are refused")
        visitor.let_pass()
        assert held.answer() == str(visitor.pid)
        assert [question.answer() for question in queued] == [f"CLIENT {number}" for number in range(20)]
        program.hears("returned")
        program.hears("again: this server was stopped for good by SIGTERM")
        program.expect_exit(0)


def test_term_refuses_nobody_on_a_socket_from_elsewhere(gate: Gate, short_path: Path) -> None:
    """Whoever gave the program its socket may hold it too: workers stop accepting, and the queue waits."""
    path = short_path / "socket"
    with Program(
        'server = PreforkingUnixStreamServer("", apps.Stream, bind_and_activate=False, workers=1)',
        f"server.socket.bind({str(path)!r}); server.server_address = {str(path)!r}; server.server_activate()",
        SERVE,
        "say('returned')",
        f"pass_gate({gate.path!r})",
        "server.serve_forever()",
    ) as program:
        program.wait_for("generation 1 serves")  # its worker may serve before that
        held = Question(program.bind(), f"hold {gate.path}")
        visitor = gate.visitor()
        queued = Question(program.bind(), "hello")
        program.signal(signal.SIGTERM)
        program.wait_for("stopping gracefully: requests under way are finished")
        program.wait_for("is retired")
        visitor.let_pass()
        assert held.answer() == str(visitor.pid)
        program.hears("returned")
        gate.visitor().let_pass()
        assert queued.answer() == "HELLO"
        program.wait_for("generation 1 serves", count=2)


@pytest.mark.parametrize(
    "server",
    [
        SERVER,
        f"own = {own_over('socketserver.TCPServer')}; own.request_queue_size = 128\n"  # more than there are clients
        f"server = own({LOCAL}, apps.Stream, workers=2)",
        'server = PreforkingUnixStreamServer("PATH", apps.Stream, workers=2)',
    ],
)
def test_under_load_nobody_is_lost(server: str, gate: Gate, short_path: Path) -> None:
    """Recycling, HUP and ``shutdown`` cost nobody anything, and TERM loses nobody it has not refused.

    The standard library's queue of five would overflow: whose handshake the kernel could not finish for want of room
    believes to be connected, and TERM resets it.
    """
    server = server.replace("PATH", str(short_path / "socket")).replace("workers=2", "workers=2, max_requests=200")
    with (
        Program(
            server,
            "listening(server)",
            "def stop():",
            f"    for turn in range(3): pass_gate({gate.path!r}); server.shutdown()",
            "threading.Thread(target=stop).start()",
            "for turn in range(4): server.serve_forever(); say('returned', turn)",
        ) as program,
        Load(program.bind(), clients=16) as load,
    ):
        for turn in range(3):
            load.wait_answered(300)
            program.signal(signal.SIGHUP)
            program.wait_for("generation 2 serves", count=turn + 1)
            gate.visitor().let_pass()
            program.hears(f"returned {turn}")
        program.wait_for("generation 1 serves", count=4)
        load.wait_answered(300)
        before = load.counts()
        assert before.refused == 0, before
        program.signal(signal.SIGTERM)
        program.expect_exit(0)
        outcome = load.finish(nobody_is_left=True)
        assert outcome.admitted_in_vain == 0, outcome


def test_int_raises_keyboard_interrupt(gate: Gate) -> None:
    """After a quick stop; the listener stays open, and the program may go on with it."""
    with Program(
        SERVER.replace("workers=2", "workers=2, quick_timeout='100ms'"),
        "listening(server)",
        "try: server.serve_forever()",
        "except KeyboardInterrupt: say('interrupted')",
        "say('children:', state()['children'])",
        "server.serve_forever()",
    ) as program:
        held = Question(program.bind(), f"hold {gate.path}")
        gate.visitor()
        program.signal(signal.SIGINT)
        program.hears("interrupted")
        assert held.is_lost()
        assert program.wait_for("program: children:").endswith("children: ")
        assert ask(program.bind(), "hello") == "HELLO"


def test_a_handler_that_raises_ends_the_workers(gate: Gate) -> None:
    """``sys.exit`` in the program's own handler leaves ``serve_forever``, and nobody is left behind."""
    with Program(
        "signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(9))",
        SERVER.replace("workers=2", "workers=2, quick_timeout='100ms'"),
        SERVE,
    ) as program:
        held = Question(program.bind(), f"hold {gate.path}")
        gate.visitor()
        program.signal(signal.SIGTERM)
        program.expect_exit(9)
        assert held.is_lost()


@pytest.mark.parametrize("request_under_way", [False, True])
def test_workers_leave_a_killed_program(request_under_way: bool, gate: Gate) -> None:
    """Also where it has forked a process of its own that lives on; a request is finished first."""
    fork = f"if os.fork() == 0: pass_gate({gate.path!r}); os._exit(0)"
    with Program(
        SERVER,
        f"def fork():\n    pass_gate({gate.path!r})\n    {fork}",
        "threading.Thread(target=fork).start()",
        SERVE,
    ) as program:
        gate.visitor().let_pass()
        child = gate.visitor()
        program.wait_serving()
        held = Question(program.bind(), f"hold {gate.path}") if request_under_way else None
        visitor = gate.visitor() if held else None
        with Watched(program.workers().values()) as watched:
            program.kill(program.pid)
            if held and visitor:
                watched.forget(watched.wait_one())
                visitor.let_pass()
                assert held.answer() == str(visitor.pid)
            watched.wait_all()
        child.let_pass()


# the program is its own


def test_everything_is_as_it_was() -> None:
    """Descriptors, signal handlers, wakeup descriptor, signal mask, threads and children, after shutdown and INT."""
    with Program(
        SERVER,
        "readable, writable = os.pipe(); os.set_blocking(writable, False); signal.set_wakeup_fd(writable)",
        "signal.signal(signal.SIGTERM, lambda *_: server.shutdown())",
        "before = state()",
        SERVE,
        "say('after shutdown:', {k: v for k, v in state().items() if v != before[k]})",
        "say('heard by others:', os.read(readable, 10))",
        "try: server.serve_forever()",
        "except KeyboardInterrupt: pass",
        "say('after INT:', {k: v for k, v in state().items() if v != before[k]})",
    ) as program:
        program.wait_serving()
        program.signal(signal.SIGTERM)
        program.hears("after shutdown: {}")
        program.hears(r"heard by others: b'\x0f'")
        program.wait_for("generation 1 serves", count=2)
        program.signal(signal.SIGINT)
        program.hears("after INT: {}")
        program.expect_exit(0)


def test_the_programs_own_children_are_not_reaped(gate: Gate) -> None:
    """Those from before and those from meanwhile keep their exit codes for whoever waits for them."""
    exit_with = "subprocess.Popen([sys.executable, '-c', 'import sys; sys.exit({})'])"
    with Program(
        SERVER,
        f"before = {exit_with.format(7)}",
        "os.waitid(os.P_PID, before.pid, os.WEXITED | os.WNOWAIT)",
        "def stop():",
        f"    pass_gate({gate.path!r})",  # a worker forked in the midst of Popen would hold its pipe
        f"    during = {exit_with.format(8)}",
        "    os.waitid(os.P_PID, during.pid, os.WEXITED | os.WNOWAIT)",
        f"    pass_gate({gate.path!r})",
        "    say('during:', during.wait())",
        "    server.shutdown()",
        "threading.Thread(target=stop).start()",
        SERVE,
        "say('before:', before.wait())",
    ) as program:
        program.wait_serving()
        gate.visitor().let_pass()
        visitor = gate.visitor()
        program.kill(*program.workers().values())
        program.wait_for("is ready", count=4)
        visitor.let_pass()
        program.hears("during: 8")
        program.hears("before: 7")
        program.expect_exit(0)


def test_a_process_the_program_forks_hears_its_own_signals(gate: Gate) -> None:
    """TERM ends it by default, and not the server, whose signals it would otherwise have inherited."""
    with Program(
        SERVER,
        "def fork():",
        "    child = os.fork()",
        f"    if child == 0: pass_gate({gate.path!r}); os._exit(0)",
        "    say('child:', os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))",
        f"def fork_when_told(): pass_gate({gate.path!r}); fork()",
        "threading.Thread(target=fork_when_told).start()",
        SERVE,
    ) as program:
        program.wait_serving()
        gate.visitor().let_pass()
        os.kill(gate.visitor().pid, signal.SIGTERM)
        program.hears("child: -15")
        assert ask(program.bind(), "hello") == "HELLO"


@pytest.mark.parametrize("handler", ["signal.SIG_IGN", "lambda *_: reap_all()"])
def test_a_program_that_collects_every_child(handler: str, gate: Gate) -> None:
    """Where the kernel or the program takes our workers' ends away, they are replaced and stopped all the same."""
    with Program(
        "def reap_all():",
        "    with contextlib.suppress(ChildProcessError):",
        "        while os.waitpid(-1, os.WNOHANG)[0]: pass",
        f"signal.signal(signal.SIGCHLD, {handler})",
        SERVER,
        SERVE,
    ) as program:
        first = program.ready_workers(gate, 2)
        program.kill(*first)
        assert not program.ready_workers(gate, 2) & first


def test_serving_in_another_thread(gate: Gate) -> None:
    """Without signals: ``shutdown`` ends it, and TERM does what the program lets it do."""
    with Program(
        SERVER,
        "listening(server)",
        "before = state()",
        "thread = threading.Thread(target=server.serve_forever); server.thread = thread; thread.start()",
        f"pass_gate({gate.path!r})",
        "say('TERM is ours:', signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL)",
        "server.shutdown(); thread.join()",
        "say('after:', {k: v for k, v in state().items() if v != before[k]})",
    ) as program:
        program.wait_serving()
        visitor = gate.visitor()
        assert program.ready_workers(gate, 2)
        visitor.let_pass()
        program.hears("TERM is ours: False")
        program.hears("after: {}")
        program.expect_exit(0)


def test_threads_are_told_by_name_once(gate: Gate) -> None:
    """They do not exist in a worker; the program may know why that does no harm."""
    with Program(
        f"threading.Thread(target=pass_gate, args=[{gate.path!r}], name='poet', daemon=True).start()", SERVER, SERVE
    ) as program:
        program.wait_serving()
        assert len(program.lines("WARNING threads of this program that no worker will have: poet")) == 1
        assert not program.lines("DeprecationWarning")


def test_a_server_with_threads_is_refused() -> None:
    """What its constructor started would be missing in every worker."""
    with PreforkingTCPServer(("127.0.0.1", 0), apps.Stream) as server:
        release = threading.Event()
        server.beat = threading.Thread(target=release.wait)
        server.beat.start()
        try:
            with pytest.raises(
                UsageError, match="beat has threads already, which do not survive a fork; start them in"
            ):
                server.serve_forever()
        finally:
            release.set()
            server.beat.join()


def test_what_only_a_supervisor_needs_is_not_called() -> None:
    """No sub-reaper, no exec, no name, no look at other children: the plain path works where they are missing."""
    with Program(
        "from prefork.system import processes, sockets",
        "def missing(*_): raise AssertionError('called')",
        "processes.become_subreaper = processes.spawn = processes.peek_dead_child = sockets.hold_name = missing",
        "os.waitpid = os.posix_spawn = missing",
        SERVER,
        SERVE,
    ) as program:
        program.wait_serving()
        program.kill(*program.workers().values())
        program.wait_for("is ready", count=4)
        assert ask(program.bind(), "hello") == "HELLO"


def test_the_example_of_the_page_runs(tmp_path: Path) -> None:
    """The first one of ``docs/library.md``, on a port that is free."""
    page = (ROOT / "docs/library.md").read_text()
    example = page.partition("```python\n")[2].partition("```")[0]
    announce = "print('listening on tcp://%s:%d' % server.server_address, flush=True)"
    server = "        server.serve_forever()"
    with Program(example.replace("9000", "0").replace(server, f"        {announce}\n{server}")) as program:
        assert ask(program.bind(), "hello") == "HELLO"


# serve


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 0)])
def test_serve_ends_as_a_master_does(signum: int, code: int, short_path: Path) -> None:
    """A handler class on several binds; the exit code is returned, and paths are removed."""
    path = short_path / "socket"
    with Program(
        f"sys.exit(prefork.serve(apps.Stream, bind=['tcp://127.0.0.1:0', 'unix:{path}'], workers=2, mode='prefork'))"
    ) as program:
        program.wait_serving()
        assert ask(program.bind(0), "hello") == "HELLO"
        assert ask(program.bind(1), "hello") == "HELLO"
        program.signal(signum)
        program.expect_exit(code)
        assert not path.exists()


def test_serve_sizes_its_pool_as_a_master_does() -> None:
    """On demand too: the program itself waits for the first client."""
    sizes = "min_workers=0, max_workers=3, worker_idle_timeout='100ms'"
    with Program(f"sys.exit(prefork.serve(apps.Stream, bind='tcp://127.0.0.1:0', {sizes}))") as program:
        program.wait_serving()
        for number in (1, 2):
            assert ask(program.bind(), "hello") == "HELLO"
            program.wait_for("exited with 0", count=number)
        program.signal(signal.SIGTERM)
        program.expect_exit(0)


def test_serve_loses_nobody(gate: Gate) -> None:
    """TERM drains: under way and queued are answered, new ones refused."""
    with Program("sys.exit(prefork.serve(apps.Stream, bind='tcp://127.0.0.1:0', workers=1))") as program:
        held = Question(program.bind(), f"hold {gate.path}")
        visitor = gate.visitor()
        queued = [Question(program.bind(), f"client {number}") for number in range(20)]
        program.signal(signal.SIGTERM)
        look_until(lambda: is_refused(program.bind()), "new clients are refused")
        visitor.let_pass()
        assert held.answer() == str(visitor.pid)
        assert [question.answer() for question in queued] == [f"CLIENT {number}" for number in range(20)]
        program.expect_exit(0)


def test_serve_takes_a_server_with_its_own_socket() -> None:
    """Also one that never heard of us; its ``shutdown``, in a handler, stops the pool."""
    with Program(
        "class Handler(apps.Stream):",
        "    def handle(self):",
        "        super().handle(); self.server.shutdown()",
        'server = socketserver.TCPServer(("127.0.0.1", 0), Handler)',
        "listening(server)",
        "sys.exit(prefork.serve(server, workers=2))",
    ) as program:
        program.wait_serving()
        assert ask(program.bind(), "pid") != str(program.pid)
        program.expect_exit(0)


@pytest.mark.parametrize(
    "target",
    [
        "socketserver.ThreadingTCPServer, handler=apps.Stream",
        "lambda address: socketserver.TCPServer(address, apps.Stream)",
    ],
)
def test_serve_takes_what_makes_servers(target: str) -> None:
    """A server class with its handler, or a function: built in each worker, on the listener that the master opened."""
    with Program(f"sys.exit(prefork.serve({target}, bind='tcp://127.0.0.1:0', workers=2))") as program:
        program.wait_serving()
        assert ask(program.bind(), "hello") == "HELLO"


# mistakes


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"workers": -1}, "PreforkingTCPServer: workers: -1 is not between 0 and 4000"),
        ({"wokers": 4}, "PreforkingTCPServer: there is no setting wokers; perhaps workers"),
        ({"graceful_timeout": "soon"}, "PreforkingTCPServer: graceful_timeout: 'soon'"),
        ({"concurrency": "select"}, "PreforkingTCPServer: concurrency: 'select' is not in this version"),
    ],
)
def test_a_wrong_setting_is_one_line(settings: dict[str, Any], message: str) -> None:
    """The same lines as for a file, before a socket is opened."""
    with pytest.raises(UsageError) as raised:
        PreforkingTCPServer(("256.0.0.1", 0), apps.Stream, **settings)
    assert str(raised.value).startswith(message)


def test_a_wrong_class_attribute_is_one_line() -> None:
    """Also where the constructor of the class is not ours."""

    class Server(PreforkingMixIn, socketserver.TCPServer):
        workers = -1

        def __init__(self) -> None:
            socketserver.TCPServer.__init__(self, ("127.0.0.1", 0), apps.Stream)

    with Server() as server, pytest.raises(UsageError, match="Server: workers: -1 is not between 0 and 4000"):
        server.serve_forever()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bind": "tcp://127.0.0.1:0", "wokers": 4}, "serve: there is no setting wokers; perhaps workers"),
        ({}, "serve: bind: no address to listen on; give at least one"),
        ({"bind": "127.0.0.1:9000"}, "serve: bind: '127.0.0.1:9000' is not a bind"),
    ],
)
def test_a_mistake_in_serve_is_one_line(settings: dict[str, Any], message: str) -> None:
    """Before a socket is opened."""
    with pytest.raises(UsageError) as raised:
        prefork.serve(apps.Stream, **settings)
    assert str(raised.value).startswith(message)
