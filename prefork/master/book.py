"""What one image of the master leaves to the next, as bytes: what it holds, and what it knows.

A line of JSON comes first whose meaning never changes, so that any version can go on from it; behind it the body, which
only the versions can read that mean the same by it. Descriptors are numbers here: it must not know the kernel.
Invariant: ``read(write(header, body)) == (header, body)``, infinite times and settled settings included.
Read next: ``leaving.py``, who writes it; ``resuming.py``, who goes on from it.
"""

import copy
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from msgspec.structs import fields, force_setattr

from prefork.config.instance import Instance
from prefork.config.service import NO_BIND, Service
from prefork.control.messages import Told
from prefork.master.commands import Occasion
from prefork.pool.records import Pool
from prefork.pool.sizing import Window
from prefork.system.timings import Past
from prefork.worker.protocol import PROTOCOL

VARIABLE = "PREFORK_BOOK"  # of the environment, by which the next image finds it: "try 7", "resume 7"
BODY = 2  # raised whenever a field of the body, or of anything in it, changes its meaning


# the header: fields are never changed nor removed, and new ones have defaults


class Listening(msgspec.Struct, frozen=True):
    """A listener.

    :param bind: as configured, ``address`` with the port that the kernel chose.
    :param inode: device and inode of the path that is ours to remove.
    """

    bind: str
    address: str
    fd: int
    inode: tuple[int, int] | None = None


class WorkerHeld(msgspec.Struct, frozen=True):
    slot: int
    order: int
    generation: int
    pid: int
    pidfd: int


class MoldHeld(msgspec.Struct, frozen=True):
    """:param pidfd: -1 where its process has ended."""

    generation: int
    pid: int
    pidfd: int


class ServiceHeld(msgspec.Struct, frozen=True):
    """:param listeners: in the order of the configured binds.
    :param serving: the generation that serves, ``last_generation`` the highest ever given.
    :param scaled: by how many workers operators have changed the configured number.
    :param next_order: higher than the order of any worker.
    """

    listeners: list[Listening]
    kick: int
    workers: list[WorkerHeld]
    molds: list[MoldHeld]
    serving: int
    last_generation: int
    next_order: int
    scaled: int


class ClientHeld(msgspec.Struct, frozen=True):
    """A connection of the control socket.

    :param input: what it has sent and nobody has looked at, of Latin-1.
    :param waits: for the outcome of the upgrade; ``progress``: and to hear how far it is.
    :param follows: what happens.
    """

    fd: int
    input: str
    waits: bool
    progress: bool
    follows: bool = False


class PidFileHeld(msgspec.Struct, frozen=True):
    """:param fd: has the lock."""

    path: str
    fd: int


class RunPid(msgspec.Struct, frozen=True):
    """A command that runs, as far as it must be known to be ended."""

    pid: int
    pidfd: int


class AdminHeld(msgspec.Struct, frozen=True):
    """The admin process, which the next image replaces by its own.

    :param pidfd: -1 where there is none.
    """

    listening: Listening
    restarts: int
    pid: int = 0
    pidfd: int = -1


class Header(msgspec.Struct, frozen=True):
    """:param pid: of the master; a book of another is none of ours.
    :param body: see ``BODY``; ``protocol``: what its molds and workers speak.
    :param name: of the instance, numbered as it is; ``holder`` is the socket that holds it.
    :param lifeline: both ends.
    :param log: where the log goes.
    :param signals: a pipe with the numbers of those that came and were not obeyed yet.
    :param mask: signals that were blocked before all were.
    :param limit: of open descriptors, as the master was started with.
    :param started_at: seconds on the monotonic clock.
    :param descriptors: everything that was handed over, also what only the body tells of.
    """

    pid: int
    package: str
    body: int
    protocol: int
    name: str
    holder: int
    lifeline: tuple[int, int]
    log: int
    signals: int
    mask: list[int]
    limit: int
    started_at: float
    control: Listening | None
    clients: list[ClientHeld]
    descriptors: list[int]
    services: dict[str, ServiceHeld]
    pid_file: PidFileHeld | None = None
    admin: AdminHeld | None = None
    runs: list[RunPid] = []

    @property
    def named(self) -> set[int]:
        """The descriptors that it names itself."""
        held = {self.holder, *self.lifeline, self.log, self.signals, *(client.fd for client in self.clients)}
        held |= {run.pidfd for run in self.runs} | ({self.pid_file.fd} if self.pid_file else set())
        held |= {self.control.fd} if self.control else set()
        held |= {self.admin.listening.fd, self.admin.pidfd} if self.admin else set()
        for service in self.services.values():
            held |= {service.kick, *(listener.fd for listener in service.listeners)}
            held |= {worker.pidfd for worker in service.workers} | {mold.pidfd for mold in service.molds}
        return held

    @property
    def is_of_this_version(self) -> bool:
        return (self.body, self.protocol) == (BODY, PROTOCOL)


# the body


class PipeHeld(msgspec.Struct, frozen=True):
    reader: int
    remainder: bytes


class PairHeld(msgspec.Struct, frozen=True):
    """What only our own versions need to know of a mold."""

    generation: int
    pair: int
    is_loaded: bool
    how: str
    is_closed: bool


class ServiceKnown(msgspec.Struct, frozen=True):
    """What is known of one service.

    :param settings: of the next generation, ``loads`` those each generation was loaded with; see ``plain``.
    :param needed: what its load needed lately, where the pool sizes itself.
    :param foreign: orders of workers of another version, which have a scoreboard of their own.
    """

    pool: Pool
    settings: dict[str, Any]
    loads: dict[int, dict[str, Any]]
    settled: int
    past: Past
    board: int
    lanes: int
    needed: Window
    pipes: list[PipeHeld]
    pairs: list[PairHeld]
    foreign: list[int] = []


class OrderKnown(msgspec.Struct, frozen=True):
    """A command that is wanted; ``settings`` are those of its service then."""

    settings: dict[str, Any]
    occasion: Occasion


class RunHeld(msgspec.Struct, frozen=True):
    """A command that runs, see ``commands.py``."""

    service: str
    order: OrderKnown
    pid: int
    pidfd: int
    reader: int
    remainder: bytes
    lines: int
    deadline: float
    killed_at: float | None
    next: OrderKnown | None


class AccessHeld(msgspec.Struct, frozen=True):
    """:param fd: of the file of the access log, and its ``feed``."""

    fd: int
    feed: tuple[int, int, int]


class Body(msgspec.Struct, frozen=True):
    """:param instance: the settings that services do not have for themselves.
    :param feed: both ends of the log feed, and its count.
    :param access: where the access log has a file of its own.
    :param history: what happened lately, see ``chronicle.py``.
    """

    instance: dict[str, Any]
    services: dict[str, ServiceKnown]
    strangers: int
    has_reopened: bool
    feed: tuple[int, int, int]
    runs: list[RunHeld]
    access: AccessHeld | None = None
    history: list[Told] = []


class UnreadableError(ValueError):
    """It is no book, or its header is not one."""


def write(header: Header, body: Body) -> bytes:
    try:
        text = msgspec.msgpack.encode(body, enc_hook=_plainer)
    except UnicodeEncodeError:  # odd bytes, of a file name in a traceback: no reason not to go on
        text = msgspec.msgpack.encode(_encodable(msgspec.to_builtins(body, builtin_types=(bytes,), enc_hook=_plainer)))
    return msgspec.json.encode(header) + b"\n" + text


def _encodable(value: Any) -> Any:
    """The same with an escape for whatever UTF-8 cannot say."""
    match value:
        case str():
            return value.encode(errors="backslashreplace").decode()
        case dict():
            return {_encodable(key): _encodable(part) for key, part in value.items()}
        case list() | tuple():
            return [_encodable(part) for part in value]
    return value


def read(text: bytes) -> tuple[Header, Body | None]:
    """The header, and the body where this version can read it.

    :raises UnreadableError: it is no book.
    """
    line, _, rest = text.partition(b"\n")
    try:
        header = msgspec.json.decode(line, type=Header)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UnreadableError(f"it is no book of a master: {' '.join(str(error).split())}") from None
    if not header.is_of_this_version:
        return header, None
    try:
        return header, msgspec.msgpack.decode(rest, type=Body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return header, None


# settings: once settled they are never checked or completed again, for that would change them

_Record = TypeVar("_Record", Service, Instance)
_SERVICE = Service(target="like:this", bind=NO_BIND)
_INSTANCE = Instance(service={"like": _SERVICE})


def plain(record: Service | Instance) -> dict[str, Any]:
    """The values of a settled record; of an instance without its services."""
    names = (field.name for field in fields(record) if field.name != "service")
    return {name: msgspec.to_builtins(getattr(record, name), enc_hook=_plainer) for name in names}


def service_of(values: Mapping[str, Any]) -> Service:
    """:raises ValueError: a value is none of this version's."""
    return _record_of(values, _SERVICE)


def instance_of(values: Mapping[str, Any], services: dict[str, Service]) -> Instance:
    """:raises ValueError: a value is none of this version's."""
    instance = _record_of(values, _INSTANCE)
    force_setattr(instance, "service", services)
    return instance


def _record_of(values: Mapping[str, Any], like: _Record) -> _Record:
    """A settled record; what this version adds to it is as in ``like``."""
    record = copy.copy(like)
    for field in fields(like):
        if field.name in values:
            value = msgspec.convert(values[field.name], field.type, dec_hook=_fuller)
            force_setattr(record, field.name, value)
    return record


def _plainer(value: Any) -> Any:
    """Durations and sizes are numbers with a name."""
    for kind in (float, int):
        if isinstance(value, kind):
            return kind(value)
    raise NotImplementedError(f"{type(value).__name__} does not go into a book")


def _fuller(kind: type[Any], value: Any) -> Any:
    return kind(value)
