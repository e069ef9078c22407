"""What crosses between master, mold and worker, besides the scoreboard: small named records as JSON.

Over the mold's socket pair one packet is one record; over the notice pipe a record is a line, no longer than PIPE_BUF,
so that it is written whole or not at all. It must not know sockets or pipes.
Invariant: ``decode(encode(record)) == record``, and an encoded record holds no line break.
Read next: ``mold.py``, who hears ``Fork`` and ``Leave``; ``worker.py``, who says ``Born`` and ``Ready``.
"""

import json
import signal
from enum import IntEnum
from typing import Any, NamedTuple, get_args

from prefork.address import Address
from prefork.system.logline import Process, Who
from prefork.system.logs import Logs
from prefork.system.privileges import Privileges

PROTOCOL = 3  # raised whenever a record changes its meaning: a mold of another version refuses to serve
READ_YOUR_ORDERS = signal.SIGURG  # to a worker; ignored by default, so it harms nobody who does not listen yet
DUMP_STACKS = signal.SIGRTMIN + 1  # to a worker: the stacks of all threads into the log, whatever it is stuck in
PIPE_BUF = 4096  # bytes, limits.h
PACKET_MAX = 65536  # bytes of a record on the socket pair
TEXT_MAX = 3000  # characters of a reason on the notice pipe


class OrderCell(IntEnum):
    """The order cell of a slot: what the master wants of the worker in it."""

    SERVE = 0
    RETIRE = 1  # take nothing new, leave when the request is done
    DRAIN = 2  # serve what is queued, close, leave
    PROMOTE = 3  # become the mold of the next generation, or decline and serve on


class StateCell(IntEnum):
    """The state cell of a slot: what its worker is."""

    STARTING = 1
    READY = 2
    RETIRING = 3


# master to mold


class Brief(NamedTuple):
    """The first packet: everything a mold must know. Descriptors are numbers it inherited, -1 where there is none.

    :param handler: of a server class that wants one, else empty.
    :param concurrency: ``sync``, ``thread`` or ``fork``; empty is what the application's class says.
    :param threads: requests at a time in a worker with threads; ``children`` in one that forks.
    :param worker_start: called in each worker before its first request, ``worker_stop`` after its last; or empty.
    :param health: asked in each worker whether it may serve, before it says that it is ready; or empty.
    :param binds: pairs of an address and its listener.
    :param drain: seconds an orphan may use to finish its request.
    :param timeout: seconds a request may take before it is interrupted; 0 is for ever.
    :param keeps_timed_out: whether a worker stays that had such a request.
    :param idle_timeout: the timeout of accepted connections; 0 is none.
    :param summons: where a worker that is told to become a mold finds its pair.
    :param refork_after: the master wants to hear when a worker has served as many requests; 0 is never.
    :param titles: what the process list says of a worker: ``request``, ``state`` or ``none``.
    :param descriptors: the soft limit of open descriptors that workers get.
    """

    protocol: int
    instance: str
    service: str
    generation: int
    target: str
    handler: str = ""
    concurrency: str = ""
    threads: int = 1
    children: int = 1
    worker_start: str = ""
    worker_stop: str = ""
    health: str = ""
    preload: bool = True
    binds: list[tuple[Address, int]] = []  # noqa: RUF012  nobody changes it
    lifeline: int = -1
    notices: int = -1
    scoreboard: int = -1
    lanes: int = 1
    kick: int = -1
    balance: str = "warm"
    drain: float = 0.0
    timeout: float = 0.0
    keeps_timed_out: bool = False
    idle_timeout: float = 0.0
    summons: int = -1
    refork_after: int = 0
    titles: str = "request"
    descriptors: int = -1
    chdir: str = ""
    pythonpath: list[str] = []  # noqa: RUF012  nobody changes it
    logs: Logs = Logs()
    privileges: Privileges = Privileges()

    @property
    def label(self) -> str:
        """``shop/echo``, as titles and log lines name the service."""
        return f"{self.instance}/{self.service}"

    def who(self, process: Process, slot: int = 0) -> Who:
        """As whom a process of this generation signs its log lines."""
        return Who(process, self.instance, self.service, slot, self.generation)


class Fork(NamedTuple):
    slot: int
    order: int
    max_requests: int


class Leave(NamedTuple):
    pass


# mold and newborn worker to master, over the same pair


class Loaded(NamedTuple):
    pass


class Failed(NamedTuple):
    why: str


class NotForked(NamedTuple):
    slot: int
    order: int
    why: str


class Born(NamedTuple):
    slot: int
    order: int
    pid: int


# master to a worker, with the pair of the mold that it would be; and over that pair its answer


class Call(NamedTuple):
    """Become the mold of a generation."""

    slot: int
    order: int
    generation: int


class Declined(NamedTuple):
    """It serves on."""

    why: str


class Promoted(NamedTuple):
    """It has left its slot: from here on it is a mold that loads."""


# worker to master, over the notice pipe


class Ready(NamedTuple):
    slot: int
    order: int


class Broken(NamedTuple):
    slot: int
    order: int
    why: str


class Left(NamedTuple):
    """:param requests: as many as it served in its life.
    :param is_sound: it does not leave for a fault of its own.
    """

    slot: int
    order: int
    requests: int
    why: str
    is_sound: bool = False


class Wake(NamedTuple):
    """Look at the scoreboard."""


class Stop(NamedTuple):
    """A handler told its server to shut down: that is the whole service."""


class LogMoved(NamedTuple):
    """The log, or the access log, is no longer at its path."""


Record = (
    Brief
    | Fork
    | Leave
    | Loaded
    | Failed
    | NotForked
    | Born
    | Call
    | Declined
    | Promoted
    | Ready
    | Broken
    | Left
    | Wake
    | Stop
    | LogMoved
)
_KINDS: dict[str, Any] = {kind.__name__: kind for kind in get_args(Record)}


def encode(record: Record) -> bytes:
    return json.dumps([type(record).__name__, *record]).encode()


def decode(packet: bytes) -> Record:
    """:raises ValueError: it is no record of this version."""
    try:
        kind, *fields = json.loads(packet)
        record: Record = _KINDS[kind](*fields)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not a record of protocol {PROTOCOL}: {packet[:80]!r}") from error
    if isinstance(record, Brief):
        binds = [(Address(*address), fd) for address, fd in record.binds]
        return record._replace(binds=binds, logs=Logs(*record.logs), privileges=Privileges(*record.privileges))
    return record


def protocol_of(packet: bytes) -> int | None:
    """The protocol version of a brief of any version: its second field, for ever."""
    try:
        kind, version, *_ = json.loads(packet)
    except (TypeError, ValueError):
        return None
    return version if kind == "Brief" and isinstance(version, int) else None


def tail(text: str, limit: int = TEXT_MAX) -> str:
    """The end of a text too long to send: of a traceback that is the part that matters."""
    return text if len(text) <= limit else "… " + text[-limit:]
