"""The search, on made-up services whose best number of workers is known; no process, no time."""

import random
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from prefork.errors import CommandError
from prefork.lab import tuner, tuning_text
from prefork.lab.comparison import Machine
from prefork.lab.goals import Goal
from prefork.lab.load import Latencies
from prefork.lab.tuning import Limits, Trial, Tuning

MACHINE = Machine(2.0, "made up", 8 << 30, "6.0", "3.11", "0.1.0")
MIB = 1 << 20


class Bench:
    """A service by formula.

    :param curve: requests a second by workers.
    :param respond: p99 in seconds by workers and rate; ``None`` where it cannot keep up.
    :param stop_after: runs after which the user has had enough.
    """

    def __init__(
        self,
        curve: Callable[[int], float],
        respond: Callable[[int, float], float | None] = lambda workers, rate: 0.01,
        cpu_share: float = 1.0,
        noise: float = 0.01,
        stop_after: int = 10_000,
    ) -> None:
        self.curve, self.respond, self.cpu_share = curve, respond, cpu_share
        self._noise, self._stop_after = noise, stop_after
        self._dice = random.Random(7)
        self._clock = 0.0
        self.runs: list[tuple[str, int]] = []
        self.cpus: float | None = None  # that all workers use together; None: as many as they are busy

    def now(self) -> float:
        return self._clock

    def alone(self, seconds: float) -> tuple[Trial, list[float]]:
        taken = 1 / self.curve(1)
        return self._trial("alone", 1, None, self.curve(1), taken, seconds), [taken] * 200

    def closed(self, workers: int, seconds: float) -> Trial:
        rate = self.curve(workers) * self._dice.gauss(1, self._noise)
        return self._trial("closed", workers, None, rate, 2 * workers / rate, seconds)

    def opened(self, workers: int, asked: float, seconds: float) -> Trial:
        p99 = self.respond(workers, asked)
        rate = self.curve(workers) / 2 if p99 is None else asked
        p99 = 9.0 if p99 is None else p99 * self._dice.gauss(1, self._noise)
        return self._trial("opened", workers, asked, rate, p99, seconds)

    def _trial(self, kind: str, workers: int, asked: float | None, rate: float, p99: float, seconds: float) -> Trial:
        if len(self.runs) >= self._stop_after:
            raise tuner.Stopped
        self.runs.append((kind, workers))
        self._clock += 1.25 * seconds + 0.5
        return Trial(
            workers=workers,
            asked=asked,
            rate=rate,
            due=1000,
            late=500 if p99 == 9.0 else 0,
            room=workers,
            latency=Latencies(p99 / 2, p99 / 2, p99 / 1.5, p99, p99, p99),
            errors={},
            cpus=self.cpu_share * rate / self.curve(1) if self.cpus is None or kind == "alone" else self.cpus,
            generator_cpus=0.1,
            generator_share=0.1,
            pss_bytes=(20 + 10 * workers) * MIB,
            boot_seconds=0.3,
        )


def tuned(
    bench: Bench,
    *,
    rate: float | None = None,
    goal: float | None = None,
    budget: float = 120.0,
    cpus: float = 2.0,
    memory: int = 8 << 30,
    most: int = 256,
) -> Tuning:
    goals = [] if goal is None else [Goal(0.99, goal)]
    wish = tuner.Wish("made up", "shop:Orders", "prefork tune", "prefork", 1, rate, goals, budget)
    limits = Limits(cpus=cpus, cpus_why="made up", memory=memory, memory_why="made up", most=most)
    return tuner.Tuner(wish, limits, MACHINE, bench, lambda line: None).run()


def chosen(tuning: Tuning) -> int:
    assert tuning.choice is not None
    return tuning.choice.workers


@pytest.mark.parametrize(
    ("curve", "cpu_share", "best"),
    [
        (lambda n: 500.0 * min(n, 2), 1.0, (2, 2)),
        (lambda n: 50.0 * min(n, 40), 0.05, (37, 44)),
        (lambda n: 100.0 * n / (1 + 0.5 * (n - 1)), 0.5, (8, 24)),
        (lambda n: 100.0 * n / (1 + 0.02 * (n - 1) + 0.005 * n * (n - 1)), 0.1, (9, 16)),
        (lambda n: 100.0, 0.3, (1, 1)),
    ],
    ids=["two CPUs", "forty waits", "a lock", "a peak at 14", "one at a time"],
)
def test_the_knee_is_found_within_the_budget(
    curve: Callable[[int], float], cpu_share: float, best: tuple[int, int]
) -> None:
    """By few counts, and verified by a last run of its own."""
    bench = Bench(curve, cpu_share=cpu_share)
    tuning = tuned(bench)
    assert best[0] <= chosen(tuning) <= best[1]
    assert bench.now() <= 120
    assert tuning.choice is not None
    assert "holds" in tuning.choice.verified or tuning.choice.moved_from is not None
    assert tuning.is_whole
    assert {one.workers for one in tuning.last_runs} >= {chosen(tuning)}


def test_memory_bounds_what_is_measured_and_advised() -> None:
    """Nothing is started that does not fit, once it is known what a worker weighs."""
    bench = Bench(lambda n: 50.0 * min(n, 40), cpu_share=0.05)
    tuning = tuned(bench, memory=200 * MIB)
    assert chosen(tuning) == 14  # 80 % of 200 less 20, by 10
    assert max(workers for _, workers in bench.runs) == 14


@pytest.mark.parametrize("rate", [None, 50.0])
def test_where_not_one_worker_fits_there_is_no_answer(rate: float | None) -> None:
    """And no second one is tried."""
    bench = Bench(lambda n: 50.0 * n)
    tuning = tuned(bench, memory=30 * MIB, rate=rate)
    assert tuning.choice is None
    assert {workers for _, workers in bench.runs} == {1}
    said = "not one worker fits into 80% of 30.0M (made up): with one the service takes 30.0M; "
    assert next(tuning_text.sentences(tuning)).startswith(said)


def test_what_turns_out_not_to_fit_is_not_advised() -> None:
    """Workers that weigh more the more there are of them."""

    class Growing(Bench):
        def closed(self, workers: int, seconds: float) -> Trial:
            trial = super().closed(workers, seconds)
            return replace(trial, pss_bytes=(20 + 10 * workers**2) * MIB)

    tuning = tuned(Growing(lambda n: 50.0 * min(n, 40), cpu_share=0.05), memory=200 * MIB)
    assert max(one.workers for one in tuning.sweep) == 4  # 180 of the 160 MiB that it may have
    assert chosen(tuning) < 4


def test_a_goal_is_met_by_measurement_not_by_theory() -> None:
    """Theory thinks of service times of one worker alone; this service is worse."""

    def respond(workers: int, rate: float) -> float | None:
        return None if workers < 5 else 0.2 / workers

    tuning = tuned(Bench(lambda n: 100.0 * min(n, 16), respond, 0.1), rate=400, goal=0.026)
    assert chosen(tuning) == 8
    assert tuning.choice is not None
    assert "meet p99 26ms" in tuning.choice.why
    assert "holds" in tuning.choice.verified
    assert any(doubt.kind == "theory" for doubt in tuning.doubts)


def test_a_rate_that_no_number_serves_is_said_with_the_most_there_is() -> None:
    """No choice is made up."""
    tuning = tuned(Bench(lambda n: 100.0 * min(n, 4), lambda workers, rate: None), rate=5000, goal=0.05)
    assert tuning.choice is None
    assert tuning.is_whole
    assert max(one.rate for one in tuning.sweep) > 390


def test_the_advice_moves_once_to_a_better_neighbour() -> None:
    """Where the last run shows that the sweep was mistaken."""

    class Fickle(Bench):
        def closed(self, workers: int, seconds: float) -> Trial:
            if len([one for one in self.runs if one[0] == "closed"]) >= 3 * 3:
                self.curve = lambda n: 100.0 * n
            return super().closed(workers, seconds)

    tuning = tuned(Fickle(lambda n: 100.0 * min(n, 2), noise=0.001))
    assert tuning.choice is not None
    assert (tuning.choice.moved_from, tuning.choice.workers) == (2, 3)
    assert "the advice moved from 2 to 3" in tuning.choice.verified


def test_a_count_that_cannot_be_started_is_the_end_of_the_sweep() -> None:
    """As where the machine allows no more processes; what was measured before stands."""

    class Bounded(Bench):
        def closed(self, workers: int, seconds: float) -> Trial:
            if workers > 5:
                raise CommandError("prefork was not ready within 90 s")
            return super().closed(workers, seconds)

    tuning = tuned(Bounded(lambda n: 100.0 * n, cpu_share=0.1))
    assert chosen(tuning) == 4
    assert any("8 workers could not be measured (prefork was" in str(doubt) for doubt in tuning.doubts)


def test_a_service_that_cannot_be_measured_at_all_is_an_error() -> None:
    """There is nothing to hand over."""

    class Broken(Bench):
        def alone(self, seconds: float) -> tuple[Trial, list[float]]:
            raise CommandError("nobody can be reached")

    with pytest.raises(CommandError):
        tuned(Broken(lambda n: 100.0 * n))


@pytest.mark.parametrize("runs", range(0, 24, 3))
def test_what_is_known_is_kept_when_it_is_stopped(runs: int) -> None:
    """At any moment."""
    tuning = tuned(Bench(lambda n: 100.0 * min(n, 2), stop_after=runs))
    assert not tuning.is_whole or runs > 20
    assert len(tuning.sweep) + len(tuning.last_runs) <= max(0, runs - 1)
    assert (tuning.choice is not None) == (runs > 2)


def test_a_small_budget_is_kept_and_said() -> None:
    """Fewer rounds, and the doubt that follows."""
    bench = Bench(lambda n: 50.0 * min(n, 100), cpu_share=0.02)
    tuning = tuned(bench, budget=10)
    assert bench.now() <= 11
    assert {"budget", "noise"} & {doubt.kind for doubt in tuning.doubts}
