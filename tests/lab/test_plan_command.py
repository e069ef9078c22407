"""``prefork plan``: what it says, what it writes, and what it refuses."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from prefork.cli import cli
from prefork.cli.plan_flags import read_machine
from prefork.cli.plan_service import known_service
from prefork.errors import CommandError, Exit, PreforkError, UsageError
from prefork.lab import fleet, fleet_picture, fleet_simulation, ink, plan_text, planning
from prefork.lab.fleet import Machine, service_of
from prefork.lab.planning import Moments, Plan
from prefork.lab.sizing import Wish
from tests.lab.profiles import profile

DOCS = Path(__file__).parents[2] / "docs"
MOST_STEPS = fleet_simulation.MOST_STEPS
GIB = 1024**3
FOUR, SIXTEEN = Machine(4.0, 8 * GIB), Machine(16.0, GIB)


@pytest.fixture(autouse=True)
def _in_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer requests are enough here."""
    monkeypatch.setattr(fleet_simulation, "MOST_STEPS", 8_000)


def made(
    *machines: Machine, source: str = "measured", today: float = 2000.0, detect: float = 2.0, **asked: Any
) -> Plan:
    wish = Wish(**({"rate": 2000.0, "q": 0.99, "goal": 0.2} | asked))
    moments = Moments(detect=detect, restart=2.0)
    service = service_of(profile())
    return planning.make(service, machines or (FOUR,), wish, moments, target="shop", source=source, today=today)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["plan", *map(str, arguments)])


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "shop.json"
    path.write_bytes(msgspec.json.encode(profile()))
    return path


def refused(result: Result, kind: type[PreforkError] = UsageError) -> str:
    assert isinstance(result.exception, kind), result.output
    assert "\n" not in str(result.exception)
    return str(result.exception)


def test_it_says_what_to_run_and_why() -> None:
    """The first sentence says it all; then why so many, what else there was, and what happens while some are away."""
    told = plan_text.sentences(made(FOUR, SIXTEEN))
    assert told[0].startswith("run ")
    assert "machines of 4 CPUs and 8.0G, for 2000/s with p99 within 200ms" in told[0]
    assert "just meet the goal, 1 may be away, be it lost or restarting" in told[1]
    assert "with " in told[2]
    assert "it would take" in told[2]
    assert "16 CPUs and 1.0G: " in told[3]
    assert all(" by the formula, " in one and one.endswith("simulated") for one in (told[6], told[7]))
    assert "requests fail in the 2s until the balancer notices" in told[5]
    assert told[7].startswith("a restart of all takes ")
    assert told[-1].startswith("below ")


@pytest.mark.long
def test_the_least_costly_size_is_chosen() -> None:
    """By CPUs where nobody told prices, else by the price."""
    plain = made(FOUR, SIXTEEN)
    assert plain.chosen == min((0, 1), key=lambda n: plain.options[n].machines * plain.options[n].machine.cpus)
    dear = made(Machine(4.0, 8 * GIB, price=100.0), Machine(16.0, GIB, price=1.0))
    assert dear.chosen == 1
    assert "CPUs in " in plan_text.sentences(dear)[3]


@pytest.mark.long
def test_the_situations_are_those_that_were_asked_for() -> None:
    """Nobody lost where nobody may be; growth where there is some."""
    assert [one.name for one in made(spare=0).situations] == ["all there", "batch 1 of 5 restarts"]
    names = [one.name for one in made(spare=2, rolling=0.5, today=1500.0).situations]
    assert names[1:3] == ["2 lost, unnoticed", "2 lost"]
    assert names[3].startswith("batch 1 of 2")
    assert names[4] == "today"


@pytest.mark.long
def test_a_failure_that_is_noticed_at_once_has_no_time_in_which_nobody_knows() -> None:
    """A time of a millisecond is said to be that."""
    plan = made(detect=1e-30)
    assert plan == made(detect=0.0)
    assert [one.name for one in plan.situations] == ["all there", "1 lost", "batch 1 of 5 restarts"]
    assert not any("notices" in one for one in plan_text.sentences(plan))
    told = plan_text.sentences(made(detect=0.001))
    assert any("in the 1ms until the balancer notices" in one for one in told)


@pytest.mark.long
def test_formula_and_simulation_stand_beside_each_other() -> None:
    """In each situation, and within 15 % of each other at usual loads."""
    plan = made()
    for one in plan.situations:
        assert one.simulated == pytest.approx(one.formula, rel=0.15)
    assert not [doubt for doubt in plan.doubts if doubt.kind == "formula"]


@pytest.mark.parametrize(
    ("machine", "changed", "kind"),
    [(SIXTEEN, {}, "other-machine"), (FOUR, {"q": 0.999, "goal": 1.0}, "rare"), (FOUR, {}, None)],
)
def test_a_doubt_says_what_the_figures_hang_on(machine: Machine, changed: dict[str, Any], kind: str | None) -> None:
    """Another machine, a percentile that nobody saw; a machine like the profile's raises none."""
    kinds = {doubt.kind for doubt in made(machine, **changed).doubts}
    assert kind in kinds if kind else not kinds


def test_no_machine_has_more_workers_than_a_service_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many CPUs it has; and it says so."""
    monkeypatch.setattr(fleet, "MOST_PLACES", 4)
    monkeypatch.setattr(planning, "MOST_PLACES", 4)
    plan = made(Machine(16.0, GIB))
    assert plan.option is not None
    assert max(plan.option.others) == 4
    assert any(doubt.text.startswith("no machine is given more than 4 requests at once") for doubt in plan.doubts)


@pytest.mark.long
def test_the_picture_shows_the_goal_everywhere(tmp_path: Path) -> None:
    """A panel a course and one by machines; its description is the sentences."""
    plan = made(today=1500.0)
    drawn = fleet_picture.draw(plan)
    assert len(drawn.axes) == 4
    svg = ink.as_svg(drawn, fleet_picture.described(plan))
    assert svg.count("goal p99 200ms") == 4
    assert plan_text.sentences(plan)[0] in svg


@pytest.mark.long
def test_the_command_prints_writes_and_draws(saved: Path, tmp_path: Path) -> None:
    """Sentences first, what is left out last; the figures as JSON, the pictures as SVG and PNG."""
    figures, svg, png = tmp_path / "plan.json", tmp_path / "plan.svg", tmp_path / "plan.png"
    asked = (saved, "--rate", 2000, "--p99", "200ms", "--machine", "cpus=4,memory=8GiB")
    result = run(*asked, "--json", figures, "--picture", svg)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0].startswith("run ")
    assert lines[-1] == f"- {planning.LEFT_OUT[-1]}"
    read = json.loads(figures.read_text())
    assert read["options"][read["chosen"]]["machines"] == read["situations"][0]["machines"]
    assert svg.read_text().startswith("<svg ")
    assert run(*asked, "--picture", png).exit_code == 0
    assert png.read_bytes().startswith(b"\x89PNG")
    printed = run(*asked, "--json", "-")
    assert json.loads(printed.output) == read


@pytest.mark.long
def test_the_page_shows_what_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its example is what the second of its commands prints."""
    monkeypatch.setattr(fleet_simulation, "MOST_STEPS", MOST_STEPS)
    monkeypatch.chdir(DOCS / "plan")
    commands, answer, *_ = re.findall(r"^```\w+\n(.*?)^```$", (DOCS / "plan.md").read_text(), re.MULTILINE | re.DOTALL)
    command, _ = commands.splitlines()[1].split(" --picture ")
    result = run(*shlex.split(command)[2:])
    assert result.exit_code == 0, result.output
    assert "\n".join(map(str.rstrip, result.output.splitlines())).startswith(answer)


def test_a_live_profile_is_enough_for_a_plan_and_says_what_it_does_not_know(tmp_path: Path) -> None:
    """No more workers a CPU than ran; nobody saw it start."""
    path = tmp_path / "live.json"
    path.write_bytes(msgspec.json.encode(profile(source="live", scalability=None, boot_seconds=0.0)))
    result = run(path, "--rate", 2000, "--p99", "200ms", "--json", "-")
    read = json.loads(result.output)
    assert {doubt["kind"] for doubt in read["doubts"]} >= {"no-scalability", "boot"}
    assert read["options"][0]["workers"] <= 8


def test_the_machine_of_the_profile_keeps_as_much_memory_free_as_tune(saved: Path) -> None:
    """A fifth; of a machine that is named all is for the service."""
    flags = dict.fromkeys(("workers_per_cpu", "boot", "service_mean", "service_scv"))
    assert known_service(str(saved), flags).machine == Machine(4.0, int(0.8 * 8 * GIB))
    assert read_machine("cpus=4,memory=8GiB") == FOUR


def test_it_plans_on_paper_and_says_so() -> None:
    """Before there is anything to measure."""
    result = run("--service-mean", "20ms", "--service-scv", 0.5, "--rate", 2000, "--p99", "150ms")
    assert result.exit_code == 0, result.output
    assert "nothing was measured" in " ".join(result.output.split())


def test_what_cannot_be_done_is_said_and_is_exit_1(saved: Path) -> None:
    """With the reason of each size."""
    result = run(saved, "--rate", 2000, "--p99", "10ms")
    assert refused(result, CommandError)
    assert "the service alone takes longer than the goal" in " ".join(result.output.split())
    assert isinstance(result.exception, CommandError)
    assert result.exception.exit_code is Exit.REFUSED


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--rate", "x", "--p99", "9ms"], "--rate: 'x' is no number"),
        (["--rate", "0", "--p99", "9ms"], "--rate: nothing is asked"),
        (["--rate", "5"], "plan needs one goal, not 0"),
        (["--rate", "5", "--p99", "9ms", "--p50", "1ms"], "plan needs one goal, not 2"),
        (["--rate", "5", "--p99", "soon"], "--p99: 'soon' is no duration"),
        (["--rate", "5", "--p99", "9ms", "--machine", "cpus=4"], "--machine: 'cpus=4' is no size"),
        (["--rate", "5", "--p99", "9ms", "--machine", "cpus=0,memory=1GiB"], "is no size"),
        (["--rate", "5", "--p99", "9ms", "--machine", "cpus=1,memory=1GiB,disk=9"], "is no size"),
        (["--rate", "5", "--p99", "9ms", "--machine", "cpus=4,memory=8GiB,cpus=3"], "is no size"),
        (["--rate", "5", "--p99", "9ms", "--max-utilisation", "2"], "--max-utilisation: 2 is not above 0"),
        (["--rate", "5", "--p99", "9ms", "--rolling", "0"], "--rolling: '0' is no number of machines"),
        (["--rate", "5", "--p99", "9ms", "--rolling", "100%"], "--rolling: 100% is not between"),
        (["--rate", "5", "--p99", "9ms", "--growth", "2"], "--growth: '2' is no share"),
        (["--rate", "5", "--p99", "9ms", "--picture", "x.pdf"], "--picture: 'x.pdf' cannot be drawn; end it in .svg"),
        (["--rate", "5", "--p99", "9ms", "--picture", "/nowhere/x.svg"], "--picture: /nowhere/x.svg cannot be written"),
        (["-r", "5", "--p99", "9ms", "--json", "/nowhere/x.json"], "--json: /nowhere/x.json cannot be written"),
        (["--rate", "5", "--p99", "9ms", "--service-mean", "2ms"], "--service-mean: the profile has"),
        (["--rate", "5", "--p99", "9ms", "--workers-per-cpu", "0"], "--workers-per-cpu: 0 is not above 0"),
        (
            ["--rate", "5", "--p99", "9ms", "--workers-per-cpu", "1e308"],
            "--workers-per-cpu: 1e+308 is not",
        ),
        (["--rate", "5", "--p99", "9ms", "--machine", "cpus=1e308,memory=1GiB"], "is no size"),
    ],
)
def test_a_wrong_flag_is_one_line(saved: Path, arguments: list[str], said: str) -> None:
    """That names the flag."""
    result = run(saved, *arguments)
    assert said in refused(result)
    assert not result.output


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be read (No such file or directory)"),
        ("[1", "is no profile"),
        ("\udcff", "is no profile"),
        ('{"version": 2}', "is a profile of version 2, and this reads version 1"),
        ('{"version": 1}', "missing required field"),
        (msgspec.json.encode(profile(service_seconds=[])).decode(), "are above 0"),
    ],
)
def test_a_profile_that_is_none_is_one_line(tmp_path: Path, text: str | None, said: str) -> None:
    """That ends in how to write one."""
    path = tmp_path / "bad.json"
    if text is not None:
        path.write_bytes(text.encode(errors="surrogateescape"))
    reason = refused(run(path, "--rate", 5, "--p99", "9ms"))
    assert said in reason
    assert reason.endswith("prefork tune TARGET --save-profile FILE")


def test_no_profile_and_nothing_on_paper_is_refused() -> None:
    """Nothing is known then."""
    assert "a profile is missing, or --service-mean" in refused(run("--rate", 5, "--p99", "9ms"))
