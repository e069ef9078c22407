"""The real bench: a service started with so many workers, loaded, and watched while it answers.

It must not know which runs are wanted, nor why. Invariant: each run has a service of its own, and whatever happens
nothing of it is left.
Read next: ``tuner.py``, who wants runs; ``subjects.py``, how a service is started; ``generators.py``, how it is loaded.
"""

import os
import signal
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace

from prefork.errors import CommandError
from prefork.lab import generators
from prefork.lab.load import MOST_CLIENTS, GeneratorUse, Load, Result
from prefork.lab.meter import Meter, Window
from prefork.lab.samples import ANSWERED, Samples
from prefork.lab.subjects import Subject
from prefork.lab.tuner import Stopped
from prefork.lab.tuning import Trial

QUANTILES = 200  # of a service time
_WARM_UP = 0.25  # of the measured time
_LOOKS = 9  # at the memory, under the load: what requests hold is there only while they do
_OF_ONE_RUN = ("too-short", "behind", "errors", "left-out")  # what they say is said over all runs
_MEANT = "starved"  # where connections are kept: there are more of them than places, so that no place is free
_MOST_CONNECTIONS = 4000  # of an open loop: more is a service that is lost anyway


class Service(NamedTuple):
    """What is started; see ``Subject.start``.

    :param at_once: requests that one worker serves at once.
    """

    mode: str
    target: str
    bind: str
    at_once: int
    threads: int | None
    handler: str
    chdir: str
    pythonpath: tuple[str, ...]
    extra: tuple[str, ...]


class RealBench:
    """See above; a ``tuner.Bench``.

    :param load_of: the load for a URL, but for how much of it.
    :param patience: seconds after which a request of an open loop is given up: what goals call late is no matter of
        how late.
    :param stop: whether the user has had enough.
    """

    def __init__(
        self, service: Service, load_of: Callable[[str], Load], patience: float, stop: Callable[[], bool]
    ) -> None:
        self._service = service
        self._load_of = load_of
        self._patience = patience
        self._stop = stop
        self._runs = 0

    def now(self) -> float:
        return time.monotonic()

    def alone(self, seconds: float) -> tuple[Trial, list[float]]:
        """:raises CommandError: no request was answered rightly."""
        trial, result, samples = self._run(1, seconds, rate=None, clients=1)
        times = samples.services
        if not len(times):
            why = result.first_error or f"none took less than {seconds:g} s"
            remedy = "see to that with prefork load, or give more time (--budget)"
            raise CommandError(f"{self._service.target}: no request was answered rightly: {why}; {remedy}")
        shares = (np.arange(QUANTILES) + 0.5) / QUANTILES
        return trial, [float(one) for one in np.quantile(times, shares)]

    def closed(self, workers: int, seconds: float) -> Trial:
        """Clients for twice as many as there is room for: whoever is done finds the next one waiting."""
        clients = min(2 * workers * self._service.at_once + 2, MOST_CLIENTS)
        return self._run(workers, seconds, rate=None, clients=clients)[0]

    def opened(self, workers: int, asked: float, seconds: float) -> Trial:
        room = 4 * workers * self._service.at_once + round(asked)
        return self._run(workers, seconds, rate=asked, clients=min(max(64, room), _MOST_CONNECTIONS))[0]

    def _run(self, workers: int, seconds: float, rate: float | None, clients: int) -> tuple[Trial, Result, Samples]:
        if self._stop():
            raise Stopped
        service = self._service
        with Subject.start(
            service.mode,
            service.target,
            workers,
            bind=service.bind,
            handler=service.handler,
            threads=service.threads,
            chdir=service.chdir,
            pythonpath=service.pythonpath,
            extra=service.extra,
        ) as subject:
            load = self._load_of(subject.url)
            seed = load.seed + self._runs  # or all rounds would have the same arrivals
            self._runs += 1
            load = replace(
                load,
                rate=rate,
                clients=clients,
                processes=min(load.processes, clients),
                duration=seconds,
                warm_up=_WARM_UP * seconds,
                requests=None,
                timeout=load.timeout if rate is None else min(load.timeout, self._patience),
                seed=seed,
            )
            meter = Meter(subject.pid)
            with Window([meter.reading] * _LOOKS, seconds) as window:
                result, samples = generators.run(load, stop=self._stop, begun=window.begin)
                if self._stop():
                    raise Stopped
                readings = window.readings()
            due = len(samples.rows)
            late = int(((samples.rows["kind"] != ANSWERED) | (samples.rows["ended"] > seconds)).sum())
            is_swamped = rate is not None and late > 2 * workers * service.at_once
            if is_swamped:
                os.kill(subject.pid, signal.SIGINT)  # nobody waits any more for whoever is still in its queue
            ended = [] if is_swamped else subject.stop()
        use = readings[-1].since(readings[0])
        answered = result.rate if rate is None else (due - late) / seconds
        trial = Trial(
            workers=workers,
            asked=rate,
            clients=clients,
            rate=answered,
            due=due,
            late=late,
            room=workers * service.at_once,
            latency=result.latency,
            errors=result.errors,
            cpus=max(0.0, use.cpu_seconds / use.seconds),  # less than nothing of a service that died
            generator_cpus=sum(map(_share, result.generators)) if result.generators else 0.0,
            generator_share=max(map(_share, result.generators), default=0.0),
            pss_bytes=max(reading.pss_bytes for reading in readings),
            boot_seconds=subject.boot_seconds,
            doubts=[*(doubt for doubt in result.doubts if doubt.kind not in (*_OF_ONE_RUN, _MEANT)), *ended],
        )
        return trial, result, samples


def _share(use: GeneratorUse) -> float:
    return use.cpu_seconds / use.seconds if use.seconds else 0.0
