"""Deploys that break, under a load that does not notice."""

import signal

import pytest

from tests.end_to_end.faults.scene import under_load
from tests.end_to_end.harness import TCP, Application, Gate


@pytest.mark.long
@pytest.mark.parametrize("preload", ["--preload", "--no-preload"])
def test_a_deploy_whose_import_hangs_costs_nothing(preload: str, application: Application, gate: Gate) -> None:
    """HUP: it is given up when the boot limit is over, in the mold or in a worker, and whoever hung is gone."""
    with under_load(*application.arguments, "-b", TCP, "-w", "2", preload, "--boot-timeout", "3s") as scene:
        application.write("2", f"apps.pass_gate({gate.path!r})")
        scene.master.signal(signal.SIGHUP)
        gate.visitor()
        scene.goes_on()
        scene.master.wait_given_up(2)


@pytest.mark.long
def test_a_deploy_that_never_gets_ready_costs_nothing(application: Application, gate: Gate) -> None:
    """HUP: it loads, and its workers do not come out of their start hook: given up, and the old code serves on."""
    hook = ("--worker-start", "shop:start", "--boot-timeout", "3s")
    application.write("1", "def start(*_): pass")
    with under_load(*application.arguments, "-b", TCP, "-w", "2", *hook) as scene:
        application.write("2", f"def start(*_): apps.pass_gate({gate.path!r})")
        scene.master.signal(signal.SIGHUP)
        gate.visitor()
        scene.goes_on()
        scene.master.wait_given_up(2)
