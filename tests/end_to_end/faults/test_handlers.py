"""Handlers that break the process they run in."""

import signal

import pytest

from tests.end_to_end.clients import Question, ask, is_refused
from tests.end_to_end.faults.injectors import MemoryGroup, needs_root
from tests.end_to_end.faults.scene import Scene, under_load
from tests.end_to_end.faults.trouble import RAISED
from tests.end_to_end.harness import TCP, Gate, Watched, look_until, serving

TROUBLE = "tests.end_to_end.faults.trouble:Trouble"
SERVICE = (TROUBLE, "-b", TCP, "-w", "2")
HARD = ("--request-hard", "300ms", "--quick-timeout", "100ms")


def test_whatever_a_handler_raises_costs_its_own_request_only() -> None:
    """Each kind of exception, those that ``except Exception`` misses among them: logged, and the worker lives."""
    with under_load(*SERVICE) as scene:
        before = scene.master.workers()
        for name in RAISED:
            assert Question(scene.url, f"raise-one {name}").is_lost(), name
        assert Question(scene.url, "system-exit in peace").is_lost()
        scene.goes_on()
        assert scene.master.workers() == before


@pytest.mark.long
def test_a_handler_without_memory_costs_its_own_request_only() -> None:
    """MemoryError: its worker is replaced in peace, for nobody knows what it is still able to do."""
    with under_load(*SERVICE) as scene:
        before = scene.master.workers()
        with Watched(before.values()) as workers:
            assert Question(scene.url, "out-of-memory").is_lost()
            workers.forget(workers.wait_one())
            scene.goes_on()
            assert len(workers.living()) == 1


@pytest.mark.long
@pytest.mark.parametrize("line", ["exit 0", "segfault"])
def test_a_handler_that_ends_its_process_costs_its_own_request_only(line: str) -> None:
    """``os._exit``, a crash in C: whoever waits behind it is served by others, and it is replaced."""
    with under_load(*SERVICE) as scene:
        assert Question(scene.url, line).is_lost()
        scene.goes_on()


@pytest.mark.long
@pytest.mark.parametrize("line", ["stuck-in-c", "spin", "deaf", "deaf-to-term"])
def test_a_handler_that_does_not_come_back_is_killed(line: str, gate: Gate) -> None:
    """Stuck in C with the interpreter's lock, computing, or deaf to signals: the hard limit ends it, and it alone."""
    with under_load(*SERVICE, *HARD) as scene:
        stuck = Question(scene.url, f"{line} {gate.path}")
        gate.visitor()
        assert stuck.is_lost()
        scene.goes_on()


@pytest.mark.long
def test_a_handler_that_ignores_term_changes_nothing() -> None:
    """Our orders to leave are not that signal: a reload replaces its worker like any other."""
    with under_load(*SERVICE) as scene:
        assert ask(scene.url, "ignore-term")
        renew(scene)


@pytest.mark.long
def test_strays_of_a_handler_are_reaped_and_outlive_the_service_at_will(gate: Gate) -> None:
    """Who loses its parent below us hangs on the master and is no zombie when it ends; nobody is killed for it."""
    with under_load(*SERVICE) as scene:
        assert ask(scene.url, f"leave-strays {gate.path}")
        visitor = gate.visitor()
        look_until(lambda: not any(p.is_zombie for p in scene.master.children()), "the one that ended is reaped")
        (stray,) = [p.pid for p in scene.master.children() if p.session == p.pid]
        with Watched([stray]) as watched:
            scene.goes_on()
            visitor.let_pass()
            watched.wait_all()


@pytest.mark.long
def test_a_stray_that_outlives_the_service_keeps_no_client(gate: Gate) -> None:
    """It inherited the listener like any child of a handler; and yet, after the stop new clients are refused."""
    with serving(*SERVICE) as master:
        url = master.bind()
        assert ask(url, f"leave-strays {gate.path}")
        visitor = gate.visitor()
        master.stop()
        assert is_refused(url)
        visitor.let_pass()


@pytest.mark.parametrize("line", ["close-listener", pytest.param("close-every-descriptor", marks=pytest.mark.long)])
def test_a_handler_that_closes_our_descriptors_costs_its_own_worker_only(line: str) -> None:
    """Its listener, or all it has: whoever is queued is served by others, and the worker is replaced."""
    with under_load(*SERVICE) as scene, Watched(scene.master.workers().values()) as workers:
        Question(scene.url, line).is_lost()
        workers.forget(workers.wait_one())
        scene.goes_on()


def test_a_handler_that_hoards_descriptors_leaves_clients_to_others() -> None:
    """Its worker can accept nobody any more and says so; the others serve, and the next reload replaces it."""
    with under_load(*SERVICE) as scene:
        assert ask(scene.url, "hoard-descriptors")
        scene.master.wait_for("cannot accept")
        scene.goes_on()
        renew(scene)


@needs_root
@pytest.mark.long
def test_a_handler_that_devours_memory_costs_its_own_request_only() -> None:
    """The kernel kills its worker, the greatest of the control group: one request, and a successor. The log says it."""
    with MemoryGroup(limit=250 << 20) as group, under_load(*SERVICE, before_exec=group.enter) as scene:
        assert Question(scene.url, "devour-memory").is_lost()
        scene.master.wait_for(f"was killed by SIGKILL for want of memory (oom_kill is 1 in {group.path}/")
        scene.goes_on()
        assert group.kills == 1


def renew(scene: Scene) -> None:
    """Reload, and see everybody go."""
    with Watched(scene.master.workers().values()) as old:
        scene.master.signal(signal.SIGHUP)
        old.wait_all()
