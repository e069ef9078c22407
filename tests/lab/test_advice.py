"""What is said of a tuning: choices, bottlenecks and whole answers, compared as they are read."""

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from prefork.cli import cli
from prefork.cli.lab_target import running
from prefork.config.sources import read_file
from prefork.lab import advice, ink, tuning_picture, tuning_text
from prefork.lab.doubts import Doubt
from prefork.lab.goals import Goal, read_goals
from prefork.lab.profiles import of_tuning
from prefork.lab.tuning import Choice, Limits, Trial, Tuning, Weight
from tests.lab.test_tuner import MIB, Bench, tuned

THROUGHPUT = """\
run 2 workers, because they give 1000/s, and more give no more than 1000/s (with 3)
expect 1000/s at most; at 700/s, with workers 70% busy, p50 2.33ms and p99 8.11ms (by theory)
the next bottleneck is the CPUs: the service used 2 of 2 CPUs, and what sent the requests 0.1; give it more of them, \
or requests less to do
verified: 1: 500/s, 2: 1000/s, 3: 1000/s: the advice holds within the noise
memory: 40.0M for 2 workers, 10.0M each beside 20.0M; 653 would fit into 80% of 8.0G (made up)"""

GOAL = """\
run 8 workers, because they meet p99 26ms at 400/s, and 7 do not
at 400/s expect workers 50% busy, p50 12.5ms, p99 25ms (measured); theory says p99 12.1ms
the next bottleneck is the workers themselves, at about 800/s; more of them do more, 16 1600/s
verified: 7: p99 28.6ms, 8: p99 25ms, 9: p99 22.2ms: the advice holds
memory: 100M for 8 workers, 10.0M each beside 20.0M; 653 would fit into 80% of 8.0G (made up)"""

NO_ANSWER = """\
no number of workers serves 5000/s with p99 50ms here; tried: 8
the most there was is 400/s, with 4 workers and clients that wait
the bottleneck is the CPUs: the service used 4 of 2 CPUs, and what sent the requests 0.1; give it more of them, \
or requests less to do"""


def by_throughput(**how: Any) -> Tuning:
    return tuned(Bench(lambda n: 500.0 * min(n, 2), noise=0, **how))


def by_goal() -> Tuning:
    bench = Bench(lambda n: 100.0 * min(n, 16), lambda n, rate: None if n < 5 else 0.2 / n, 0.1, noise=0)
    return tuned(bench, rate=400, goal=0.026)


def without_answer() -> Tuning:
    bench = Bench(lambda n: 100.0 * min(n, 4), lambda workers, rate: None, noise=0)
    return tuned(bench, rate=5000, goal=0.05)


@pytest.mark.parametrize(
    ("tuning", "said"), [(by_throughput, THROUGHPUT), (by_goal, GOAL), (without_answer, NO_ANSWER)]
)
def test_the_answer_comes_first_and_in_sentences(tuning: Any, said: str) -> None:
    """Number and reason, what to expect, what would be in the way; the law behind them."""
    lines = list(tuning_text.sentences(tuning()))
    assert "\n".join(line for line in lines if not line.startswith("scalability")) == said


def test_the_table_has_a_row_a_count_and_marks_the_choice() -> None:
    """Full load first, then at the rate, then the last run."""
    head, *rows = tuning_text.table(by_goal())
    assert head.split() == ["workers", "load", "rate", "±", "p50", "p99", "failed", "CPUs", "memory"]
    assert [row.split()[1] for row in rows if row.startswith(">")] == ["8"] * 3
    assert len({len(row) for row in rows}) == 1


def test_an_interrupted_tuning_says_so_first() -> None:
    """And what is known so far."""
    first, second, *_ = tuning_text.sentences(by_throughput(stop_after=4))
    assert first == "interrupted: this is what is known so far"
    assert second.startswith("run 2 workers, because ")
    assert list(tuning_text.sentences(by_throughput(stop_after=1)))[1].startswith("too little was measured")


def trial(workers: int, rate: float, **changed: Any) -> Trial:
    usual: dict[str, Any] = {
        "workers": workers,
        "rate": rate,
        "due": 100,
        "late": 0,
        "room": workers,
        "latency": None,
        "errors": {},
        "cpus": 0.3,
        "generator_cpus": 0.1,
        "generator_share": 0.1,
        "pss_bytes": (20 + 10 * workers) * MIB,
        "boot_seconds": 0.2,
    }
    return Trial(**(usual | changed))


CROWDED = Doubt("shared-cpus", "2 CPUs, 100% busy")
FLAT = (100.0, 150.0, 152.0)
GROWING = (100.0, 200.0, 400.0)


@pytest.mark.parametrize(
    ("rates", "changed", "limits", "said"),
    [
        (FLAT, {"generator_share": 0.95}, {}, "the generator: it used 95% of a CPU"),
        (FLAT, {"cpus": 1.8}, {}, "the CPUs: the service used 1.8 of 2 CPUs"),
        (FLAT, {"cpus": 1.0, "generator_cpus": 0.9}, {}, "the CPUs, and what sends the requests shares them"),
        (FLAT, {}, {"memory": 80 * MIB}, "memory: of 10.0M each no more than 4 workers fit into 80% of 80.0M"),
        (FLAT, {"errors": {"refused": 2}}, {}, "errors: 6 requests failed at 4 workers"),
        (
            GROWING,
            {},
            {},
            "the number of workers: 4 still gave more than fewer did, and more were not to be tried; raise",
        ),
        (FLAT, {}, {}, "something that workers share, a lock, a database or a disk"),
        (FLAT, {"cpus": 0.7, "doubts": [CROWDED]}, {}, "the CPUs, of which something else on this machine has a part"),
        (FLAT, {"cpus": 0.046, "doubts": [CROWDED]}, {}, "something that workers share, a lock, a database or a disk"),
    ],
)
def test_the_bottleneck_is_what_the_sweep_saw(
    rates: tuple[float, ...], changed: dict[str, Any], limits: dict[str, Any], said: str
) -> None:
    """Of several the one without which the others could not be judged comes first."""
    sweep = [trial(n, rate, **changed) for n, rate in zip((1, 2, 4), rates, strict=True) for _ in range(3)]
    usual: dict[str, Any] = {"cpus": 2.0, "cpus_why": "", "memory": 8 << 30, "memory_why": "", "most": 256}
    tuning = replace(
        by_throughput(), sweep=sweep, cpu_share=0.1, limits=Limits(**(usual | limits)), weight=advice.weigh(sweep)
    )
    assert advice.bottleneck(replace(tuning, climb_end="max-workers"), 4).startswith(said)


@pytest.mark.parametrize(
    ("end", "changed", "said"),
    [
        ("budget", {"cpu_share": 0.02, "budget": 6.0}, "and then the time was out; give more (--budget)"),
        ("max-workers", {"cpu_share": 0.02, "most": 4}, "and more were not to be tried; raise --max-workers"),
        ("memory", {"cpu_share": 0.02, "memory": 700 * MIB}, "memory: of 10.0M each no more than 54 workers fit into"),
        ("cpus", {"cpu_share": 0.99}, "and is four times what should fill the CPUs, "),
    ],
)
def test_more_workers_are_asked_for_by_what_kept_them_from_being_tried(
    end: str, changed: dict[str, Any], said: str
) -> None:
    """Each end of the climb has a remedy of its own; where it was the time the answer is the least there may be."""
    how = dict(changed)
    bench = Bench(lambda n: 50.0 * n, cpu_share=how.pop("cpu_share"), noise=0)
    bench.cpus = 0.1
    tuning = tuned(bench, **how)
    assert tuning.climb_end == end
    first, _, third, *_ = tuning_text.sentences(tuning)
    assert said in third
    assert first.startswith("run at least ") == (end == "budget")


def test_weight_is_the_line_through_memory() -> None:
    """Of one count nothing is known."""
    assert advice.weigh([trial(n, 1.0) for n in (1, 2, 8)]) == Weight(20 * MIB, 10 * MIB)
    assert advice.weigh([trial(4, 1.0)]) is None
    assert advice.fitting(Weight(20 * MIB, 10 * MIB), 100 * MIB) == 6
    assert advice.fitting(Weight(20 * MIB, 10 * MIB), 1) == 1


def test_a_difference_within_the_noise_is_no_reason() -> None:
    """Neither to choose more workers, nor to move."""
    trials = [trial(n, rate) for n, rate in ((2, 100.0), (4, 108.0))]
    assert advice.choose(trials, 0.1, 256).workers == 2
    assert advice.choose(trials, 0.01, 256).workers == 4
    chosen = Choice(workers=2, why="of this")
    assert advice.verify(chosen, trials, 0.1).moved_from is None
    moved = advice.verify(chosen, [trial(2, 100.0), trial(4, 140.0)], 0.1)
    assert (moved.workers, moved.moved_from) == (4, 2)


def test_a_rate_without_a_goal_is_kept_up_with_or_not() -> None:
    """Nothing else is told of it; who does not is no advice that holds."""
    chosen = Choice(workers=2, why="of this")
    runs = [trial(n, 100.0, asked=100.0, late=0 if n > 1 else 50) for n in (1, 2, 3)]
    held = "1: kept up in 0 of 1 rounds, 2: kept up, 3: kept up: the advice holds"
    assert advice.verify_goal(chosen, runs, []).verified == held
    moved = advice.verify_goal(replace(chosen, workers=1), runs[:2], [])
    assert (moved.workers, moved.why) == (2, "in the last run 1 did not keep up, and 2 did")
    lost = advice.verify_goal(replace(chosen, workers=1), runs[:1], [])
    said = "1: kept up in 0 of 1 rounds: no count kept up again; it is too near to what this machine can do"
    assert lost.verified == said


def test_lines_for_the_configuration_are_accepted(tmp_path: Path) -> None:
    """With a bind, which is the user's own, as ``prefork check`` reads them."""
    tuning = replace(by_throughput(), title="tests.end_to_end.apps:Stream", target="tests.end_to_end.apps:Stream")
    given = ["--pythonpath", "a,b", "--timeout", "500ms", "--rlimits", "nofile=4096,core=0:unlimited", "--no-preload"]
    given += ["--memory-soft", "300MiB", "--log-level", "debug", "--on-ready", "true 'a b'", "--max-requests", "9"]
    with click.Context(cli, **cli.context_settings) as context:  # a command keeps the help option of its first context
        context.meta["prefork.lab.extra"] = given
        settings = running(tuning.target, "unix:").settings
    lines = advice.toml(replace(tuning, mode="hybrid"), {"threads": 4, **settings})
    path = tmp_path / "prefork.toml"
    path.write_text("\n".join([*lines, 'bind = ["tcp://127.0.0.1:9000"]', ""]))
    shown = CliRunner().invoke(cli, ["check", "-c", str(path)])
    assert shown.exit_code == 0
    assert lines[:2] == ['log_level = "debug"', "[service.stream]"]
    said = {"threads = 4", 'pythonpath = ["a", "b"]', 'timeout = "0.5s"', "preload = false", "max_requests = 9"}
    assert {*lines} > {*said, 'rlimits = { nofile = "4096", core = "0:unlimited" }', "workers = 2"}
    found = next(iter(read_file(str(path)).service.values()))
    names = [name for name in settings if name != "log_level"]
    assert {name: getattr(found, name) for name in names} == {name: settings[name] for name in names}


def test_a_name_of_other_letters_is_one_that_toml_takes() -> None:
    """Without quotes."""
    assert advice.service_name("shop:Größe") == "gr--e"
    assert advice.service_name("shop:Ö") == "service"


def test_a_workload_is_nobodys_service() -> None:
    """So there are no lines for it."""
    assert advice.toml(replace(by_throughput(), title="cpu=2ms"), {}) == []


def test_a_profile_has_what_a_plan_needs() -> None:
    """Of a tuning that found something."""
    profile = of_tuning(by_goal())
    assert profile is not None
    assert (profile.workers, profile.base_bytes, profile.worker_bytes) == (8, 20 * MIB, 10 * MIB)
    assert profile.scalability is not None
    assert len(profile.service_seconds) == 200
    assert of_tuning(without_answer()) is None


def test_the_picture_shows_every_round_and_says_so() -> None:
    """The same each time; what is chosen is in the text of the picture."""
    tuning = by_goal()
    first, second = (ink.as_svg(tuning_picture.draw(tuning), tuning_picture.describe(tuning)) for _ in range(2))
    assert first == second
    assert ">8 workers<" in first
    assert ">p99 26ms<" in first
    assert "8 were chosen" in first
    assert ink.as_png(tuning_picture.draw(without_answer())).startswith(b"\x89PNG")


def test_goals_are_read_from_two_kinds_of_flags() -> None:
    """The widest share first."""
    found = read_goals({"p50": "5ms", "p999": None}, ("p99=50ms",))
    assert found == [Goal(0.99, 0.05), Goal(0.5, 0.005)]
    assert [str(goal) for goal in found] == ["p99 50ms", "p50 5ms"]
    assert Goal(0.999, 1.0).name == "p999"


def test_the_page_shows_what_is_said() -> None:
    """Its example is the answer above."""
    page = (Path(__file__).parents[2] / "docs/tune.md").read_text()
    assert all(line.replace("made up", "the machine's") in page for line in GOAL.splitlines())
