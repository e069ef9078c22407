"""Clients that stall, vanish, reset or talk nonsense, beside others that must not notice."""

import contextlib
import random
from pathlib import Path

import pytest

from tests.end_to_end.clients import endpoint
from tests.end_to_end.faults.injectors import garbage, half_open, needs_root, reset
from tests.end_to_end.faults.scene import under_load
from tests.end_to_end.harness import STREAM, TCP, place
from tests.end_to_end.load import Load


def test_clients_that_reset_cost_their_own_connection_only() -> None:
    """Before their line, in the middle of it, and before they read the answer: the same workers serve on."""
    with under_load(STREAM, "-b", TCP, "-w", "2") as scene:
        before = scene.master.workers()
        for said in (b"", b"half a li", b"a whole line\n") * 20:
            reset(scene.url, said)
        scene.goes_on()
        assert scene.master.workers() == before


@pytest.mark.parametrize("kind", [TCP, pytest.param("unix:", marks=pytest.mark.long)])
def test_clients_that_send_garbage_cost_their_own_connection_only(kind: str, short_path: Path) -> None:
    """Random bytes, much of nothing, another protocol's greeting: the same workers serve on."""
    dice = random.Random(7)
    with under_load(STREAM, "-b", place(kind, short_path), "-w", "2") as scene:
        before = scene.master.workers()
        for _ in range(60):
            garbage(scene.url, dice)
        scene.goes_on()
        assert scene.master.workers() == before


@pytest.mark.long
def test_clients_that_stall_hold_a_worker_for_the_idle_timeout() -> None:
    """As many silent clients as there are workers, twice: all others wait, are served then, and none is lost."""
    with under_load(STREAM, "-b", TCP, "-w", "2", "--idle-timeout", "300ms") as scene:
        with contextlib.ExitStack() as stack:
            silent = [stack.enter_context(endpoint(scene.url).connect()) for _ in range(4)]
            for client in silent[::2]:
                client.sendall(b"half a li")
            assert [client.recv(1) for client in silent] == [b""] * 4
        scene.goes_on()


@needs_root
@pytest.mark.long
def test_clients_whose_machine_vanished_are_found_out_by_probes() -> None:
    """Neither end nor reset ever comes of half-open connections: the kernel's probes end them."""
    with under_load(STREAM, "-b", TCP, "-w", "2", "--keepalive", "1s") as scene:
        for _ in range(2):
            half_open(scene.url)
        scene.goes_on(500)
        with Load(scene.url, clients=2, processes=1) as others:
            others.wait_answered(100)
            outcome = others.finish()
        assert outcome.refused + outcome.admitted_in_vain == 0, outcome
