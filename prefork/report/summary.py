"""The summary: how an instance is in one line, as ``systemctl status`` shows it.

It must not decide, nor ask anybody. What changes with each request is told only where it is looked at regularly, for a
line that nobody renews must stay true by itself.
Invariant: one line, however long a reason is.
Read next: ``prefork/master/manager.py``, who renews it; ``status.py``, the same in full.
"""

from collections.abc import Sequence
from typing import NamedTuple

from prefork.pool.records import Phase, Pool, State

LONGEST_REASON = 200  # characters


class Use(NamedTuple):
    """What a look at the scoreboard and the queues found.

    :param busy: workers with a request.
    :param queued: clients that no worker has accepted yet.
    """

    busy: int
    queued: int


def summarize(services: Sequence[tuple[Pool, str, Use | None]]) -> str:
    """One line on all services.

    :param services: with each why it is degraded, empty where it is not, and its use; ``None`` where nobody looks.
    """
    if len(services) == 1:
        return _summarize(*services[0])
    return "; ".join(f"{pool.name}: {_summarize(pool, trouble, use)}" for pool, trouble, use in services)


def _summarize(pool: Pool, trouble: str, use: Use | None) -> str:
    if pool.failed:
        return f"given up: {_short(pool.failed)}"
    if pool.wanted.phase > Phase.SERVING:
        left = len(pool.workers)
        return f"stopping, {left} worker{'' if left == 1 else 's'} left"
    ready = min(len(pool.in_state(State.READY)), pool.wanted.count)  # who is about to be replaced counts once
    used = "" if use is None else f", {use.busy} busy, {use.queued} queued"
    return f"{_condition(pool, trouble)}{ready} of {pool.wanted.count} workers ready{used}{_last_load(pool)}"


def _condition(pool: Pool, trouble: str) -> str:
    if not pool.serving:
        return f"starting, {_short(trouble)}: " if trouble else "starting: "
    if trouble:
        return f"degraded, {_short(trouble)}: "
    if pool.wanted.is_paused:
        return "paused: "
    if pool.coming is not None:
        return f"generation {pool.coming} is coming: "
    return ""


def _last_load(pool: Pool) -> str:
    load = pool.last_load
    if load is None or not load.why or pool.is_reloading:
        return ""
    what = "a reload was refused" if load.generation is None else f"generation {load.generation} was given up"
    return f"; {what}: {_short(load.why)}"


def _short(text: str) -> str:
    """Of a traceback the error, which is its last line."""
    *_, last = text.strip().splitlines() or [""]
    return last if len(last) <= LONGEST_REASON else f"{last[: LONGEST_REASON - 1]}…"
