"""The search for the number of workers: which runs, in which order, within a budget of time.

First one worker alone, for what a request takes; then ever twice as many, until that no longer helps; then those again
in interleaved rounds, and some more around the knee; or, with a rate and a goal, open loops at that rate, beginning
where theory says. At last the chosen count and its neighbours once more, apart from what chose them.
It must not know how a run is carried out: a bench does that, so that the search can be tried on made-up services.
Invariant: however it ends, what was measured until then is handed over; nothing is begun that the budget has no room
for, but for the first runs, without which nothing could be said.
Read next: ``sweep.py``, which counts; ``evidence.py``, which runs are believed; ``advice.py``, what follows;
``bench.py``, the real bench.
"""

import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

from msgspec.structs import replace

from prefork.errors import CommandError
from prefork.lab import advice, evidence, queueing, scalability, sweep
from prefork.lab.comparison import Machine
from prefork.lab.doubts import Doubt
from prefork.lab.evidence import Asked
from prefork.lab.goals import Goal, meets
from prefork.lab.tuning import Band, Choice, End, Law, Limits, Trial, Tuning, rates
from prefork.report.units import latency, rate

_LEAST, _MOST = 0.3, 10.0  # seconds that a run measures
_RUNS = 45  # that the budget should have room for
_STARTING = 0.6  # seconds beside warm-up and measurement, until one has been seen
_KEPT_FOR_LAST = 9  # runs: three counts, three rounds
_WITH_WARM_UP = 1.25  # times what a run measures
_POINTS = 14
_AMPLE = 2.0  # times the rate that is asked for: what can do that need not be outdone
_HOPELESS = 1.2  # of the throughput: that it is too much needs no better figure
_FOR_A_LAW = 3  # counts: it has as many parameters
_MANY = 12  # workers, of which one more is not to be seen
_BANDS = 60


class Stopped(Exception):
    """The user has had enough."""


class Bench(Protocol):
    """What carries out a run; see ``bench.py``. Each raises ``Stopped`` where the user has stopped it meanwhile."""

    def alone(self, seconds: float) -> tuple[Trial, list[float]]:
        """One worker and one client; the run, and what requests took, evenly spaced quantiles.

        :raises CommandError: no request was answered rightly.
        """

    def closed(self, workers: int, seconds: float) -> Trial:
        """All workers kept busy."""

    def opened(self, workers: int, asked: float, seconds: float) -> Trial:
        """So many requests a second at random."""

    def now(self) -> float:
        """Seconds of a clock that only grows."""


class Wish(NamedTuple):
    """What the user wants to know.

    :param budget: seconds for all of it.
    :param rounds: of each count.
    """

    title: str
    target: str
    command: str
    mode: str
    at_once: int
    rate: float | None
    goals: list[Goal]
    budget: float
    rounds: int = 3
    seed: int = 1

    @property
    def run_seconds(self) -> float:
        """That one run measures."""
        return min(max(self.budget / _RUNS - _STARTING, _LEAST), _MOST)


class Tuner:
    """See above.

    :param told: is called with each thing that is done, in a line.
    """

    def __init__(self, wish: Wish, limits: Limits, machine: Machine, bench: Bench, told: Callable[[str], None]) -> None:
        self._wish = wish
        self._limits = limits
        self._machine = machine
        self._bench = bench
        self._told = told
        self._begun = bench.now()
        self._runs = 0
        self._longer = 0.0  # seconds of runs beyond the usual
        self._refused: dict[int, str] = {}  # counts that met the goals and are not believed in, and why
        self._dice = random.Random(wish.seed)
        self._climb_end: End = "interrupted"
        self._sweep: list[Trial] = []
        self._goal_runs: list[Trial] = []
        self._last_runs: list[Trial] = []
        self._service_seconds: list[float] = []
        self._least: dict[str, int | None] = {}  # workers by theory, by goal
        self._cpu_share = 1.0
        self._choice: Choice | None = None
        self._doubts: list[Doubt] = []

    def run(self) -> Tuning:
        """:raises PreforkError: nothing could be measured."""
        is_whole = True
        try:
            self._alone()
            self._climb_end = self._climb()
            if not advice.has_room(self._sweep, self._limits.memory):
                return self._tuning(is_whole)
            if self._wish.rate is None:
                self._refine()
                self._repeat()
                self._choice = self._by_throughput()
            else:
                self._choice = self._by_goal(self._wish.rate)
            if self._choice is not None:
                self._verify(self._choice)
            if self._wish.rate is not None:
                self._repeat(kept=0)  # for the law, and for who plans with it
        except Stopped:
            is_whole = False
            if self._choice is None and self._wish.rate is None and len(rates(self._sweep)) > 1:
                self._choice = self._by_throughput()
        return self._tuning(is_whole)

    # the sweep

    def _alone(self) -> None:
        seconds = self._wish.run_seconds
        self._told("1 worker, 1 client: what a request takes")
        trial, self._service_seconds = self._bench.alone(seconds)
        self._runs += 1
        mean = sum(self._service_seconds) / len(self._service_seconds)
        busy = min(1.0, trial.rate * mean)  # of its time; between requests the client has its turn
        self._cpu_share = min(1.0, trial.cpus / busy) if busy > 0 else 1.0
        self._told(f"  {latency(mean)} on average, {100 * self._cpu_share:.0f}% of it on a CPU")

    def _climb(self) -> End:
        """Doubled counts while that helps, and in any case as many as a law needs; what put an end to it."""
        end = self._double()
        while len(rates(self._sweep)) < _FOR_A_LAW and (last := max(rates(self._sweep))) < self._top():
            if not self._has_time(1 + _KEPT_FOR_LAST) or not self._can_be_measured(min(2 * last, self._top())):
                break
        return end

    def _double(self) -> End:
        asked = self._wish.rate
        while (count := sweep.next_climbed(rates(self._sweep), self._top())) is not None:
            is_ample = asked is not None and any(one.rate > _AMPLE * asked for one in self._sweep)
            if is_ample and len(rates(self._sweep)) >= _FOR_A_LAW:
                return "enough"
            if len(self._sweep) > 2 and not self._has_time(1 + _KEPT_FOR_LAST):
                self._doubts.append(Doubt("budget", f"no time was left to try {count} workers; give more (--budget)"))
                return "budget"
            if not self._can_be_measured(count):
                return "start"
        bounds = self._bounds()
        least = min(bounds, key=lambda name: bounds[name])
        return least if max(rates(self._sweep)) >= bounds[least] else "flat"

    def _can_be_measured(self, count: int) -> bool:
        """Measure it; so many workers that they cannot be started bound all that follows."""
        try:
            self._closed(count)
        except CommandError as error:
            if not self._sweep:
                raise
            self._limits = replace(self._limits, most=max(rates(self._sweep)))
            self._doubts.append(Doubt("limit", f"{count} workers could not be measured ({error}); see to that first"))
            return False
        return True

    def _top(self) -> int:
        """The largest count worth a run, as far as that is known by now."""
        return sweep.ceiling(self._bounds())

    def _bounds(self) -> dict[End, int]:
        memory = self._limits.memory
        fitting = advice.fitting(advice.weigh(self._sweep), memory) if advice.has_room(self._sweep, memory) else 0
        return sweep.bounds(self._cpu_share, self._limits.cpus, fitting, self._limits.most)

    def _refine(self) -> None:
        """More counts around the knee, each beside one more round of the nearest that is known."""
        while (count := sweep.next_refined(rates(self._sweep), _POINTS)) is not None:
            if not self._has_time(len(rates(self._sweep)) + _KEPT_FOR_LAST):
                return
            known = sweep.knee(rates(self._sweep))
            self._closed(count)
            self._closed(known)

    def _repeat(self, kept: int = _KEPT_FOR_LAST) -> None:
        """More rounds of all counts, each in an order of its own; without time for all, of those near the knee.

        :param kept: runs that the budget has to have room for after it.
        """
        while counts := self._counts_to_repeat():
            if not self._has_time(len(counts) + kept):
                knee = sweep.knee(rates(self._sweep))
                counts = [n for n in counts if knee / 2 < n < 2 * knee]
            if not counts or not self._has_time(len(counts) + kept):
                return
            self._dice.shuffle(counts)
            for count in counts:
                self._closed(count)

    def _counts_to_repeat(self) -> list[int]:
        """That had fewer rounds than wished for."""
        return [n for n, rounds in sorted(rates(self._sweep).items()) if len(rounds) < self._wish.rounds]

    def _by_throughput(self) -> Choice:
        noise = sweep.spread(rates(self._sweep))
        most = min(self._limits.most, advice.fitting(advice.weigh(self._sweep), self._limits.memory))
        return advice.choose(self._sweep, noise, most)

    # the goal

    def _by_goal(self, asked: float) -> Choice | None:
        """The fewest workers that meet it: from where theory says, down while it is met, up while it is not."""
        top = self._top()
        missed, met = 0, top + 1
        count = self._first_guess(asked, top)
        while met - missed > 1 and (met > top or met > 1.05 * (missed + 1)):
            if self._goal_runs and not self._has_time(self._wish.rounds + _KEPT_FOR_LAST):
                self._doubts.append(Doubt("budget", "the search was cut short; give more time (--budget)"))
                break
            if self._meets(count, asked):
                met = count
                count = max(missed + 1, count - max(1, count // 8))
            else:
                missed = count
                count = min(met - 1, max(count + 1, count * 3 // 2))
            if missed and met <= top:
                count = (missed + met) // 2
        if met > top:
            self._doubts += [
                Doubt("saturated", f"{_workers(n)} {why}") for n, why in sorted(self._refused.items())[-1:]
            ]
            return None
        goals = " and ".join(map(str, self._wish.goals))
        it, s = ("it", "s") if met == 1 else ("they", "")
        meeting = f"{it} meet{s} {goals} at {rate(asked)}" if goals else f"{it} keep{s} up with {rate(asked)}"
        fewer = f", and {missed} {self._refused.get(missed) or _does_not(missed)}" if missed else ""
        return Choice(workers=met, why=f"{meeting}{fewer}")

    def _first_guess(self, asked: float, top: int) -> int:
        """By theory, and no fewer than the sweep says are needed for the rate alone."""
        known = rates(self._sweep)
        enough = [n for n in sorted(known) if max(known[n]) >= asked]
        below = [n for n in known if n < enough[0]] if enough else list(known)
        by_rate = max(below, default=0) + 1
        self._least = {goal.name: self._least_by_theory(asked, goal, top) for goal in self._wish.goals}
        return min(top, max([by_rate, *(n for n in self._least.values() if n is not None)]))

    def _least_by_theory(self, asked: float, goal: Goal, top: int) -> int | None:
        at_once = self._wish.at_once
        seconds = evidence.reachable(goal, self._service_seconds)
        lanes = queueing.least_workers(asked, self._service_seconds, goal.share, seconds, 1.0, top * at_once)
        return None if lanes is None else -(-lanes // at_once)

    def _asked(self, rate: float) -> Asked:
        return Asked(rate, self._wish.goals, self._service_seconds, self._wish.at_once)

    def _meets(self, count: int, asked: float) -> bool:
        """In rounds, until they agree or there are enough of them; and so that it can be believed."""
        self._know_capacity(count, asked)
        question = self._asked(asked)
        seconds = self._long_enough(count, question)
        why_not = evidence.hindrance(question, self._sweep, count, seconds)
        if why_not:
            seconds = self._wish.run_seconds
        rounds: list[Trial] = []
        for number in range(2 * self._wish.rounds - 1):
            if rounds and not self._has_time(1 + _KEPT_FOR_LAST, seconds):
                break
            trial = self._opened(count, asked, seconds)
            self._goal_runs.append(trial)
            rounds.append(trial)
            if number == 0 and not trial.keeps_up and not (self._wish.goals and meets(trial.latency, self._wish.goals)):
                return False
            if why_not or (number + 1 >= self._wish.rounds and advice.has_met(rounds, self._wish.goals) is not None):
                break
        if not advice.mostly_meets(rounds, self._wish.goals):
            return False
        why_not = why_not or evidence.objection(question, self._sweep, rounds, self._least)
        if why_not:
            self._refused[count] = why_not
            self._told(f"{_workers(count)} {why_not}")
        return not why_not

    def _know_capacity(self, count: int, asked: float) -> None:
        """Where the rate is near what the count can do, how near is measured in rounds of the closed loop."""
        while len(rates(self._sweep).get(count, [])) < self._wish.rounds:
            used = evidence.utilisation(self._asked(asked), self._sweep, count)
            if not evidence.NEAR <= used < _HOPELESS or not self._has_time(1 + self._wish.rounds + _KEPT_FOR_LAST):
                return
            self._closed(count)

    def _long_enough(self, count: int, asked: Asked) -> float:
        """Seconds of a run, for the queue to be as it stays, as far as half of the time that is left has room."""
        usual = self._wish.run_seconds
        wanted = evidence.settling(asked, self._sweep, count) if asked.goals else usual
        left = self._wish.budget - self._spent() - (self._wish.rounds + _KEPT_FOR_LAST) * self._usual_cost()
        each = usual + max(0.0, left) / 2 / self._wish.rounds / _WITH_WARM_UP
        return min(max(usual, wanted), each, _MOST)

    # the last run

    def _verify(self, choice: Choice) -> None:
        counts = self._neighbours(choice.workers)
        for _ in range(self._wish.rounds):
            self._dice.shuffle(counts)
            if not self._has_time(len(counts)):
                self._doubts.append(Doubt("budget", "the last run had too little time; give more (--budget)"))
                break
            for count in counts:
                self._last_runs.append(
                    self._closed(count, is_last=True)
                    if self._wish.rate is None
                    else self._opened(count, self._wish.rate, self._wish.run_seconds)
                )
        if self._wish.rate is None:
            noise = max(sweep.spread(rates(self._sweep)), sweep.spread(rates(self._last_runs)))
            self._choice = advice.verify(choice, self._last_runs, noise)
        else:
            self._choice = advice.verify_goal(choice, self._last_runs, self._wish.goals)

    def _neighbours(self, workers: int) -> list[int]:
        """The count, and one fewer and more; of many a quarter, or with a goal, which tells more sharply, an eighth."""
        step = max(1, workers // (4 if self._wish.rate is None else 8) if workers >= _MANY else 1)
        fitting = advice.fitting(advice.weigh(self._sweep), self._limits.memory)
        most = max(workers, min(fitting, self._limits.most))
        return sorted({max(1, workers - step), workers, min(most, workers + step)})

    # a run

    def _closed(self, count: int, is_last: bool = False) -> Trial:
        trial = self._bench.closed(count, self._wish.run_seconds)
        self._runs += 1
        if not is_last:
            self._sweep.append(trial)
        self._told(f"{_workers(count)}: {rate(trial.rate)}{_p99(trial)}{_failed(trial)}")
        return trial

    def _opened(self, count: int, asked: float, seconds: float) -> Trial:
        trial = self._bench.opened(count, asked, seconds)
        self._runs += 1
        self._longer += _WITH_WARM_UP * (seconds - self._wish.run_seconds)
        behind = "" if trial.keeps_up else ", fell behind"
        self._told(f"{_workers(count)}, asked {rate(asked)}{_p99(trial)}{_failed(trial)}{behind}")
        return trial

    def _has_time(self, runs: int, seconds: float = 0.0) -> bool:
        """Whether the budget has room for so many more.

        :param seconds: that the first of them measures, where that is longer than usual.
        """
        longer = _WITH_WARM_UP * max(0.0, seconds - self._wish.run_seconds)
        return self._spent() + longer + runs * self._usual_cost() <= self._wish.budget

    def _spent(self) -> float:
        return self._bench.now() - self._begun

    def _usual_cost(self) -> float:
        """Seconds of a run of the usual length, as they were so far."""
        return max(0.0, self._spent() - self._longer) / max(1, self._runs)

    # what came of it

    def _tuning(self, is_whole: bool) -> Tuning:
        wish = self._wish
        tuning = Tuning(
            title=wish.title,
            target=wish.target,
            made=datetime.now(UTC).isoformat(timespec="seconds"),
            command=wish.command,
            machine=self._machine,
            mode=wish.mode,
            at_once=wish.at_once,
            limits=self._limits,
            cpu_share=self._cpu_share,
            service_seconds=self._service_seconds,
            rate=wish.rate,
            goals=wish.goals,
            climb_end=self._climb_end,
            sweep=self._sweep,
            goal_runs=self._goal_runs,
            last_runs=self._last_runs,
            weight=advice.weigh(self._sweep + self._goal_runs + self._last_runs),
            law=None,
            theory={},
            choice=self._choice,
            doubts=self._doubts,
            is_whole=is_whole,
        )
        law, doubts = fitted(self._sweep, wish.seed)
        tuning = replace(tuning, law=law, theory=theory(tuning), doubts=[*self._doubts, *doubts])
        return replace(tuning, doubts=[*tuning.doubts, *advice.doubts(tuning)])


def fitted(trials: list[Trial], seed: int) -> tuple[Law | None, list[Doubt]]:
    """The law of all rounds, and what speaks against it; ``None`` of fewer than three counts."""
    points = [(one.workers, one.rate) for one in trials if one.rate > 0]
    counts = sorted({n for n, _ in points})
    if len(counts) < _FOR_A_LAW:
        return None, []
    fit = scalability.fit(points, seed=seed)
    step = max(1, counts[-1] // _BANDS)
    bands = [Band(n, fit.law.throughput(n), *fit.interval(n)) for n in range(1, counts[-1] + 1, step)]
    peak = fit.peak if fit.peak < float("inf") else None
    return Law(scalability=fit.law, band=bands, peak=peak, r_squared=fit.r_squared), list(fit.doubts)


def theory(tuning: Tuning) -> dict[str, float]:
    """Seconds by goal at the chosen count, where theory says that the queue has an end."""
    if tuning.choice is None or tuning.rate is None:
        return {}
    station = queueing.station(tuning.choice.workers * tuning.at_once, tuning.rate, tuning.service_seconds)
    if station.utilisation >= 1:
        return {}
    return {
        goal.name: queueing.response_percentile(station, tuning.service_seconds, goal.share) for goal in tuning.goals
    }


def _workers(count: int) -> str:
    return f"{count} worker{'s' * (count != 1)}"


def _does_not(count: int) -> str:
    return "does not" if count == 1 else "do not"


def _p99(trial: Trial) -> str:
    return "" if trial.latency is None else f", p99 {latency(trial.latency.p99)}"


def _failed(trial: Trial) -> str:
    return "" if not trial.errors else f", {sum(trial.errors.values())} failed"
