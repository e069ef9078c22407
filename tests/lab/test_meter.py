"""The meter, against processes that use a known amount."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as some

from prefork.lab.meter import Meter, Window, jain

BURN = "import time, os, threading, sys\ndef burn(s):\n while time.thread_time() < s: pass\n"
SAY = "print('done', flush=True); sys.stdin.read(1); "


@contextmanager
def doing(code: str) -> Iterator[subprocess.Popen[str]]:
    """A process that does something between our two words to it."""
    program = BURN + f"{SAY}\n{code}\n{SAY}"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.stdin.close()


def say(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "done\n"


BURNERS = {
    "itself": "burn(time.thread_time() + 0.3)",
    "a thread that has ended": (
        "t = threading.Thread(target=burn, args=(0.3,)); t.start(); t.join()\n"
        "while len(os.listdir('/proc/self/task')) > 1: os.sched_yield()"  # joined is not ended yet
    ),
    "a child that was collected": (
        "p = os.fork()\nif not p: burn(time.thread_time() + 0.3); os._exit(0)\nos.waitpid(p, 0)"
    ),
    "a child that lives": (
        "r, w = os.pipe()\nif not os.fork(): burn(time.thread_time() + 0.3); os.write(w, b'x'); sys.stdin.read(1)\n"
        "os.read(r, 1)"
    ),
}


@pytest.mark.parametrize("who", BURNERS)
def test_cpu_time_is_counted_whoever_used_it(who: str) -> None:
    """0.3 s of CPU are 0.3 s, and a little for starting what burns."""
    with doing(BURNERS[who]) as process:
        meter = Meter(process.pid)
        before = meter.reading()
        say(process)
        use = meter.reading().since(before)
    assert 0.27 < use.cpu_seconds < 0.6
    assert (use.switches is None) == (who in ("a thread that has ended", "a child that was collected"))


PING = "r, w = os.pipe(); q, v = os.pipe()\ndef serve():\n for i in range(1000): os.write(w, b'x'); os.read(q, 1)\n"
PONG = "def answer():\n for i in range(1000): os.read(r, 1); os.write(v, b'x')\n"
PARTNERS = {
    "processes": (2, "if not os.fork(): answer(); sys.stdin.read(1)\nserve()"),
    "threads": (
        1,
        "held = threading.Event()\n"
        "def play(part): part(); done.release(); held.wait()\n"
        "for part in (serve, answer): threading.Thread(target=play, args=(part,), daemon=True).start()\n"
        "done.acquire(); done.acquire()",
    ),
}


@pytest.mark.parametrize("kind", PARTNERS)
def test_switches_are_those_of_a_ping_pong(kind: str) -> None:
    """A thousand times to and fro through pipes is at least a thousand switches, of processes and threads together."""
    count, play = PARTNERS[kind]
    with doing(f"{PING}{PONG}done = threading.Semaphore(0)\n{play}") as process:
        meter = Meter(process.pid)
        before = meter.reading()
        say(process)
        after = meter.reading()
        use = after.since(before)
    assert after.processes == count
    assert use.switches is not None
    assert 1000 <= use.switches < 20_000


def test_memory_is_that_of_the_whole_tree() -> None:
    """40 MiB of a child's own are in the sum, those that are shared once."""
    shared = "held = bytearray(os.urandom(40 << 20))\n"
    child = "r, w = os.pipe()\nif not os.fork(): {}; os.write(w, b'x'); sys.stdin.read(1)\nos.read(r, 1)"
    for code, least, most in (
        (child.format("own = os.urandom(40 << 20)"), 40, 60),
        (shared + child.format("0"), 40, 60),
    ):
        with doing(code) as process:
            meter = Meter(process.pid)
            before = meter.pss_bytes()
            say(process)
            assert least << 20 < meter.pss_bytes() - before < most << 20


def test_what_is_gone_uses_nothing() -> None:
    """A tree may have ended before it is looked at."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    assert Meter(process.pid).reading().processes == 0


def test_fairness_is_jains() -> None:
    """Even is 1, all for one of N is 1/N, and of one there is nothing to say."""
    assert jain([5, 5, 5, 5]) == pytest.approx(1.0)
    assert jain([20, 0, 0, 0]) == pytest.approx(0.25)
    assert jain([3, 1]) == pytest.approx(0.8)
    assert jain([7]) is None
    assert jain([0, 0]) is None


@given(some.lists(some.integers(0, 10**6), min_size=2, max_size=50).filter(any))
def test_fairness_lies_between_its_bounds(counts: list[int]) -> None:
    """And knows neither order nor unit."""
    index = jain(counts)
    assert index is not None
    assert 1 / len(counts) - 1e-9 <= index <= 1 + 1e-9
    assert index == pytest.approx(jain(sorted(counts)))
    assert index == pytest.approx(jain([3 * count for count in counts]))


def test_a_window_is_read_by_the_clock() -> None:
    """At its beginning, evenly between and at its end; and it can be left early."""
    with doing("burn(time.thread_time() + 0.3)") as process:
        looks = [Meter(process.pid).reading] * 3
        with Window(looks, 0.2) as window:
            zero = time.monotonic() + 0.05
            window.begin(zero)
            first, middle, last = window.readings()
        assert [reading.at >= zero + part for reading, part in ((first, 0), (middle, 0.1), (last, 0.2))] == [True] * 3
        assert last.since(first).seconds == pytest.approx(last.at - first.at)
        with Window(looks, 1000.0) as window:
            window.begin(time.monotonic())
        assert len(window.readings()) < 3
        say(process)
