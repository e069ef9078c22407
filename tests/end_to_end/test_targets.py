"""What can be served under the master: classes, factories, loops of their own, and listeners that others opened."""

import contextlib
import itertools
import os
import signal
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.clients import LIMIT, Question, ask, endpoint
from tests.end_to_end.harness import DATAGRAM, STREAM, TCP, UDP, Gate, Master, look_until, place, serving
from tests.long import long_but

HANDLER = ("--handler", "tests.end_to_end.targets:Handler")
DATAGRAM_HANDLER = ("--handler", DATAGRAM)
LOOPS = ["Asking", "Extending", "ExtendingThreads", "ExtendingChildren", "Accepting"]


def target(name: str, *arguments: str) -> tuple[str, ...]:
    return (f"tests.end_to_end.targets:{name}", *HANDLER, *arguments)


# classes and factories


@pytest.mark.parametrize(
    ("name", "url"),
    long_but(
        [
            ("TCPServer", TCP),
            ("ThreadingTCPServer", TCP),
            ("ForkingTCPServer", TCP),
            ("UnixStreamServer", "unix:"),
            ("ThreadingUnixStreamServer", "unix:"),
            ("UDPServer", UDP),
            ("ThreadingUDPServer", UDP),
            ("ForkingUDPServer", UDP),
            ("UnixDatagramServer", "unixgram:"),
        ],
        *(("TCPServer", TCP), ("ThreadingUnixStreamServer", "unix:"), ("ForkingUDPServer", UDP)),
        *(("UnixDatagramServer", "unixgram:"),),
    ),
)
def test_a_server_class_of_the_standard_library_is_a_target(name: str, url: str, short_path: Path) -> None:
    """With a handler it is all that is needed."""
    url = place(url, short_path)
    handler = STREAM if url.startswith(("tcp:", "unix:")) else DATAGRAM
    with serving(f"socketserver:{name}", "--handler", handler, "-b", url, "-w", "2") as master:
        assert [ask(master.bind(), f"hello {n}") for n in range(5)] == [f"HELLO {n}" for n in range(5)]


@pytest.mark.parametrize(("name", "is_worker"), [("ThreadingTCPServer", True), ("ForkingTCPServer", False)])
def test_a_mix_in_says_how_requests_are_handled(name: str, is_worker: bool, gate: Gate) -> None:
    """Without a mode: two requests at a time in one worker, by threads or children."""
    with serving(f"socketserver:{name}", "--handler", STREAM, "-b", TCP, "-w", "1") as master:
        questions = [Question(master.bind(), f"hold {gate.path}") for _ in range(2)]
        visitors = gate.visitors(2)
        (worker,) = master.workers().values()
        assert [visitor.pid == worker for visitor in visitors] == [is_worker] * 2
        for visitor in visitors:
            visitor.let_pass()
        for question in questions:
            question.answer()


@pytest.mark.parametrize("name", ["ThreadingTCPServer", "ForkingTCPServer"])
def test_a_mode_overrules_the_mix_in(name: str, gate: Gate) -> None:
    """Prefork: one request at a time in each worker, in the worker itself."""
    with serving(f"socketserver:{name}", "--handler", STREAM, "-b", TCP, "--mode", "prefork", "-w", "2") as master:
        assert master.ready_workers(gate, 2) == set(master.workers().values())


def test_a_factory_is_a_target() -> None:
    """A function of an address that returns a server."""
    with serving("tests.end_to_end.targets:make", "-b", TCP, "-w", "2") as master:
        assert ask(master.bind(), "hello") == "HELLO"


@pytest.mark.parametrize("name", ["TCP", "Extending"])
def test_each_bind_has_a_server_of_its_own(name: str) -> None:
    """Each with its own address."""
    with serving(*target(name), "-b", TCP, "-b", TCP, "-w", "2") as master:
        for number in range(2):
            url = master.bind(number)
            assert ask(url, "address") == str(endpoint(url).address)


UNFIT = [
    (("tests.end_to_end.targets:instance", "-b", TCP), "is a server instance"),
    (("tests.end_to_end.targets:NUMBER", "-b", TCP), "is nothing to serve"),
    (("tests.end_to_end.targets:missing", "-b", TCP), "has no 'missing'"),
    (("tests.end_to_end.missing:missing", "-b", TCP), "no module named"),
    (("tests.end_to_end.targets:TCP", "-b", TCP), "give --handler MODULE:CLASS"),
    (("tests.end_to_end.targets:TCP", "--handler", "tests.end_to_end.targets:NUMBER", "-b", TCP), "is not a class"),
    (("tests.end_to_end.targets:TCP", *HANDLER, "-b", UDP), "cannot serve datagrams"),
    (("tests.end_to_end.targets:Datagrams", *DATAGRAM_HANDLER, "-b", TCP), "cannot serve streams"),
    (("tests.end_to_end.targets:TCP", *HANDLER, "-b", "none"), "needs an address"),
    ((STREAM, *HANDLER, "-b", TCP), "leave --handler"),
    ((STREAM, "-b", TCP, "--worker-start", "tests.end_to_end.targets:NUMBER"), "is not a function"),
    (("tests.end_to_end.targets:ignore", "-b", TCP), "let it bind to the address that it is given"),
    (("tests.end_to_end.targets:make_nothing", "-b", TCP), "let it return a server"),
]


@pytest.mark.parametrize(("arguments", "reason"), long_but(UNFIT, *UNFIT[::4]))
def test_an_unfit_target_is_one_line_and_exit_3(arguments: tuple[str, ...], reason: str) -> None:
    """What it is and what to try, no traceback, and nothing is left."""
    with Master(*arguments) as master:
        master.expect_exit(3)
        assert "cannot serve" in master.wait_for(reason)
        assert not master.lines("Traceback")


# process_request of their own


def test_a_server_with_a_pool_of_its_own_keeps_it(gate: Gate) -> None:
    """Three requests at a time in one worker; a stop finishes them."""
    with serving(*target("Pooled"), "-b", TCP, "-w", "1") as master:
        questions = [Question(master.bind(), f"hold {gate.path}") for _ in range(3)]
        visitors = gate.visitors(3)
        assert {visitor.pid for visitor in visitors} == set(master.workers().values())
        assert len({visitor.news for visitor in visitors}) == 3
        master.signal(signal.SIGTERM)
        for visitor in visitors:
            visitor.let_pass()
        for question in questions:
            question.answer()
        master.expect_exit(0)


def test_a_request_that_its_server_lets_go_of_is_over(gate: Gate) -> None:
    """It is closed when nobody has it any more; a hundred of them leave room for the next, and a stop waits for one."""
    with serving(*target("LettingGo"), "-b", TCP, "-w", "1", "--threads", "3") as master:
        for number in range(100):
            with endpoint(master.bind()).connect() as client:
                client.sendall(f"hello {number}\n".encode())
                assert client.makefile("rb").read() == f"HELLO {number}\n".encode()
        held = Question(master.bind(), f"hold {gate.path}")
        visitor = gate.visitor()
        master.signal(signal.SIGTERM)
        master.wait_for("stopping gracefully")
        visitor.let_pass()
        assert held.answer() == str(visitor.pid)
        master.expect_exit(0)


def test_a_datagram_is_over_when_its_handler_is() -> None:
    """There is nothing to close, so nobody need do it."""
    name = "tests.end_to_end.targets:LettingDatagramsGo"
    with serving(name, *DATAGRAM_HANDLER, "-b", UDP, "-w", "1", "--threads", "3") as master:
        assert [ask(master.bind(), f"hello {n}") for n in range(100)] == [f"HELLO {n}" for n in range(100)]


# loops of their own


@pytest.mark.parametrize(
    ("name", "binds"), long_but(itertools.product(LOOPS, [1, 2]), ("Asking", 1), *((name, 2) for name in LOOPS))
)
def test_a_loop_of_its_own_serves_reloads_and_stops(name: str, binds: int) -> None:
    """It serves more requests than a worker has room for at a time, and an idle one leaves at once."""
    arguments = ("--graceful-timeout", "1h", "--threads", "3", "--children", "3")
    with serving(*target(name), *["-b", TCP] * binds, "-w", "2", *arguments) as master:
        for number in range(20):
            assert ask(master.bind(number % binds), f"hello {number}") == f"HELLO {number}"
        master.signal(signal.SIGHUP)
        master.wait_serving(generation=2)
        look_until(lambda: {p.generation for p in master.processes("worker")} == {2}, "the old workers have left")
        assert ask(master.bind(), "still there?") == "STILL THERE?"


@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_of_its_own_finishes_what_it_has(name: str, gate: Gate) -> None:
    """At TERM the request under way is answered, and so is the one in the queue."""
    with serving(*target(name), "-b", TCP, "-w", "1") as master:
        held = Question(master.bind(), f"hold {gate.path}")
        visitor = gate.visitor()
        late = Question(master.bind(), "late")
        master.signal(signal.SIGTERM)
        master.wait_for("stopping gracefully")
        visitor.let_pass()
        assert held.answer() == str(visitor.pid)
        assert late.answer() == "LATE"
        master.expect_exit(0)


@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_of_its_own_hears_of_a_stop_that_came_before_it_began(
    name: str, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TERM while the only worker boots and a client waits: the client is served, and the worker leaves."""
    monkeypatch.setenv("GATE", gate.path)
    hook = ("--worker-start", "tests.end_to_end.hooks:wait", "--graceful-timeout", "1h")
    with Master(*target(name), "-b", TCP, "-w", "1", *hook) as master:
        booting = gate.visitor()
        question = Question(master.bind(), "early")
        master.signal(signal.SIGTERM)
        master.wait_for("is retired")
        booting.let_pass()
        assert question.answer() == "EARLY"
        master.expect_exit(0)


def test_a_loop_of_its_own_may_have_more_requests_than_a_worker_has_room_for() -> None:
    """One that alone closes what it collects is not made to wait for that."""
    with serving(*target("Collecting"), "-b", TCP, "-w", "1", "--threads", "3") as master:
        questions = [Question(master.bind(), f"hello {n}") for n in range(100)]
        assert [question.answer() for question in questions] == [f"HELLO {n}" for n in range(100)]


def test_a_loop_that_ends_takes_its_worker_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker does not go on with half of its addresses: it is replaced."""
    broken = tmp_path / "broken"
    monkeypatch.setenv("BROKEN", str(broken))
    with serving(*target("Ending"), "-b", TCP, "-b", TCP, "-w", "1") as master:
        assert ask(master.bind(1), "hello") == "HELLO"
        broken.touch()
        master.kill(master.workers()[1])
        master.wait_for("this loop does not work")
        broken.unlink()
        assert ask(master.bind(1), "hello") == "HELLO"


# what servers override


@pytest.mark.parametrize("name", ["Polite", "PoliteThreads"])
def test_a_long_request_hears_of_the_stop(name: str, gate: Gate) -> None:
    """The server's own shutdown is called at TERM, while its handler runs."""
    with serving(*target(name), "-b", TCP, "-w", "2") as master:
        question = Question(master.bind(), f"until-stopped {gate.path}")
        gate.visitor()
        master.signal(signal.SIGTERM)
        assert question.answer() == "stopped politely"
        master.expect_exit(0)


@pytest.mark.parametrize("name", ["TCP", "Polite", "PoliteThreads"])
def test_a_handler_that_calls_shutdown_gets_on(name: str) -> None:
    """Its worker's life is the master's affair; the call returns."""
    with serving(*target(name), "-b", TCP, "-w", "1") as master:
        assert ask(master.bind(), "shutdown") == "shut down"
        assert ask(master.bind(), "hello") == "HELLO"


def test_service_actions_are_called_now_and_then(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where nobody comes."""
    monkeypatch.setenv("GATE", gate.path)
    with serving(*target("Acting"), "-b", TCP, "-w", "1"):
        for visitor in gate.visitors(3):
            visitor.let_pass()


def test_service_actions_that_fail_cost_no_request(gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker ends with the traceback, but not before its threads have finished."""
    broken = tmp_path / "broken"
    monkeypatch.setenv("BROKEN", str(broken))
    with serving(*target("ActingBadly"), "-b", TCP, "-w", "1") as master:
        held = Question(master.bind(), f"hold {gate.path}")
        visitor = gate.visitor()
        broken.touch()
        master.wait_for("RuntimeError: the action failed")
        broken.unlink()
        visitor.let_pass()
        assert held.answer() == str(visitor.pid)
        assert int(ask(master.bind(), "pid")) != visitor.pid


def test_who_is_not_let_in_is_closed() -> None:
    """A verify_request that says no, and a get_request that raises, cost one connection each."""
    with serving(*target("Picky"), "-b", TCP, "-w", "1") as master:
        workers = master.workers()
        assert Question(master.bind(), "no").is_lost()
        assert Question(master.bind(), "bad").is_lost()
        master.wait_for("a bad client")
        assert ask(master.bind(), "yes") == "YES"
        assert master.workers() == workers


@pytest.mark.parametrize("mode", ["prefork", "thread", "fork"])
def test_a_handle_error_that_exits_costs_the_request(mode: str) -> None:
    """It ends the request and not the worker."""
    with serving(*target("Exiting"), "-b", TCP, "--mode", mode) as master:
        workers = master.workers()
        assert Question(master.bind(), "raise oh dear").is_lost()
        master.wait_for("this server gives up")
        assert ask(master.bind(), "hello") == "HELLO"
        assert master.workers() == workers


def test_a_name_of_its_own_stays_its_own() -> None:
    """The badge does not replace an attribute that the application has."""
    with serving(*target("Employing"), "-b", TCP, "-w", "1") as master:
        assert ask(master.bind(), "worker") == "its own"


@pytest.mark.parametrize("mode", ["prefork", "fork"])
def test_an_application_that_ignores_the_ends_of_children_is_served(mode: str, tmp_path: Path) -> None:
    """SIGCHLD is ignored by those who never want to wait for theirs."""
    (tmp_path / "careless.py").write_text(
        "import signal\nfrom tests.end_to_end.apps import Stream\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
    )
    with serving("careless:Stream", "--pythonpath", str(tmp_path), "-b", TCP, "--mode", mode) as master:
        workers = master.workers()
        assert [ask(master.bind(), f"hello {n}") for n in range(5)] == [f"HELLO {n}" for n in range(5)]
        assert master.workers() == workers


# work without an address


def rows(path: Path) -> list[tuple[str, str]]:
    with contextlib.closing(sqlite3.connect(path)) as database:
        return database.execute("SELECT number, state FROM rows ORDER BY id").fetchall()


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A database of the example, and its module made impatient and slow: rows wait at the gate that they name."""
    path = tmp_path / "rows.sqlite"
    monkeypatch.setenv("ROWS", str(path))
    module = """
import os
from examples import rows
from examples.rows import Factors, Rows
from tests.end_to_end.apps import pass_gate
from tests.long import long_but

rows.LEASE = 0.0


class Gated(Factors):
    def handle(self):
        pass_gate(os.environ["GATE"])
        super().handle()
"""
    (tmp_path / "work.py").write_text(module)
    return path


@pytest.mark.parametrize("mode", ["prefork", "thread", "fork"])
def test_rows_without_an_address_get_done(mode: str, table: Path) -> None:
    """Ten rows, whoever does them; then TERM, and nothing is left taken."""
    from examples.rows import add

    add([str(number) for number in range(10, 20)], str(table))
    with serving("examples.rows:Rows", "--bind", "none", "--mode", mode) as master:
        look_until(lambda: {state for _, state in rows(table)} == {"done"}, "all rows are done")
        master.stop()


def test_the_row_of_a_killed_worker_is_taken_again(table: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its replacement; and a stop finishes the row under way."""
    from examples.rows import add

    monkeypatch.setenv("GATE", gate.path)
    add(["12"], str(table))
    arguments = ("--handler", "work:Gated", "--pythonpath", str(table.parent))
    with serving("work:Rows", *arguments, "--bind", "none", "-w", "1") as master:
        first = gate.visitor()
        master.kill(first.pid)
        second = gate.visitor()
        assert second.pid != first.pid
        master.signal(signal.SIGTERM)
        master.wait_for("stopping gracefully")
        second.let_pass()
        master.expect_exit(0)
    assert rows(table) == [("12", "done")]


# listeners that others opened


@contextlib.contextmanager
def opened(url: str, directory: Path) -> Iterator[tuple[socket.socket, str]]:
    """A listener of the test's own, and its URL for clients."""
    place_of_it = endpoint(place(url, directory))
    with socket.socket(place_of_it.family, place_of_it.kind) as listener:
        listener.bind(place_of_it.address)
        if place_of_it.is_stream:
            listener.listen(64)
        name = listener.getsockname()
        yield listener, f"{url}{name}" if isinstance(name, str) else f"{url.partition(':')[0]}://{name[0]}:{name[1]}"


@pytest.mark.parametrize(
    ("url", "mode"),
    long_but(
        itertools.product([TCP, UDP, "unix:", "unixgram:"], ["prefork", "thread", "fork"]),
        *((TCP, "prefork"), (UDP, "fork"), ("unix:", "thread"), ("unixgram:", "prefork")),
    ),
)
def test_a_listener_that_was_inherited_is_served(url: str, mode: str, short_path: Path) -> None:
    """By its number, whatever kind it is of; the file of a Unix socket is left to whoever made it."""
    with opened(url, short_path) as (listener, address):
        handler = STREAM if url in (TCP, "unix:") else DATAGRAM
        fd = listener.fileno()
        with Master(handler, "-b", f"fd:{fd}", "--mode", mode, pass_fds=[fd]) as master:
            master.wait_serving()
            assert ask(address, "hello") == "HELLO"
            master.stop()
        if not address.startswith(("tcp", "udp")):
            assert os.path.exists(endpoint(address).address)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("url", "mode"),
    long_but(
        itertools.product([TCP, "unix:"], ["prefork", "thread", "fork"]),
        *((TCP, "prefork"), ("unix:", "thread"), (TCP, "fork")),
    ),
)
def test_a_stop_leaves_the_queue_of_an_inherited_listener_to_the_next(
    url: str, mode: str, gate: Gate, short_path: Path
) -> None:
    """Nobody is refused or reset: who comes after the stop is served by the other who holds the socket."""
    with opened(url, short_path) as (listener, address):
        fd = listener.fileno()
        with Master(STREAM, "-b", f"fd:{fd}", "--mode", mode, "-w", "1", pass_fds=[fd]) as master:
            master.wait_serving()
            held = Question(address, f"hold {gate.path}")
            visitor = gate.visitor()
            master.signal(signal.SIGTERM)
            master.wait_for("is retired")
            if mode != "prefork":  # its loop is not held, and may take one more before it has heard
                look_until(lambda: "retiring" in {p.state for p in master.processes("worker")}, "the worker leaves")
            late = Question(address, "late")
            visitor.let_pass()
            assert held.answer() == str(visitor.pid)
            master.expect_exit(0)
        listener.settimeout(LIMIT)
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(64) == b"late\n"
            connection.sendall(b"by the next\n")
        assert late.answer() == "by the next"


@pytest.mark.parametrize(("url", "handler", "wrong"), [(UDP, STREAM, "datagrams"), (TCP, DATAGRAM, "streams")])
def test_an_inherited_listener_of_the_other_kind_is_one_line_and_exit_3(
    url: str, handler: str, wrong: str, short_path: Path
) -> None:
    """Its URL does not say of what kind it is; it is asked before anybody is served."""
    with opened(url, short_path) as (listener, _):
        fd = listener.fileno()
        with Master(handler, "-b", f"fd:{fd}", pass_fds=[fd]) as master:
            master.wait_for_end_of_log()
            assert master.lines(f"cannot serve {wrong} with")
            master.expect_exit(3)


@pytest.mark.parametrize("what", ["closed", "file", "not listening"])
def test_a_number_that_is_no_listener_is_one_line_and_exit_4(what: str, tmp_path: Path) -> None:
    """With what to try."""
    with contextlib.ExitStack() as resources:
        pass_fds = []
        if what == "file":
            pass_fds = [resources.enter_context((tmp_path / "file").open("w")).fileno()]
        elif what == "not listening":
            pass_fds = [resources.enter_context(socket.socket()).fileno()]
        fd = pass_fds[0] if pass_fds else 777
        with Master(STREAM, "-b", f"fd:{fd}", pass_fds=pass_fds) as master:
            master.wait_for_end_of_log()
            assert f"cannot listen on fd:{fd}" in master.log[-1]
            assert len(master.log) == 1
            master.expect_exit(4)
