"""What short runs may be believed, on queues whose steady state is known; no process, no time."""

import math

import pytest

from prefork.lab import evidence, tuner, tuning_text
from prefork.lab.evidence import Asked
from prefork.lab.goals import Goal
from prefork.lab.tuning import Limits, Trial, Tuning
from tests.lab.simulated_bench import SimulatedBench, Taken, always, exponential
from tests.lab.test_advice import trial
from tests.lab.test_tuner import MACHINE

SEEDS = range(5)


def tuned(
    taken: Taken,
    seed: int,
    rate: float,
    goals: list[Goal],
    budget: float = 120.0,
    kind: type[SimulatedBench] = SimulatedBench,
) -> Tuning:
    wish = tuner.Wish("made up", "shop:Orders", "prefork tune", "prefork", 1, rate, goals, budget, seed=seed)
    limits = Limits(cpus=2.0, cpus_why="made up", memory=8 << 30, memory_why="made up", most=64)
    return tuner.Tuner(wish, limits, MACHINE, kind(taken, seed), lambda line: None).run()


@pytest.fixture(autouse=True)
def no_law(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no part in this, and takes longest."""
    monkeypatch.setattr(tuner, "fitted", lambda trials, seed: (None, []))


def chosen(tuning: Tuning) -> int:
    assert tuning.choice is not None
    return tuning.choice.workers


@pytest.mark.parametrize(
    ("taken", "rate", "goals", "least"),
    [
        (exponential(0.02), 190.0, [Goal(0.99, 0.3)], 5),  # of four p99 is 449 ms, but not in two seconds
        (exponential(0.1), 50.0, [Goal(0.99, 2.0)], 6),  # the queue of five never ends
        (always(0.02), 50.5, [], 2),  # likewise of one
    ],
    ids=["95% busy", "100% busy", "101% busy"],
)
def test_a_queue_that_builds_up_slowly_is_not_taken_for_short(
    taken: Taken, rate: float, goals: list[Goal], least: int
) -> None:
    """Nor is a queue that never ends for one that does."""
    assert [seed for seed in SEEDS if chosen(tuned(taken, seed, rate, goals)) < least] == []


def test_what_has_room_is_not_given_more() -> None:
    """Three workers would be 100 % busy; of four p99 is 155 ms."""
    found = [chosen(tuned(exponential(0.02), seed, 150.0, [Goal(0.99, 0.3)])) for seed in SEEDS]
    assert found.count(4) >= 4
    assert max(found) <= 5


def test_a_percentile_of_few_requests_does_not_outvote_theory() -> None:
    """Of one worker p99.9 is 101 ms, not to be seen in a hundred requests; and it is said how many it takes."""
    tuning = tuned(always(0.02), 0, 20.0, [Goal(0.999, 0.06)], budget=45.0)
    first = next(tuning_text.sentences(tuning))
    assert first.startswith("run 2 workers, because they meet p999 60ms at 20.0/s, and 1 did in ")
    assert first.endswith(" requests, too few to see p999: theory says 95.2ms")
    told = {doubt.kind: str(doubt) for doubt in tuning.doubts}
    assert "are too few for p999: 10000 would do; give more time (--budget)" in told["too-short"]
    assert told["theory"].endswith("measured was 20ms: runs were too short to see it; believe theory")


def test_one_slow_request_of_the_first_run_is_no_reason_to_forget_theory() -> None:
    """Although it alone is beyond the goal, and so theory has no number of workers for it."""

    class Hiccup(SimulatedBench):
        def alone(self, seconds: float) -> tuple[Trial, list[float]]:
            trial, times = super().alone(seconds)
            return trial, [*times[:-1], 0.09]

    tuning = tuned(always(0.02), 0, 20.0, [Goal(0.999, 0.06)], budget=45.0, kind=Hiccup)
    assert chosen(tuning) == 2


def test_a_count_that_may_be_full_says_why_it_is_not_taken() -> None:
    """By as much as rounds may be wrong by chance."""
    asked = Asked(95.0, [Goal(0.99, 0.1)], [0.02] * 100, 1)
    sweep = [trial(1, 50.0), trial(2, 100.0)]
    said = "may be 95% busy, where queues grow longer than runs can show"
    assert evidence.hindrance(asked, sweep, 2, 60.0) == said
    assert evidence.hindrance(asked._replace(rate=70.0), sweep, 2, 60.0) == ""
    varied = asked._replace(rate=85.0, service_seconds=[0.001] * 50 + [0.039] * 50)
    assert evidence.is_full(varied, sweep, 2)
    assert not evidence.is_full(varied, [trial(2, 100.0, due=10_000)], 2)


def test_runs_near_saturation_have_to_be_long_or_agree_with_theory() -> None:
    """A goal that theory sees met needs no long run."""
    asked = Asked(90.0, [Goal(0.99, 0.1)], [0.02] * 100, 1)
    sweep = [trial(2, 100.0)]
    assert "busy: then theory says p99 " in evidence.hindrance(asked, sweep, 2, 1.0)
    assert evidence.hindrance(asked, sweep, 2, 1 + evidence.settling(asked, sweep, 2)) == ""
    assert evidence.hindrance(asked._replace(goals=[Goal(0.99, 1.0)]), sweep, 2, 1.0) == ""


def test_throughput_between_two_counts_is_on_their_line() -> None:
    """Beyond the last one by what its workers did."""
    sweep = [trial(2, 100.0), trial(2, 110.0), trial(4, 165.0)]
    assert [evidence.capacity(sweep, n) for n in (1, 2, 3, 4, 8)] == [52.5, 105.0, 135.0, 165.0, 330.0]
    assert evidence.capacity([], 3) == 0
    assert evidence.utilisation(Asked(1.0, [], [0.02], 1), [], 3) == math.inf
