"""A reload says how it ended, whatever is wrong with the new code, and goes back by itself, under load."""

from pathlib import Path

import pytest

from tests.end_to_end.clients import ask
from tests.end_to_end.harness import TCP, Application, Gate, Master, Watched, look_until, serving
from tests.end_to_end.load import Load
from tests.end_to_end.test_control import NAME, NAMED, Outcome, echo, start, steer

HOOKED = ("--worker-start", "shop:start", "--health", "shop:is_well")
WELL = ("def start(worker): pass", "def is_well(worker): pass")
BAD = {
    "to load": ("raise RuntimeError('half a deploy')", *WELL),
    "to boot": ("def start(worker): raise RuntimeError('no database')", WELL[1]),
    "its examination": (WELL[0], "def is_well(worker): raise RuntimeError('no table')"),
    "it by saying no": (WELL[0], "def is_well(worker): return False"),
}
REASONS = {
    "to load": "RuntimeError: half a deploy",
    "to boot": "RuntimeError: no database",
    "its examination": "RuntimeError: no table",
    "it by saying no": "health 'shop:is_well' says False, so the worker may not serve; let it raise to say why",
}


def test_a_reload_to_code_that_fails_is_exit_3_with_the_reason_and_costs_nothing(application: Application) -> None:
    """It fails to load, to boot, and its examination: under constant load nobody notices, and the next one is good."""
    application.write("1", *WELL)
    arguments = [*application.arguments, *NAMED, *HOOKED, "-b", TCP, "-w", "2"]
    with serving(*arguments) as master, Load(master.bind(), clients=4, processes=1) as load:
        for what, statements in BAD.items():
            load.wait_answered(50)
            application.write("2", *statements)
            outcome = steer("reload")
            assert outcome.code == 3, (what, outcome)
            assert REASONS[what] in outcome.err, (what, outcome)
            assert ask(master.bind(), "version") == "1"
        application.write("3", *WELL)
        assert steer("reload").code == 0
        load.wait_answered(50)
        assert ask(master.bind(), "version") == "3"
        counts = load.finish()
        assert counts.refused + counts.admitted_in_vain == 0, counts


@pytest.mark.long
def test_a_reload_to_code_that_is_never_ready_is_exit_3(application: Application, gate: Gate) -> None:
    """An examination that hangs is ended by the boot limit, three times."""
    application.write("1", *WELL)
    arguments = [*application.arguments, *NAMED, *HOOKED, "-b", TCP, "-w", "2", "--boot-timeout", "5s"]
    with serving(*arguments) as master, Load(master.bind(), clients=4, processes=1) as load:
        application.write("2", WELL[0], f"def is_well(worker): apps.pass_gate({gate.path!r})")
        outcome = steer("reload")
        assert outcome.code == 3
        assert "3 times in a row before they had proven themselves" in outcome.err
        assert "it was not ready within 5 s" in outcome.err
        assert ask(master.bind(), "version") == "1"
        counts = load.finish()
        assert counts.refused + counts.admitted_in_vain == 0, counts


def test_an_examination_that_fails_at_the_first_start_is_exit_3(application: Application) -> None:
    """As any other failure to boot."""
    application.write("1", *BAD["it by saying no"])
    with Master(*application.arguments, *HOOKED, "-b", TCP, "-w", "2") as master:
        master.expect_exit(3)
        assert master.lines(REASONS["it by saying no"])


# probation


def mortal(gate: Gate) -> tuple[str, ...]:
    """Workers that serve well, and die when they are let through the gate."""
    return (
        "import threading",
        f"def die(): apps.pass_gate({gate.path!r}); os._exit(7)",
        "def start(worker): threading.Thread(target=die, daemon=True).start()",
        WELL[1],
    )


def test_code_that_crashes_on_probation_is_rolled_back(application: Application, gate: Gate) -> None:
    """Each death costs at most its request, and going back none; the reload, which has waited, is exit 3."""
    application.write("1", *WELL)
    arguments = [*application.arguments, *NAMED, *HOOKED, "-b", TCP, "-w", "2", "--probation", "1h"]
    with serving(*arguments) as master, Load(master.bind(), clients=4, processes=1) as load:
        mold = master.mold()
        application.write("2", *mortal(gate))
        waiting = start("reload", "-n", NAME)
        master.wait_serving(generation=2)
        service = echo()
        assert (service["phase"], service["generation"]) == ("reloading", 2)
        assert 3000 < service["probation_seconds"] <= 3600
        assert ask(master.bind(), "version") == "2"
        load.wait_answered(50)
        assert waiting.poll() is None
        for _ in range(3):
            gate.visitor().let_pass()
        outcome = Outcome(waiting)
        assert outcome.code == 3
        assert "generation 2 is given up, generation 1 serves again: on probation, " in outcome.err
        assert "the last one exited with 7" in outcome.err
        look_until(lambda: ask(master.bind(), "version") == "1", "the old code serves")
        look_until(lambda: {p.generation for p in master.processes("worker")} == {1}, "and nobody else")
        assert master.mold() == mold
        load.wait_answered(50)
        counts = load.finish()
        assert counts.refused + counts.wrong + counts.unanswered == 0, counts
        assert counts.lost <= 3, counts
        service = echo()
        assert (service["phase"], service["generation"]) == ("healthy", 1)
        assert (service["last_load"]["outcome"], service["last_load"]["generation"]) == ("abandoned", 2)


def test_code_that_holds_passes_its_probation(application: Application) -> None:
    """The reload returns when it is over, and the old mold has gone."""
    application.write("1", *WELL)
    arguments = [*application.arguments, *NAMED, *HOOKED, "-b", TCP, "-w", "2", "--probation", "100ms"]
    with serving(*arguments) as master, Watched([master.mold()]) as old:
        application.write("2", *WELL)
        outcome = steer("reload")
        assert (outcome.code, outcome.err) == (0, "")
        assert "generation 2 serves for good" in outcome.out
        assert "on probation for 0.1 s" in master.wait_for("generation 2 serves with 2 workers")
        old.wait_all()


def test_a_reload_during_a_probation_is_not_kept_waiting_by_it(application: Application, tmp_path: Path) -> None:
    """The newer code serves for good, and answers for both."""
    path = tmp_path / "prefork.toml"
    application.write("1")
    text = f"[service.shop]\ntarget = 'shop:Handler'\npythonpath = ['{tmp_path}']\nbind = ['{TCP}']\nworkers = 1\n"
    path.write_text(f"name = '{NAME}'\n{text}probation = '1h'\n")
    with Master("-c", str(path)) as master:
        master.wait_serving()
        application.write("2")
        first = start("reload", "-n", NAME)
        master.wait_serving(generation=2)
        path.write_text(f"name = '{NAME}'\n{text}")
        application.write("3")
        for outcome in (steer("reload"), Outcome(first)):
            assert outcome.code == 0
            assert "generation 3 serves with 1 worker" in outcome.out
        assert ask(master.bind(), "version") == "3"
        look_until(lambda: len(master.processes("mold")) == 1, "both other molds have left")
