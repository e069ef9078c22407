"""Signals that come in storms, or at the worst moment."""

import json
import random
import signal
import subprocess
import sys

import pytest

from tests.end_to_end.clients import Question
from tests.end_to_end.faults.injectors import TO_MASTER, TO_MOLD, TO_WORKER, storm
from tests.end_to_end.faults.scene import CLIENTS, under_load
from tests.end_to_end.harness import ROOT, STREAM, TCP, Application, Gate, Master, serving

# of those that never take away more workers than there are: nobody would be left to answer
SEEDS = [5, *(pytest.param(seed, marks=pytest.mark.long) for seed in (2, 9))]


def wanted(master: Master) -> int:
    """How many workers the master wants, by its own word."""
    (first,) = master.processes("master")
    command = [sys.executable, "-m", "prefork", "status", "--json", "-n", first.name]
    (service,) = json.loads(subprocess.check_output(command, cwd=ROOT))["services"]
    return int(service["wanted"])


@pytest.mark.parametrize("seed", SEEDS)
def test_a_storm_at_the_master_costs_nothing(seed: int, gate: Gate) -> None:
    """Eighty signals of all kinds 0 to 25 ms apart: nobody notices, and as many workers are ready as it then wants."""
    with under_load(STREAM, "-b", TCP, "-w", "6") as scene:
        master = scene.master
        storm(random.Random(seed), lambda: master.pid, TO_MASTER, 80)
        scene.goes_on()
        master.signal(signal.SIGHUP)  # whatever merged: there is one more to come
        count = wanted(master)
        if count:
            assert len(master.ready_workers(gate, count)) == count
        scene.is_over = True
        master.signal(signal.SIGTERM)
        scene.end(0)


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2])
def test_a_storm_at_molds_and_workers_costs_nothing(seed: int) -> None:
    """Signals of a terminal, of job control and of our own among them: everybody stays, and nobody holds more."""
    dice = random.Random(seed)
    with under_load(STREAM, "-b", TCP, "-w", "2") as scene:
        before = scene.master.processes()
        mold, workers = scene.master.mold(), list(scene.master.workers().values())
        storm(dice, lambda: mold, TO_MOLD, 30)
        storm(dice, lambda: dice.choice(workers), TO_WORKER, 60)
        assert {p.pid for p in scene.master.processes()} == {p.pid for p in before}


@pytest.mark.long
def test_a_stop_in_the_middle_of_a_storm_is_a_stop() -> None:
    """TERM, with signals before and after it: exit 0, and whoever was admitted is answered."""
    dice = random.Random(4)
    with under_load(STREAM, "-b", TCP, "-w", "2") as scene:
        calm = [signum for signum in TO_MASTER if signum != signal.SIGCONT]
        storm(dice, lambda: scene.master.pid, calm, 20)
        scene.master.signal(signal.SIGTERM)
        storm(dice, lambda: scene.master.pid, calm, 20)
        scene.end(0)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
def test_signals_that_come_too_late_do_not_change_the_exit_code(signum: signal.Signals) -> None:
    """One after the other from its last line on, until the master is gone: exit 0 all the same."""
    with serving(STREAM, "-b", TCP, "-w", "1") as master:
        master.signal(signal.SIGTERM)
        master.wait_for("stopped, exit 0")
        while master.is_running():
            master.signal(signum)
        master.expect_exit(0)


def test_term_in_the_middle_of_a_reload_costs_nothing(application: Application, gate: Gate) -> None:
    """It does not wait for the new code; whoever was admitted is answered: exit 0."""
    with under_load(*application.arguments, "-b", TCP, "-w", "2") as scene:
        application.write("2", f"apps.pass_gate({gate.path!r})")
        scene.master.signal(signal.SIGHUP)
        gate.visitor()
        scene.goes_on()
        scene.master.signal(signal.SIGTERM)
        scene.end(0)


@pytest.mark.long
def test_term_twice_costs_whoever_is_not_done(gate: Gate) -> None:
    """The first waits for a request that does not end, the second does not: exit 5, and who was not done is lost."""
    with under_load(STREAM, "-b", TCP, "-w", "2", "--graceful-timeout", "1h") as scene:
        held = Question(scene.url, f"hold {gate.path}")
        gate.visitor()
        scene.master.signal(signal.SIGTERM)
        scene.master.wait_for("stopping gracefully")
        scene.master.signal(signal.SIGTERM)
        assert held.is_lost()
        scene.may_lose += CLIENTS
        scene.end(5)
