"""A service under a verifying load, to which a test does something bad, and which is looked over afterwards.

    with under_load(STREAM, "-b", TCP, "-w", "2") as scene:
        scene.master.kill(scene.master.workers()[1])
        scene.may_lose += 1

It must not know the faults. Every reply is checked; at the end of the block the load goes on being answered, nobody was
refused, and no more requests were lost than the test allowed. Then master, molds and workers are as many as before and
hold as many descriptors as before, no zombie among them, and a stop leaves nothing and exits with 0.
A test that ends the master itself says so by ``Scene.end`` or ``Scene.expect_nobody``.
Invariant: what a fault may cost is said in the test, and zero where nothing is said.
Read next: ``injectors.py``, what can be done to a service; ``tests/end_to_end/load.py``, the clients.
"""

import contextlib
import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.clients import is_refused
from tests.end_to_end.harness import ROOT, Master, look_until
from tests.end_to_end.http import fetch
from tests.end_to_end.load import Load, Outcome

SOME = 50  # answers that prove that a service goes on
CLIENTS = 6


class Scene:
    """A running master and its load.

    :param at_rest: how it looks when nothing is wrong, if that is known.
    :ivar may_lose: requests of the load that what was done may cost, at most.
    :ivar may_refuse: whether clients may have been turned away.
    """

    def __init__(self, master: Master, load: Load, url: str, at_rest: Counter[str] | None) -> None:
        self.master = master
        self.load = load
        self.url = url
        self.may_lose = 0
        self.may_refuse = False
        self.is_over = False
        self._at_rest = at_rest

    def goes_on(self, answers: int = SOME) -> None:
        """As many more requests of the load are answered."""
        self.load.wait_answered(answers)

    def end(self, code: int) -> Outcome:
        """The master is about to end, or told to: see that it does, with this code, and what became of the load."""
        self.is_over = True
        self.master.expect_exit(code)
        return self.judge(self.load.finish(nobody_is_left=True))

    def kill_master(self) -> None:
        self.is_over = True
        self.master.kill(self.master.pid)

    def expect_nobody(self) -> None:
        """The master was killed: soon nobody is left of all that it started."""
        self.master.wait_for_end_of_log()
        look_until(lambda: all(p.is_zombie for p in self.master.processes()), "no process of the master is left")

    def finish(self) -> None:
        """Look the service over, then stop it."""
        self.goes_on()
        outcome = self.judge(self.load.finish())
        assert self.may_refuse or not outcome.refused, outcome
        self.look_over()
        self.is_over = True
        self.master.stop()

    def look_over(self) -> None:
        """Nobody holds more than before, and there are as many of everybody as before."""
        before = self._at_rest
        if before is None:
            return
        try:
            look_until(lambda: portrait(self.master) == before, "all is as it was")
        except AssertionError as error:
            now = portrait(self.master)
            error.add_note(f"gained: {now - before}\nmissing: {before - now}")
            raise

    def judge(self, outcome: Outcome) -> Outcome:
        """Every reply was right, and no more was lost than may be."""
        assert outcome.wrong == 0, outcome
        assert outcome.lost + outcome.unanswered <= self.may_lose, (self.may_lose, outcome)
        return outcome


@contextlib.contextmanager
def under_load(
    *arguments: str,
    clients: int = CLIENTS,
    url: str = "",
    cwd: Path = ROOT,
    prefix: Sequence[str] = (),
    before_exec: Callable[[], None] | None = None,
    is_booting: bool = False,
) -> Iterator[Scene]:
    """A scene, and its end.

    :param arguments: ``prefix``, ``cwd`` and ``before_exec``: as of a ``Master``.
    :param url: where the clients go, if the log does not say so.
    :param is_booting: the block begins before the service serves, and clients queue.
    """
    with Master(*arguments, cwd=cwd, prefix=prefix, before_exec=before_exec) as master:
        at_rest = None
        if url:
            look_until(lambda: not is_refused(url), f"{url} is served")
        elif not is_booting:
            master.wait_serving()
            master.wait_idle()
            look_until(lambda: is_done_forking(master), "the mold is done")
            if "--admin" in arguments:
                fetch(master.bind(service="admin"), "/healthz")  # from here on it holds what it will hold
                look_until(lambda: is_at_rest(master, "admin"), "the admin process has closed that connection")
            at_rest = portrait(master)
        url = url or master.bind()
        with Load(url, clients, processes=1) as load:
            scene = Scene(master, load, url, at_rest)
            if prefix:  # a program that waits for the master, which is not its child alone
                (first,) = master.processes("master")
                master.pid = first.pid
            if not is_booting:
                load.wait_answered(SOME)
            yield scene
            if not scene.is_over:
                scene.finish()


def is_done_forking(master: Master) -> bool:
    """Whether the process between a mold and its last worker has gone and is collected; the worker may be faster."""
    processes = master.processes()
    return sum(p.kind == "mold" for p in processes) == 1 and not any(p.is_zombie for p in processes)


def is_at_rest(master: Master, kind: str) -> bool:
    """Whether every thread of the processes of a kind sleeps."""
    tasks = [task for p in master.processes(kind) for task in Path(f"/proc/{p.pid}/task").iterdir()]
    return all((task / "stat").read_text().rpartition(")")[2].split()[0] == "S" for task in tasks)


def portrait(master: Master) -> Counter[str]:
    """Who is there and what each holds open: as many lines as processes, numbers of inodes left out."""
    return Counter(_portrait(p.kind or p.title, p.pid) if not p.is_zombie else "zombie" for p in master.processes())


def _portrait(kind: str, pid: int) -> str:
    held: Counter[str] = Counter()
    with contextlib.suppress(OSError):  # it has gone
        for number in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(FileNotFoundError):
                held[re.sub(r":\[\d+\]$", "", os.readlink(f"/proc/{pid}/fd/{number}"))] += 1
    return f"{kind}: " + ", ".join(f"{count} {what}" for what, count in sorted(held.items()))


def each(*catches: Callable[..., Any], at_least: Collection[Callable[..., Any]]) -> pytest.MarkDecorator:
    """A test in each of these states, as ``catch``; ``at_least`` these belong to the plain suite."""
    marks = {catch: [] if catch in at_least else [pytest.mark.long] for catch in catches}
    return pytest.mark.parametrize(
        "catch", [pytest.param(catch, id=catch.__name__, marks=marks[catch]) for catch in catches]
    )
