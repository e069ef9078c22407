"""Profiles of what was measured or watched, for planning with them later.

It must not know files. Invariant: what was not measured is not made up: a live profile has no scalability.
Read next: ``profile.py``, the record.
"""

from datetime import UTC, datetime
from statistics import median

from prefork.lab.live import Window
from prefork.lab.profile import Profile
from prefork.lab.tuning import Tuning


def of_tuning(tuning: Tuning) -> Profile | None:
    """``None`` where too little was measured for one."""
    if tuning.weight is None or tuning.choice is None or not tuning.service_seconds:
        return None
    return Profile(
        target=tuning.title,
        made=tuning.made,
        mode=tuning.mode,
        source="measured",
        cpus=tuning.limits.cpus,
        memory_limit=tuning.limits.memory,
        scalability=None if tuning.law is None else tuning.law.scalability,
        service_seconds=tuning.service_seconds,
        arrival_scv=1.0,
        base_bytes=tuning.weight.base,
        worker_bytes=tuning.weight.worker,
        boot_seconds=median(one.boot_seconds for one in tuning.sweep),
        workers=tuning.choice.workers,
        at_once=tuning.at_once,
    )


def of_window(window: Window, workers: int | None, cpus: float, memory: int) -> Profile | None:
    """:param workers: that were advised; ``None`` is as many as run.
    :returns: ``None`` where nothing was served, or nobody may look at the memory.
    """
    if not window.service_seconds or window.worker_bytes is None or window.base_bytes is None:
        return None
    return Profile(
        target=window.target,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        mode=window.mode,
        source="live",
        cpus=cpus,
        memory_limit=memory,
        scalability=None,
        service_seconds=window.service_seconds,
        arrival_scv=window.arrival_scv,
        base_bytes=window.base_bytes,
        worker_bytes=window.worker_bytes,
        boot_seconds=0.0,  # nobody saw it start
        workers=workers if workers is not None else window.ready,
        at_once=window.at_once,
    )
