"""Many machines behind a balancer, by formula: how long requests take there, and how many machines are enough.

Each machine is a queue of its own before its workers, and the balancer gives each machine that is there the same
share. A worker is slowed down by those that are busy beside it, as the scalability law has it; so a machine is a
birth-death process whose rate depends on how many are busy (Kleinrock, *Queueing Systems I*, 1975, section 3.2), with
the wait of ``queueing.py``. Another number of CPUs stretches the law: 8 workers on 4 CPUs hinder each other as 4 on 2.
Pure: it must not know where the profile comes from, nor what is printed.
Invariant: one machine more never takes longer, and one worker that is alone takes its service time.
Read next: ``fleet_simulation.py``, which does the same by chance; ``sizing.py``, which chooses.
"""

import math
from functools import cached_property
from typing import Literal

import msgspec
import numpy as np
from scipy.special import ndtri

from prefork.config.service import MOST_WORKERS
from prefork.lab import queueing
from prefork.lab.profile import Profile, Scalability
from prefork.lab.scalability import peak_of

Balancer = Literal["random", "round-robin"]
MOST_PLACES = MOST_WORKERS  # of a machine, that are reckoned with
FARTHEST = 4  # times as many workers a CPU as were advised: the law is not believed further than that


class Machine(msgspec.Struct, frozen=True):
    """A size of machine.

    :param memory: bytes, for the service alone.
    :param price: of one, in whatever coin; ``None`` where nobody told.
    """

    cpus: float
    memory: int
    price: float | None = None


class Service(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """What is known of the service that runs on them.

    :param seconds: evenly spaced quantiles of the service time, of a worker that is alone.
    :param known: how many of them were measured, before they were made smooth.
    :param hold: seconds for which a request holds its place, in the mean; less than the mean of ``seconds`` where
        the client sees more than the worker does.
    :param places: of a worker: requests that it serves at once as fast as one.
    :param law: how workers slow each other down; ``None`` where nobody knows.
    :param cpus: of the machine on which all this was seen.
    :param most_a_cpu: workers a CPU; more are not considered.
    """

    seconds: tuple[float, ...]
    known: int
    hold: float
    law: Scalability | None
    cpus: float
    arrival_scv: float
    base_bytes: int
    worker_bytes: int
    boot_seconds: float
    most_a_cpu: float
    places: int = 1

    @cached_property
    def moments(self) -> tuple[float, float, float]:
        return queueing.moments(self.seconds)

    def slowdown(self, machine: Machine, busy: np.ndarray) -> np.ndarray:
        """How many times as long a request takes while so many places of the machine are busy.

        The law's denominator, with as many workers a CPU: see above.
        """
        if self.law is None:
            return np.ones_like(busy, dtype=float)
        n = busy / self.places * (self.cpus / machine.cpus)
        return np.maximum(1.0, 1 + self.law.contention * (n - 1) + self.law.coherency * n * (n - 1))

    def most_workers(self, machine: Machine) -> int:
        """As many as the memory holds, the law allows, were seen, and are reckoned with; 0 where not one fits."""
        fitting = (machine.memory - self.base_bytes) // max(1, self.worker_bytes)
        peak = peak_of(self.law) / self.cpus * machine.cpus if self.law is not None else math.inf
        return max(
            0, min(int(fitting), max(1, int(min(peak, self.most_a_cpu * machine.cpus, MOST_PLACES // self.places))))
        )


def service_of(profile: Profile, most_a_cpu: float | None = None) -> Service:
    """What a profile says.

    :param most_a_cpu: workers a CPU at most; ``None``: a few times as many as were advised, or as many as ran where
        nobody knows how they slow each other down.
    """
    law = profile.scalability
    mean = queueing.moments(profile.service_seconds)[0]
    places = places_of(profile)
    if most_a_cpu is None:
        most_a_cpu = profile.workers / profile.cpus * (FARTHEST if law is not None else 1)
    return Service(
        seconds=tuple(queueing.smooth(profile.service_seconds).tolist()),
        known=len(profile.service_seconds),
        hold=places / law.one if law is not None else mean,
        law=law,
        cpus=profile.cpus,
        arrival_scv=profile.arrival_scv,
        base_bytes=profile.base_bytes,
        worker_bytes=profile.worker_bytes,
        boot_seconds=profile.boot_seconds,
        most_a_cpu=most_a_cpu,
        places=places,
    )


def places_of(profile: Profile) -> int:
    """Requests that a worker serves at once as fast as one: as many as it did in the time that one alone takes.

    So threads that wait for something else are a place each, and those that compete for one CPU are a single one. Where
    nobody measured a worker by itself it is as many as it may have.
    """
    if profile.scalability is None:
        return profile.at_once
    alone = queueing.moments(profile.service_seconds)[0]
    return max(1, min(profile.at_once, round(profile.scalability.one * alone)))


def service_on_paper(mean: float, scv: float, most_a_cpu: float, boot_seconds: float = 1.0) -> Service:
    """A service nobody has measured: lognormal, its workers do not hinder each other, and weigh nothing.

    :param mean: seconds.
    """
    sigma = math.sqrt(math.log(1 + scv))
    law = np.exp(sigma * ndtri((np.arange(queueing.FINE) + 0.5) / queueing.FINE))
    seconds = tuple(float(value) for value in law * (mean / law.mean()))
    return Service(
        seconds=seconds,
        known=len(seconds),
        hold=mean,
        law=None,
        cpus=1.0,
        arrival_scv=1.0,
        base_bytes=0,
        worker_bytes=0,
        boot_seconds=boot_seconds,
        most_a_cpu=most_a_cpu,
    )


def split_scv(balancer: Balancer, arrival_scv: float, machines: int) -> float:
    """How much the gaps between the arrivals at one of the machines vary.

    A random split brings any process nearer to Poisson, one in turn makes gaps of sums (Whitt, *The Queueing Network
    Analyzer*, 1983, section 4.4). What is evener than Poisson is taken for Poisson where it is split at random.
    """
    if balancer == "random":
        return 1 + max(0.0, arrival_scv - 1) / machines
    return arrival_scv / machines


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """One of the machines, as it fares.

    :param utilisation: the rate by the most it can do.
    :param busy: places of workers, in the mean.
    :param slowdown: of a request in the mean, by the busy places beside its own.
    :param wait: the law of the wait.
    :param seconds: quantiles of the service time, without that slowdown.
    """

    utilisation: float
    busy: float
    slowdown: float
    wait: queueing.Wait
    seconds: tuple[float, ...]

    def beyond(self, seconds: float) -> float:
        """The share of requests that take longer."""
        served = np.asarray(self.seconds) * self.slowdown
        return float(self.wait.beyond(seconds - served).mean())

    def percentile(self, q: float) -> float:
        """Seconds from arrival to reply that a share of ``q`` does not exceed."""
        return queueing.sum_percentile(self.wait, np.asarray(self.seconds) * self.slowdown, q)


def capacity(service: Service, machine: Machine, workers: int) -> float:
    """Requests a second of a machine whose workers are all busy."""
    places = workers * service.places
    return places / (service.hold * float(service.slowdown(machine, np.array([places]))[0]))


def node(service: Service, machine: Machine, workers: int, rate: float, arrival_scv: float = 1.0) -> Node:
    """A machine that is given so many requests a second."""
    places = workers * service.places
    busy = np.arange(1, places + 1)
    slowdown = service.slowdown(machine, busy)
    served = busy / (service.hold * slowdown)  # requests a second, by how many are busy
    load = rate / float(served[-1])
    if load >= 1:
        full = float(slowdown[-1])
        wait = queueing.Wait(1.0, math.inf, 1.0)
        return Node(utilisation=load, busy=places, slowdown=full, wait=wait, seconds=service.seconds)
    chances = np.concatenate([[0.0], np.cumsum(np.log(rate / served))])
    weights = np.exp(chances - chances.max())
    queueing_too = weights[-1] * load / (1 - load)  # all are busy and somebody waits
    whole = float(weights.sum() + queueing_too)
    mean_busy = float((weights[1:] * busy).sum() + places * queueing_too) / whole
    _, scv, third = service.moments
    mean_wait = (arrival_scv + scv) / 2 / (float(served[-1]) - rate)
    return Node(
        utilisation=load,
        busy=mean_busy,
        slowdown=max(1.0, mean_busy / (rate * service.hold)),
        wait=queueing.Wait(float(weights[-1] + queueing_too) / whole, mean_wait, queueing.wait_scv(load, scv, third)),
        seconds=service.seconds,
    )


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """Equal machines with equal workers.

    :param workers: on each machine.
    """

    service: Service
    machine: Machine
    workers: int
    balancer: Balancer = "random"

    @property
    def places(self) -> int:
        """Of a machine: requests that it serves at once."""
        return self.workers * self.service.places

    @property
    def capacity(self) -> float:
        """Requests a second of one machine."""
        return capacity(self.service, self.machine, self.workers)

    def node(self, machines: int, rate: float) -> Node:
        """One of so many machines that share the rate."""
        scv = split_scv(self.balancer, self.service.arrival_scv, machines)
        return node(self.service, self.machine, self.workers, rate / machines, scv)

    def least_machines(self, rate: float, q: float, goal: float, utilisation: float, most: int) -> int | None:
        """The fewest that meet the goal and are not busier than that.

        :param goal: seconds that a share of ``q`` of the requests may take.
        :returns: ``None`` where ``most`` are too few, or the service alone takes longer.
        """

        def is_enough(machines: int) -> bool:
            one = self.node(machines, rate)
            return one.utilisation <= utilisation and one.beyond(goal) <= 1 - q

        low, high = max(0, math.ceil(rate / self.capacity) - 1), most
        if low >= most or not is_enough(most):
            return None
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if is_enough(middle) else (middle, high)
        return high

    def most_rate(self, machines: int, q: float, goal: float, utilisation: float = 1.0) -> float:
        """Requests a second that so many machines take and still meet the goal; 0 where they never do."""
        low, high = 0.0, machines * self.capacity * utilisation
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if self.node(machines, middle).beyond(goal) <= 1 - q else (low, middle)
        return low if low > 1e-9 * self.capacity else 0.0
