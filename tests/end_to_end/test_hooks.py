"""What an application may do in each worker besides serving: prepare, clean up, and say what a request is about."""

import os
import signal
from pathlib import Path

import pytest

from prefork.system.slots import Scoreboard
from tests.end_to_end.clients import Question, ask
from tests.end_to_end.harness import STREAM, TCP, Gate, Master, look_until, serving
from tests.end_to_end.test_modes import MODES, every_mode

HOOKS = ("--worker-start", "tests.end_to_end.hooks:start", "--worker-stop", "tests.end_to_end.hooks:stop")
FAILING_START = ("--worker-start", "tests.end_to_end.hooks:fail")
FAILING_STOP = ("--worker-stop", "tests.end_to_end.hooks:fail")
LABELLING = "tests.end_to_end.hooks:Labelling"
LANES = 64  # of a worker, as the master opens the scoreboard


@pytest.fixture(autouse=True)
def _told(gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATE", gate.path)
    monkeypatch.setenv("BROKEN", str(tmp_path / "broken"))


def break_hook() -> None:
    Path(os.environ["BROKEN"]).touch()


@every_mode
def test_hooks_are_called_once_a_worker_with_its_badge(mode: str, gate: Gate) -> None:
    """Before it is ready and after its last request, in the worker itself; a child of it is none."""
    arguments = ("-n", "shop", "--graceful-timeout", "1h")
    with serving(STREAM, "-b", TCP, *MODES[mode], *HOOKS, *arguments) as master:
        workers = master.workers()
        started = {visitor.pid: visitor.news for visitor in gate.visitors(len(workers))}
        assert started == {pid: f"start shop/apps {slot} g1" for slot, pid in workers.items()}
        held = Question(master.bind(), f"hold {gate.path}")
        visitor = gate.visitor()
        master.signal(signal.SIGTERM)
        others = gate.visitors(len(workers) - 1)
        visitor.let_pass()
        stopped = {visitor.pid: visitor.news for visitor in [*others, gate.visitor()]}
        assert stopped == {pid: f"stop shop/apps {slot} g1" for slot, pid in workers.items()}
        assert held.answer() == str(visitor.pid)
        master.expect_exit(0)


def test_a_reload_calls_them_in_the_next_generation(gate: Gate) -> None:
    """Start of the new worker, then stop of the old one."""
    with serving(STREAM, "-b", TCP, "-w", "1", "-n", "shop", *HOOKS) as master:
        assert gate.visitor().news == "start shop/apps 1 g1"
        master.signal(signal.SIGHUP)
        news = [gate.visitor().news for _ in range(2)]
        assert news == ["start shop/apps 2 g2", "stop shop/apps 1 g1"]


@every_mode
def test_methods_of_a_server_class_are_called_too(mode: str, gate: Gate) -> None:
    """Each where the hook of that name would be."""
    arguments = ("--handler", STREAM, *MODES[mode])
    with serving("tests.end_to_end.targets:Prepared", *arguments, "-b", TCP) as master:
        count = len(master.workers())
        assert {visitor.news for visitor in gate.visitors(count)} == {"method start"}
        master.signal(signal.SIGTERM)
        assert {visitor.news for visitor in gate.visitors(count)} == {"method stop"}
        master.expect_exit(0)


def test_a_start_that_fails_is_a_failure_to_boot() -> None:
    """At the first boot: exit 3, with its traceback."""
    break_hook()
    with Master(STREAM, "-b", TCP, "-w", "2", *FAILING_START) as master:
        master.expect_exit(3)
        master.wait_for("RuntimeError: the hook failed")
        master.wait_for("in fail")


def test_a_start_that_fails_after_a_reload_costs_nothing() -> None:
    """The new generation is given up, and the old one serves on."""
    with serving(STREAM, "-b", TCP, "-w", "2", *FAILING_START) as master:
        workers = master.workers()
        break_hook()
        master.signal(signal.SIGHUP)
        master.wait_given_up(2)
        assert ask(master.bind(), "hello") == "HELLO"
        assert master.workers() == workers


@every_mode
def test_a_stop_that_fails_is_logged_and_nothing_else(mode: str) -> None:
    """The worker leaves as it would have."""
    with serving(STREAM, "-b", TCP, *MODES[mode], *FAILING_STOP) as master:
        count = len(master.workers())
        break_hook()
        master.signal(signal.SIGTERM)
        master.wait_for("RuntimeError: the hook failed", count=count)
        master.expect_exit(0)


# labels


def target(link: Path) -> str:
    """What a descriptor is; nothing, if its process has closed it meanwhile."""
    try:
        return os.readlink(link)
    except FileNotFoundError:
        return ""


def labels(pid: int) -> list[str]:
    """What the lanes of a worker's slot say, by the scoreboard it shares with its master."""
    link, *_ = [link for link in Path(f"/proc/{pid}/fd").iterdir() if "prefork-scoreboard" in target(link)]
    fd = os.open(link, os.O_RDWR)  # one of two: mmap has its own
    try:
        board = Scoreboard(fd, LANES)
        (slot,) = [slot for number in range(1, 9) if (slot := board.slot(number)).totals[5] == pid]
        return [request.label for request in slot.requests_under_way()]
    finally:
        os.close(fd)


@every_mode
def test_a_label_is_shown_as_long_as_its_request_lasts(mode: str, gate: Gate) -> None:
    """In the lane of the request; the next one in the same lane has none."""
    with serving(LABELLING, "-b", TCP, *MODES[mode]) as master:
        question = Question(master.bind(), f"label {gate.path} the number 7")
        visitor = gate.visitor()
        busy = [pid for pid in master.workers().values() if labels(pid)]
        assert len(busy) == 1
        assert labels(busy[0]) == ["the number 7"]
        visitor.let_pass()
        assert question.answer() == "labelled"
        look_until(lambda: labels(busy[0]) == [], "the request is over")
        held = Question(master.bind(), f"hold {gate.path}")
        visitor = gate.visitor()
        assert [label for pid in master.workers().values() for label in labels(pid)] == [""]
        visitor.let_pass()
        held.answer()


@pytest.mark.parametrize("mode", ["sync", "prefork"])
def test_the_title_of_a_worker_shows_the_label(mode: str, gate: Gate) -> None:
    """Where one request at a time is under way; afterwards it is idle."""
    with serving(LABELLING, "-b", TCP, *MODES[mode]) as master:
        question = Question(master.bind(), f"label {gate.path} the number 7")
        visitor = gate.visitor()
        assert "busy the number 7 #1" in {process.state for process in master.processes("worker")}
        visitor.let_pass()
        question.answer()
        master.wait_idle()


@pytest.mark.parametrize("mode", ["thread", "hybrid"])
def test_each_thread_labels_its_own_request(mode: str, gate: Gate) -> None:
    """Three requests, three labels."""
    with serving(LABELLING, "-b", TCP, *MODES[mode]) as master:
        texts = ["one", "two", "three"]
        questions = [Question(master.bind(), f"label {gate.path} {text}") for text in texts]
        visitors = gate.visitors(3)
        shown = [label for pid in master.workers().values() for label in labels(pid)]
        assert sorted(shown) == sorted(texts)
        for visitor in visitors:
            visitor.let_pass()
        for question in questions:
            question.answer()
