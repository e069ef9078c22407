"""What can be set of a service: one frozen record, checked where it is born.

It must not know where a value came from; ``sources.py`` does.
Invariant: a record of these is valid, so nothing behind it checks again.
Read next: ``instance.py``, what services share; ``settings.py``, how plain values become records.
"""

import math
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

import msgspec

from prefork.address import Address
from prefork.binds import parse
from prefork.config import privileges
from prefork.config.units import LARGEST_SIZE, Bytes, Command, Seconds
from prefork.system import cpus
from prefork.system.privileges import Privileges
from prefork.system.sockets import DEFAULT_BACKLOG, LONGEST_TIMEOUT

DEFAULT_WORKERS = 4
DEFAULT_SPARE = 1  # idle workers a pool that sizes itself keeps at least
MORE_SPARE = 2  # and so many more at most: as php-fpm, 1 and 3
DEFAULT_IDLE = Seconds(10.0)
DEFAULT_EMERGENCY_WINDOW = Seconds(60.0)
MOST_CRASHES = 100  # that the mind remembers
LARGEST = 2**31 - 1  # what an int of the kernel holds
MOST_WORKERS = 4000
MOST_SURGE = MOST_WORKERS // 4  # workers beyond those, while some are replaced
DEFAULT_THREADS = 64
HARD_AFTER_SOFT = 5.0  # seconds that an interrupted request has to end, unless request_hard is set
DEFAULT_CHILDREN = 40  # socketserver.ForkingMixIn.max_children
MOST_AT_ONCE = 1000  # requests in one worker
NO_BIND = ("none",)  # the server brings its own work
SIZING = ("min_workers", "max_workers", "min_spare", "max_spare", "worker_idle_timeout", "memory_budget")


class Mode(NamedTuple):
    """A usual pair of how many workers there are, and how each handles its requests.

    :param workers: ``None`` leaves them to the setting.
    """

    workers: int | None
    concurrency: Literal["sync", "thread", "fork"]


MODES = {
    "sync": Mode(1, "sync"),
    "thread": Mode(1, "thread"),
    "fork": Mode(1, "fork"),
    "prefork": Mode(None, "sync"),
    "hybrid": Mode(None, "thread"),
}


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """One service: what to run, where, how many. ``docs/configuration.md`` describes each field for its users.

    ``threads`` and ``children`` are numbers once the record is made, whatever was left out. So is ``workers`` of a
    fixed pool; of one that sizes itself it is ``None``, and what begins with ``min`` and ``max`` are numbers.

    :param why_workers: how ``"auto"`` became the number of workers.
    :param privileges: what the settings from ``user`` to ``cpu_affinity`` come to.
    :param concurrency: how a worker handles its requests; ``None`` as the target's class says, by its mix-in.
    """

    target: str
    bind: tuple[str, ...]
    handler: str = ""
    mode: Literal["sync", "thread", "fork", "prefork", "hybrid"] | None = None
    workers: int | Literal["auto"] | None = None
    min_workers: int | None = None
    max_workers: int | None = None
    min_spare: int | None = None
    max_spare: int | None = None
    worker_idle_timeout: Seconds | None = None
    memory_budget: Bytes | None = None
    concurrency: Literal["sync", "thread", "fork"] | None = None
    threads: int | None = None
    children: int | None = None
    balance: Literal["warm", "even"] = "warm"
    backlog: int = DEFAULT_BACKLOG
    preload: bool = True
    graceful_timeout: Seconds = Seconds(30.0)
    quick_timeout: Seconds = Seconds(1.0)
    boot_timeout: Seconds = Seconds(60.0)
    probation: Seconds | None = None
    timeout: Seconds | None = None
    on_timeout: Literal["retire", "keep"] = "retire"
    request_slow: Seconds | None = None
    request_hard: Seconds | None = None
    idle_timeout: Seconds | None = None
    keepalive: Seconds | None = None
    max_requests: int = 0
    max_requests_jitter: int = 0
    refork_after: int = 0
    emergency_crashes: int = 0
    emergency_window: Seconds = DEFAULT_EMERGENCY_WINDOW
    max_failures: int = 0
    max_age: Seconds = Seconds(0.0)
    max_age_jitter: Seconds = Seconds(0.0)
    memory_soft: Bytes = Bytes(0)
    memory_hard: Bytes = Bytes(0)
    memory_measure: Literal["uss", "pss"] = "uss"
    max_surge: int | None = None
    chdir: str = ""
    pythonpath: tuple[str, ...] = ()
    worker_start: str = ""
    worker_stop: str = ""
    health: str = ""
    titles: Literal["request", "state", "none"] = "request"
    user: str = ""
    group: str = ""
    umask: str = ""
    chroot: str = ""
    rlimits: dict[str, int | str] = {}
    no_new_privs: bool = False
    nice: int | None = None
    cpu_affinity: str = ""
    on_ready: Command = Command()
    on_reload: Command = Command()
    on_failed: Command = Command()
    command_timeout: Seconds = Seconds(30.0)
    why_workers: str = ""
    privileges: Privileges = Privileges()

    def __post_init__(self) -> None:
        for setting, example in _TARGETS.items():
            text = getattr(self, setting)
            if (text or setting == "target") and not _is_target(text):
                raise ValueError(f"{setting}: {text!r} is not MODULE:NAME, as {example}")
        self._settle_mode()
        self._settle_limits()
        self._refuse_what_never_comes()
        self._settle_bind()
        for name, least, most in RANGES:
            number = getattr(self, name)
            if number is not None and not least <= number <= most:
                raise ValueError(f"{name}: {number} is not between {least} and {most}")
        self._settle_workers()
        self._settle_privileges()
        for name in ("backlog", "max_requests", "max_requests_jitter", "max_failures", "refork_after"):
            if not 0 <= getattr(self, name) <= LARGEST:
                raise ValueError(f"{name}: {getattr(self, name)} is out of range; write 0 or more, at most {LARGEST}")

    def _settle_mode(self) -> None:
        """Fill in what a mode says, and what nobody says.

        :raises ValueError: a setting contradicts the mode.
        """
        mode = MODES[self.mode] if self.mode else None
        if mode is not None:
            for setting in ("workers", "concurrency"):
                meant, said = getattr(mode, setting), getattr(self, setting)
                if meant is not None and said not in (None, meant):
                    remedy = f"leave one of them out; the modes are {', '.join(MODES)}"
                    raise ValueError(f"mode: {self.mode} means {setting} = {meant}, and {setting} is {said}; {remedy}")
        concurrency = mode.concurrency if mode else self.concurrency or ("thread" if self.threads else None)
        _settle(self, "concurrency", concurrency)
        if mode and mode.workers:
            _settle(self, "workers", mode.workers)
        if self.workers == "auto":
            msgspec.structs.force_setattr(self, "workers", self._count_for_cpus())
        _settle(self, "threads", DEFAULT_THREADS)
        _settle(self, "children", DEFAULT_CHILDREN)

    def _count_for_cpus(self) -> int:
        """``workers = "auto"``, and into ``why_workers`` how it was found."""
        usable = cpus.usable()
        if self.concurrency in (None, "sync"):
            count, formula = math.ceil(2 * usable.amount) + 1, "twice that and one more"
        else:  # a worker's threads share one CPU, and its children bring as many processes as they need
            count, formula = math.ceil(usable.amount), "one for each"
        count = min(count, MOST_WORKERS)
        msgspec.structs.force_setattr(self, "why_workers", f"{count}: {usable.why}, and {formula}")
        return count

    def _settle_workers(self) -> None:
        """Fill in what a pool that sizes itself leaves out, or else the number of workers.

        :raises ValueError: settings contradict each other.
        """
        said = [name for name in SIZING if getattr(self, name) is not None]
        if said and self.workers is not None:
            whose = f"mode = {self.mode}" if self.mode and MODES[self.mode].workers else "the pool is fixed: workers"
            value = getattr(self, said[0])
            raise ValueError(f"{said[0]}: {value} sizes a pool, and {whose} is {self.workers}; leave one of them out")
        if not said:
            _settle(self, "workers", DEFAULT_WORKERS)
            return
        if self.max_workers is None:
            value = getattr(self, said[0])
            raise ValueError(f"{said[0]}: {value} sizes a pool without a bound; give max_workers as well, as 32")
        _settle(self, "min_workers", 1)
        self._settle_spares()
        _settle(self, "worker_idle_timeout", DEFAULT_IDLE)
        if self.min_workers == 0 and not self.bind:
            raise ValueError(
                "min_workers: 0 waits for a client, and nothing tells of one without a bind; give at least 1"
            )

    def _settle_spares(self) -> None:
        """:raises ValueError: bounds contradict each other."""
        assert self.min_workers is not None, "settled just before"
        assert self.max_workers is not None, "a pool is sized only with it"
        _refuse_more(self, "min_workers", "max_workers")
        is_on_demand = self.min_workers == 0
        for name in ("min_spare", "max_spare"):
            if is_on_demand and getattr(self, name):
                why = "keeps workers that min_workers = 0 gives up; leave it out, or give min_workers at least 1"
                raise ValueError(f"{name}: {getattr(self, name)} {why}")
        _settle(self, "min_spare", 0 if is_on_demand else min(DEFAULT_SPARE, self.max_spare or DEFAULT_SPARE))
        assert self.min_spare is not None, "settled just before"
        _settle(self, "max_spare", 0 if is_on_demand else self.min_spare + MORE_SPARE)
        _refuse_more(self, "min_spare", "max_workers")
        _refuse_more(self, "min_spare", "max_spare")

    def _settle_limits(self) -> None:
        """:raises ValueError: a limit that comes too late to be one."""
        if self.timeout:
            _settle(self, "request_hard", Seconds(self.timeout + HARD_AFTER_SOFT))
        if self.timeout and self.request_hard and self.request_hard < self.timeout:
            what = f"{self.request_hard:g} s is less than timeout, which is {self.timeout:g} s"
            raise ValueError(f"request_hard: {what}; make it longer, or leave it out")
        if self.request_slow and self.request_hard and self.request_slow >= self.request_hard:
            what = f"{self.request_slow:g} s is not less than request_hard, which is {self.request_hard:g} s"
            raise ValueError(f"request_slow: {what}; make it shorter, or leave it out")
        if self.idle_timeout and self.idle_timeout > LONGEST_TIMEOUT:
            what = f"{self.idle_timeout:.0f} s is more than a connection can count, which is {LONGEST_TIMEOUT:.0f} s"
            raise ValueError(f"idle_timeout: {what}; make it shorter, or leave it out")
        if 0 < self.memory_hard < self.memory_soft:
            what = f"{self.memory_hard} is less than memory_soft, which is {self.memory_soft}"
            raise ValueError(f"memory_hard: {what}; raise it, or leave it out")

    def _refuse_what_never_comes(self) -> None:
        """:raises ValueError: no worker can serve so many requests, or crashes are to be counted in no time."""
        if 0 < self.max_requests <= self.refork_after:
            what = f"{self.refork_after} is not less than max_requests, which is {self.max_requests}"
            raise ValueError(f"refork_after: {what}; a worker that is worn out is not chosen; lower it")
        if self.emergency_crashes and not self.emergency_window:
            remedy = "write how long it is, as 1m, or leave emergency_crashes out"
            raise ValueError(f"emergency_window: 0 is no time in which crashes could be counted; {remedy}")

    def _settle_privileges(self) -> None:
        """:raises ValueError: a setting makes no sense here, or needs a privilege that we lack."""
        settled = privileges.settle(
            user=self.user,
            group=self.group,
            umask=self.umask,
            chroot=self.chroot,
            rlimits=self.rlimits,
            no_new_privs=self.no_new_privs,
            nice=self.nice,
            cpu_affinity=self.cpu_affinity,
        )
        msgspec.structs.force_setattr(self, "privileges", settled)

    def _settle_bind(self) -> None:
        if self.bind == NO_BIND:
            msgspec.structs.force_setattr(self, "bind", ())
            return
        if NO_BIND[0] in self.bind:
            addresses = ", ".join(bind for bind in self.bind if bind not in NO_BIND)
            raise ValueError(f"bind: none and {addresses}; leave out none, which says that the server needs no address")
        if not self.bind:
            raise ValueError("bind: no address to listen on; give at least one, as tcp://127.0.0.1:9000")
        try:
            refuse_twice(self.addresses)
        except ValueError as error:
            raise ValueError(f"bind: {error}") from None

    @property
    def is_sized(self) -> bool:
        """Whether the pool sizes itself."""
        return self.max_workers is not None and self.min_workers != self.max_workers

    @property
    def limits_memory(self) -> bool:
        """Whether a worker may be too heavy."""
        return bool(self.memory_soft or self.memory_hard)

    @property
    def weighs(self) -> bool:
        """Whether anything depends on what processes weigh."""
        return self.limits_memory or self.memory_budget is not None

    @property
    def bounds(self) -> tuple[int, int]:
        """The least and the most workers; the same twice where the pool is fixed."""
        if self.max_workers is None:
            assert isinstance(self.workers, int), "settled when the record was made"
            return self.workers, self.workers
        assert self.min_workers is not None, "settled when the record was made"
        return self.min_workers, self.max_workers

    @property
    def count(self) -> int:
        """How many workers the service starts with."""
        least, most = self.bounds
        return min(most, max(least, self.min_spare or 0))

    @property
    def spares(self) -> tuple[int, int]:
        """The least and the most idle workers of a pool that sizes itself."""
        return self.min_spare or 0, self.max_spare or 0

    @property
    def at_once(self) -> tuple[int, int]:
        """How many threads, and how many children, a worker may have."""
        assert self.threads is not None
        assert self.children is not None
        return self.threads, self.children

    @property
    def addresses(self) -> tuple[Address, ...]:
        return tuple(parse(bind) for bind in self.bind)


_TARGETS = {
    "target": "myapp.handlers:Echo",
    "handler": "myapp.handlers:Echo",
    "worker_start": "myapp.hooks:connect",
    "worker_stop": "myapp.hooks:disconnect",
    "health": "myapp.hooks:is_well",
}


RANGES = (
    ("workers", 0, MOST_WORKERS),
    ("min_workers", 0, MOST_WORKERS),
    ("max_workers", 1, MOST_WORKERS),
    ("min_spare", 0, MOST_WORKERS),
    ("max_spare", 0, MOST_WORKERS),
    ("memory_budget", 1, LARGEST_SIZE),
    ("max_surge", 1, MOST_SURGE),
    ("threads", 1, MOST_AT_ONCE),
    ("children", 1, MOST_AT_ONCE),
    ("emergency_crashes", 0, MOST_CRASHES),
)


def _refuse_more(service: Service, less: str, more: str) -> None:
    """:raises ValueError: the first setting is greater than the second."""
    if getattr(service, less) > getattr(service, more):
        numbers = f"{getattr(service, less)} is more than {more} = {getattr(service, more)}"
        raise ValueError(f"{less}: {numbers}; lower the one or raise the other")


def _is_target(text: str) -> bool:
    module, colon, name = text.partition(":")
    return bool(colon) and all(part.isidentifier() for part in f"{module}.{name}".split("."))


def _settle(service: Service, setting: str, default: Any) -> None:
    """Give a setting that was left out its value: a record is frozen once it is made."""
    if getattr(service, setting) is None:
        msgspec.structs.force_setattr(service, setting, default)


def refuse_twice(addresses: Iterable[Address]) -> None:
    """:raises ValueError: two of the addresses are the same; port 0 is a new one each time."""
    seen: set[Address] = set()
    for address in addresses:
        if address in seen:
            raise ValueError(f"{address} is given twice; every bind has an address of its own")
        if address.is_unix or address.is_inherited or address.port:
            seen.add(address)
