"""Molds that are killed or stopped, in each of their states: nobody's clients notice."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tests.end_to_end.faults.injectors import stopped
from tests.end_to_end.faults.scene import Scene, each, under_load
from tests.end_to_end.harness import STREAM, TCP, Application, Gate, Master, Watched


class Caught(NamedTuple):
    """A mold in the wanted state.

    :param go_on: lets it do what it was about to, if it still can.
    :param killed: waits until its death is dealt with; ``done`` until it has done its work.
    """

    scene: Scene
    pid: int
    go_on: Callable[[], object]
    killed: Callable[[], object]
    done: Callable[[], object]


Catch = Callable[[Gate, Application], contextlib.AbstractContextManager[Caught]]


@contextlib.contextmanager
def loading(gate: Gate, application: Application) -> Iterator[Caught]:
    """Of the next generation, in the middle of an import."""
    with under_load(*application.arguments, "-b", TCP, "-w", "2") as scene:
        master = scene.master
        application.write("2", f"apps.pass_gate({gate.path!r})")
        master.signal(signal.SIGHUP)
        visitor = gate.visitor()
        yield Caught(
            scene,
            visitor.pid,
            visitor.let_pass,
            lambda: master.wait_given_up(2),
            lambda: master.wait_serving(generation=2),
        )


@contextlib.contextmanager
def loaded(gate: Gate, application: Application) -> Iterator[Caught]:
    """It waits for orders; a worker that dies meanwhile waits for it, or for its successor."""
    with under_load(STREAM, "-b", TCP, "-w", "2") as scene:
        master = scene.master

        def replace_a_worker() -> None:
            scene.may_lose += 1
            master.kill(master.workers()[1])

        yield Caught(
            scene,
            master.mold(),
            replace_a_worker,
            lambda: renewed(master),
            lambda: master.wait_for(" is ready", count=3),
        )


@contextlib.contextmanager
def forking(gate: Gate, application: Application) -> Iterator[Caught]:
    """It waits for the process between itself and a worker, who stands at the gate."""
    flag = application.path.with_name("slow")
    wait = f"os.path.exists({str(flag)!r}) and apps.pass_gate({gate.path!r})"
    application.write("1", f"os.register_at_fork(after_in_child=lambda: {wait})")
    with under_load(*application.arguments, "-b", TCP, "-w", "2") as scene:
        master = scene.master
        mold = master.mold()
        flag.touch()
        scene.may_lose += 1
        master.kill(master.workers()[1])
        between = gate.visitor()
        flag.unlink()

        yield Caught(
            scene,
            mold,
            between.let_pass,
            lambda: renewed(master),
            lambda: master.wait_for(" is ready", count=3),
        )


@contextlib.contextmanager
def leaving(gate: Gate, application: Application) -> Iterator[Caught]:
    """Of a generation that was replaced: it was told to go, and stood still meanwhile."""
    with under_load(STREAM, "-b", TCP, "-w", "2", "--quick-timeout", "300ms") as scene:
        master = scene.master
        mold = master.mold()
        with stopped(mold), Watched([mold]) as watched:
            master.signal(signal.SIGHUP)
            master.wait_serving(generation=2)
            yield Caught(scene, mold, lambda: None, lambda: None, watched.wait_all)


def renewed(master: Master) -> None:
    """It is loaded anew; a reload then brings workers of the new one, with whom the last trace of the old one goes."""
    master.wait_for("generation 1 is loaded", count=2)
    master.signal(signal.SIGHUP)
    master.wait_serving(generation=2)


@each(loading, loaded, forking, leaving, at_least=[forking, leaving])
def test_a_killed_mold_costs_nothing(catch: Catch, gate: Gate, application: Application) -> None:
    """SIGKILL: a reload under way is given up, a mold that serves is loaded anew, and one that leaves has left."""
    with catch(gate, application) as (scene, pid, go_on, killed, _):
        scene.master.kill(pid)
        go_on()
        killed()
        scene.goes_on()


@each(loading, loaded, forking, leaving, at_least=[])
def test_a_stopped_mold_costs_nothing(catch: Catch, gate: Gate, application: Application) -> None:
    """SIGSTOP: births wait for it, and nobody else does; one that was to leave is killed in the end."""
    with catch(gate, application) as (scene, pid, go_on, _, done):
        with stopped(pid):
            go_on()
            scene.goes_on()
            if catch is leaving:
                done()
        done()
