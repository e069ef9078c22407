"""A profile: what was learnt about a service on one machine, kept in a file, for planning with it later.

It must not know how it was measured. ``prefork tune --save-profile`` writes it, ``prefork plan`` reads it.
Invariant: everything a model needs is in it, with where it came from.
"""

from typing import Literal

import msgspec

VERSION = 1


class Scalability(msgspec.Struct, frozen=True):
    """The Universal Scalability Law, X(N) = one N / (1 + contention (N - 1) + coherency N (N - 1)).

    Source: Neil Gunther, Guerrilla Capacity Planning, 2007. Each figure with the interval that holds 95 % of its
    bootstrap.

    :param one: requests a second of one worker.
    """

    one: float
    contention: float
    coherency: float
    one_interval: tuple[float, float]
    contention_interval: tuple[float, float]
    coherency_interval: tuple[float, float]

    def throughput(self, workers: float) -> float:
        """Requests a second of so many busy workers."""
        n = workers
        return self.one * n / (1 + self.contention * (n - 1) + self.coherency * n * (n - 1))


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """See above. Seconds and bytes throughout.

    :param source: ``measured`` by a sweep, or ``live`` from a running service.
    :param cpus: that the service might use.
    :param memory_limit: of the control group or the machine.
    :param service_seconds: quantiles of the service time of one worker that has the machine to itself, evenly spaced
        from the least to the largest, so that a draw among them is a draw of the distribution.
    :param arrival_scv: squared coefficient of variation of the time from one arrival to the next; 1 is Poisson.
    :param base_bytes: PSS of what there is besides workers.
    :param worker_bytes: PSS that each worker adds.
    :param boot_seconds: from the start of a service to its first reply.
    :param workers: that were advised, or ran; ``at_once``: requests that each serves at once.
    """

    version: int = VERSION
    target: str
    made: str
    mode: str
    source: Literal["measured", "live"]
    cpus: float
    memory_limit: int
    scalability: Scalability | None
    service_seconds: list[float]
    arrival_scv: float
    base_bytes: int
    worker_bytes: int
    boot_seconds: float
    workers: int
    at_once: int = 1
