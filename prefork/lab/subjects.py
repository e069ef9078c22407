"""A subject: one way to run a target, started for a measurement and stopped after it.

Under our master as its users start it, by ``prefork run`` with titles and scoreboard; or by a reference beside it. It
must not know loads or figures.
Invariant: whatever happens, a subject that was started is gone when its ``with`` block is left; and should we be
killed, it ends by itself, see ``leash.py``, and what it wrote is taken away by the next, see ``scratch.py``.
Read next: ``reference.py``, what runs beside our master; ``tree.py``, how nothing is left.
"""

import itertools
import json
import mmap
import os
import secrets
import select
import signal
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self

from prefork.address import Address
from prefork.binds import parse
from prefork.config.service import MODES
from prefork.control.client import ask_status, connect, find
from prefork.control.report import Report
from prefork.errors import BindError, CommandError, Exit, NoInstanceError, PreforkError, TargetError, UsageError
from prefork.lab import interrupts, leash, tree
from prefork.lab.doubts import Doubt
from prefork.lab.scratch import Scratch
from prefork.system import processes

OURS = tuple(MODES)
REFERENCES = ("bare", "stdlib-sync", "stdlib-thread", "stdlib-fork")
LINES = (*OURS, *REFERENCES)
ONE_PROCESS = ("sync", "thread", "fork", "stdlib-sync", "stdlib-thread", "stdlib-fork")
"""Lines whose workers are always one."""
DEFAULT_BIND = "tcp://127.0.0.1:0"

_START_LIMIT = 90.0  # seconds; a service that boots at all has said so by then: boot_timeout is 60 s
_STOP_LIMIT = 10.0  # seconds
_HURRY = 0.5  # seconds, likewise, where something else has gone wrong or somebody pressed ^C
_GLANCE = 0.01  # seconds from one look at what starts to the next
_ANSWER_LIMIT = 5.0  # seconds for a master to hear
_ERRORS: Mapping[int, type[PreforkError]] = {
    Exit.USAGE: UsageError,
    Exit.NOT_LOADED: TargetError,
    Exit.NOT_BOUND: BindError,
}
_numbers = itertools.count(1)


class UnfitError(CommandError):
    """This line cannot run this target; others may."""


class Home(NamedTuple):
    """Where a target lives, and what handles its requests; as the settings of these names."""

    handler: str
    chdir: str
    pythonpath: tuple[str, ...]


class Program(NamedTuple):
    """:param argv: after ``python -m``.
    :param keep: descriptors that it gets under their numbers, and that are closed here.
    """

    argv: list[str]
    keep: tuple[int, ...] = ()


class Subject(ABC):
    """See ``start``.

    :ivar url: where clients reach it.
    :ivar pid: of the root of its tree.
    :ivar name: of the instance; empty for a reference.
    :ivar boot_seconds: from its start until all its workers were ready.
    """

    def __init__(self, line: str, target: str, workers: int) -> None:
        self.line = line
        self.target = target
        self.workers = workers
        self.url = ""
        self.pid = 0
        self.name = ""
        self.boot_seconds = 0.0
        self._directory = Scratch()
        self._pidfd = -1

    @staticmethod
    def start(
        line: str,
        target: str,
        workers: int,
        *,
        bind: str = DEFAULT_BIND,
        handler: str = "",
        threads: int | None = None,
        children: int | None = None,
        chdir: str = "",
        pythonpath: Sequence[str] = (),
        extra: Sequence[str] = (),
    ) -> "Subject":
        """Start it, and wait until it serves.

        :param line: one of ``LINES``.
        :param target: ``MODULE:NAME``, as of ``prefork run``.
        :param workers: processes; of lines in ``ONE_PROCESS`` 1.
        :param bind: ``unix:`` and ``unixgram:`` alone mean a path in a directory that is gone with the subject.
        :param threads: at a time in a worker of ``thread`` and ``hybrid``; ``children`` likewise of ``fork``.
        :param extra: more arguments of ``prefork run``; references heed none of them,
            and neither the threads: the standard library's have no bound.
        :raises TargetError: the target cannot be loaded, or does not go with its bind.
        :raises UsageError: an argument is wrong.
        :raises BindError: the address cannot be had.
        :raises UnfitError: the line is not for this target.
        :raises CommandError: it did not become ready.
        """
        kind: type[Subject] = _Ours if line in OURS else _Reference
        home = Home(handler, chdir, tuple(pythonpath))
        begun = time.monotonic()
        subject = None
        try:
            with interrupts.held():
                subject = kind(line, target, workers)
                place = f"{bind}{subject._path('socket')}" if bind in ("unix:", "unixgram:") else bind
                subject._begin(subject._program(place, home, threads, children, extra))
            subject._wait_ready(begun + _START_LIMIT)
        except BaseException:
            if subject is not None:
                subject.stop(_HURRY)
            raise
        subject.boot_seconds = time.monotonic() - begun
        return subject

    def _begin(self, program: Program) -> None:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("PREFORK_")}
        argv = [sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), sys.executable, "-m", *program.argv]
        try:
            with open(self._path("output"), "wb") as output:
                self.pid = processes.spawn(argv, environ, program.keep, output.fileno())
        finally:
            for fd in program.keep:
                os.close(fd)
        self._pidfd = os.pidfd_open(self.pid)

    def _path(self, name: str) -> str:
        return os.path.join(self._directory.name, name)

    def _has_ended(self, seconds: float) -> bool:
        """Whether its root ends within so many seconds."""
        return bool(select.select([self._pidfd], [], [], max(0.0, seconds))[0])

    @abstractmethod
    def _program(
        self, bind: str, home: Home, threads: int | None, children: int | None, extra: Sequence[str]
    ) -> Program: ...

    @abstractmethod
    def _wait_ready(self, deadline: float) -> None:
        """Wait until it serves, and set ``url``."""

    @abstractmethod
    def served(self) -> dict[int, int] | None:
        """Requests that each worker has served, by what tells it from the one that takes its place; ``None`` where
        there is one, or nobody counts."""

    def status(self) -> Report | None:
        """What its master tells; ``None`` of a reference.

        :raises CommandError: it does not answer, or is gone.
        """
        return None

    def stop(self, limit: float = _STOP_LIMIT) -> list[Doubt]:
        """End it in peace, or by force where that takes too long. Again is nothing.

        :param limit: seconds.
        :returns: what speaks against its figures: that it did not end well.
        """
        if self._pidfd < 0:
            with interrupts.held():
                self._directory.cleanup()
            return []
        has_ended = False
        try:
            processes.tell(self._pidfd, signal.SIGTERM)
            has_ended = self._has_ended(limit)
        finally:
            with interrupts.held():
                killed = tree.kill(self.pid)
                ending = processes.wait(self.pid)
                processes.kill_orphaned_group(self.pid)
                os.close(self._pidfd)
                self._pidfd = -1
                doubts = self._doubts_of(ending, limit, 0 if has_ended else killed)
                self._directory.cleanup()
        return doubts

    def _doubts_of(self, ending: processes.Ending, limit: float, killed: int) -> list[Doubt]:
        if killed:
            text = f"{self.line} did not stop within {limit:g} s and was killed, {killed} processes"
            return [Doubt("stop", f"{text}; look whether a handler hangs")]
        if ending.code == Exit.STOPPED or self._is_good_end(ending):
            return []
        if ending.code == Exit.CUT_OFF:
            text = f"{self.line} cut a request off when it was stopped"
            return [Doubt("stop", f"{text}; look whether some requests take longer than the load waits for")]
        return [Doubt("stop", f"{self.line} {ending} when it was stopped ({self._last_words()}); look into its log")]

    def _is_good_end(self, ending: processes.Ending) -> bool:
        return False

    def _last_words(self) -> str:
        """What it said last, in one line."""
        lines = _read(self._path("output")).split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        self.stop(_STOP_LIMIT if kind is None else _HURRY)


def _read(path: str) -> str:
    try:
        with open(path, errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _reachable(bind: str) -> str:
    """The URL of a bind, without what only its owner needs."""
    address = parse(bind)
    return str(Address(address.scheme, address.host, address.port, address.path))


class _Ours(Subject):
    """Under our master."""

    def _program(
        self, bind: str, home: Home, threads: int | None, children: int | None, extra: Sequence[str]
    ) -> Program:
        self.name = f"lab-{os.getpid()}-{next(_numbers)}-{secrets.token_hex(3)}"
        flags = {
            "handler": home.handler,
            "chdir": home.chdir,
            "pythonpath": ",".join(home.pythonpath),
            "threads": threads if self.line in ("thread", "hybrid") else None,
            "children": children if self.line == "fork" else None,
            "workers": None if self.line in ONE_PROCESS else self.workers,
            "bind": bind,
            "mode": self.line,
            "name": self.name,
            "log-file": self._path("log"),
            "log-format": "json",
        }
        given = [f"--{flag}={value}" for flag, value in flags.items() if value not in (None, "")]
        return Program(["prefork", "run", self.target, *extra, *given])

    def _wait_ready(self, deadline: float) -> None:
        while time.monotonic() < deadline:
            if self._has_ended(_GLANCE):
                raise self._why_ended()
            try:
                report = self._ask()
            except CommandError:  # it does not listen yet
                continue
            service = report.snapshot.services[0]
            if service.phase == "healthy" and service.ready >= service.wanted:
                self.url = _reachable(service.binds[0])
                return
        raise CommandError(
            f"{self.line} of {self.target} was not ready within {_START_LIMIT:g} s: {self._last_words()}"
        )

    def _ask(self) -> Report:
        try:
            with connect(find(self.name), _ANSWER_LIMIT) as connection:
                return ask_status(connection)
        except NoInstanceError as error:
            raise CommandError(str(error)) from None

    def _why_ended(self) -> PreforkError:
        found = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOWAIT)  # it is collected when it is stopped
        code = found.si_status if found is not None and found.si_code == os.CLD_EXITED else 0
        return _ERRORS.get(code, CommandError)(self._last_words())

    def _last_words(self) -> str:
        for line in reversed(_read(self._path("log")).splitlines()):
            try:
                record = json.loads(line)
            except ValueError:  # not from the log's own hand
                continue
            if record.get("level") in ("error", "critical"):
                text = str(record["message"]).strip()
                if "\n" in text:  # of a traceback the last line says what it was
                    return f"{text.splitlines()[-1]}; prefork run {self.target} shows where"
                return text.partition(": cannot serve: ")[2] or text
        return super()._last_words().removeprefix("prefork: ")

    def status(self) -> Report | None:
        return self._ask()

    def served(self) -> dict[int, int] | None:
        workers = [worker for workers in self._ask().workers.values() for worker in workers]
        served = {worker.pid: worker.requests for worker in workers if worker.pid is not None}
        return served if len(workers) > 1 else None


class _Reference(Subject):
    """Beside our master; see ``reference.py``."""

    def _program(
        self, bind: str, home: Home, threads: int | None, children: int | None, extra: Sequence[str]
    ) -> Program:
        self._news, news = os.pipe()
        counters = os.memfd_create("counters")
        os.ftruncate(counters, self.workers * 8)
        self._counters = memoryview(mmap.mmap(counters, self.workers * 8)).cast("Q")
        wanted = {
            "line": self.line,
            "target": self.target,
            "bind": bind,
            "workers": self.workers,
            "handler": home.handler,
            "children": children,
            "chdir": home.chdir,
            "pythonpath": home.pythonpath,
            "news": news,
            "counters": counters,
        }
        return Program(["prefork.lab.reference", json.dumps(wanted)], (news, counters))

    def _wait_ready(self, deadline: float) -> None:
        with open(self._news, "rb") as news:
            select.select([news], [], [], max(0.0, deadline - time.monotonic()))
            os.set_blocking(news.fileno(), False)
            word, _, rest = (news.read() or b"").decode(errors="replace").strip().partition(" ")
        if word == "ready":
            self.url = rest
            return
        if word == "unfit":
            raise UnfitError(rest)
        if word == "unloadable":
            raise TargetError(f"{self.target}: {rest}")
        if word == "failed":
            raise BindError(rest)
        raise CommandError(f"{self.line} of {self.target} did not start: {self._last_words()}")

    def served(self) -> dict[int, int] | None:
        return dict(enumerate(self._counters)) if self.line == "bare" and self.workers > 1 else None

    def _is_good_end(self, ending: processes.Ending) -> bool:
        return ending.signal == signal.SIGKILL  # by its own hand, with its group
