"""A real master in a process of its own, and all that a test asks of it and of the processes it started.

    with Master("tests.end_to_end.apps:Stream", "-b", "tcp://127.0.0.1:0", "-w", "2") as master:
        master.wait_serving()
        assert ask(master.bind(), "hello") == "HELLO"

It must not know the product's code, only what its users see: log lines, titles, signals, exit codes.
Invariants: whatever happens, no process of the master's session survives the ``with`` block; a test that ends well with
its master still running has ended it by TERM, and has seen it exit with 0 and leave nothing; a failure shows the log.
Read next: ``apps.py``, what the masters run; ``load.py``, the clients that count.
"""

import contextlib
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from tests.end_to_end.clients import LIMIT, Question

ROOT = Path(__file__).parents[2]
STREAM = "tests.end_to_end.apps:Stream"
DATAGRAM = "tests.end_to_end.apps:Datagram"
TCP = "tcp://127.0.0.1:0"
UDP = "udp://127.0.0.1:0"


class Process(NamedTuple):
    """A process of the master's session, as ps would show it.

    :param condition: the kernel's letter for it: ``S`` sleeps, ``Z`` is a zombie.
    :param kind: ``master``, ``mold``, ``worker`` or ``admin``; empty for what has no title of ours.
    :param state: the end of a worker's title: ``idle``, or ``busy PEER #N``; of its child ``child PEER #N``.
    """

    pid: int
    parent: int
    session: int
    condition: str
    title: str
    kind: str = ""
    name: str = ""
    service: str = ""
    slot: int = 0
    generation: int = 0
    state: str = ""

    @property
    def is_zombie(self) -> bool:
        return self.condition == "Z"


_TITLE = re.compile(
    r"prefork: (?P<kind>master|mold|worker|admin) (?P<name>[^ /]+)(?:/(?P<service>[^ ]+))?"
    r"(?: (?P<slot>\d+))?(?: g(?P<generation>\d+))?(?: (?P<state>.+))?"
)


def all_processes() -> list[Process]:
    found = [_read_process(int(entry)) for entry in os.listdir("/proc") if entry.isdigit()]
    return [process for process in found if process is not None]


def processes_of(session: int) -> list[Process]:
    """All processes of a session, zombies included. A daemon that opened a session of its own is none of them."""
    return [process for process in all_processes() if process.session == session]


def _read_process(pid: int) -> Process | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        title = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ").strip()
    except OSError:
        return None
    condition, parent, _, session, *_ = stat.rpartition(")")[2].split()
    match = _TITLE.fullmatch(title)
    if match is None:
        return Process(pid, int(parent), int(session), condition, title)
    return Process(
        pid,
        int(parent),
        int(session),
        condition,
        title,
        kind=match["kind"],
        name=match["name"],
        service=match["service"] or "",
        slot=int(match["slot"] or 0),
        generation=int(match["generation"] or 0),
        state=match["state"] or "",
    )


def look_until(is_true: Callable[[], bool], what: str) -> None:
    """Wait for a moment that nothing tells of, by looking until it has come; where something tells, wait for that."""
    deadline = time.monotonic() + LIMIT
    while not is_true():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {LIMIT:g} s: {what}")
        os.sched_yield()


def is_asleep(pid: int) -> bool:
    """Whether the process sleeps in the kernel."""
    process = _read_process(pid)
    return process is not None and process.condition == "S"


class Watched:
    """Processes whose ends can be waited for, whoever their parent is. Those that are gone already are none of them."""

    def __init__(self, pids: Iterable[int]) -> None:
        self.pidfds: dict[int, int] = {}
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                self.pidfds[pid] = os.pidfd_open(pid)

    def wait_one(self) -> int:
        """Wait until one has ended; its pid."""
        readable, _, _ = select.select(list(self.pidfds.values()), [], [], LIMIT)
        if not readable:
            raise AssertionError(f"none of the processes {sorted(self.pidfds)} ended within {LIMIT:g} s")
        return next(pid for pid, pidfd in self.pidfds.items() if pidfd in readable)

    def forget(self, pid: int) -> None:
        os.close(self.pidfds.pop(pid))

    def wait_all(self) -> None:
        while self.pidfds:
            self.forget(self.wait_one())

    def living(self) -> set[int]:
        ended, _, _ = select.select(list(self.pidfds.values()), [], [], 0)
        return {pid for pid, pidfd in self.pidfds.items() if pidfd not in ended}

    def kill(self, pid: int) -> None:
        """Kill exactly this process, also if its pid has gone to somebody else since."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfds[pid], signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for pid in list(self.pidfds):
            self.forget(pid)


class Visitor:
    """A process of the application that reached the gate, and waits there if it came to wait."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        connection.settimeout(LIMIT)
        line = b""
        while not line.endswith(b"\n"):
            part = connection.recv(4096)
            if not part:
                raise AssertionError(f"a visitor left the gate after {line!r}")
            line += part
        pid, _, self.news = line.decode().rstrip("\n").partition(" ")
        self.pid = int(pid)

    def let_pass(self) -> None:
        with contextlib.suppress(OSError):
            self._connection.sendall(b"\n")
        self._connection.close()

    def leave(self) -> None:
        """Forget it; where it still waits, it passes."""
        self._connection.close()


class Gate:
    """Where applications wait until the test lets them pass, so that no test waits for time.

    :param path: the applications are told this.
    """

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self._visitors: list[Visitor] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen(4096)
        self._listener.settimeout(LIMIT)

    def visitor(self) -> Visitor:
        """The next process that reaches the gate."""
        try:
            connection, _ = self._listener.accept()
        except TimeoutError:
            raise AssertionError(f"nobody reached the gate {self.path} within {LIMIT:g} s") from None
        visitor = Visitor(connection)
        self._visitors.append(visitor)
        return visitor

    def visitors(self, count: int) -> list[Visitor]:
        return [self.visitor() for _ in range(count)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._listener.close()
        for visitor in self._visitors:
            visitor.leave()


class Master:
    """A master, started by the command line as its users start it.

    :param arguments: what follows ``prefork run``.
    :param prefix: a command that runs the command.
    :param command: what is ``prefork``.
    :param pythonpath: where the applications of the tests are found.
    :param before_exec: called in the new process before the interpreter starts.
    :param pass_fds: descriptors it inherits, under the same numbers.
    """

    def __init__(
        self,
        *arguments: str,
        cwd: Path = ROOT,
        prefix: Sequence[str] = (),
        command: Sequence[str] = (sys.executable, "-m", "prefork"),
        pythonpath: Path = ROOT,
        before_exec: Callable[[], None] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.log: list[str] = []
        self._arguments = arguments
        self._command = [*prefix, *command, "run", *arguments]
        if "--log-level" not in arguments and "-c" not in arguments:
            self._command += ["--log-level", "debug"]
        self._cwd = cwd
        self._pythonpath = pythonpath
        self._before_exec = before_exec
        self._pass_fds = pass_fds
        self._news = threading.Condition()
        self._is_log_closed = False

    def __enter__(self) -> Self:
        # modules that tests rewrite within a second, at the same size, must not come from a stale cache
        env = {**os.environ, "PYTHONPATH": str(self._pythonpath), "PYTHONDONTWRITEBYTECODE": "1"}
        self._process = subprocess.Popen(
            self._command,
            cwd=self._cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=self._before_exec,
            pass_fds=self._pass_fds,
        )
        self.pid = self.session = self._process.pid
        self._pidfd = os.pidfd_open(self._process.pid)
        self._reader = threading.Thread(target=self._read_log, name="log reader", daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None and self.is_running():
                self.stop()
        except AssertionError as failure:
            error = failure
            raise
        finally:
            self._kill_session()
            self._process.wait()
            os.close(self._pidfd)
            self._reader.join(LIMIT)
            if not self._reader.is_alive():  # else a stray holds the log, and a close would wait for it
                assert self._process.stdout is not None
                self._process.stdout.close()
            if error is not None:
                error.add_note(self._whole_log())

    def _kill_session(self) -> None:
        while left := [process.pid for process in processes_of(self.session) if not process.is_zombie]:
            for pid in left:
                with contextlib.suppress(ProcessLookupError), Watched([pid]) as watched:
                    process = _read_process(pid)
                    if process is not None and process.session == self.session:  # the pid still is what we listed
                        watched.kill(pid)
                        watched.wait_all()

    # the log

    def _read_log(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._news:
                self.log.append(line.decode(errors="replace").rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._is_log_closed = True
            self._news.notify_all()

    def _whole_log(self) -> str:
        command = " ".join(self._command)
        return "\n".join([f"--- log of {command}", *self.log, "--- end of the log"])

    def lines(self, text: str) -> list[str]:
        """The lines so far that contain ``text``."""
        with self._news:
            return [line for line in self.log if text in line]

    def wait_for(self, text: str, count: int = 1) -> str:
        """Wait until the log has ``count`` lines that contain ``text``; the last of them. The limit is for the next."""
        known, deadline = 0, time.monotonic() + LIMIT
        with self._news:
            while True:
                found = [line for line in self.log if text in line]
                if len(found) >= count:
                    return found[count - 1]
                if len(found) > known:
                    known, deadline = len(found), time.monotonic() + LIMIT
                left = deadline - time.monotonic()
                if self._is_log_closed or left <= 0:
                    how = "the log ended" if self._is_log_closed else f"waited {LIMIT:g} s"
                    raise AssertionError(f"{how}, but {text!r} stands in {len(found)} lines of {count}")
                self._news.wait(left)

    def wait_for_end_of_log(self) -> None:
        """Wait until nobody is left who holds the master's standard error."""
        with self._news:
            if not self._news.wait_for(lambda: self._is_log_closed, LIMIT):
                raise AssertionError(f"somebody held the log after {LIMIT:g} s: {processes_of(self.session)}")

    def wait_serving(self, generation: int = 1, services: int = 1) -> None:
        """Wait until all wanted workers of a generation are ready."""
        self.wait_for(f"generation {generation} serves", count=services)

    def wait_given_up(self, generation: int) -> str:
        return self.wait_for(f"generation {generation} is given up")

    def bind(self, number: int = 0, service: str = "") -> str:
        """The URL of a bind, with the port the kernel chose."""
        text = f"{service}: listening on " if service else "listening on "
        return self.wait_for(text, count=number + 1).rpartition("listening on ")[2].split()[0]

    # processes

    def is_running(self) -> bool:
        return not select.select([self._pidfd], [], [], 0)[0]

    def signal(self, signum: int) -> None:
        os.kill(self.pid, signum)

    def exit_code(self) -> int:
        """Wait for the master's end; negative for a signal."""
        if not select.select([self._pidfd], [], [], LIMIT)[0]:
            raise AssertionError(f"the master did not end within {LIMIT:g} s")
        return self._process.wait()

    def processes(self, kind: str = "") -> list[Process]:
        return [process for process in processes_of(self.session) if not kind or process.kind == kind]

    def children(self) -> list[Process]:
        """All that hangs on the master, of whatever session."""
        return [process for process in all_processes() if process.parent == self.pid]

    def workers(self, service: str = "") -> dict[int, int]:
        """The pid in each slot."""
        workers = [p for p in self.processes("worker") if not p.state.startswith("child")]
        return {p.slot: p.pid for p in workers if service in ("", p.service)}

    def wait_idle(self) -> None:
        """Wait until every worker sleeps and calls itself idle, so that the next client finds all of them waiting.

        An answer comes a little before that moment.
        """

        def is_idle() -> bool:
            return all((p.condition, p.state) == ("S", "idle") for p in self.processes("worker"))

        look_until(is_idle, "every worker is idle")

    def mold(self) -> int:
        """The pid of the only mold. A process between mold and worker still has the mold's title."""
        (mold,) = [process for process in self.processes("mold") if process.parent == self.pid]
        return mold.pid

    def stop(self) -> None:
        """Stop as an operator does, and see that all was drained and nothing is left."""
        self.signal(signal.SIGTERM)
        self.expect_exit(0)

    def expect_exit(self, code: int) -> None:
        """The master ends with ``code``, and is the last to go."""
        got = self.exit_code()
        if got != code:
            raise AssertionError(f"the master exited with {got}, not {code}")
        self.assert_nothing_left()

    def assert_nothing_left(self) -> None:
        """No process of the session, and no socket at a path that we asked for."""
        left = [process for process in self.processes() if not process.is_zombie]
        if left:
            raise AssertionError(f"processes outlived the master: {left}")
        urls = [a for a in self._arguments if a.startswith(("unix:/", "unixgram:/"))]
        paths = [url.partition(":")[2].partition("?")[0] for url in urls]
        if existing := [path for path in paths if os.path.lexists(path)]:
            raise AssertionError(f"paths of sockets are left: {existing}")

    def kill(self, *pids: int) -> None:
        """Kill processes of the session, and wait until they have ended."""
        with Watched(pids) as watched:
            for pid in pids:
                watched.kill(pid)
            watched.wait_all()

    def hold_all(self, gate: Gate, count: int, bind: int = 0) -> tuple[list[Question], list[Visitor]]:
        """Hold ``count`` workers at once, each with a request of its own: the proof that as many are ready."""
        questions = [Question(self.bind(bind), f"hold {gate.path}") for _ in range(count)]
        visitors = gate.visitors(count)
        pids = {visitor.pid for visitor in visitors}
        if len(pids) != count:
            raise AssertionError(f"{count} requests under way in {len(pids)} processes")
        return questions, visitors

    def ready_workers(self, gate: Gate, count: int, bind: int = 0) -> set[int]:
        """Wait until ``count`` workers are ready; their pids."""
        questions, visitors = self.hold_all(gate, count, bind)
        for visitor in visitors:
            visitor.let_pass()
        for question in questions:
            question.answer()
        return {visitor.pid for visitor in visitors}


def place(url: str, directory: Path) -> str:
    """A bind of the kind of ``url``: ``unix:`` and ``unixgram:`` get a path in ``directory``."""
    return f"{url}{directory}/socket" if url.endswith(":") else url


class Application:
    """An application that the test writes, and may change under a running service.

    :param directory: its module ``shop`` lives there.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / "shop.py"
        self.arguments = ("shop:Handler", "--pythonpath", str(directory))

    def write(self, version: str, *statements: str) -> Self:
        """Its handler answers ``version`` with this one; ``statements`` stand before it in the module."""
        head = ["import os, signal, sys", "from tests.end_to_end import apps", *statements]
        body = ["class Handler(apps.Stream):", f"    version = {version!r}", ""]
        self.path.write_text("\n".join([*head, *body]))
        return self


def target_for(url: str) -> str:
    """The application that speaks to clients of this kind of bind."""
    return STREAM if url.startswith(("tcp:", "unix:")) else DATAGRAM


@contextlib.contextmanager
def serving(*arguments: str, cwd: Path = ROOT) -> Iterator[Master]:
    """A master whose first generation serves."""
    with Master(*arguments, cwd=cwd) as master:
        master.wait_serving()
        yield master
