"""Workers that are killed or stopped, in each of their states."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from tests.end_to_end.clients import Question
from tests.end_to_end.faults.injectors import stopped
from tests.end_to_end.faults.scene import CLIENTS, Scene, each, under_load
from tests.end_to_end.harness import STREAM, TCP, Application, Gate, Visitor


class Caught(NamedTuple):
    """A worker in the wanted state.

    :param question: what it is serving beside the load, if anything, and where it waits with it.
    :param in_doubt: requests of the load that its death costs, at most.
    :param serves_on: whether others do while it stands still.
    """

    scene: Scene
    pid: int
    visitor: Visitor | None = None
    question: Question | None = None
    in_doubt: int = 0
    serves_on: bool = True


Catch = Callable[[Gate, Application], contextlib.AbstractContextManager[Caught]]


@contextlib.contextmanager
def starting(gate: Gate, application: Application) -> Iterator[Caught]:
    """It imports the application for itself, in the place of one that was killed."""
    flag = application.path.with_name("slow")
    application.write("1", f"os.path.exists({str(flag)!r}) and apps.pass_gate({gate.path!r})")
    with under_load(*application.arguments, "-b", TCP, "-w", "2", "--no-preload") as scene:
        flag.touch()
        scene.may_lose += 1
        scene.master.kill(scene.master.workers()[1])
        visitor = gate.visitor()
        flag.unlink()
        yield Caught(scene, visitor.pid, visitor)


@contextlib.contextmanager
def ready(gate: Gate, application: Application) -> Iterator[Caught]:
    """Nobody holds it; it may take a client of the load just now."""
    with under_load(STREAM, "-b", TCP, "-w", "2") as scene:
        yield Caught(scene, scene.master.workers()[2], in_doubt=1)


@contextlib.contextmanager
def busy(gate: Gate, application: Application) -> Iterator[Caught]:
    with under_load(STREAM, "-b", TCP, "-w", "2") as scene:
        question = Question(scene.url, f"hold {gate.path}")
        visitor = gate.visitor()
        yield Caught(scene, visitor.pid, visitor, question)


@contextlib.contextmanager
def retiring(gate: Gate, application: Application) -> Iterator[Caught]:
    """It is of a generation that was replaced, and still busy."""
    with busy(gate, application) as caught:
        caught.scene.master.signal(signal.SIGHUP)
        caught.scene.master.wait_for(f"[{caught.pid}] of generation 1 is retired")
        yield caught


@contextlib.contextmanager
def draining(gate: Gate, application: Application) -> Iterator[Caught]:
    """The service stops and this one is still busy; the other one serves what is queued."""
    with busy(gate, application) as caught:
        caught.scene.master.signal(signal.SIGTERM)
        caught.scene.master.wait_for("stopping gracefully")
        caught.scene.is_over = True
        yield caught._replace(serves_on=False)


@each(starting, ready, busy, retiring, draining, at_least=[retiring, draining])
def test_a_killed_worker_costs_at_most_its_request(catch: Catch, gate: Gate, application: Application) -> None:
    """SIGKILL in any state: one request at most, none in the queue, and another takes its place unless all stop.

    A stop then ends with 5, for a request was cut off.
    """
    with catch(gate, application) as caught:
        caught.scene.master.kill(caught.pid)
        caught.scene.may_lose += caught.in_doubt
        if caught.question is not None:
            assert caught.question.is_lost()
        if caught.serves_on:
            caught.scene.goes_on()
        else:
            caught.scene.end(5)


@each(starting, ready, busy, retiring, draining, at_least=[])
def test_a_stopped_worker_costs_nothing(catch: Catch, gate: Gate, application: Application) -> None:
    """SIGSTOP in any state: the others serve, and once it goes on it does what it was about to, nothing lost."""
    with catch(gate, application) as (scene, pid, visitor, question, _, serves_on):
        with stopped(pid):
            if serves_on:
                scene.goes_on()
            if visitor is not None:
                visitor.let_pass()
        if question is not None:
            assert question.answer() == str(pid)
        if not serves_on:
            scene.end(0)


@pytest.mark.long
def test_the_last_worker_killed_at_a_stop_costs_its_queue(gate: Gate) -> None:
    """Nobody is born during a stop, so nobody serves those that are queued behind it: they are reset, exit 5."""
    with under_load(STREAM, "-b", TCP, "-w", "1") as scene:
        held = Question(scene.url, f"hold {gate.path}")
        visitor = gate.visitor()
        scene.master.signal(signal.SIGTERM)
        scene.master.wait_for("stopping gracefully")
        scene.master.kill(visitor.pid)
        assert held.is_lost()
        scene.may_lose += CLIENTS
        scene.end(5)
