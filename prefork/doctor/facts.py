"""Facts: what was read of a machine, of what is to run on it, and of what runs; all that a check knows.

It must not know where a fact was read. Invariant: what could not be read is missing, and asking for it says why.
Read next: ``looking.py``, who reads; ``checks.py``, who judges.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from prefork.address import Address
from prefork.config.instance import Instance
from prefork.control.report import Report
from prefork.rehearsal import Outcome
from prefork.system.grouplimits import Group
from prefork.system.procfs import Limit

_NOTHING: Mapping[str, str] = MappingProxyType({})


class UnknownError(Exception):
    """A check wants a fact that could not be read; the text says why."""


class Wanted(NamedTuple):
    """What one service asks of a machine, by its configuration.

    :param most: workers, and ``surge`` more of them while some are replaced.
    :param at_once: requests that one of them serves; ``concurrency`` how: ``sync``, ``thread`` or ``fork``.
    :param backlog: connections it wants queued.
    :param files: open files that ``rlimits`` allows a worker; ``None`` leaves it as it is.
    :param user: who its workers are; empty is ourselves.
    """

    name: str
    binds: tuple[Address, ...] = ()
    most: int = 4
    surge: int = 1
    concurrency: str = "sync"
    at_once: int = 1
    backlog: int = 2048
    graceful_timeout: float = 30.0
    memory_hard: int = 0
    memory_budget: int = 0
    preload: bool = True
    files: int | None = None
    user: str = ""

    @property
    def highest(self) -> int:
        """Workers there may be at one time."""
        return self.most + self.surge


class Place(NamedTuple):
    """An address that is to be listened at.

    :param of: the service, or ``admin`` or ``control``.
    :param state: ``free``, ``ours`` (the running instance has it), ``taken``, ``forbidden`` (to this user), ``absent``
        (the machine has no such address), ``stale`` (a socket that nobody serves), ``no socket`` (something else is
        there), ``no directory`` or ``given`` (by whoever starts us).
    :param detail: who has it, or what is missing.
    """

    of: str
    address: Address
    state: str
    detail: str = ""


class FilePlace(NamedTuple):
    """A file that is to be written.

    :param of: the setting that names it.
    :param state: ``good``, ``no directory``, ``not writable``, ``held`` or ``odd`` (it holds something else).
    :param detail: who holds it; or what is not writable, the file or its directory.
    :param free: share of the file system that is free, from 0 to 1.
    """

    of: str
    path: str
    state: str
    detail: str = ""
    free: float = 1.0


class Unit(NamedTuple):
    """A service unit of systemd.

    :param shown: its file, or its name.
    :param values: by directive, the last one where it stands several times.
    :param programs_missing: of ``ExecStart=``, those that are not there.
    :param has_user: whether this machine has the user of ``User=``.
    """

    shown: str
    values: Mapping[str, str]
    programs_missing: tuple[str, ...] = ()
    has_user: bool = True


class Running(NamedTuple):
    """A running instance.

    :param limits: of its master, ``worker_limits`` those of one of its workers.
    :param mold_threads: how many threads each mold has, by service and generation.
    :param has_lost_program: whether the program it was started from was replaced or removed.
    :param lost_paths: of its Unix sockets, those that are no longer there, or are somebody else's.
    :param swapped: bytes of its processes that are swapped out.
    """

    report: Report
    limits: Mapping[str, Limit] = MappingProxyType({})
    worker_limits: Mapping[str, Limit] = MappingProxyType({})
    mold_threads: Mapping[str, int] = MappingProxyType({})
    has_lost_program: bool = False
    lost_paths: tuple[str, ...] = ()
    swapped: int = 0
    unit: str = ""

    @property
    def weights(self) -> list[int]:
        """PSS of all its workers that could be read."""
        pids = [worker.pid for workers in self.report.workers.values() for worker in workers if worker.pid is not None]
        found = [self.report.usage[pid].pss for pid in pids if pid in self.report.usage]
        return [weight for weight in found if weight is not None]


class Facts(NamedTuple):
    """See above.

    :param numbers: settings and counters of the kernel, each with the numbers it has.
    :param words: what else the kernel says of itself.
    :param unread: why what is in neither could not be read.
    :param user: who looks, ``is_root`` whether that is root.
    :param limits: of who looks, so of a master that is started from here.
    :param threads_of_user: of all its processes; ``None`` where nothing limits them.
    :param group: limits of the control group of the instance, or of who looks.
    :param packages: versions of what we import, ``None`` of what is not installed.
    :param name_held: whether an instance of the wanted name runs already that is none of ours.
    :param source: of what is to run, for those who take the flags of ``prefork run``: ``-c shop.toml``.
    :param loads: what came of loading each service in a child; empty where that was not wanted.
    """

    numbers: Mapping[str, tuple[float, ...]] = MappingProxyType({})
    words: Mapping[str, str] = _NOTHING
    unread: Mapping[str, str] = _NOTHING
    user: str = "root"
    is_root: bool = True
    limits: Mapping[str, Limit] = MappingProxyType({})
    threads_of_user: int | None = None
    group: Group = Group()
    packages: Mapping[str, str | None] = MappingProxyType({})
    installed: str = ""
    services: tuple[Wanted, ...] = ()
    instance: Instance | None = None
    descriptors: int = 0
    name_held: str = ""
    source: str = ""
    loads: Mapping[str, Outcome] = MappingProxyType({})
    places: tuple[Place, ...] = ()
    files: tuple[FilePlace, ...] = ()
    unit: Unit | None = None
    running: Running | None = None

    def number(self, name: str) -> float:
        """:raises UnknownError: it could not be read."""
        return self.several(name)[0]

    def several(self, name: str) -> tuple[float, ...]:
        """:raises UnknownError: it could not be read."""
        if name not in self.numbers:
            raise UnknownError(self._why(name))
        return self.numbers[name]

    def word(self, name: str) -> str:
        """:raises UnknownError: it could not be read."""
        if name not in self.words:
            raise UnknownError(self._why(name))
        return self.words[name]

    def _why(self, name: str) -> str:
        return f"{name} could not be read: {self.unread.get(name, 'nothing tells it here')}"

    @property
    def streams(self) -> list[Address]:
        return [bind for service in self.services for bind in service.binds if bind.is_stream]

    @property
    def has_tcp(self) -> bool:
        return any(bind.scheme == "tcp" for bind in self.streams)

    @property
    def has_udp(self) -> bool:
        return any(bind.scheme == "udp" for service in self.services for bind in service.binds)

    def limit(self, name: str) -> Limit:
        """Of the master: the one that runs, or else one that is started from here.

        :raises UnknownError: it could not be read.
        """
        limits = self.running.limits if self.running else self.limits
        if name not in limits:
            raise UnknownError(f"the limit of {name.removeprefix('Max ')} could not be read")
        return limits[name]
