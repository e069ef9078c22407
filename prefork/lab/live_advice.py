"""How many workers a running service needs, by what it did in a window, in sentences.

The service law and the arrivals are those that were seen; the queue is M/G/c corrected for both (``queueing.py``). It
must not know how the window was watched. Invariant: no advice on few requests, and each says what it rests on.
Read next: ``live.py``, the window; ``docs/tune.md``, the same for users.
"""

import math
from collections.abc import Sequence

import msgspec

from prefork.config.service import DEFAULT_SPARE, MORE_SPARE, MOST_WORKERS
from prefork.lab import queueing
from prefork.lab.advice import RESERVE
from prefork.lab.goals import Goal
from prefork.lab.live import Window
from prefork.report.units import latency, rate, share, size

ENOUGH = 100  # requests, for a service time and a rate that mean something
WAITING = 0.05  # share of requests that may find no idle worker, where no goal says otherwise
FULLEST = 0.8  # utilisation, likewise
_SURE = 1.645  # standard deviations: the rate is below that with 95 %
_OFTEN = 0.05  # share of looks without room that is no accident
_MOSTLY = 0.5  # share of looks without room, at which somebody waited, that is an overload
_ENDED = 20  # requests of an overloaded service, for a service time
_GROWN = 0.9  # of a pool that sizes itself: until then it is still to grow
_SLACK = 0.2  # workers too many that are nobody's loss
_LONGER = "watch longer (--window)"
_BEYOND = 10  # requests beyond a percentile, for the percentile to be known


class LiveAdvice(msgspec.Struct, frozen=True, kw_only=True):
    """See above.

    :param verdict: ``fewer``, ``more``, ``right``, ``unknown`` (too little to say) or ``impossible`` (no number does,
        or those that would do not fit into the memory).
    :param workers: to run; ``None`` in the last two, and where more are needed and nobody can say how many.
    :param headline: what to do and why.
    :param reasons: what it rests on.
    :param toml: lines for prefork.toml; empty where nothing is to be changed.
    """

    verdict: str
    workers: int | None
    headline: str
    reasons: list[str]
    toml: list[str]
    window: Window

    @property
    def lines(self) -> list[str]:
        """For the terminal; the first says all."""
        toml = ["for prefork.toml:", *(f"  {line}" for line in self.toml)] if self.toml else []
        return [f"{self.window.service}: {self.headline}", *(f"  {line}" for line in [*self.reasons, *toml])]


def advise(window: Window, goals: Sequence[Goal], cpus: float, memory: int, others: int = 0) -> LiveAdvice:
    """:param goals: of the response: what a client waits for a worker, and its service; empty is none.
    :param cpus: that the service may use.
    :param memory: bytes, likewise; ``others`` are of these what workers of other services take.
    """
    if too_few := _too_few(window, goals):
        if _is_overloaded(window):
            seen = f"saturated {share(window.saturated)} of the time, with {window.queued_most} queued at most"
            return _without(window, "more", f"add workers: you were {seen}; how many cannot be said of {too_few}")
        return _without(window, "unknown", f"too little traffic to say: {too_few}")
    for goal in goals:
        alone = _percentile(window, goal.share)
        if alone > goal.seconds:
            why = f"the service time alone has {goal.name} {latency(alone)}; make requests shorter, or the goal longer"
            return _without(window, "impossible", f"no number of workers meets {goal}: {why}")
    needed = least(window, goals)
    if needed is None:
        return _without(window, "impossible", f"no number of workers up to {MOST_WORKERS} would do")
    return _found(window, goals, needed, cpus, memory, others)


def _too_few(window: Window, goals: Sequence[Goal]) -> str:
    """How few requests ended, where that says too little, and the remedy; empty where it is enough.

    Of an overloaded service few end: those that came count, and what the few took has to do.
    """
    few = f"{_many(window.requests)} in {window.seconds:.0f} s"
    came = window.arrivals if window.requests >= _ENDED and _is_overloaded(window) else window.requests
    if came < ENOUGH:
        return f"{few}; {_LONGER}"
    for goal in goals:
        if (enough := round(_BEYOND / (1 - goal.share))) > window.requests:
            return f"{few}, and {enough} are the least for {goal.name}; {_LONGER}"
    return ""


def _is_overloaded(window: Window) -> bool:
    """Whether clients waited so much that nobody need know how many came; not while a pool is still to grow."""
    waited = window.queued >= 1 or (window.saturated > _MOSTLY and window.queued_most > 0)
    return waited and window.workers >= _GROWN * window.pool


def least(window: Window, goals: Sequence[Goal]) -> int | None:
    """The fewest workers that do for the arrivals seen, by theory; ``None`` where no number does.

    Without goals: that one request in twenty waits at most, one in a hundred no longer than requests take, and a fifth
    of the room is left.
    """
    arrivals = upper_rate(window)

    def is_enough(workers: int) -> bool:
        return does(station(window, arrivals, workers * window.at_once), window, goals)

    low, high = 0, MOST_WORKERS
    if not is_enough(high):
        return None
    while high - low > 1:
        between = (low + high) // 2
        low, high = (low, between) if is_enough(between) else (between, high)
    return high


def does(found: queueing.Station, window: Window, goals: Sequence[Goal]) -> bool:
    if found.utilisation >= 1:
        return False
    if not goals:
        patient = found.wait_percentile(0.99) <= window.service_mean
        return found.utilisation <= FULLEST and found.p_wait <= WAITING and patient
    taken = window.service_seconds
    return all(queueing.response_percentile(found, taken, goal.share) <= goal.seconds for goal in goals)


def station(window: Window, arrivals: float, lanes: int) -> queueing.Station:
    taken = window.service_mean, window.service_scv
    return queueing.Station(lanes, arrivals, *taken, window.arrival_scv, window.service_third)


def upper_rate(window: Window) -> float:
    """Arrivals a second, no more than so many with 95 %: a window is a sample."""
    return window.rate + _SURE * math.sqrt(window.rate * window.arrival_scv / window.seconds)


def _without(window: Window, verdict: str, headline: str, reasons: Sequence[str] = ()) -> LiveAdvice:
    """Without a number of workers."""
    seen = list(reasons) or ([_traffic(window), _room(window)] if window.arrivals else [])
    return LiveAdvice(verdict=verdict, workers=None, headline=headline, reasons=seen, toml=[], window=window)


def _found(window: Window, goals: Sequence[Goal], needed: int, cpus: float, memory: int, others: int) -> LiveAdvice:
    """What theory says, corrected by what was seen."""
    now = window.pool
    reasons = [_traffic(window), _service(window), _room(window)]
    is_short = window.saturated > _OFTEN and window.workers >= _GROWN * now
    if is_short and needed <= now:
        needed = now + max(1, math.ceil(now * window.saturated))
        reasons.append("on average there are enough, but not when clients come in bursts: go by what was seen")
    if is_short and window.queued >= 1:
        reasons.append("while clients queue nobody sees all who would come: watch again after the change")
    if window.cpus is not None and window.cpus > 0.85 * cpus and needed > now:
        reasons.append(f"its workers use {window.cpus:.2g} of {cpus:g} CPUs: more of them will share those; add CPUs")
    reasons.append(_expected(window, needed, goals))
    if fitting := _fitting_below(window, needed, memory, others):
        each = size(window.worker_bytes or 0)
        room = f"of {each} each only {fitting} fit into {share(1 - RESERVE)} of {size(memory)}"
        room += f" beside the {size(others)} of other services" if others else ""
        if needed > now:
            headline = f"{needed} workers were needed, and {room}; add memory"
            return _without(window, "impossible", headline, reasons)
        reasons.append(f"{room}: they run on what should be left free; add memory")
    changed = needed > now or needed < now - max(0.0, _SLACK * now)
    verdict = "right" if not changed else "more" if needed > now else "fewer"
    return LiveAdvice(
        verdict=verdict,
        workers=needed if changed else now,
        headline=_headline(window, verdict, needed, goals),
        reasons=reasons,
        toml=_toml(window, needed) if changed else [],
        window=window,
    )


def _headline(window: Window, verdict: str, needed: int, goals: Sequence[Goal]) -> str:
    now = window.pool
    goal = f" and meet {', '.join(map(str, goals))}" if goals else ""
    used = f"{window.busy:.2g} requests are under way on average"
    if verdict == "fewer":
        return f"{needed} of {now} workers would do{goal}: {used}"
    if verdict == "right":
        return f"{now} {'is' if now == 1 else 'are'} right{goal}: {used}, and {needed} would do"
    if window.saturated > 0 and window.workers >= _GROWN * now:
        return f"add {needed - now}: you were saturated {share(window.saturated)} of the time"
    if goals:
        return f"add {needed - now}: {now} would miss {', '.join(map(str, goals))}"
    return f"add {needed - now}: {used}, which leaves {now} workers too little room"


def _fitting_below(window: Window, needed: int, memory: int, others: int) -> int | None:
    """As many as have room, one always, where those are fewer; ``None`` where all have, or nobody knows."""
    if window.worker_bytes is None or window.base_bytes is None or not window.worker_bytes:
        return None
    fitting = max(1, int(((1 - RESERVE) * memory - window.base_bytes - others) // window.worker_bytes))
    return fitting if fitting < needed else None


def _many(requests: int) -> str:
    return f"{requests} request" if requests == 1 else f"{requests} requests"


def _percentile(window: Window, q: float) -> float:
    """Seconds of the service time."""
    return window.service_seconds[min(len(window.service_seconds) - 1, int(q * len(window.service_seconds)))]


def _traffic(window: Window) -> str:
    failed = f", {window.errors} failed" if window.errors else ""
    came = "about as at random"
    if window.arrival_scv > 2:
        came = "in bursts"
    elif window.arrival_scv < 0.5:
        came = "more evenly than at random"
    served = _many(window.requests)
    if window.arrivals > 1.1 * window.requests:
        served += f" served of {window.arrivals} that came"
    seen = f"watched {window.seconds:.0f} s in {window.looks} looks: {served}"
    came = f"they came {came} (index of dispersion {window.arrival_scv:.2g}, 1 is random)"
    return f"{seen}, {rate(window.rate)}{failed}; {came}"


def _service(window: Window) -> str:
    p50, p99 = _percentile(window, 0.5), _percentile(window, 0.99)
    return (
        f"service time: mean {latency(window.service_mean)}, p50 {latency(p50)}, p99 {latency(p99)} "
        f"(squared variation {window.service_scv:.2g})"
    )


def _room(window: Window) -> str:
    each = f" of {window.at_once} at once" if window.at_once > 1 else ""
    parts = [
        f"workers: {window.workers:.3g}{each} on average, {share(window.utilisation)} busy",
        f"saturated at {share(window.saturated)} of looks",
        f"queue {window.queued:.1f} on average, {window.queued_most} at most",
    ]
    if window.cpus is not None:
        parts.append(f"{window.cpus:.2g} CPUs used")
    if window.worker_bytes is not None:
        parts.append(f"{size(window.worker_bytes)} a worker")
    if window.dropped:
        parts.append(f"{window.dropped} datagrams dropped")
    return "; ".join(parts)


def _expected(window: Window, workers: int, goals: Sequence[Goal]) -> str:
    found = station(window, window.rate, workers * window.at_once)
    if found.utilisation >= 1:
        return f"with {workers} clients queue without end at this rate"
    times = [
        f"{goal.name} {latency(queueing.response_percentile(found, window.service_seconds, goal.share))}"
        for goal in goals
    ] or [
        f"p50 {latency(queueing.response_percentile(found, window.service_seconds, 0.5))}",
        f"p99 {latency(queueing.response_percentile(found, window.service_seconds, 0.99))}",
    ]
    return (
        f"with {workers}, by theory: {share(found.utilisation)} busy, {share(found.p_wait)} of requests wait, "
        f"response {', '.join(times)}"
    )


def _toml(window: Window, needed: int) -> list[str]:
    table = f"[service.{window.service}]"
    low, high = window.configured
    if low == high:
        return [table, f"workers = {needed}"]
    usual = max(min(low, 1), min(needed, math.ceil(window.busy / window.at_once)))
    most = max(1, needed - usual - 1)  # more of them and the pool would be full ever after
    spare = min(most, max(DEFAULT_SPARE, math.ceil(window.busy_spread / window.at_once)))
    lines = [f"min_workers = {usual}", f"max_workers = {needed}"]
    return [table, *lines, f"min_spare = {spare}", f"max_spare = {min(most, spare + MORE_SPARE)}"]
