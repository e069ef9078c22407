"""What the machine refuses: processes, descriptors, disk, and a name that is taken."""

import errno
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.clients import LIMIT, ask
from tests.end_to_end.faults.injectors import SmallDisk, failing, limited, needs, needs_root
from tests.end_to_end.faults.scene import under_load
from tests.end_to_end.harness import ROOT, STREAM, TCP, Gate, Watched, look_until

FORKS = "fork,vfork,clone,clone3"
SERVICE = (STREAM, "-b", TCP, "-w", "2")


@needs("strace")
@pytest.mark.parametrize("error", ["EAGAIN", pytest.param("ENOMEM", marks=pytest.mark.long)])
def test_a_fork_that_fails_is_tried_again(error: str) -> None:
    """Three times in a row: the log says why, the others serve, and at the fourth try the dead one is replaced."""
    with under_load(*SERVICE) as scene, failing(scene.master.mold(), FORKS, error, "1..3"):
        scene.may_lose += 1
        scene.master.kill(scene.master.workers()[1])
        assert os.strerror(getattr(errno, error)) in scene.master.wait_for("cannot fork")
        scene.master.wait_for(" is ready", count=3)
        scene.goes_on()


@needs("strace")
@pytest.mark.parametrize(
    "error",
    [
        "EMFILE",
        *(pytest.param(name, marks=pytest.mark.long) for name in ("ENFILE", "ENOBUFS", "ENOMEM", "ECONNABORTED")),
    ],
)
def test_an_accept_that_fails_costs_nobody(error: str) -> None:
    """Whatever the reason: the client waits on, that worker or another takes it, and nobody ends for it."""
    with under_load(*SERVICE) as scene:
        workers = scene.master.workers()
        with failing(workers[1], "accept4", error, "1..20"):
            scene.goes_on(500)
        assert scene.master.workers() == workers


@pytest.mark.long
def test_no_descriptor_for_anybody_costs_nobody() -> None:
    """RLIMIT_NOFILE of both workers: clients wait, and are served when it is lifted; nobody spins, nobody ends."""
    with under_load(*SERVICE) as scene:
        first, second = scene.master.workers().values()
        with limited(first, resource.RLIMIT_NOFILE, 3), limited(second, resource.RLIMIT_NOFILE, 3):
            scene.master.wait_for("cannot accept", count=2)
        scene.goes_on()
        assert set(scene.master.workers().values()) == {first, second}


@pytest.mark.long
def test_a_master_without_descriptors_goes_on() -> None:
    """RLIMIT_NOFILE: it cannot replace the dead or reload, says so, lives, and does both when it is lifted."""
    with under_load(*SERVICE) as scene:
        with limited(scene.master.pid, resource.RLIMIT_NOFILE, 3):
            scene.may_lose += 1
            with Watched([scene.master.workers()[1]]) as victim:
                os.kill(next(iter(victim.pidfds)), signal.SIGKILL)
                victim.wait_all()
            scene.master.wait_for("cannot fork")
            scene.master.signal(signal.SIGHUP)
            scene.master.wait_given_up(2)
            scene.goes_on()
        scene.master.signal(signal.SIGHUP)
        scene.master.wait_serving(generation=3)


@needs_root
@pytest.mark.long
def test_a_full_disk_under_the_log_costs_no_more_than_its_lines(tmp_path: Path, short_path: Path) -> None:
    """No byte is left while a worker dies and a reload comes: both are dealt with, and lines come again with room."""
    url = f"unix:{short_path}/socket"
    with SmallDisk(tmp_path / "disk") as disk:
        log = disk.directory / "log"
        with under_load(STREAM, "-b", url, "-w", "2", "--log-file", str(log), url=url) as scene:
            scene.goes_on()
            disk.fill(log)
            scene.may_lose += 1
            scene.master.kill(scene.master.workers()[1])
            scene.goes_on()
            with Watched(p.pid for p in scene.master.processes() if p.kind in ("mold", "worker")) as old:
                scene.master.signal(signal.SIGHUP)
                old.wait_all()
            scene.goes_on()
            assert "reload" not in log.read_text()
            disk.make_room()
        assert "stopped, exit 0" in log.read_text()


def test_a_log_that_takes_nothing_costs_nothing(short_path: Path) -> None:
    """Each write of a line fails from the beginning: clients are served, the dead replaced, the stop drains."""
    url = f"unix:{short_path}/socket"
    with under_load(STREAM, "-b", url, "-w", "2", "--log-file", "/dev/full", url=url) as scene:
        scene.goes_on()
        look_until(lambda: sorted(scene.master.workers()) == [1, 2], "both are there, which no log tells")
        scene.may_lose += 1
        scene.master.kill(scene.master.workers()[1])
        scene.goes_on()
        look_until(lambda: sorted(scene.master.workers()) == [1, 2], "it is replaced")


@needs_root
@needs("unshare")
@pytest.mark.long
def test_as_the_first_process_it_collects_strays_and_stops(gate: Gate) -> None:
    """PID 1 of a namespace, as in a container: strays are its own, the dead are replaced, TERM drains: exit 0."""
    service = ("tests.end_to_end.faults.trouble:Trouble", "-b", TCP, "-w", "2")
    with under_load(*service, prefix=["unshare", "--pid", "--fork", "--mount-proc"]) as scene:
        assert f"NSpid:\t{scene.master.pid}\t1\n" in Path(f"/proc/{scene.master.pid}/status").read_text()
        for _ in range(5):
            assert ask(scene.url, f"leave-strays {gate.path}")
            gate.visitor().let_pass()
        look_until(lambda: all(p.kind for p in scene.master.children()), "strays are collected")
        scene.may_lose += 1
        scene.master.kill(scene.master.workers()[1])


@pytest.mark.long
def test_a_second_instance_on_one_path_hurts_nobody(short_path: Path) -> None:
    """Three starters that want the path of a living instance, at once: each ends with 4, and the living one serves."""
    url = f"unix:{short_path}/socket"
    with under_load(STREAM, "-b", url, "-w", "2") as scene:
        starters = [_start(url) for _ in range(3)]
        assert [_end(starter) for starter in starters] == [4] * 3
        scene.goes_on()


@pytest.mark.long
def test_of_several_that_want_a_path_one_gets_it(short_path: Path) -> None:
    """Three starters on a path left by a killed master, at once: one serves, and the others end with 4."""
    url = f"unix:{short_path}/socket"
    with under_load(STREAM, "-b", url, "-w", "1") as scene:
        scene.kill_master()
        scene.expect_nobody()
        starters = [_start(url) for _ in range(3)]
        try:
            look_until(lambda: sum(starter.poll() is None for starter in starters) == 1, "one is left")
            scene.goes_on()
        finally:
            codes = []
            for starter in starters:
                starter.terminate()
                codes.append(_end(starter))
        assert sorted(codes) == [0, 4, 4]


def _start(url: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "prefork", "run", STREAM, "-b", url, "-w", "1", "--log-level", "error"]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _end(starter: "subprocess.Popen[bytes]") -> int:
    return starter.wait(LIMIT)
