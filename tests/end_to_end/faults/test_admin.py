"""The admin process is killed, stopped and flooded, beside clients of the service that must not notice."""

import contextlib
import os
from pathlib import Path

import pytest

from tests.end_to_end.clients import endpoint, is_refused
from tests.end_to_end.faults.injectors import garbage, stopped
from tests.end_to_end.faults.scene import under_load
from tests.end_to_end.harness import STREAM, TCP, look_until, place
from tests.end_to_end.http import Feed, fetch
from tests.end_to_end.test_admin import admin_of, pid_of

SERVICE = (STREAM, "-b", TCP, "-w", "2", "--admin")
CROWD = 200  # more than the admin process serves at once


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_a_killed_admin_process_costs_nothing_and_comes_back_ever_later() -> None:
    """At once, then after growing waits; whoever watches waits in the queue of the listener."""
    with under_load(*SERVICE, TCP) as scene:
        master, url = scene.master, admin_of(scene.master)
        for count, wait in enumerate(("at once", "in 0.1 s", "in 0.15 s", "in 0.2"), 1):
            pid = pid_of(master)
            assert fetch(url, "/healthz").status == 200
            master.kill(pid)
            master.wait_for(f"admin: process {pid} was killed by SIGKILL; the next is started {wait}")
            scene.goes_on()
            assert fetch(url, "/status").json()["admin_restarts"] == count
        pid_of(master)


def test_a_stopped_admin_process_costs_nothing(tmp_path: Path) -> None:
    """The master neither waits for it nor keeps for it more than it may: it reloads, and would stop."""
    with under_load(*SERVICE, TCP) as scene:
        master, url = scene.master, admin_of(scene.master)
        with Feed(url) as feed, stopped(pid_of(master)):
            before = open_files(master.pid)
            for _ in range(4):
                scene.may_lose += 1
                master.kill(max(master.workers().values()))
                scene.goes_on()
            look_until(lambda: len(master.workers()) == 2, "the dead are replaced")
            look_until(lambda: open_files(master.pid) <= before, "the master holds no more than before")
        assert feed.status == 200
        assert fetch(url, "/healthz").status == 200


def test_a_stop_does_not_wait_for_a_stopped_admin_process() -> None:
    """It is killed when everybody else has gone."""
    with under_load(*SERVICE, TCP) as scene:
        with stopped(pid_of(scene.master)):
            scene.load.halt()
            scene.master.stop()
        scene.is_over = True
        outcome = scene.judge(scene.load.finish())
        assert not outcome.admitted_in_vain


@pytest.mark.parametrize("kind", [TCP, pytest.param("unix:", marks=pytest.mark.long)])
def test_a_flooded_admin_process_costs_its_own_clients_only(kind: str, short_path: Path) -> None:
    """Connections, half requests, garbage, and readers of the feed who do not read; then it answers again."""
    with under_load(*SERVICE, place(kind, short_path)) as scene, contextlib.ExitStack() as crowd:
        master, url = scene.master, admin_of(scene.master)
        pid = pid_of(master)
        before = open_files(master.pid)
        for number in range(CROWD):
            client = crowd.enter_context(endpoint(url).open())
            client.setblocking(False)
            if client.connect_ex(endpoint(url).address) == 0 or kind == TCP:
                with contextlib.suppress(OSError):
                    client.send((b"", b"GET /he", b"GET /feed HTTP/1.0\r\n\r\n", b"\x16\x03\x01\x02")[number % 4])
        scene.goes_on()
        assert open_files(master.pid) == before
        crowd.close()
        assert fetch(url, "/healthz").status == 200
        assert pid_of(master) == pid
        assert not is_refused(url)


def test_garbage_costs_the_admin_process_nothing() -> None:
    """Random bytes, too long lines, another protocol's greeting: the same process answers on."""
    import random

    dice = random.Random(5)
    with under_load(*SERVICE, TCP) as scene:
        url, pid = admin_of(scene.master), pid_of(scene.master)
        for _ in range(40):
            garbage(url, dice)
        assert fetch(url, "/healthz").status == 200
        assert pid_of(scene.master) == pid
