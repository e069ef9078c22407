"""Masters that are killed or stopped, in each of their states."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.end_to_end.clients import Question
from tests.end_to_end.faults.injectors import stopped
from tests.end_to_end.faults.scene import CLIENTS, Scene, each, under_load
from tests.end_to_end.harness import STREAM, Application, Gate, Visitor, serving


class Caught(NamedTuple):
    """A master in the wanted state.

    :param visitor: what it waits for.
    :param question: a request under way.
    :param is_served: whether clients are served while it stands still.
    :param done: waits until the master has done what it was doing.
    """

    scene: Scene
    done: Callable[[], object]
    visitor: Visitor | None = None
    question: Question | None = None
    is_served: bool = True


Catch = Callable[[Gate, Application, str], contextlib.AbstractContextManager[Caught]]


@contextlib.contextmanager
def booting(gate: Gate, application: Application, url: str) -> Iterator[Caught]:
    """It listens, and its application is still importing; clients queue."""
    application.write("1", f"apps.pass_gate({gate.path!r})")
    with under_load(*application.arguments, "-b", url, "-w", "2", is_booting=True) as scene:
        yield Caught(scene, scene.master.wait_serving, gate.visitor(), is_served=False)


@contextlib.contextmanager
def at_work(gate: Gate, application: Application, url: str) -> Iterator[Caught]:
    """It serves, and has nothing to do."""
    with under_load(STREAM, "-b", url, "-w", "2") as scene:
        yield Caught(scene, lambda: None)


@contextlib.contextmanager
def reloading(gate: Gate, application: Application, url: str) -> Iterator[Caught]:
    """The next generation is importing."""
    with under_load(*application.arguments, "-b", url, "-w", "2") as scene:
        application.write("2", f"apps.pass_gate({gate.path!r})")
        scene.master.signal(signal.SIGHUP)
        yield Caught(scene, lambda: scene.master.wait_serving(generation=2), gate.visitor())


@contextlib.contextmanager
def stopping(gate: Gate, application: Application, url: str) -> Iterator[Caught]:
    """It was told to stop gracefully, and a request is under way."""
    with under_load(STREAM, "-b", url, "-w", "2") as scene:
        question = Question(scene.url, f"hold {gate.path}")
        visitor = gate.visitor()
        scene.master.signal(signal.SIGTERM)
        scene.master.wait_for("stopping gracefully")
        scene.is_over = True
        yield Caught(scene, lambda: scene.end(0), visitor, question, is_served=False)


@each(booting, at_work, reloading, stopping, at_least=[reloading, stopping])
def test_a_killed_master_leaves_nobody_and_a_successor_serves(
    catch: Catch, gate: Gate, application: Application, short_path: Path
) -> None:
    """SIGKILL: requests under way are answered, what was queued is reset, all are gone, and the next has the path."""
    url = f"unix:{short_path}/socket"
    with catch(gate, application, url) as (scene, _, visitor, question, _):
        scene.kill_master()
        if visitor is not None:
            visitor.let_pass()
        if question is not None:
            assert visitor is not None
            assert question.answer() == str(visitor.pid)
        scene.expect_nobody()
        with serving(STREAM, "-b", url, "-w", "2"):
            scene.goes_on()
            scene.load.halt()
            scene.may_lose += CLIENTS  # whoever was queued in that moment
            scene.judge(scene.load.finish())


@each(booting, at_work, reloading, stopping, at_least=[])
def test_a_stopped_master_costs_nothing(catch: Catch, gate: Gate, application: Application, short_path: Path) -> None:
    """SIGSTOP: whoever was served is served on, and when it goes on it does what it was doing."""
    with catch(gate, application, f"unix:{short_path}/socket") as (scene, done, visitor, question, is_served):
        with stopped(scene.master.pid):
            if is_served:
                scene.goes_on()
            if visitor is not None:
                visitor.let_pass()
            if question is not None:
                assert visitor is not None
                assert question.answer() == str(visitor.pid)
        done()
