"""What latency a user wants: so many of all requests answered within so long.

It must not know how either is measured. Invariant: a share is above 0 and below 1, a time above 0.
"""

import re

import msgspec

from prefork.config.units import parse_seconds
from prefork.errors import UsageError
from prefork.lab.load import Latencies
from prefork.report.units import latency


class Goal(msgspec.Struct, frozen=True):
    """:param share: of requests, as 0.99.
    :param seconds: that they may take.
    """

    share: float
    seconds: float

    @property
    def name(self) -> str:
        """``p99``, ``p999``."""
        return "p" + f"{self.share:.9f}".rstrip("0").removeprefix("0.").ljust(2, "0")

    def __str__(self) -> str:
        return f"{self.name} {latency(self.seconds)}"


MEASURED = ("p50", "p90", "p99", "p999")
"""Percentiles that every measurement tells."""


def read_goal(flag: str, name: str, time: str) -> Goal:
    """:param flag: that it was given by, for the error.
    :param name: as ``p99``.
    :param time: as ``50ms``.
    :raises UsageError: it is no goal.
    """
    if name not in MEASURED:
        raise UsageError(f"{flag}: {name!r} is no percentile that is measured; write one of {', '.join(MEASURED)}")
    try:
        seconds = parse_seconds(time)
    except ValueError as error:
        raise UsageError(f"{flag}: {error}") from None
    if not seconds:
        raise UsageError(f"{flag}: nothing is answered within {time!r}; write a time such as 50ms")
    return Goal(float(f"0.{name[1:]}"), float(seconds))


def read_goals(given: dict[str, str | None], pairs: tuple[str, ...]) -> list[Goal]:
    """All that were given, the widest share first.

    :param given: by percentile, of the flags ``--p99 50ms``.
    :param pairs: of ``--goal p99=50ms``.
    :raises UsageError: one is no goal, or a percentile has two.
    """
    goals = [read_goal(f"--{name}", name, time) for name, time in given.items() if time is not None]
    for pair in pairs:
        if re.fullmatch(r"[^=]+=[^=]+", pair) is None:
            raise UsageError(f"--goal: {pair!r} is no goal; write it as p99=50ms")
        goals.append(read_goal("--goal", *pair.split("=")))
    for goal in goals:
        if sum(other.share == goal.share for other in goals) > 1:
            raise UsageError(f"--goal: {goal.name} has two goals; give one")
    return sorted(goals, key=lambda goal: goal.share, reverse=True)


def measured(latency: Latencies, goal: Goal) -> float:
    """Seconds, of the percentile that the goal is about."""
    found: float = getattr(latency, goal.name)
    return found


def meets(latency: Latencies | None, goals: list[Goal]) -> bool:
    """Whether all of them are met; nothing answered meets none."""
    return latency is not None and all(measured(latency, goal) <= goal.seconds for goal in goals)
