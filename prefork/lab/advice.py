"""What to think of a sweep: which count to run, why, what to expect of it, and what would be in the way next.

Pure: from records to a choice and sentences. It must not know how anything was measured.
Invariant: a difference within the noise is never a reason.
Read next: ``tuning.py``, the records; ``tuner.py``, who asks.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import Any

from prefork.config.instance import Instance
from prefork.config.settings import setting_names
from prefork.config.written import as_toml
from prefork.lab import evidence, sweep
from prefork.lab.doubts import Doubt
from prefork.lab.evidence import Asked
from prefork.lab.goals import Goal, meets
from prefork.lab.tuning import Choice, End, Trial, Tuning, Weight, by_workers, middle, rates
from prefork.report.units import latency, rate, share, size

RESERVE = 0.2  # of the memory, for what a sweep does not show
_FULL = 0.85  # of the CPUs: there is no more to have
_A_PART = 0.3  # of the CPUs: who uses less does not wait for them alone, however busy others keep them
_BUSY_GENERATOR = 0.8  # of its CPU
_NEAR = 1.3  # times as many as there are have no room: that is what bounds them
_END: dict[End, str] = {
    "flat": "though not clearly; measure again with more time (--budget)",
    "enough": "and is more than is asked for; give a higher --rate to know how far it goes",
    "budget": "and then the time was out; give more (--budget)",
    "start": "and more could not be measured; see to that first",
    "cpus": "and is four times what should fill the CPUs, by what a request took; measure again on a quiet machine",
    "memory": "and more do not fit into memory; give it more",
    "max-workers": "and more were not to be tried; raise --max-workers",
    "interrupted": "and then it was interrupted; let it run to its end",
}
_APART = 0.25  # theory and measurement differ by more than that: a doubt


def weigh(trials: Sequence[Trial]) -> Weight | None:
    """The line through PSS by worker count; ``None`` of fewer than two counts."""
    points = [(one.workers, one.pss_bytes) for one in trials if one.pss_bytes]
    counts = [n for n, _ in points]
    if len(set(counts)) < 2:
        return None
    x, y = fmean(counts), fmean(pss for _, pss in points)
    each = sum((n - x) * (pss - y) for n, pss in points) / sum((n - x) ** 2 for n in counts)
    return Weight(max(0, round(y - each * x)), max(1, round(each)))


def fitting(weight: Weight | None, memory: int) -> int:
    """As many workers as have room in the memory, with a reserve; one always."""
    if weight is None:
        return 2**31
    return max(1, int(((1 - RESERVE) * memory - weight.base) // weight.worker))


def has_room(trials: Sequence[Trial], memory: int) -> bool:
    """Whether one worker fits at all; unless it is known that it does not."""
    return all(one.pss_bytes <= (1 - RESERVE) * memory for one in trials if one.workers == 1)


def choose(trials: list[Trial], noise: float, most: int) -> Choice:
    """The fewest workers whose throughput is as good as the best, as far as rounds can tell them apart.

    :param noise: as ``sweep.spread`` says.
    :param most: as many as limits allow.
    """
    allowed = {n: found for n, found in rates(trials).items() if n <= most} or {1: [0.0]}
    lost = max(sweep.SAME, noise)
    best = max(allowed, key=lambda n: median(allowed[n]))
    workers = min(n for n in allowed if median(allowed[n]) >= (1 - lost) * median(allowed[best]))
    reached = rate(median(allowed[workers]))
    larger = [n for n in allowed if n > workers]
    give = "it gives" if workers == 1 else "they give"
    if not larger:
        return Choice(workers=workers, why=f"{give} {reached}, more than fewer do, and more were not tried")
    then = max(larger, key=lambda n: median(allowed[n]))
    why = f"{give} {reached}, and more give no more than {rate(median(allowed[then]))} (with {then})"
    return Choice(workers=workers, why=why)


def verify(choice: Choice, runs: list[Trial], noise: float) -> Choice:
    """What the last run says of a choice by throughput; moved, once, where a neighbour is better beyond the noise."""
    found = rates(runs)
    if choice.workers not in found:
        return choice
    reached = {n: median(rounds) for n, rounds in found.items()}
    told = ", ".join(f"{n}: {rate(reached[n])}" for n in sorted(reached))
    best = max(reached, key=lambda n: reached[n])
    accepted = sweep.SAME + max(sweep.SAME, noise)  # what the choice gave up, and what rounds differ by themselves
    if reached[best] > (1 + accepted) * reached[choice.workers]:
        why = (
            f"in the last run {best} gave {rate(reached[best])}, {choice.workers} only {rate(reached[choice.workers])}"
        )
        verified = f"{told}: the advice moved from {choice.workers} to {best}"
        return Choice(workers=best, why=why, moved_from=choice.workers, verified=verified)
    return Choice(workers=choice.workers, why=choice.why, verified=f"{told}: the advice holds within the noise")


def has_met(rounds: Sequence[Trial], goals: Sequence[Goal]) -> bool | None:
    """Whether a count keeps up with its rate and meets the goals: all of its rounds do, or none; ``None``: some do."""
    found = {one.keeps_up and meets(one.latency, list(goals)) for one in rounds}
    return found.pop() if len(found) == 1 else None


def mostly_meets(rounds: Sequence[Trial], goals: Sequence[Goal]) -> bool:
    """By the medians of its rounds, where they do not agree."""
    if 2 * sum(one.keeps_up for one in rounds) <= len(rounds):
        return False
    found = [(middle(list(rounds), goal), goal) for goal in goals]
    return all(seconds is not None and seconds <= goal.seconds for seconds, goal in found)


def verify_goal(choice: Choice, runs: list[Trial], goals: Sequence[Goal]) -> Choice:
    """What the last run says of a choice by goals; moved, once, to a neighbour that meets them where it does not."""
    found = by_workers(runs)
    if choice.workers not in found:
        return choice
    told = ", ".join(f"{n}: {_seen(rounds, goals)}" for n, rounds in found.items())
    if mostly_meets(found[choice.workers], goals):
        below = [n for n, rounds in found.items() if n < choice.workers and mostly_meets(rounds, goals)]
        near = f"; {below[0]} did as well this time, which is too little to count on" if below else ""
        return Choice(workers=choice.workers, why=choice.why, verified=f"{told}: the advice holds{near}")
    missed, met, again = _met(goals)
    better = [n for n, rounds in found.items() if n > choice.workers and mostly_meets(rounds, goals)]
    if not better:
        verified = f"{told}: no count {again} again; it is too near to what this machine can do"
        return Choice(workers=choice.workers, why=choice.why, verified=verified)
    why = f"in the last run {choice.workers} {missed}, and {better[0]} {met}"
    verified = f"{told}: the advice moved from {choice.workers} to {better[0]}"
    return Choice(workers=better[0], why=why, moved_from=choice.workers, verified=verified)


def _seen(rounds: list[Trial], goals: Sequence[Goal]) -> str:
    """Percentiles of the goals, and what was not kept up with; without goals that alone."""
    times = ", ".join(f"{goal.name} {latency(middle(rounds, goal))}" for goal in goals)
    kept = sum(one.keeps_up for one in rounds)
    if kept == len(rounds):
        return times or "kept up"
    behind = f"kept up in {kept} of {len(rounds)} rounds"
    return f"{times} ({behind})" if times else behind


def _met(goals: Sequence[Goal]) -> tuple[str, str, str]:
    """What one count missed, another did, and no count did; without goals it is the rate alone."""
    if not goals:
        return "did not keep up", "did", "kept up"
    return f"missed {' and '.join(map(str, goals))}", "met it", "met the goal"


def bottleneck(tuning: Tuning, workers: int) -> str:
    """What would be in the way of more, by what the sweep saw at this count."""
    limits, found = tuning.limits, by_workers(tuning.sweep)
    if tuning.rate is not None and (beyond := _beyond(tuning, workers)):
        return beyond
    at = min(found, key=lambda n: abs(n - workers))
    rounds = found[at]
    cpus, generator = fmean(one.cpus for one in rounds), fmean(one.generator_cpus for one in rounds)
    used = f"the service used {cpus:.2g} of {limits.cpus:g} CPUs, and what sent the requests {generator:.2g}"
    failed = sum(sum(one.errors.values()) for one in rounds)
    if max(one.generator_share for one in rounds) > _BUSY_GENERATOR:
        most = share(max(one.generator_share for one in rounds))
        return f"the generator: it used {most} of a CPU, so the service may do more than was seen; add --processes"
    if cpus + generator >= _FULL * limits.cpus:
        if cpus >= 2 * generator:
            return f"the CPUs: {used}; give it more of them, or requests less to do"
        return f"the CPUs, and what sends the requests shares them: {used}; the service alone could do more"
    room = fitting(tuning.weight, limits.memory)
    largest = max((n for n in found if n <= room), default=1)
    if tuning.weight is not None and room < _NEAR * workers and workers == largest:
        each, memory = size(tuning.weight.worker), size(limits.memory)
        return f"memory: of {each} each no more than {room} workers fit into 80% of {memory}; give it more"
    if failed:
        return f"errors: {failed} requests failed at {at} workers; see what they say before anything else"
    if still_grows(tuning):
        return f"the number of workers: {max(found)} still gave more than fewer did, {_END[tuning.climb_end]}"
    wanted = at * tuning.at_once * tuning.cpu_share
    is_crowded = any(doubt.kind == "shared-cpus" for one in rounds for doubt in one.doubts)
    if (wanted >= _FULL * limits.cpus or is_crowded) and cpus + generator >= _A_PART * limits.cpus:
        return (
            f"the CPUs, of which something else on this machine has a part: {used}; quiet it, or give it more of them"
        )
    return f"something that workers share, a lock, a database or a disk: {used}, yet more workers add nothing"


def _beyond(tuning: Tuning, workers: int) -> str:
    """Where the workers themselves are the first limit, as is meant with a goal; empty where they are not."""
    found = {n: median(rounds) for n, rounds in rates(tuning.sweep).items()}
    best = max(found, key=lambda n: found[n])
    if tuning.law is not None:
        carried = tuning.law.scalability.throughput(workers)
    else:
        carried = found[min(found, key=lambda n: abs(n - workers))]
    if best <= workers or found[best] < 1.1 * carried:
        return ""
    return f"the workers themselves, at about {rate(carried)}; more of them do more, {best} {rate(found[best])}"


def still_grows(tuning: Tuning) -> bool:
    """Whether the largest count that was tried was the best, beyond what is the noise."""
    found = rates(tuning.sweep)
    counts = sorted(found)
    if len(counts) < 2:
        return tuning.limits.most > 1
    return median(found[counts[-1]]) > (1 + sweep.GAIN) * max(median(found[n]) for n in counts[:-1])


def doubts(tuning: Tuning) -> list[Doubt]:
    """Of the whole tuning; each kind of a round once."""
    found: list[Doubt] = []
    noise = sweep.spread(rates(tuning.sweep))
    if noise > 0.1:
        text = f"rounds of the same count differ by {share(noise)} either way"
        found.append(Doubt("noise", f"{text}; quiet the machine, or give more time (--budget)"))
    if tuning.law is None and all(len(rounds) < 2 for rounds in by_workers(tuning.sweep).values()):
        found.append(
            Doubt("noise", "no count was measured twice, so the noise is not known; give more time (--budget)")
        )
    rounds = [one for trials in (tuning.sweep, tuning.goal_runs, tuning.last_runs) for one in trials]
    failed = sum(sum(one.errors.values()) for one in rounds if one.asked is None)
    if failed:
        kinds = sorted({kind for one in rounds for kind in one.errors})
        found.append(
            Doubt("errors", f"{failed} requests failed ({', '.join(kinds)}); see what prefork load says of them")
        )
    if tuning.choice is not None and tuning.rate is not None:
        asked = Asked(tuning.rate, tuning.goals, tuning.service_seconds, tuning.at_once)
        found += _full_doubts(tuning, asked, tuning.choice.workers)
        found += _theory_doubts(tuning, asked, tuning.choice.workers)
    for one in rounds:
        found += [doubt for doubt in one.doubts if doubt.kind not in {other.kind for other in found}]
    return found


def _full_doubts(tuning: Tuning, asked: Asked, workers: int) -> list[Doubt]:
    """Where the queue may have no end."""
    if evidence.is_full(asked, tuning.sweep, workers):
        busy = share(evidence.utilisation(asked, tuning.sweep, workers))
        text = f"at {rate(asked.rate)} workers may be {busy} busy, and of those with more to do than they can the queue"
        return [Doubt("saturated", f"{text} never ends, however it was in the short runs here; run more")]
    alone = asked.rate * fmean(asked.service_seconds) / workers / asked.at_once
    if alone >= 1:
        text = f"by what a request takes one worker alone, {rate(asked.rate)} would keep workers {share(alone)} busy"
        reached = rate(evidence.capacity(tuning.sweep, workers))
        return [Doubt("saturated", f"{text} and queues never end, but the sweep says {reached}; plan with room")]
    return []


def _theory_doubts(tuning: Tuning, asked: Asked, workers: int) -> list[Doubt]:
    """Where formula and measurement differ beyond the noise, and where requests are too few to say."""
    rounds = by_workers(tuning.goal_runs + tuning.last_runs).get(workers, [])
    found = []
    for goal in tuning.goals:
        seen, said = middle(rounds, goal), tuning.theory.get(goal.name)
        is_rare = bool(rounds) and evidence.is_rare(rounds, goal)
        if is_rare:
            count = sum(one.due for one in rounds)
            text = f"{count} requests in {len(rounds)} rounds are too few for {goal.name}"
            remedy = f"{evidence.enough(goal)} would do; give more time (--budget)"
            found.append(Doubt("too-short", f"{text}: {remedy}"))
        if seen is None or said is None:
            continue
        times = [time for one in rounds if (time := middle([one], goal)) is not None]
        if abs(seen - said) > max(_APART * said, (max(times) - min(times)) / 2):
            text = f"theory says {goal.name} {latency(said)}, measured was {latency(seen)}"
            longest = max(one.due for one in rounds) / asked.rate
            if seen > said:
                why = "requests slow each other down; believe the measurement, and plan with room"
            elif is_rare or evidence.is_short(asked, tuning.sweep, workers, longest):
                why = "runs were too short to see it; believe theory"
            else:
                why = "arrivals or service times are tamer than it thinks; believe the measurement, and plan with room"
            found.append(Doubt("theory", f"{text}: {why}"))
    return found


def service_name(target: str) -> str:
    """What a service of this target may be called, in TOML too."""
    name = target.rpartition(":")[2].lower()
    found = "".join(c if c.isascii() and c.isalnum() else "-" for c in name).strip("-")
    return found or "service"


def toml(tuning: Tuning, settings: Mapping[str, Any]) -> list[str]:
    """Lines for prefork.toml; the address is the user's.

    :param settings: of the service and its instance, that were given and hold for what was measured.
    """
    if tuning.choice is None or tuning.title != tuning.target:  # a workload is nobody's service
        return []
    of_instance = setting_names(Instance)
    lines = [f"{name} = {as_toml(value)}" for name, value in settings.items() if name in of_instance]
    lines += [f"[service.{service_name(tuning.target)}]", f"target = {as_toml(tuning.target)}"]
    lines += [f'mode = "{tuning.mode}"'] if tuning.mode != "prefork" else []
    lines += [f"{name} = {as_toml(value)}" for name, value in settings.items() if name not in of_instance]
    return [*lines, f"workers = {tuning.choice.workers}"]
