"""What is on: one master with a service of every kind, and the load on each of them.

It must not know any fault. Invariant: whatever is done to be undone is undone before the curtain.
Read next: ``faults.py``, what is done to it.
"""

import contextlib
import functools
import heapq
import itertools
import json
import os
import random
import re
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Self

from tests.end_to_end.clients import LIMIT, Endpoint, endpoint
from tests.end_to_end.harness import DATAGRAM, ROOT, STREAM, TCP, UDP, Application, Gate, Master
from tests.end_to_end.load import Load

SHOP = "shop"  # the service whose code is deployed anew
CLIENTS = 3  # a service
SAMPLES = 20
WELL_WITHIN = 120.0  # seconds; only a failure ever waits so long
Undo = Callable[[], None]


class Kind(NamedTuple):
    """One service.

    :param at_once: requests that die with a worker at most: those of its children outlive it.
    :param dies_alone: what its handler does to its process, it does to one request only.
    """

    name: str
    target: str
    bind: str
    settings: str
    at_once: int = 1
    dies_alone: bool = True

    @property
    def is_stream(self) -> bool:
        return self.bind.startswith(("tcp:", "unix:"))


class Command(NamedTuple):
    """What an operator has begun."""

    words: tuple[str, ...]
    codes: frozenset[int]
    then: Undo
    process: "subprocess.Popen[str]"


KINDS = (
    Kind(SHOP, "shop:Handler", TCP, "workers = 4"),
    Kind("recycled", STREAM, "unix:{directory}/stream", "workers = 4\nmax_requests = 300\nmax_requests_jitter = 100"),
    Kind("sized", STREAM, TCP, 'min_workers = 1\nmax_workers = 6\nworker_idle_timeout = "1s"'),
    Kind(
        "threads",
        STREAM,
        TCP,
        'mode = "hybrid"\nworkers = 2\nthreads = 4\nmax_age = "4s"\nmax_age_jitter = "4s"',
        at_once=4,
        dies_alone=False,
    ),
    Kind("children", STREAM, TCP, 'concurrency = "fork"\nworkers = 2\nchildren = 4'),
    Kind("datagrams", DATAGRAM, UDP, "workers = 2"),
    Kind("unix-datagrams", DATAGRAM, "unixgram:{directory}/datagram", "workers = 2\nmax_requests = 500"),
)
RECYCLED = {"recycled", "threads", "unix-datagrams"}  # always: somebody of theirs is leaving
SETTINGS = """timeout = "3s"
request_hard = "5s"
idle_timeout = "2s"
graceful_timeout = "10s"
"""


class Stage:
    """See above.

    :param directory: empty, with a short path: sockets are made in it.
    :param chance: the only source of random choices.
    """

    def __init__(self, directory: Path, chance: random.Random) -> None:
        self.chance = chance
        self.name = f"soak-{os.getpid()}"
        self.application = Application(directory)
        self.versions = itertools.count(1)
        self.deploy()
        tables = [self._table(kind, directory) for kind in KINDS]
        configuration = directory / "prefork.toml"
        instance = [f'name = "{self.name}"', f'admin = "unix:{directory}/admin"']
        configuration.write_text("\n".join([*instance, *tables]))
        self._exits = contextlib.ExitStack()
        self._master = Master("-c", str(configuration))
        self._gate = Gate(directory / "gate")
        self._undo: list[tuple[float, int, Undo]] = []
        self._undo_number = itertools.count()
        self._commands: list[Command] = []
        self.stopped: set[int] = set()
        self.is_paused = False  # a service is
        self.trouble: list[str] = []

    def _table(self, kind: Kind, directory: Path) -> str:
        bind = kind.bind.format(directory=directory)
        head = f'[service.{kind.name}]\ntarget = "{kind.target}"\nbind = ["{bind}"]\npythonpath = ["{directory}"]\n'
        return head + SETTINGS + kind.settings

    def __enter__(self) -> Self:
        self.master = self._exits.enter_context(self._master)
        self.gate = self._exits.enter_context(self._gate)
        self.urls = {kind.name: self.master.bind(service=kind.name) for kind in KINDS}
        self.master.wait_serving(services=len(KINDS))
        self.settle()
        self.descriptors_before = self.descriptors()
        self.loads = {
            kind.name: self._exits.enter_context(Load(self.urls[kind.name], CLIENTS, processes=1)) for kind in KINDS
        }
        return self

    def __exit__(self, *exception: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.master.pid, signal.SIGCONT)
        for command in self._commands:
            command.process.kill()
            command.process.communicate()
        self._exits.__exit__(None, None, None)

    # what it shows

    def tail(self) -> str:
        """The end of the log, for a failure."""
        return "\n".join(self.master.log[-80:])

    def descriptors(self) -> Counter[str]:
        """What the master has open for good, by kind; the one pidfd of each worker is not counted."""
        samples = []
        for _ in range(SAMPLES):  # it always forks somebody, and holds something for a moment
            samples.append(self._descriptors_now())
            self.play_on(0.02)
        return functools.reduce(lambda least, sample: least & sample, samples)

    def gained(self) -> Counter[str]:
        """What the master has more than at the beginning and keeps: whoever leaves may still hold its end of a pipe."""
        deadline = time.monotonic() + WELL_WITHIN
        while (gained := self.descriptors() - self.descriptors_before) and time.monotonic() < deadline:
            self.play_on(0.1)
        return gained

    def _descriptors_now(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for path in Path(f"/proc/{self.master.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                found[re.sub(r"[0-9]+", "", os.readlink(path))] += 1
        found["anon_inode:[pidfd]"] -= len(self.master.processes("worker"))
        return found

    def workers(self, kind: Kind) -> list[int]:
        """Its workers that nobody has stopped, in the order of their slots."""
        return [pid for _, pid in sorted(self.master.workers(kind.name).items()) if pid not in self.stopped]

    def endpoint(self, kind: Kind) -> Endpoint:
        return endpoint(self.urls[kind.name])

    # what is done to it in time

    def deploy(self, *statements: str) -> None:
        """Write the next version of the application."""
        self.application.write(str(next(self.versions)), *statements)

    def later(self, seconds: float, undo: Undo) -> None:
        heapq.heappush(self._undo, (time.monotonic() + seconds, next(self._undo_number), undo))

    def play_on(self, seconds: float) -> None:
        """Let the time pass; undo what becomes due, and see how operators fare."""
        end = time.monotonic() + seconds
        while True:
            self._see_commands()
            until = min(end, self._undo[0][0] if self._undo else end)
            select.select([], [], [], max(0.0, until - time.monotonic()))
            if self._undo and self._undo[0][0] <= time.monotonic():
                heapq.heappop(self._undo)[2]()
            elif time.monotonic() >= end:
                return

    def settle(self) -> None:
        """Undo everything, due or not, and wait until every service is well and all commands have ended."""
        while self._undo:
            heapq.heappop(self._undo)[2]()
        deadline = time.monotonic() + WELL_WITHIN
        while self._commands or self._undo or not self._is_well():
            if time.monotonic() > deadline:
                raise AssertionError(f"not well after {WELL_WITHIN:g} s: {self.status()}")
            self.play_on(0.1)

    def _is_well(self) -> bool:
        services = self.status()["services"]
        leaving = [s["retiring"] + s["orphaned"] for s in services if s["name"] not in RECYCLED]
        return all(s["phase"] == "healthy" and s["ready"] >= s["wanted"] for s in services) and not any(leaving)

    def status(self) -> dict[str, Any]:
        """Asked for once more where an upgrade came in between."""
        for _ in range(SAMPLES):
            asked = self._begin("status", "--json")
            out, _ = asked.communicate(timeout=LIMIT)
            if asked.returncode == 0:
                found: dict[str, Any] = json.loads(out)
                return found
        raise AssertionError(f"prefork status: exit {asked.returncode}: {out}")

    # its operators

    def _begin(self, word: str, *words: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "prefork", word, "-n", self.name, "--timeout", f"{LIMIT:g}s", *words]
        return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def steer(self, *words: str, codes: frozenset[int] = frozenset({0}), then: Undo = lambda: None) -> None:
        """Begin ``prefork WORDS``, unless one of its kind is under way.

        :param codes: how it may end.
        :param then: done at its end.
        """
        if all(command.words[0] != words[0] for command in self._commands):
            self._commands.append(Command(words, codes, then, self._begin(*words)))

    def is_steered(self, word: str) -> bool:
        return any(command.words[0] == word for command in self._commands)

    def _see_commands(self) -> None:
        for command in [command for command in self._commands if command.process.poll() is not None]:
            self._commands.remove(command)
            out, _ = command.process.communicate()
            command.then()
            if command.process.returncode not in command.codes:
                self.trouble.append(f"prefork {' '.join(command.words)}: exit {command.process.returncode}: {out}")
