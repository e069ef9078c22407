"""What to think of a load's figures: doubts, each with its figure and what to try. Pure.

Invariant: a doubt is raised by what was measured, never by what was asked for alone.
"""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from prefork.lab.doubts import Doubt
from prefork.lab.load import Result
from prefork.lab.samples import Samples
from prefork.report.units import latency, rate, share

BOUND = 0.8  # of one CPU: a generator that needs more may be what is measured
LATE, LATE_AT_WORST = 0.2, 0.5  # of the latency at the median, and at p99: more of it is too much of our own
HALF = 0.5  # of one CPU: a generator below it waits rather for the CPU than for itself
FULL = 0.95  # of all CPUs
LITTLE = 0.1  # of what was busy: a generator that had no more took nothing from the service that matters
SHORT = ((99.0, 1000), (99.9, 10_000))  # a percentile, and the samples that leave ten of them above it
PERCENTILES = (50.0, 90.0, 99.0, 99.9)  # that are shown
TURNS = 20  # requests of each client of a closed loop: one more or less of fewer is more than 5 % of its rate
BEHIND = 0.97  # of what was due: less was not kept up with
CHANCE = 3.0  # standard deviations of a number that varies by chance, as its square root
STALL, LEAST_STALL = 100.0, 0.02  # times the median latency, and seconds

REMEDIES = {
    "refused": "nobody listens there, or its queue is full; see prefork status",
    "reset": "a worker died or closed with bytes unread; its log tells",
    "timeout": "see what holds it by prefork dump, or give --timeout more",
    "closed": "where the server ends each connection, --per-connection 1 says so; or its log tells why it closed",
    "wrong": "see what is expected, by --expect or the script",
    "status": "below 500 the path, the method or a header is not what it expects; from 500 on its log tells why",
    "size": "a datagram is larger than its socket or the network takes; give less to --send",
    "lost": "datagrams are dropped where a queue is full; send fewer, or give --timeout more",
    "unsent": "no connection was free in time; give --clients more, or send less",
    "unfinished": "the load was ended while they were under way; let it end by itself to know what became of them",
    "tls": "believe its certificate by --ca FILE, or any by --insecure",
    "descriptors": "the generator has no descriptors left; raise the hard limit (ulimit -Hn), or give --clients less",
    "ports": "the generator's own ports are used up; keep connections by --per-connection, or widen "
    "net.ipv4.ip_local_port_range",
}
_UNKNOWN = "the first error, which is told in full, says what it was"


class Surroundings:
    """What else judging needs to know of a load.

    :param busy: of the CPUs that may be used, in the measured time; 1 is all of them.
    :param cpus: how many those are.
    :param is_here: whether the service is on this machine.
    :param was_behind: whether an open loop was not kept up with, see ``fell_behind``.
    :param begun_for: seconds in which requests were begun; after them no more are.
    :param dropped: kept connections that the server closed between requests.
    """

    def __init__(
        self,
        *,
        busy: float = 0.0,
        cpus: float = 1.0,
        is_here: bool = False,
        was_behind: bool = False,
        dropped: int = 0,
        begun_for: float = math.inf,
    ) -> None:
        self.busy = busy
        self.cpus = cpus
        self.is_here = is_here
        self.was_behind = was_behind
        self.dropped = dropped
        self.begun_for = begun_for


def doubts_of(result: Result, samples: Samples, around: Surroundings) -> list[Doubt]:
    """In the order of their weight."""
    return [doubt for rule in RULES if (doubt := rule(result, samples, around)) is not None]


def _errors(result: Result, samples: Samples, around: Surroundings) -> Doubt | None:
    if not result.failed:
        return None
    kind, count = next(iter(result.errors.items()))
    part = result.failed / (result.failed + result.requests)
    return Doubt(
        "errors",
        f"{result.failed} of {result.failed + result.requests} requests failed ({_percent(part)}), most of them "
        f"{kind} ({count}): {REMEDIES.get(kind, _UNKNOWN)}",
    )


def _left_out(result: Result, samples: Samples, around: Surroundings) -> Doubt | None:
    """Percentiles are of what was answered; those are wrong that lie where the failed ones might."""
    part = result.failed / (result.failed + result.requests) if result.failed else 0.0
    touched = [percentile for percentile in PERCENTILES if 100 * part >= 100 - percentile]
    if not touched or result.latency is None:
        return None
    return Doubt(
        "left-out",
        f"p{touched[0]:g} and beyond leave out the {_percent(part)} that failed, however long those took: of all "
        "requests they are unknown; see to the errors first, or read them as of the lucky ones",
    )


def _behind(result: Result, samples: Samples, around: Surroundings) -> Doubt | None:
    offered = result.load.rate
    if offered is None or not around.was_behind:
        return None
    return Doubt(
        "behind",
        f"offered {rate(offered)} and answered {rate(result.rate)}: {result.load.clients} connections were too few, or "
        "the service is overloaded and latencies tell only how long the load lasted; send less, or find what it can "
        "take without --rate",
    )


def _bound(result: Result, samples: Samples, around: Surroundings) -> Doubt | None:
    busiest = _busiest(result)
    if busiest <= BOUND:
        return None
    processes = len(result.generators)
    more = f"--processes {processes + 1}" if processes < around.cpus else "another machine, or a lower rate"
    return Doubt(
        "generator-bound",
        f"a generator used {share(busiest)} of its CPU: the service may be able to do more than this; try {more}",
    )


def _late(result: Result, samples: Samples, around: Surroundings) -> Doubt | None:
    if result.load.rate is None or result.latency is None:
        return None
    p50, p99 = result.latency.p50, result.latency.p99
    usual, worst = max(one.late_p50 for one in result.generators), max(one.late_p99 for one in result.generators)
    excess, part = max(
        (usual / (LATE * p50), f"{latency(usual)} of the {latency(p50)} at the median"),
        (worst / (LATE_AT_WORST * p99), f"{latency(worst)} of the {latency(p99)} at p99"),
    )
    if excess <= 1:
        return None
    return Doubt(
        "late",
        f"the generator itself sent late, {part}: so much is not the service's; the row of service times is free of "
        f"it, and {'more --processes' if _busiest(result) > HALF else 'a CPU of its own'} would make it less",
    )


def _shared(result: Result, samples: Samples, around: Surroundings) -> Doubt | None:
    if not around.is_here or around.busy < FULL:
        return None
    if sum(one.share for one in result.generators) < LITTLE * around.busy * around.cpus:
        return Doubt(
            "shared-cpus",
            f"this machine was busy ({share(around.busy)} of {around.cpus:g} CPUs), with the service or other work, "
            "hardly with the generator: if it was the service, this is what it can do here; if not, quiet the machine, "
            "and measure again",
        )
    return Doubt(
        "shared-cpus",
        f"generator and service shared {around.cpus:g} CPUs, {share(around.busy)} busy: each took from the other; send "
        "from another machine, or at a --rate that leaves some idle",
    )


def _short(result: Result, samples: Samples, around: Surroundings) -> Doubt | None:
    for percentile, needed in SHORT:
        if 0 < result.requests < needed:
            times = needed / result.requests
            longer = f"--requests {needed}" if result.load.requests else f"--duration {_long(result, times)}"
            return Doubt(
                "too-short",
                f"{result.requests} samples are too few for p{percentile:g}: it is made of the slowest few; "
                f"{needed} would do, by {longer}",
            )
    return None


def _stepped(result: Result, samples: Samples, around: Surroundings) -> Doubt | None:
    """The rate of a closed loop counts whole turns, which clients that began together take together."""
    load, requests = result.load, result.requests + result.failed
    turns = requests / load.clients
    if load.rate is not None or not 0 < turns < TURNS:
        return None
    longer = f"--requests {TURNS * load.clients}" if load.requests else f"--duration {_long(result, TURNS / turns)}"
    return Doubt(
        "too-short",
        f"{turns:.2g} requests a client are too few for a rate: it goes by steps of {_percent(1 / turns)}; {TURNS} "
        f"would do, by {longer}",
    )


def _stalled(result: Result, samples: Samples, around: Surroundings) -> Doubt | None:
    if result.latency is None:
        return None
    at, seconds = longest_stall(samples, around.begun_for)
    if seconds < max(LEAST_STALL, STALL * result.latency.p50):
        return None
    return Doubt(
        "stall",
        f"for {latency(seconds)} nothing was answered although requests waited, from {at:.1f} s on: a stall of the "
        "service or of this machine; look at its log for that moment, and measure again",
    )


def _dropped(result: Result, samples: Samples, around: Surroundings) -> Doubt | None:
    if not around.dropped:
        return None
    return Doubt(
        "dropped",
        f"the server closed {around.dropped} kept connections between requests, and each had to be made anew; give "
        "--per-connection what it allows, or let it keep them longer",
    )


def fell_behind(samples: Samples, seconds: float) -> bool:
    """Whether an open loop was not kept up with: requests gathered, and were over at a lower rate than they were due.

    They gathered where more were waiting at the end than at half-time, by more than chance; a service that merely takes
    long has as many at both. And where it takes more than half of the time, all are over within as long a time as they
    were due in, if a later one.

    :param seconds: in which they were due.
    """
    due, over = samples.rows["intended"], samples.rows["ended"]
    kind = samples.rows["kind"]
    if np.any(kind == samples.kinds.index("unsent")):
        return True
    half = seconds / 2
    at_half, at_end = (int(np.sum((due < at) & (over >= at))) for at in (half, seconds))
    if at_end - at_half <= max((1 - BEHIND) * np.sum(due >= half), CHANCE * (1 + at_end) ** 0.5):
        return False
    ended = np.sort(over[kind != samples.kinds.index("unfinished")])
    together = np.searchsorted(ended, ended + seconds, side="right") - np.arange(len(ended))
    return bool(together.max(initial=0) < BEHIND * len(over))


def longest_stall(samples: Samples, begun_for: float = math.inf) -> tuple[float, float]:
    """The longest time in which something waited and nothing was over: when it began, and how long, in seconds.

    :param begun_for: seconds that are looked at: after them only the last replies are waited for, and a single one that
        takes long is no stall.
    """
    rows = np.sort(samples.rows[samples.rows["started"] < samples.rows["ended"]], order="ended")
    if not len(rows):
        return 0.0, 0.0
    ended: npt.NDArray[np.float64] = rows["ended"]
    oldest = np.minimum.accumulate(rows["intended"][::-1])[::-1]  # of those that were not over before
    since = np.maximum(oldest, np.concatenate(([-np.inf], ended[:-1])))
    waits = np.minimum(ended, begun_for) - since
    longest = int(waits.argmax())
    return float(since[longest]), float(waits[longest])


def _busiest(result: Result) -> float:
    """The largest share of its CPU that a generator used."""
    return max((one.share for one in result.generators), default=0.0)


def _percent(part: float) -> str:
    return share(part) if part >= 0.095 else f"{100 * part:.2g}%"


def _long(result: Result, times: float) -> str:
    """So many times as long as it was."""
    return f"{_whole(result.seconds * times)}s"


def _whole(value: float) -> str:
    """Rounded up to two digits, as one would type it."""
    step = 10 ** max(0, len(str(int(value))) - 2)
    return str(-int(-value // step) * step)


RULES: tuple[Callable[[Result, Samples, Surroundings], Doubt | None], ...] = (
    _errors,
    _left_out,
    _behind,
    _bound,
    _shared,
    _late,
    _stalled,
    _dropped,
    _stepped,
    _short,
)
