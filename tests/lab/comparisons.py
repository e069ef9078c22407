"""Comparisons made up for those who judge and show them: laws with seeded noise, and what a test changes in that."""

import random
from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace

from prefork.lab.comparison import Cell, CellResult, Comparison, Machine, Measurement
from prefork.lab.load import Latencies
from prefork.lab.winning import is_pool

MACHINE = Machine(cpus=4, model="Some CPU", memory_bytes=8 << 30, kernel="6.18.44", python="3.11.7", prefork="0.1.0")
LIMITS = {"sync": 900.0, "thread": 2600.0, "fork": 700.0, "bare": 3000.0, "stdlib-sync": 950.0}
COSTS = {"sync": 45e-6, "thread": 80e-6, "fork": 700e-6, "prefork": 50e-6, "bare": 40e-6, "stdlib-sync": 44e-6}


def measurement(rate: float = 1000.0, seconds: float = 20.0, **changed: Any) -> Measurement:
    """An undisturbed round."""
    p50 = 0.001
    usual: dict[str, Any] = {
        "seconds": seconds,
        "requests": int(rate * seconds),
        "rate": rate,
        "latency": Latencies(p50 * 1.1, p50, 2 * p50, 4 * p50, 8 * p50, 20 * p50),
        "errors": {},
        "cpu_seconds": 50e-6,
        "switches": 2.0,
        "pss_bytes": 20 << 20,
        "fairness": 0.98,
        "generator_share": 0.2,
    }
    return Measurement(**(usual | changed))


def result(line: str, workers: int = 1, clients: int = 8, rates: Sequence[float] = (), **changed: Any) -> CellResult:
    """:param changed: in every round."""
    rates = rates or (1000, 1001, 999, 1000.5, 999.5)
    return CellResult(Cell(line, workers, clients), [measurement(rate, **changed) for rate in rates])


def usual(rounds: int = 5, noise: float = 0.01, lines: Sequence[str] = tuple(COSTS)) -> list[CellResult]:
    """A service that waits a little, in some modes, at 1, 8 and 64 clients.

    :param noise: standard deviation of a rate, of its mean.
    """
    chance = random.Random(7)
    cells = []
    for clients in (1, 8, 64):
        for line in lines:
            for workers in (2, 4) if is_pool(line) else (1,):
                limit = LIMITS.get(line, 800.0 * workers)
                rate = min(600.0 * clients, limit)
                p50 = clients / rate
                ms = Latencies(p50 * 1.1, p50, p50 * 1.5, p50 * 3, p50 * 5, p50 * 9)
                one = measurement(
                    rate,
                    latency=ms,
                    cpu_seconds=COSTS.get(line, 60e-6),
                    pss_bytes=(9 << 20) + workers * (2 << 20),
                    fairness=0.97 if workers > 1 else None,
                    switches=None if line == "fork" else 2.1,
                )
                cells.append(
                    CellResult(Cell(line, workers, clients), [_jittered(one, chance, noise) for _ in range(rounds)])
                )
    return cells


def _jittered(one: Measurement, chance: random.Random, noise: float) -> Measurement:
    rate = one.rate * chance.gauss(1, noise)
    cpu = one.cpu_seconds * chance.gauss(1, noise)
    return replace(one, rate=rate, requests=int(rate * one.seconds), cpu_seconds=cpu)


def comparison(cells: Sequence[CellResult] | None = None, **changed: Any) -> Comparison:
    fields: dict[str, Any] = {
        "title": "wait=1ms",
        "teaches": "a handler that waits for something else leaves its CPU to others.",
        "made": "2026-11-22T00:00:00Z",
        "command": "prefork compare wait=1ms --workers 2,4 --clients 1,8,64",
        "machine": MACHINE,
        "cells": list(usual() if cells is None else cells),
        "left_out": {},
        "doubts": [],
    }
    return Comparison(**(fields | changed))


def changed(cells: Sequence[CellResult], change: Callable[[int, Measurement], Measurement]) -> list[CellResult]:
    """The same cells, each round changed.

    :param change: is given the index of the round.
    """
    return [replace(cell, rounds=[change(i, one) for i, one in enumerate(cell.rounds)]) for cell in cells]
