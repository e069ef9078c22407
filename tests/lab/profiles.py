"""Profiles as a sweep might have made them."""

import math
from typing import Any

import numpy as np
from scipy.special import ndtri

from prefork.lab.profile import Profile, Scalability

LEVELS = (np.arange(200) + 0.5) / 200


def lognormal(mean: float, scv: float) -> list[float]:
    """Evenly spaced quantiles."""
    law = np.exp(ndtri(LEVELS) * math.sqrt(math.log(1 + scv)))
    return [float(value) for value in law * (mean / law.mean())]


def law(one: float = 50.0, contention: float = 0.03, coherency: float = 0.0008) -> Scalability:
    """Known exactly."""
    return Scalability(one, contention, coherency, (one, one), (contention, contention), (coherency, coherency))


def profile(**changed: Any) -> Profile:
    """Of a service that takes 20 ms, on 4 CPUs."""
    usual: dict[str, Any] = {
        "target": "shop:Handler",
        "made": "2026-11-22T00:00:00+00:00",
        "mode": "prefork",
        "source": "measured",
        "cpus": 4.0,
        "memory_limit": 8 * 1024**3,
        "scalability": law(),
        "service_seconds": lognormal(0.02, 1.0),
        "arrival_scv": 1.0,
        "base_bytes": 60 * 1024**2,
        "worker_bytes": 30 * 1024**2,
        "boot_seconds": 1.5,
        "workers": 8,
    }
    return Profile(**(usual | changed))
