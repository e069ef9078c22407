"""The service manager: what systemd, or whoever else started us and listens, is told of this instance, and when.

READY once all wanted workers are, RELOADING and READY around a reload, STOPPING, one line of STATUS that changes with
what it tells, more time while something is under way, signs of life from a loop that has really turned; and listeners
and scoreboards to keep for the next master. It must not know how messages travel, nor decide anything about workers.
Invariant: each RELOADING is followed by a READY, and what a stop is about to shut is let go of before.
Sources: sd_notify(3), systemd.service(5).
Read next: ``keeping.py``, what becomes of what is kept; ``prefork/report/summary.py``, the line.
"""

import contextlib
import os
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from enum import Enum, auto

from prefork.master import keeping
from prefork.master.hands import Hands
from prefork.master.opening import Opened
from prefork.pool import health
from prefork.pool.records import Pool, State
from prefork.report.summary import Use, summarize
from prefork.system import queues
from prefork.system.notify import Notifier

EXTEND_EVERY = 5.0  # seconds
EXTEND_BY = 15.0  # seconds: a loop that does not turn for so long is not worth waiting for
STATUS_EVERY = 0.5  # seconds: a reload of a thousand workers is no thousand lines
RETRY = 0.1  # seconds until the manager may have room again
now = time.monotonic


class Stage(Enum):
    """Where the instance stands, in the manager's words."""

    STARTING = auto()
    READY = auto()
    RELOADING = auto()
    STOPPING = auto()


def next_stage(stage: Stage, pools: Collection[Pool]) -> Stage:
    """Where it stands now.

    :param stage: where it stood.
    """
    if all(pool.is_stopping for pool in pools):
        return Stage.STOPPING
    if stage is Stage.STARTING and all(pool.is_settled for pool in pools):
        return Stage.READY
    if stage is Stage.RELOADING and not any(pool.is_reloading for pool in pools):
        return Stage.READY
    return stage


class ServiceManager:
    """See above.

    :param is_resumed: the image before us has told it that we are ready.
    """

    def __init__(self, notifier: Notifier, opened: Opened, *, is_resumed: bool) -> None:
        self._notifier = notifier
        self._hands = opened.hands
        self._kept = dict(_to_keep(opened))
        self._stage = Stage.READY if is_resumed else Stage.STARTING
        self._status = ""
        self._has_more_status = False
        self._status_at = float("-inf")
        self._uses: dict[str, Use] = {}
        self._extended_at = self._alive_at = float("-inf")
        for name, (fd, _) in self._kept.items():
            notifier.forget(name)  # what an earlier image gave it under that name
            notifier.say("FDSTORE=1", f"FDNAME={name}", fds=(fd,))

    def begin_reload(self) -> None:
        """A reload was asked for, by whomever."""
        if self._stage in (Stage.READY, Stage.RELOADING):
            self._stage = Stage.RELOADING
            self._notifier.say("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def go_on(self, pools: Mapping[str, Pool]) -> None:
        """Tell what there is to tell. To be called in each turn, before anything is performed."""
        moment = now()
        news: list[str] = []
        before, self._stage = self._stage, next_stage(self._stage, pools.values())
        if self._stage is not before:
            self._extended_at = float("-inf")
            news += ["STOPPING=1"] if self._stage is Stage.STOPPING else ["READY=1", f"MAINPID={os.getpid()}"]
        self._let_go(pools)
        news += self._extend(pools, moment)
        news += self._show_life(pools, moment)
        news += self._renew_status(pools, moment, is_urgent=self._stage is not before)
        if news:
            self._notifier.say(*news)
        self._notifier.go_on()

    @property
    def until(self) -> float | None:
        """When there is something to tell without news."""
        due = []
        if self._stage is not Stage.READY:
            due.append(self._extended_at + EXTEND_EVERY)
        if self._notifier.every is not None:
            due.append(self._alive_at + self._notifier.every)
        if self._has_more_status:
            due.append(self._status_at + STATUS_EVERY)
        if self._notifier.has_more:
            due.append(now() + RETRY)
        return min(due, default=None)

    def _extend(self, pools: Mapping[str, Pool], moment: float) -> list[str]:
        """Ask for more time than the unit allows, while something is under way that has limits of its own."""
        if self._stage is Stage.READY or moment < self._extended_at + EXTEND_EVERY:
            return []
        self._extended_at = moment
        if self._stage is Stage.STARTING and any(_trouble(pool, moment) for pool in pools.values()):
            return []  # it might try for ever
        return [f"EXTEND_TIMEOUT_USEC={int(EXTEND_BY * 1e6)}"]

    def _show_life(self, pools: Mapping[str, Pool], moment: float) -> list[str]:
        """This loop turns; and while it is awake anyway, who is busy."""
        if self._notifier.every is None or moment < self._alive_at + self._notifier.every:
            return []
        self._alive_at = moment
        self._uses = {name: _use(hands, pools[name], moment) for name, hands in self._hands.items()}
        return ["WATCHDOG=1"]

    def _renew_status(self, pools: Mapping[str, Pool], moment: float, *, is_urgent: bool) -> list[str]:
        status = summarize([(pool, _trouble(pool, moment), self._uses.get(name)) for name, pool in pools.items()])
        is_due = is_urgent or moment >= self._status_at + STATUS_EVERY
        self._has_more_status = status != self._status and not is_due
        if status == self._status or not is_due:
            return []
        self._status, self._status_at = status, moment
        return [f"STATUS={status}"]

    def _let_go(self, pools: Mapping[str, Pool]) -> None:
        """What is about to be shut would be of no use to the next master."""
        is_last = all(pool.is_stopping for pool in pools.values())
        for name, (_, service) in list(self._kept.items()):
            if is_last if service is None else pools[service].is_stopping:
                self._notifier.forget(name)
                del self._kept[name]


def _to_keep(opened: Opened) -> Iterator[tuple[str, tuple[int, str | None]]]:
    """Name and descriptor of each thing to be kept, and the service it is of; ``None`` of the admin process."""
    for service, hands in opened.hands.items():
        asked = zip(hands.settings.addresses, hands.listeners, strict=True)
        for name, listener in ((keeping.listener_name(address), listener) for address, listener in asked):
            if name:
                yield name, (listener.socket.fileno(), service)
        hands.board.sign()
        yield keeping.board_name(service), (hands.board.fd, service)
    if opened.admin is not None and (name := keeping.listener_name(opened.admin.listener.address)):
        yield name, (opened.admin.listener.socket.fileno(), None)


def _trouble(pool: Pool, moment: float) -> str:
    """Why the service is degraded, since it was said to be; or what keeps it from being ready the first time."""
    is_told = pool.degraded_since is not None or not pool.serving
    trouble = health.trouble(pool, moment) if is_told else None
    return "" if trouble is None else trouble.why


def _use(hands: Hands, pool: Pool, moment: float) -> Use:
    ready = {worker.slot for worker in pool.in_state(State.READY)}
    busy = sum(reading.busy > 0 for slot, reading in hands.read_slots(pool, moment).items() if slot in ready)
    return Use(busy, sum(_depths(hands)))


def _depths(hands: Hands) -> Iterable[int]:
    for listener in hands.listeners:
        with contextlib.suppress(OSError):  # it is closed, for we are about to end
            yield queues.depth(listener.socket)
