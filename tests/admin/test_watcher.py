"""The watcher asks no more often than it must, and never gets out of step."""

import contextlib
import logging
import threading

import pytest

from prefork.admin import watcher
from prefork.admin.watcher import Seen, SilentError
from tests.admin.stage import FakeMaster
from tests.children import LIMIT


def test_nobody_asks_for_nobody() -> None:
    """Until somebody wants to know, and then once, however many they are."""
    with FakeMaster() as master:
        assert master.asked == 0
        found: list[Seen] = []
        crowd = [threading.Thread(target=lambda: found.append(master.watcher.look())) for _ in range(20)]
        for one in crowd:
            one.start()
        for one in crowd:
            one.join(LIMIT)
        assert len(found) == 20
        assert master.asked <= 2  # a machine that took a second for all of them
        assert found[0].report.snapshot.services[0].requests == 1


def test_two_questions_are_a_second_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever wants a later answer than the last one waits for it."""
    with FakeMaster() as master:
        first = master.watcher.look()
        second = master.watcher.look_again(first.number)
        assert second.number == first.number + 1
        assert second.at >= first.at + watcher.INTERVAL


def test_a_late_answer_is_no_answer_to_the_next_question(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asked meanwhile was told that the master is silent; then question and answer fit again."""
    monkeypatch.setattr(watcher, "INTERVAL", 0.0)
    with FakeMaster() as master:
        master.may_answer.clear()
        for _ in range(3):
            with pytest.raises(SilentError, match=r"for 0\.01 s"):
                master.watcher.look_again(0, patience=0.01)
        assert master.asked == 1
        master.may_answer.set()
        late = master.watcher.look_again(0, patience=LIMIT)
        assert late.report.snapshot.services[0].requests == 1
        assert master.watcher.look_again(late.number, patience=LIMIT).report.snapshot.services[0].requests == 2


def test_what_happens_is_heard_in_order_and_the_last_hundred_remembered() -> None:
    """News wake who waits for news; who comes later gets what is remembered."""
    with FakeMaster() as master:
        master.may_answer.clear()
        for number in range(150):
            master.tell(str(number))
        told_after, texts = 0, []
        while told_after < 150:
            _, told = master.watcher.wait_news(0, told_after, LIMIT)
            told_after = told[-1][0]
            texts += [record.text for _, record in told]
        assert texts[-100:] == [str(number) for number in range(50, 150)]
        _, remembered = master.watcher.wait_news(0, 0, LIMIT)
        assert [record.text for _, record in remembered] == [str(number) for number in range(50, 150)]


def test_without_a_master_it_leaves() -> None:
    """There is nothing to tell any more, whichever thread sees it."""
    with FakeMaster() as master:
        master.hang_up()
        master.leavers.get(timeout=LIMIT)
        master.leavers.put(None)


def test_without_threads_it_says_so_and_leaves(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The control group gives none; the master starts another process, ever later."""

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    master = FakeMaster()
    with contextlib.closing(master), monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        master.watcher.start()
    master.leavers.get(timeout=LIMIT)
    assert master.leavers.empty()
    [line] = caplog.messages
    assert line.startswith("no thread to ask the master in: can't start new thread; this process ends, no other; raise")
    assert line.endswith("pids.max of its control group (TasksMax= of its unit)")


def test_it_logs_from_the_level_of_its_master_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator changes it for every process; one that nobody looks at has little to log."""
    root = logging.getLogger()
    monkeypatch.setattr(root, "level", logging.INFO)
    with FakeMaster() as master:
        master.log_level = "error"
        master.watcher.look()
        assert root.level == logging.ERROR
