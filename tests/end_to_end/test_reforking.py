"""A worker that is warm becomes the mold of the next generation: all share what it cached, and nobody else notices."""

import re
import signal
from pathlib import Path

import pytest

from tests.end_to_end.caching import SIZE
from tests.end_to_end.clients import Question, ask
from tests.end_to_end.harness import STREAM, TCP, UDP, Application, Gate, Master, Watched, look_until, serving
from tests.end_to_end.load import Load
from tests.end_to_end.test_control import NAME, NAMED, Outcome, echo, start, steer
from tests.end_to_end.test_hooks import FAILING_START, HOOKS, break_hook

CACHING = "tests.end_to_end.caching:Caching"
PROVEN = 10  # requests


def warm(master: Master) -> None:
    """Let every worker have served enough to be believed; where they take turns, that fills all caches."""
    for _ in range((PROVEN + 1) * len(master.workers())):  # one may not have put its last into its books yet
        ask(master.bind(), "hello")


def fillers(master: Master, gate: Gate, count: int) -> set[str]:
    """Which processes filled the caches of all workers, all of them held at once."""
    _, visitors = master.hold_all(gate, count)
    for visitor in visitors:
        visitor.let_pass()
    return {ask(master.bind(), "filled-by") for _ in range(4 * count)}


def refork() -> Outcome:
    return steer("refork")


def mebibytes(text: str) -> tuple[int, int]:
    """Of the memory after and before."""
    after, before = re.findall(r"(\d+) MiB", text)
    return int(after), int(before)


# what it is good for


def test_a_refork_under_load_shares_what_a_worker_has_cached(gate: Gate) -> None:
    """Four caches become one, by the figures of the answer and of the log; nothing is lost meanwhile."""
    with serving(CACHING, *NAMED, "-b", TCP, "-w", "4", "--balance", "even") as master:
        old = set(master.workers().values())
        with Load(master.bind(), clients=4) as load:
            load.wait_answered(100 * PROVEN)
            outcome = refork()
            load.wait_answered(100)
            lost = load.finish()
        assert outcome.code == 0, outcome
        assert lost.refused + lost.admitted_in_vain == 0, lost
        assert not old & set(master.workers().values())
        assert fillers(master, gate, 4) == {str(master.mold())}
        assert master.mold() in old
        assert {worker.generation for worker in master.processes("worker")} == {2}
        after, before = mebibytes(outcome.out)
        assert before - after > 2 * SIZE / 2**20
        assert outcome.out.splitlines()[1] == master.wait_for("(PSS)").partition("] ")[2]


def test_each_refork_follows_the_one_before(gate: Gate) -> None:
    """A worker of a reforked generation can be the next mold, whose workers are like those of a fresh one."""
    with serving(CACHING, *NAMED, "-b", TCP, "-w", "2") as master:
        before = descriptors(master)
        for generation in (2, 3, 4):
            warm(master)
            assert refork().code == 0
            master.wait_serving(generation)
        assert len(fillers(master, gate, 2)) == 1
        assert descriptors(master) == before


def descriptors(master: Master) -> list[int]:
    """How many the master, its mold and a worker have."""
    master.wait_idle()
    pids = [master.pid, master.mold(), *master.workers().values()][:3]
    return [len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids]


def test_a_refork_may_come_by_itself() -> None:
    """As soon as a worker has served ``refork_after`` requests, in each generation anew."""
    with serving(STREAM, "-b", TCP, "-w", "2", "--refork-after", "25") as master:
        with Load(master.bind(), clients=2) as load:
            master.wait_serving(generation=3)
            outcome = load.finish()
        assert outcome.refused + outcome.admitted_in_vain == 0, outcome
        assert int(re.findall(r"has served (\d+) requests", master.wait_for("refork: worker"))[0]) >= 25


def test_a_service_that_nobody_asks_is_not_reforked() -> None:
    """It is opt-in."""
    with serving(STREAM, "-b", TCP, "-w", "1") as master:
        warm(master)
        master.wait_idle()
        assert not master.lines("refork")


# what a worker does that becomes a mold


def test_its_life_as_a_worker_ends_like_any_other(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """``worker_stop`` in the process that becomes the mold, ``worker_start`` in each that it forks."""
    monkeypatch.setenv("GATE", gate.path)
    with serving(STREAM, *NAMED, "-b", TCP, "-w", "1", *HOOKS) as master:
        first = gate.visitor()
        warm(master)
        running = start("refork", "-n", NAME)
        news = {(v.pid == first.pid, v.news.split()[0], v.news.split()[-1]) for v in gate.visitors(4)}
        assert news == {
            (False, "start", "g1"),  # its successor, before it leaves
            (True, "stop", "g1"),
            (False, "start", "g2"),
            (False, "stop", "g1"),
        }
        assert Outcome(running).code == 0
        assert master.mold() == first.pid
        assert echo()["requests"] >= PROVEN, "what it served still counts"
        master.signal(signal.SIGTERM)
        assert gate.visitor().news.startswith("stop")
        master.expect_exit(0)


def test_children_under_way_are_finished_first(gate: Gate) -> None:
    """In fork mode it takes nothing new and waits for them; others serve meanwhile."""
    with serving(STREAM, *NAMED, "-b", TCP, "-w", "1", "--concurrency", "fork", "--graceful-timeout", "1h") as master:
        warm(master)
        (worker,) = master.workers().values()
        held = Question(master.bind(), f"hold {gate.path}")
        visitor = gate.visitor()
        running = start("refork", "-n", NAME)
        master.wait_for("is asked to become")
        look_until(lambda: forker(master, gate) != worker, "somebody else serves")
        assert not master.lines("becomes the mold")
        visitor.let_pass()
        assert held.answer() == str(visitor.pid)
        assert Outcome(running).code == 0
        assert master.mold() == worker


def forker(master: Master, gate: Gate) -> int:
    """The worker whose child serves the next client."""
    question = Question(master.bind(), f"hold {gate.path}")
    visitor = gate.visitor()
    visitor.let_pass()
    question.answer()
    return int(visitor.news.split()[0])


@pytest.mark.parametrize(
    ("target", "url"),
    [(("tests.end_to_end.caching:Server", "--handler", STREAM), "unix:"), (("tests.end_to_end.apps:Datagram",), UDP)],
    ids=["a server class on a path", "datagrams"],
)
def test_listeners_of_every_kind_are_kept(target: tuple[str, ...], url: str, short_path: Path) -> None:
    """The server of the worker is closed, whatever it does then, and those of its successors serve."""
    bind = f"unix:{short_path}/socket" if url == "unix:" else url
    with serving(*target, *NAMED, "-b", bind, "-w", "2") as master:
        for _ in range(2):
            warm(master)
            assert refork().code == 0
            assert ask(master.bind(), "hello") == "HELLO"
        assert (short_path / "socket").exists() == (url == "unix:")


# when it does not come to that


def test_a_worker_with_a_thread_declines_by_its_name(gate: Gate) -> None:
    """Exit 3 with the reason, which the log has too; the very same worker serves on."""
    with serving(CACHING, *NAMED, "-b", TCP, "-w", "1") as master:
        warm(master)
        (worker,) = master.workers().values()
        assert ask(master.bind(), "start-thread ticker") == "started"
        outcome = refork()
        assert outcome.code == 3
        assert "it has threads besides its main one: ticker" in outcome.err
        assert outcome.end[1].removeprefix("caching: ") in master.wait_for("refork given up")
        look_until(lambda: len(master.workers()) == 1, "the successor that was not needed has left")
        assert ask(master.bind(), "hello") == "HELLO"
        assert steer("reload").code == 0
        with Watched([worker]) as old:
            old.wait_all()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((STREAM, "--mode", "thread"), "it handles requests in threads"),
        (("tests.end_to_end.caching:Looping", "--handler", STREAM, "-w", "1"), "its server has a loop of its own"),
    ],
    ids=["threads", "a loop of its own"],
)
def test_what_cannot_be_forked_from_declines(arguments: tuple[str, ...], reason: str) -> None:
    """At once, in words, and it serves on: asked again it says it again."""
    with serving(*arguments, *NAMED, "-b", TCP) as master:
        for _ in range(2):
            warm(master)
            outcome = refork()
            assert (outcome.code, reason in outcome.err) == (3, True), outcome
        assert ask(master.bind(), "hello") == "HELLO"


def test_what_makes_no_sense_is_refused_with_the_reason(gate: Gate) -> None:
    """Exit 1, and nothing was done."""
    with serving(STREAM, *NAMED, "-b", TCP, "-w", "1") as master:
        assert steer("refork", "nosuch").end == (1, f"{NAME}: there is no service 'nosuch'; there is apps")
        warm(master)
        held = Question(master.bind(), f"hold {gate.path}")
        visitor = gate.visitor()
        running = start("refork", "-n", NAME)
        master.wait_for("is asked to become")
        code, why = refork().end
        assert (code, "worker 1 is becoming a mold already" in why) == (1, True)
        code, why = steer("upgrade").end
        assert (code, "worker 1 is becoming a mold; ask again" in why) == (1, True)
        visitor.let_pass()
        held.answer()
        assert Outcome(running).code == 0


def test_a_reload_wins(application: Application, gate: Gate) -> None:
    """It gives up a refork under way, whose worker serves on until it is replaced."""
    with serving(*application.arguments, *NAMED, "-b", TCP, "-w", "1") as master:
        warm(master)
        held = Question(master.bind(), f"hold {gate.path}")
        visitor = gate.visitor()
        running = start("refork", "-n", NAME)
        master.wait_for("is asked to become")
        application.write("2")
        reloading = start("reload", "-n", NAME)
        outcome = Outcome(running)
        assert (outcome.code, "newer code is asked for" in outcome.err) == (3, True)
        visitor.let_pass()
        assert held.answer() == str(visitor.pid)
        assert Outcome(reloading).code == 0
        look_until(lambda: ask(master.bind(), "version") == "2", "the old worker has left")


def test_a_reforked_generation_that_does_not_get_ready_is_given_up(
    tmp_path: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Like a broken deploy: the old one serves on, and exit 3 says why."""
    monkeypatch.setenv("BROKEN", str(tmp_path / "broken"))
    monkeypatch.setenv("GATE", gate.path)
    with serving(STREAM, *NAMED, "-b", TCP, "-w", "2", *FAILING_START) as master:
        warm(master)
        held = Question(master.bind(), f"hold {gate.path}")
        visitor = gate.visitor()
        running = start("refork", "-n", NAME)
        master.wait_for("is asked to become")
        break_hook()
        visitor.let_pass()
        held.answer()
        outcome = Outcome(running)
        assert (outcome.code, "generation 2 is given up" in outcome.err) == (3, True), outcome
        assert ask(master.bind(), "hello") == "HELLO"
        look_until(
            lambda: {p.generation for p in master.processes("mold")} == {1}, "the mold that was a worker is gone"
        )


# when what was a worker dies


def test_a_reforked_mold_that_is_lost_is_loaded_anew(gate: Gate) -> None:
    """The log says what that costs; those who are there serve on, and whoever comes next starts cold."""
    with serving(CACHING, *NAMED, "-b", TCP, "-w", "2") as master:
        warm(master)
        assert refork().code == 0
        workers, mold = set(master.workers().values()), master.mold()
        master.kill(mold)
        assert "without what it had cached as a worker" in master.wait_for("it is loaded anew")
        assert ask(master.bind(), "filled-by") == str(mold)
        master.wait_for("generation 2 is loaded", count=2)
        master.kill(*workers)
        assert str(mold) not in fillers(master, gate, 2)


def test_a_worker_killed_while_it_is_called_ends_the_refork(gate: Gate) -> None:
    """It is replaced like any other, and asking again works."""
    with serving(STREAM, *NAMED, "-b", TCP, "-w", "1") as master:
        warm(master)
        Question(master.bind(), f"hold {gate.path}")
        visitor = gate.visitor()
        running = start("refork", "-n", NAME)
        master.wait_for("is asked to become")
        master.kill(visitor.pid)
        outcome = Outcome(running)
        assert (outcome.code, "the worker chosen is gone" in outcome.err) == (3, True), outcome
        warm(master)
        assert refork().code == 0


def test_a_reforked_service_does_not_outlive_its_master() -> None:
    """Molds that were workers heed the lifeline as well."""
    with serving(STREAM, *NAMED, "-b", TCP, "-w", "2") as master:
        warm(master)
        assert refork().code == 0
        with Watched([master.mold(), *master.workers().values()]) as ours:
            master.signal(signal.SIGKILL)
            ours.wait_all()


# emergency


def test_so_many_crashes_bring_fresh_code_once(application: Application) -> None:
    """Deaths by signal, not exits; a second time only after a whole window."""
    limits = ("--emergency-crashes", "3", "--emergency-window", "1h")
    with serving(*application.arguments, *NAMED, "-b", TCP, "-w", "2", *limits) as master:
        application.write("2")
        for _ in range(3):
            assert Question(master.bind(), "exit 7").is_lost()
        for _ in range(3):
            assert not master.lines("emergency")
            assert Question(master.bind(), "segfault").is_lost()
        line = master.wait_for("emergency")
        assert "emergency: 3 workers died by a signal within" in line
        master.wait_serving(generation=2)
        look_until(lambda: ask(master.bind(), "version") == "2", "the workers of generation 1 have left")
        for _ in range(4):
            assert Question(master.bind(), "segfault").is_lost()
        assert ask(master.bind(), "version") == "2"
        assert len(master.lines("emergency")) == 1
