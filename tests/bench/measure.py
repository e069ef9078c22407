"""Rounds, ratios and what to believe of them. It must not know what is measured."""

import os
import random
import statistics
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tests.bench.servers import CLIENT_CORE, Server


class Contender(NamedTuple):
    """One server in a comparison.

    :param limit: the largest ratio to the first contender that we promise; ``None`` promises nothing.
    """

    name: str
    server: Server
    limit: float | None = None


class Row(NamedTuple):
    """One line of the table."""

    what: str
    value: str
    promise: str = ""
    is_kept: bool | None = None


class Options(NamedTuple):
    rounds: int
    requests: int


def compare(
    contenders: Sequence[Contender], send: Callable[[int, int], None], options: Options, share: float = 0.9
) -> list[Row]:
    """The same requests to each in turn, round after round; each is compared with the first within the round.

    :param share: see ``interval``.
    """
    costs: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {CLIENT_CORE})
    for number in range(options.rounds + 1):
        for name, server, _ in contenders:
            before = server.cpu_ns()
            send(server.port, options.requests)
            if number:  # the first round warms up
                costs[name].append((server.cpu_ns() - before) / options.requests / 1000)
        tell_progress(number, options.rounds)
    os.sched_setaffinity(0, cores)
    floor = costs[contenders[0].name]
    rows = []
    for name, _, limit in contenders:
        ratios = [mine / theirs for mine, theirs in zip(costs[name], floor, strict=True)]
        low, high = interval(ratios, share)
        value = f"{statistics.median(costs[name]):.1f} µs"
        if costs[name] is not floor:
            value += f", {statistics.median(ratios):.2f} times ({low:.2f} to {high:.2f})"
        promise = "" if limit is None else f"≤ {limit:.2f} times"
        rows.append(Row(name, value, promise, None if limit is None else high <= limit))
    return rows


def interval(samples: Sequence[float], share: float = 0.9) -> tuple[float, float]:
    """What that share of the medians of resampled samples lie between."""
    medians = sorted(statistics.median(random.choices(samples, k=len(samples))) for _ in range(2000))
    beyond = round(len(medians) * (1 - share) / 2)
    return medians[beyond], medians[-beyond]


def judge(what: str, samples: Sequence[float], unit: str, limit: float | None = None) -> Row:
    """A median with its interval, beside what we promise."""
    low, high = interval(samples)
    digits = 0 if min(samples) >= 20 else 2
    value = f"{statistics.median(samples):.{digits}f} {unit} ({low:.{digits}f} to {high:.{digits}f})"
    return Row(what, value, "" if limit is None else f"≤ {limit:g} {unit}", None if limit is None else high <= limit)


def tell_progress(number: int, last: int) -> None:
    print(f"\r  {number} of {last} ", end="\n" if number == last else "", file=sys.stderr, flush=True)
