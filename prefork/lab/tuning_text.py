"""A tuning in sentences and a table, for the terminal.

It must not know how anything was found. Invariant: nothing is said that is not in the record.
Read next: ``tuning.py``, the record; ``advice.py``, the judgements in it.
"""

from collections.abc import Iterator, Mapping
from statistics import fmean, median
from typing import Any

from prefork.lab import advice, queueing, sweep
from prefork.lab.load import Latencies
from prefork.lab.tuning import Trial, Tuning, by_workers, rates
from prefork.report.units import latency, rate, share, size

COMFORT = 0.7  # of the throughput, at which a service is well used and clients do not wait long


def lines(tuning: Tuning, settings: Mapping[str, Any]) -> Iterator[str]:
    """:param settings: of the service, that were given."""
    yield from sentences(tuning)
    yield ""
    yield from table(tuning)
    if tuning.doubts:
        yield ""
        yield from (f"doubt: {doubt}" for doubt in tuning.doubts)
    if toml := advice.toml(tuning, settings):
        yield ""
        yield "for prefork.toml, beside its bind:"
        yield from (f"  {line}" for line in toml)


def sentences(tuning: Tuning) -> Iterator[str]:
    """What to do and why, first; then what to expect, and what would be in the way next."""
    choice = tuning.choice
    if not tuning.is_whole:
        yield "interrupted: this is what is known so far"
    if choice is None:
        yield from _no_answer(tuning)
        return
    is_cut = tuning.rate is None and tuning.climb_end in ("budget", "interrupted") and advice.still_grows(tuning)
    at_least = "at least " if is_cut and choice.workers >= max(by_workers(tuning.sweep)) else ""
    yield f"run {at_least}{_workers(choice.workers)}, because {choice.why}"
    yield _expected(tuning, choice.workers)
    yield f"the next bottleneck is {advice.bottleneck(tuning, choice.workers)}"
    if choice.verified:
        yield f"verified: {choice.verified}"
    yield from _memory(tuning, choice.workers)
    if tuning.law is not None:
        yield _law(tuning)


def _no_answer(tuning: Tuning) -> Iterator[str]:
    if not advice.has_room(tuning.sweep, tuning.limits.memory):
        taken = size(max(one.pss_bytes for one in tuning.sweep if one.workers == 1))
        room = f"80% of {size(tuning.limits.memory)} ({tuning.limits.memory_why})"
        yield f"not one worker fits into {room}: with one the service takes {taken}; give it more, or make it smaller"
        return
    if tuning.rate is None or not tuning.is_whole:
        yield "too little was measured to say how many workers to run"
        return
    tried = ", ".join(map(str, sorted(by_workers(tuning.goal_runs)))) or "none"
    goals = "".join(f" with {goal}" for goal in tuning.goals)
    yield f"no number of workers serves {rate(tuning.rate)}{goals} here; tried: {tried}"
    most = rates(tuning.sweep)
    if most:
        best = max(most, key=lambda n: median(most[n]))
        yield f"the most there was is {rate(median(most[best]))}, with {_workers(best)} and clients that wait"
        yield f"the bottleneck is {advice.bottleneck(tuning, best)}"


def _expected(tuning: Tuning, workers: int) -> str:
    """At the user's rate what was measured there; else at a comfortable share of the throughput, by theory."""
    if tuning.rate is not None:
        rounds = by_workers(tuning.goal_runs + tuning.last_runs)[workers]
        mean = fmean(tuning.service_seconds)
        busy = share(min(1.0, tuning.rate * mean / workers / tuning.at_once))
        said = "".join(f"; theory says {name} {latency(seconds)}" for name, seconds in tuning.theory.items())
        return f"at {rate(tuning.rate)} expect workers {busy} busy, {_percentiles(rounds)} (measured){said}"
    reached = median(rates(tuning.sweep + tuning.last_runs)[workers])
    lanes = workers * tuning.at_once
    calm = COMFORT * reached
    if not reached:
        return f"expect {rate(reached)} at most"
    slowed = lanes / reached / fmean(tuning.service_seconds)  # under full load requests take longer than alone
    taken = [one * slowed for one in tuning.service_seconds]
    station = queueing.station(lanes, calm, taken)
    p50, p99 = (latency(queueing.response_percentile(station, taken, q)) for q in (0.5, 0.99))
    calmly = f"at {rate(calm)}, with workers {share(COMFORT)} busy, p50 {p50} and p99 {p99} (by theory)"
    return f"expect {rate(reached)} at most; {calmly}"


def _percentiles(rounds: list[Trial]) -> str:
    known = [one.latency for one in rounds if one.latency is not None]
    if not known:
        return "no answers"
    return ", ".join(f"{name} {latency(median(getattr(one, name) for one in known))}" for name in ("p50", "p99"))


def _memory(tuning: Tuning, workers: int) -> Iterator[str]:
    if tuning.weight is None:
        return
    base, each = tuning.weight.base, tuning.weight.worker
    fitting = advice.fitting(tuning.weight, tuning.limits.memory)
    needed = size(base + workers * each)
    room = f"{fitting} would fit into 80% of {size(tuning.limits.memory)} ({tuning.limits.memory_why})"
    yield f"memory: {needed} for {_workers(workers)}, {size(each)} each beside {size(base)}; {room}"


def _law(tuning: Tuning) -> str:
    assert tuning.law is not None
    found = tuning.law.scalability
    peak = f"the most at {tuning.law.peak:.0f} workers" if tuning.law.peak is not None else "no peak"
    return (
        f"scalability: {rate(found.one)} a worker, contention {found.contention:.3f} "
        f"({found.contention_interval[0]:.3f} to {found.contention_interval[1]:.3f}), "
        f"coherency {found.coherency:.5f}, {peak} (R² {tuning.law.r_squared:.3f})"
    )


_HEAD = ("", "workers", "load", "rate", "±", "p50", "p99", "failed", "CPUs", "memory")


def table(tuning: Tuning) -> Iterator[str]:
    """A row a count, medians of its rounds; the chosen one is marked."""
    chosen = None if tuning.choice is None else tuning.choice.workers
    rows: list[tuple[str, ...]] = [_HEAD]
    rows += [_row(n, rounds, "full", chosen) for n, rounds in by_workers(tuning.sweep).items()]
    for trials, name in ((tuning.goal_runs, ""), (tuning.last_runs, "last")):
        for n, rounds in by_workers(trials).items():
            asked = "full" if rounds[0].asked is None else rate(rounds[0].asked)
            rows.append(_row(n, rounds, f"{asked}, {name}" if name else asked, chosen))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (text.rjust(width) for text, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def _row(workers: int, rounds: list[Trial], load: str, chosen: int | None) -> tuple[str, ...]:
    seen: list[Latencies] = [one.latency for one in rounds if one.latency is not None]
    spread = sweep.spread({workers: [one.rate for one in rounds]})
    return (
        ">" if workers == chosen else "",
        str(workers),
        load,
        rate(median(one.rate for one in rounds)),
        share(spread) if len(rounds) > 1 else "-",
        latency(median(one.p50 for one in seen) if seen else None),
        latency(median(one.p99 for one in seen) if seen else None),
        str(sum(sum(one.errors.values()) for one in rounds)),
        f"{fmean(one.cpus for one in rounds):.2f}",
        size(round(median(one.pss_bytes for one in rounds))),
    )


def _workers(count: int) -> str:
    return f"{count} worker{'s' * (count != 1)}"
