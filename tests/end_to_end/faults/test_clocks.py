"""Clocks that are set, and clocks that are another machine's."""

import signal
from pathlib import Path

import pytest

from tests.end_to_end.clients import Question
from tests.end_to_end.faults.injectors import needs, needs_root, stopped
from tests.end_to_end.faults.scene import under_load
from tests.end_to_end.harness import STREAM, TCP, Gate
from tests.end_to_end.test_idle import let_time_pass

DAYS = 86400  # seconds
LIMITS = ("--timeout", "20s", "--request-hard", "25s", "--graceful-timeout", "20s")


@needs("faketime")
@pytest.mark.parametrize("jump", ["-3d", pytest.param("+3d", marks=pytest.mark.long)])
def test_a_clock_that_is_set_hurts_nobody(jump: str, gate: Gate, tmp_path: Path) -> None:
    """Days back or ahead, with a request under way: it has its limits as before, only the dates in the log change."""
    date = tmp_path / "date"
    date.write_text("+0d")
    by_file = [
        "env",
        "-u",
        "FAKETIME",
        "-u",
        "FAKETIME_SHARED",
        f"FAKETIME_TIMESTAMP_FILE={date}",
        "FAKETIME_NO_CACHE=1",
    ]
    fake = ["faketime", "--exclude-monotonic", "-f", "+0d", *by_file]
    with under_load(STREAM, "-b", TCP, "-w", "2", *LIMITS, prefix=fake) as scene:
        held = Question(scene.url, f"hold {gate.path}")
        visitor = gate.visitor()
        today = scene.master.log[-1][:10]
        date.write_text(jump)
        scene.master.signal(signal.SIGUSR1)
        assert scene.master.wait_for("log reopened")[:10] != today
        scene.goes_on()
        scene.may_lose += 1
        (other,) = [pid for pid in scene.master.workers().values() if pid != visitor.pid]
        scene.master.kill(other)
        scene.goes_on()
        visitor.let_pass()
        assert held.answer() == str(visitor.pid)


@needs_root
@needs("unshare")
@pytest.mark.long
@pytest.mark.parametrize("offset", [100 * DAYS, -1])
def test_in_a_time_namespace_limits_are_limits(offset: int, gate: Gate) -> None:
    """Monotonic clocks that are not the machine's: what is stuck ends at its limit, what is not is left alone."""
    prefix = ["unshare", "--time", f"--monotonic={offset}", f"--boottime={offset}", "--fork"]
    with under_load(STREAM, "-b", TCP, "-w", "2", "--request-hard", "1s", prefix=prefix) as scene:
        stuck = Question(scene.url, f"stuck-in-c {gate.path}")
        gate.visitor()
        assert stuck.is_lost()
        scene.goes_on()


@needs_root
@needs("unshare")
@pytest.mark.long
def test_in_a_time_namespace_nobody_outlives_a_killed_master(gate: Gate) -> None:
    """The mold knows the processes of its master by when they started, which such a namespace shifts."""
    prefix = ["unshare", "--time", f"--boottime={100 * DAYS}", "--fork"]
    with under_load(STREAM, "-b", TCP, "-w", "2", "--graceful-timeout", "300ms", prefix=prefix) as scene:
        stuck = Question(scene.url, f"stuck-in-c {gate.path}")
        gate.visitor()
        scene.kill_master()
        assert stuck.is_lost()
        scene.expect_nobody()


@pytest.mark.long
def test_a_machine_that_slept_blames_nobody(gate: Gate) -> None:
    """All processes stand still beyond every limit: afterwards the request under way is answered, and none is lost."""
    with under_load(STREAM, "-b", TCP, "-w", "2", "--timeout", "1s", "--request-hard", "1500ms") as scene:
        held = Question(scene.url, f"hold {gate.path}")
        visitor = gate.visitor()
        with stopped(*(process.pid for process in scene.master.processes())):
            let_time_pass(2.0)
            visitor.let_pass()
        assert held.answer() == str(visitor.pid)
        scene.goes_on()
