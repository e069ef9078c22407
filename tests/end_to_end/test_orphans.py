"""Nobody outlives a killed master for long, and who has a client finishes first."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.end_to_end.clients import Question, ask, is_refused
from tests.end_to_end.harness import STREAM, TCP, Application, Gate, Master, Watched, look_until, serving
from tests.long import long_but

SOON_SECONDS = 5.0  # the promise is one; a busy machine gets some more


def kill(master: Master) -> None:
    master.signal(signal.SIGKILL)
    assert master.exit_code() == -signal.SIGKILL


def expect_nobody(master: Master) -> None:
    master.wait_for_end_of_log()  # nearly there: who is dying has closed its files already
    look_until(lambda: all(process.is_zombie for process in master.processes()), "no process of the master is left")


def test_idle_workers_and_molds_go_with_their_master() -> None:
    """Within a second, whatever the drain limit; then nobody listens any more."""
    with serving(STREAM, "-b", TCP, "-w", "4", "--graceful-timeout", "1h") as master:
        url = master.bind()
        start = time.monotonic()
        kill(master)
        expect_nobody(master)
        assert time.monotonic() - start < SOON_SECONDS
        assert is_refused(url)


def test_a_busy_worker_finishes_its_request(gate: Gate) -> None:
    """The idle ones go at once; the busy one answers its client, then goes."""
    with serving(STREAM, "-b", TCP, "-w", "2", "--graceful-timeout", "1h") as master:
        held = Question(master.bind(), f"hold {gate.path}")
        visitor = gate.visitor()
        with Watched(master.workers().values()) as workers:
            kill(master)
            workers.forget(workers.wait_one())
            assert workers.living() == {visitor.pid}
            visitor.let_pass()
            assert held.answer() == str(visitor.pid)
        expect_nobody(master)


@pytest.mark.parametrize("trouble", ["hold", "stuck-in-c", "deaf"])
def test_a_busy_worker_has_the_drain_limit(trouble: str, gate: Gate) -> None:
    """A request that does not end is cut off, also where the interpreter never runs again or no signal arrives."""
    with serving(STREAM, "-b", TCP, "-w", "2", "--graceful-timeout", "300ms") as master:
        question = Question(master.bind(), f"{trouble} {gate.path}")
        gate.visitor()
        kill(master)
        assert question.is_lost()
        expect_nobody(master)


@pytest.mark.parametrize("trouble", long_but(["hold", "stuck-in-c", "deaf"], "stuck-in-c"))
def test_workers_of_an_earlier_mold_have_the_drain_limit_too(trouble: str, gate: Gate) -> None:
    """A worker whose own mold died, or was replaced by a reload, is not forgotten."""
    with serving(STREAM, "-b", TCP, "-w", "2", "--graceful-timeout", "300ms") as master:
        master.kill(master.mold())
        master.wait_for("generation 1 is loaded", count=2)
        question = Question(master.bind(), f"{trouble} {gate.path}")
        gate.visitor()
        kill(master)
        assert question.is_lost()
        expect_nobody(master)


@pytest.mark.parametrize("trouble", long_but(["hold", "stuck-in-c", "deaf"], "stuck-in-c"))
def test_retiring_workers_have_the_drain_limit_too(trouble: str, gate: Gate) -> None:
    """A worker of the old generation, still busy when the master dies, is not forgotten either."""
    with serving(STREAM, "-b", TCP, "-w", "1", "--graceful-timeout", "2s") as master:
        question = Question(master.bind(), f"{trouble} {gate.path}")
        gate.visitor()
        mold = master.mold()
        with Watched([mold]) as old:
            master.signal(signal.SIGHUP)
            master.wait_serving(generation=2)
            old.wait_all()
        kill(master)
        assert question.is_lost()
        expect_nobody(master)


def test_a_mold_whose_last_news_was_never_read_still_does_its_duty(gate: Gate) -> None:
    """The master dies with a message of its mold unread: the mold ends a stuck worker all the same."""
    with serving(STREAM, "-b", TCP, "-w", "1", "--graceful-timeout", "300ms") as master:
        mold = master.mold()
        os.kill(mold, signal.SIGSTOP)
        master.kill(master.workers()[1])
        master.wait_for("was killed by")
        master.signal(signal.SIGUSR1)
        master.wait_for("log reopened")  # by now the order to fork is given
        master.signal(signal.SIGSTOP)
        os.kill(mold, signal.SIGCONT)
        question = Question(master.bind(), f"deaf {gate.path}")
        gate.visitor()
        kill(master)
        assert question.is_lost()
        expect_nobody(master)


def test_master_and_mold_killed_together(gate: Gate) -> None:
    """Without either, an idle worker goes at once and a busy one within the drain limit."""
    with serving(STREAM, "-b", TCP, "-w", "2", "--graceful-timeout", "300ms") as master:
        question = Question(master.bind(), f"hold {gate.path}")
        gate.visitor()
        with Watched([master.mold(), master.pid]) as both:
            for pid in list(both.pidfds):
                both.kill(pid)
        assert master.exit_code() == -signal.SIGKILL
        assert question.is_lost()
        expect_nobody(master)


@pytest.mark.parametrize("preload", ["--preload", "--no-preload"])
def test_what_is_still_importing_goes_with_the_master(preload: str, application: Application, gate: Gate) -> None:
    """A mold or a worker in the middle of an import that hangs."""
    application.write("1", f"apps.pass_gate({gate.path!r})")
    with Master(*application.arguments, "-b", TCP, "-w", "1", preload, "--graceful-timeout", "300ms") as master:
        gate.visitor()
        kill(master)
        expect_nobody(master)


def test_a_newborn_goes_with_the_master(application: Application, gate: Gate) -> None:
    """The master dies while a mold is between its two forks."""
    application.write("1", f"os.register_at_fork(after_in_child=lambda: apps.pass_gate({gate.path!r}))")
    with Master(*application.arguments, "-b", TCP, "-w", "1", "--graceful-timeout", "300ms") as master:
        between = gate.visitor()
        kill(master)
        between.let_pass()
        gate.visitor().let_pass()
        expect_nobody(master)


def test_a_successor_takes_over_the_path(short_path: Path) -> None:
    """What the dead master left behind does not keep the next one from starting at once."""
    url = f"unix:{short_path}/socket"
    with serving(STREAM, "-b", url, "-w", "2") as master:
        kill(master)
        expect_nobody(master)
        with serving(STREAM, "-b", url, "-w", "2") as successor:
            assert ask(successor.bind(), "hello") == "HELLO"
