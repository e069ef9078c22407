"""The promises, mode by mode: who handles requests, how many at once, and what each stop, reload and death costs.

Every test holds requests at a gate: who waits there tells its process, its parent and its thread.
"""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.end_to_end.clients import Question, ask, endpoint, is_refused
from tests.end_to_end.harness import (
    STREAM,
    TCP,
    UDP,
    Application,
    Gate,
    Master,
    Visitor,
    Watched,
    is_asleep,
    look_until,
    place,
    serving,
    target_for,
)
from tests.end_to_end.load import Load
from tests.end_to_end.test_idle import let_time_pass, settled, switches
from tests.end_to_end.test_orphans import expect_nobody, kill
from tests.long import long_but

MODES = {
    "sync": ("--mode", "sync"),
    "thread": ("--mode", "thread", "--threads", "3"),
    "fork": ("--mode", "fork", "--children", "3"),
    "prefork": ("--mode", "prefork", "-w", "3"),
    "hybrid": ("--mode", "hybrid", "-w", "2", "--threads", "3"),
}
AT_ONCE = {"sync": 1, "thread": 3, "fork": 3, "prefork": 3, "hybrid": 6}
SHARED = ["thread", "fork", "hybrid"]  # several requests in one worker
every_mode = pytest.mark.parametrize("mode", long_but(MODES, "thread", "fork", "prefork"))
TROUBLES = [(mode, trouble) for mode in MODES for trouble in ("hold", "stuck-in-c")]
shared_modes = pytest.mark.parametrize("mode", SHARED)


class Held(NamedTuple):
    """Requests under way, and who handles them; not in the same order."""

    questions: list[Question]
    visitors: list[Visitor]

    @property
    def pids(self) -> set[int]:
        return {visitor.pid for visitor in self.visitors}

    def parent(self) -> int:
        (parent,) = {int(visitor.news.split()[0]) for visitor in self.visitors}
        return parent

    def threads(self, pid: int) -> set[str]:
        return {visitor.news.split()[1] for visitor in self.visitors if visitor.pid == pid}

    def finish(self) -> None:
        """Let all pass, and see that each is answered by one of those who held them."""
        for visitor in self.visitors:
            visitor.let_pass()
        answers = sorted(int(question.answer()) for question in self.questions)
        assert answers == sorted(visitor.pid for visitor in self.visitors)


def hold(master: Master, gate: Gate, count: int) -> Held:
    questions = [Question(master.bind(), f"hold {gate.path}") for _ in range(count)]
    return Held(questions, gate.visitors(count))


@contextlib.contextmanager
def full(mode: str, gate: Gate, *arguments: str) -> Iterator[tuple[Master, Held]]:
    """A master in this mode, with as many requests under way as it takes."""
    with serving(STREAM, "-b", TCP, *MODES[mode], *arguments) as master:
        yield master, hold(master, gate, AT_ONCE[mode])


def _row(url: str) -> list[str]:
    """A listener's row in /proc/net/tcp."""
    local = f":{endpoint(url).address[1]:04X}"
    for row in Path("/proc/thread-self/net/tcp").read_text().splitlines()[1:]:
        fields = row.split()
        if fields[1].endswith(local) and fields[3] == "0A":
            return fields
    raise AssertionError(f"nobody listens on {url}")


def queued(url: str) -> int:
    """Connections in the kernel's queue that nobody has accepted."""
    return int(_row(url)[4].partition(":")[2], 16)


def inode_of(url: str) -> str:
    return f"socket:[{_row(url)[9]}]"


def sockets_of(pid: int) -> set[str]:
    links = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            links.add(os.readlink(entry))
    return links


# who handles


def test_sync_handles_one_request_at_a_time_in_its_worker(gate: Gate) -> None:
    """The request is handled in the process that accepted it."""
    with full("sync", gate) as (master, held):
        assert held.pids == set(master.workers().values())
        held.finish()


def test_thread_handles_requests_in_threads_of_one_worker(gate: Gate) -> None:
    """As many threads as requests, all in the one worker."""
    with full("thread", gate) as (master, held):
        (worker,) = master.workers().values()
        assert held.pids == {worker}
        assert len(held.threads(worker)) == 3
        held.finish()


def test_fork_handles_requests_in_children_of_one_worker(gate: Gate) -> None:
    """As many processes as requests, all of them children of the one worker, and named after it."""
    with full("fork", gate) as (master, held):
        (worker,) = set(master.workers().values()) - held.pids
        assert len(held.pids) == 3
        assert held.parent() == worker
        titles = {process.title for process in master.processes() if process.pid in held.pids}
        assert all(" child 127.0.0.1:" in title for title in titles), titles
        held.finish()


def test_prefork_handles_requests_in_workers(gate: Gate) -> None:
    """As many workers as requests."""
    with full("prefork", gate) as (master, held):
        assert held.pids == set(master.workers().values())
        assert len(held.pids) == 3
        held.finish()


def test_hybrid_handles_requests_in_threads_of_workers(gate: Gate) -> None:
    """Two workers, three threads in each: what a full worker leaves the other one takes."""
    with full("hybrid", gate) as (master, held):
        assert held.pids == set(master.workers().values())
        assert [len(held.threads(pid)) for pid in held.pids] == [3, 3]
        held.finish()


# the bound


@every_mode
def test_who_comes_when_all_are_busy_waits_in_the_kernels_queue(mode: str, gate: Gate) -> None:
    """One request more is not accepted, and is served as soon as one of those before it is done."""
    with full(mode, gate) as (master, held):
        late = Question(master.bind(), f"hold {gate.path}")
        look_until(lambda: queued(master.bind()) == 1, "the client is queued")
        for pid in master.workers().values():
            look_until(lambda pid=pid: is_asleep(pid), "the worker sleeps")  # type: ignore[misc]
        assert queued(master.bind()) == 1
        held.visitors[0].let_pass()
        held.visitors.append(gate.visitor())
        held.questions.append(late)
        held.finish()


@pytest.mark.parametrize("mode", long_but(MODES, "thread"))
def test_a_full_service_does_not_wake(mode: str, gate: Gate) -> None:
    """With all busy and a client in the queue no process of the tree wakes until one is done."""
    with full(mode, gate) as (master, held):
        late = Question(master.bind(), "late")
        look_until(lambda: queued(master.bind()) == 1, "the client is queued")
        before = settled(master)
        let_time_pass(1.0)
        assert switches(master) == before
        held.finish()
        assert late.answer() == "LATE"


@pytest.mark.parametrize("mode", ["thread", "fork"])
def test_datagrams_are_handled_at_once_too(mode: str, gate: Gate, short_path: Path) -> None:
    """Three datagrams under way, each answered through the listener, also after a stop was asked for."""
    for url in (UDP, "unixgram:"):
        url = place(url, short_path)
        with serving(target_for(url), "-b", url, *MODES[mode]) as master:
            held = hold(master, gate, 3)
            master.signal(signal.SIGTERM)
            master.wait_for("stopping gracefully")
            held.finish()
            master.expect_exit(0)


# the stop


@every_mode
def test_a_stop_finishes_and_answers_all_that_was_admitted(mode: str, gate: Gate) -> None:
    """TERM: requests under way and five in the queue are answered, new clients are refused, exit 0, nobody is left."""
    with full(mode, gate) as (master, held):
        late = [Question(master.bind(), f"late {n}") for n in range(5)]
        master.signal(signal.SIGTERM)
        look_until(lambda: is_refused(master.bind()), "new clients are refused")
        held.finish()
        assert [question.answer() for question in late] == [f"LATE {n}" for n in range(5)]
        master.expect_exit(0)


@pytest.mark.parametrize(
    ("mode", "trouble"), long_but(TROUBLES, ("prefork", "hold"), ("fork", "hold"), ("fork", "stuck-in-c"))
)
def test_the_drain_limit_cuts_off_all_that_is_under_way(mode: str, trouble: str, gate: Gate) -> None:
    """Exit 5, and no process is left, those of a forking worker included."""
    count = AT_ONCE[mode] if trouble == "hold" else 1
    with serving(STREAM, "-b", TCP, *MODES[mode], "--graceful-timeout", "300ms") as master:
        questions = [Question(master.bind(), f"{trouble} {gate.path}") for _ in range(count)]
        gate.visitors(count)
        master.signal(signal.SIGTERM)
        assert all(question.is_lost() for question in questions)
        master.expect_exit(5)


@every_mode
def test_a_stop_that_every_process_is_told_of_loses_nothing(mode: str, gate: Gate) -> None:
    """TERM to master, mold, workers and children at once, as service managers may send it: the same stop."""
    with full(mode, gate) as (master, held):
        late = [Question(master.bind(), f"late {n}") for n in range(5)]
        listener = inode_of(master.bind())
        for process in master.processes():
            with contextlib.suppress(ProcessLookupError):  # the mold is sent away by the master too
                os.kill(process.pid, signal.SIGTERM)
        look_until(lambda: listener not in sockets_of(master.pid), "the master has shut the door")
        held.finish()
        assert [question.answer() for question in late] == [f"LATE {n}" for n in range(5)]
        master.expect_exit(0)


# the reload


@every_mode
def test_a_reload_leaves_requests_under_way_to_those_who_have_them(
    mode: str, application: Application, gate: Gate
) -> None:
    """The new generation serves while threads and children of the old one finish, and then the old one is gone.

    Of several workers one is busy. Where it is the first to be replaced, the next one has to wait for it.
    """
    with serving(*application.arguments, "-b", TCP, *MODES[mode]) as master:
        held = hold(master, gate, AT_ONCE[mode] if len(master.workers()) == 1 else 1)
        with Watched({*master.workers().values(), *held.pids}) as old:
            application.write("2")
            master.signal(signal.SIGHUP)
            look_until(lambda: ask(master.bind(), "version") == "2", "the new generation serves")
            assert held.pids <= old.living()
            held.finish()
            master.wait_serving(generation=2)
            old.wait_all()
        assert ask(master.bind(), "version") == "2"


# recycling


@every_mode
def test_recycling_loses_no_request(mode: str) -> None:
    """Workers replaced every twenty requests under eight clients: every reply is right, nobody is refused."""
    with serving(STREAM, "-b", TCP, *MODES[mode], "--max-requests", "20") as master:
        with Load(master.bind(), clients=8) as load:
            master.wait_for("it has served", count=6)
            load.wait_answered(1)
            outcome = load.finish()
        assert outcome.refused + outcome.admitted_in_vain == 0, outcome


@pytest.mark.long
@pytest.mark.timeout(600)
@shared_modes
def test_five_reloads_under_load_lose_nothing(mode: str) -> None:
    """Sixteen clients that check every reply, five reloads and a stop: nobody is lost, refused or wrongly answered."""
    with serving(STREAM, "-b", TCP, *MODES[mode], "--max-requests", "500") as master:
        with Load(master.bind(), clients=16) as load:
            for generation in range(2, 7):
                load.wait_answered(500)
                master.signal(signal.SIGHUP)
                master.wait_serving(generation=generation)
            load.wait_answered(500)
            load.halt()
            master.signal(signal.SIGTERM)
            outcome = load.finish()
            assert outcome.refused + outcome.admitted_in_vain == 0, outcome
        master.expect_exit(0)


# deaths


@pytest.mark.parametrize("mode", ["thread", "hybrid"])
def test_a_killed_worker_costs_the_requests_of_its_threads(mode: str, gate: Gate) -> None:
    """Those, and no other worker's; it is replaced, and the next client is served."""
    with full(mode, gate) as (master, held):
        victim = held.visitors[0].pid
        master.kill(victim)
        for visitor in held.visitors:
            visitor.let_pass()
        assert sum(question.is_lost() for question in held.questions) == 3
        assert int(ask(master.bind(), "pid")) != victim


def test_children_of_a_killed_worker_finish_their_requests(gate: Gate) -> None:
    """They answer and end, while the replacement serves; nobody is lost."""
    with full("fork", gate) as (master, held):
        worker = held.parent()
        with Watched(held.pids) as children:
            master.kill(worker)
            assert ask(master.bind(), "anybody?") == "ANYBODY?"
            assert children.living() == held.pids
            held.finish()
            children.wait_all()


@pytest.mark.parametrize("trouble", ["hold", "stuck-in-c"])
def test_children_of_a_killed_worker_have_the_drain_limit(trouble: str, gate: Gate) -> None:
    """Nobody is left who could interrupt them: the master ends what does not end."""
    with serving(STREAM, "-b", TCP, *MODES["fork"], "--graceful-timeout", "300ms") as master:
        question = Question(master.bind(), f"{trouble} {gate.path}")
        with Watched([gate.visitor().pid]) as child:
            master.kill(*master.workers().values())
            child.wait_all()
        assert question.is_lost()
        master.wait_for("are killed, their time is over")


def test_a_stop_waits_for_children_of_a_killed_worker(gate: Gate) -> None:
    """They finish their requests, and the master is the last to go."""
    with full("fork", gate) as (master, held):
        master.kill(held.parent())
        master.wait_for("outlive it")
        master.signal(signal.SIGTERM)
        master.wait_for("stopping gracefully")
        held.finish()
        master.expect_exit(0)


def test_a_child_that_dies_costs_its_own_request_only(gate: Gate) -> None:
    """It is logged with its peer, and the worker and its other children go on."""
    with serving(STREAM, "-b", TCP, *MODES["fork"]) as master:
        held = hold(master, gate, 1)
        deadly = Question(master.bind(), "segfault")
        host, port = deadly.socket.getsockname()
        assert deadly.is_lost()
        assert f"{host}:{port} #2 was killed by SIGSEGV" in master.wait_for("the child that served")
        assert Question(master.bind(), "exit 7").is_lost()
        master.wait_for("exited with 7")
        held.finish()
        assert held.parent() in master.workers().values()


@every_mode
def test_a_worker_told_to_leave_by_hand_finishes_all_it_has(mode: str, gate: Gate) -> None:
    """TERM to a worker: requests under way are answered, it leaves, and another takes its place."""
    with full(mode, gate) as (master, held):
        worker = held.parent() if mode == "fork" else held.visitors[0].pid
        with Watched([worker]) as leaving:
            os.kill(worker, signal.SIGTERM)
            master.wait_for("it was sent SIGTERM" if mode in SHARED else "generation 1 serves")
            held.finish()
            leaving.wait_all()
        assert ask(master.bind(), "next") == "NEXT"


@every_mode
def test_requests_of_a_killed_master_are_finished_and_its_address_is_free(mode: str, gate: Gate) -> None:
    """Whoever has a client answers it and goes; the next master can have the address meanwhile."""
    with full(mode, gate, "--graceful-timeout", "1h") as (master, held):
        url = master.bind()
        kill(master)
        look_until(lambda: is_refused(url), "all have let go of the listener")
        with serving(STREAM, "-b", url, *MODES[mode]) as successor:
            assert ask(successor.bind(), "hello") == "HELLO"
        held.finish()
        expect_nobody(master)


@pytest.mark.parametrize(
    ("mode", "trouble"), long_but(TROUBLES, ("thread", "hold"), ("fork", "hold"), ("fork", "stuck-in-c"))
)
def test_requests_of_a_killed_master_have_the_drain_limit(mode: str, trouble: str, gate: Gate) -> None:
    """What does not end is cut off, also where the interpreter never runs again."""
    with serving(STREAM, "-b", TCP, *MODES[mode], "--graceful-timeout", "300ms") as master:
        question = Question(master.bind(), f"{trouble} {gate.path}")
        gate.visitor()
        kill(master)
        assert question.is_lost()
        expect_nobody(master)


# what handlers do


@pytest.mark.parametrize(
    ("mode", "trouble"),
    long_but(
        [(mode, trouble) for mode in MODES for trouble in ("raise", "system-exit")],
        *(("sync", "raise"), ("prefork", "system-exit"), ("hybrid", "raise")),
        *(("thread", "system-exit"), ("fork", "system-exit")),
    ),
)
def test_a_handler_that_fails_costs_its_own_request_only(mode: str, trouble: str, gate: Gate) -> None:
    """It is logged, and the same worker serves on."""
    with serving(STREAM, "-b", TCP, *MODES[mode]) as master:
        workers = master.workers()
        held = hold(master, gate, AT_ONCE[mode] - 1)
        assert Question(master.bind(), f"{trouble} oh dear").is_lost()
        master.wait_for("oh dear")
        assert ask(master.bind(), "next") == "NEXT"
        held.finish()
        assert master.workers() == workers


@pytest.mark.parametrize("mode", long_but(["sync", "thread", "prefork", "hybrid"], "thread", "prefork"))
def test_a_worker_without_memory_is_replaced_in_peace(mode: str, gate: Gate) -> None:
    """What it has under way besides is finished first."""
    with serving(STREAM, "-b", TCP, *MODES[mode]) as master:
        held = hold(master, gate, AT_ONCE[mode] - 1)
        assert Question(master.bind(), "out-of-memory").is_lost()
        line = master.wait_for("a handler ran out of memory")
        assert "retires" in line
        assert ask(master.bind(), "next") == "NEXT"
        held.finish()


def test_a_child_without_memory_costs_its_own_request_only(gate: Gate) -> None:
    """The worker that forked it has its memory still, and stays."""
    with serving(STREAM, "-b", TCP, *MODES["fork"]) as master:
        workers = master.workers()
        assert Question(master.bind(), "out-of-memory").is_lost()
        assert ask(master.bind(), "next") == "NEXT"
        assert master.workers() == workers


# the hard limit


@every_mode
def test_a_request_beyond_the_hard_limit_is_ended_with_all_of_its_worker(mode: str, gate: Gate) -> None:
    """Nobody goes on with what was declared dead: threads and children end with their worker."""
    with full(mode, gate, "--request-hard", "1s") as (master, held):
        with Watched(held.pids) as doomed:
            assert all(question.is_lost() for question in held.questions)
            doomed.wait_all()
        master.wait_for("exceeded the hard limit of 1 s")
        assert ask(master.bind(), "next") == "NEXT"


@pytest.mark.parametrize("mode", long_but(["sync", "thread", "fork"], "sync", "fork"))
def test_a_program_that_a_stuck_request_started_ends_with_it(mode: str, gate: Gate) -> None:
    """It is of the worker's process group, unless it was given one of its own."""
    with serving(STREAM, "-b", TCP, *MODES[mode], "--request-hard", "300ms") as master:
        stuck = Question(master.bind(), f"helper {gate.path}")
        helper = gate.visitor()
        with Watched([helper.pid]) as doomed:
            assert stuck.is_lost()
            doomed.wait_all()
