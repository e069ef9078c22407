"""The bench, whose service and load are made up: what is read while the load runs, and what is asked of it."""

import threading
from collections.abc import Callable
from typing import Any, Self

import numpy as np
import pytest

from prefork.lab import bench, generators
from prefork.lab.doubts import Doubt
from prefork.lab.load import Load, Result
from prefork.lab.meter import Reading
from prefork.lab.samples import KINDS, ROW, Samples
from prefork.lab.subjects import Subject
from tests.children import LIMIT

IDLE, BUSY = 40 << 20, 200 << 20  # bytes
BEFORE, SHARE = 3.0, 0.25  # CPU seconds until a load begins to be measured, and of one CPU from then on


class Made:
    """A service whose requests hold memory while there are any; it is its own subject, meter and generators."""

    url, pid, boot_seconds = "tcp://127.0.0.1:9", 0, 0.1

    def __init__(self) -> None:
        self.loads: list[Load] = []
        self._is_loaded = False
        self._seen_loaded = threading.Event()
        self._looks = 0

    def reading(self) -> Reading:
        if self._is_loaded:
            self._seen_loaded.set()
        self._looks += 1
        return Reading(
            at=0.1 * self._looks,
            cpu_seconds=BEFORE + SHARE * 0.1 * self._looks,
            ended_seconds=0.0,
            switches=0,
            threads=frozenset(),
            reaped_faults=0,
            pss_bytes=BUSY if self._is_loaded else IDLE,
            processes=2,
        )

    def run(
        self, load: Load, stop: Callable[[], bool], begun: Callable[[float], object] = lambda zero: None
    ) -> tuple[Result, Samples]:
        self.loads.append(load)
        self._is_loaded = True
        begun(0.0)
        self._seen_loaded.wait(LIMIT)
        self._is_loaded = False
        result = Result(
            load=load,
            seconds=load.duration,
            requests=1,
            errors={},
            latency=None,
            service=None,
            histogram="",
            bytes_sent=0,
            bytes_received=0,
            connections=0,
            generators=[],
            doubts=[],
        )
        return result, Samples(np.zeros(1, ROW), list(KINDS))

    def stop(self) -> list[Doubt]:
        return []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        pass


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Made:
    made = Made()
    monkeypatch.setattr(bench, "Meter", lambda pid: made)
    monkeypatch.setattr(generators, "run", made.run)
    monkeypatch.setattr(Subject, "start", lambda *_, **__: made)
    return made


def real_bench(**load: Any) -> bench.RealBench:
    service = bench.Service("prefork", "shop:Orders", "tcp://127.0.0.1:0", 1, None, "", "", (), ())
    return bench.RealBench(service, lambda url: Load(url=url, **load), 1.0, lambda: False)


def test_memory_is_what_it_takes_under_the_load(made: Made) -> None:
    """When the load is over its requests have given back what they held."""
    assert real_bench().closed(4, 0.001).pss_bytes == BUSY


def test_cpus_are_those_of_the_measured_time(made: Made) -> None:
    """What was used before it, as by a first request, is not in them; nobody needs to tell how many were served."""
    assert real_bench().closed(4, 0.001).cpus == pytest.approx(SHARE)


def test_no_process_sends_for_less_than_a_client(made: Made) -> None:
    """One client is one process, however many were allowed."""
    measuring = real_bench(processes=3)
    measuring.alone(0.001)
    measuring.closed(4, 0.001)
    assert [(load.clients, load.processes) for load in made.loads] == [(1, 1), (10, 3)]
