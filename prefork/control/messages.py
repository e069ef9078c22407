"""What crosses the control socket: records as JSON, one a line, each with the version of the protocol.

An operator asks, the master answers: with any number of ``Heard``, ``Progress``, ``Workers`` and ``Told``, then with
one record that ends the answer. It must not know sockets, nor what the master does with it.
Invariant: ``read_request(encode(request)) == request``, also for replies, and an encoded record holds no line break.
Read next: ``server.py`` and ``client.py``, the two ends; ``docs/control.md``, the same for its users.
"""

import json
from typing import Any

import msgspec

from prefork.address import Address

VERSION = 1  # raised whenever a record changes its meaning; who speaks another is told so
REQUEST_MAX = 4096  # bytes of a request, its line break included


def address_of(name: str, uid: int) -> Address:
    """Where the instance ``name`` of this user is reached by default: an abstract socket, which needs no directory."""
    return Address("unix", path=f"@prefork/{uid}/{name}/control")


class Record(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag=str.lower):
    version: int = VERSION


# requests


class Ping(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who is there?"""


class Status(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is everybody doing?"""


class Reload(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Load configuration and code anew; answered when the new generation serves or is given up.

    :param progress: whether to tell how far it is.
    """

    progress: bool = False


class Stop(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """End; answered by the end of the connection, when the master is gone.

    :param now: kill what is left instead of waiting for it.
    :param progress: whether to tell how far it is.
    """

    now: bool = False
    progress: bool = False


class Upgrade(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Become the version that is installed now, and reload; answered as a reload is.

    :param progress: whether to tell how far it is.
    """

    progress: bool = False


class Refork(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Let a worker that has served much become the mold of the next generation; answered when that serves, or not.

    :param service: empty is the only one.
    :param progress: whether to tell how far it is.
    """

    service: str = ""
    progress: bool = False


class Scale(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Change how many workers a service has: to a number, or by one.

    :param to: wins over ``by`` where both are given.
    """

    service: str
    to: int | None = None
    by: int = 0


class Recycle(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Replace workers that serve, each by a successor that is ready first; answered when they are gone.

    :param who: the slot of one, or else its pid; ``None`` is all of them.
    :param now: what it has under way ends within a moment, its stacks in the log.
    :param progress: whether to tell how far it is.
    """

    service: str
    who: int | None = None
    now: bool = False
    progress: bool = False


class Dump(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a worker is: the stacks of its threads, as the text of the answer.

    :param service: empty is the only one.
    :param who: its slot, or else its pid.
    """

    service: str = ""
    who: int


class Pause(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Accept nobody, and let clients queue; lasts until it is resumed, also beyond a reload."""

    service: str


class Resume(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Accept clients again."""

    service: str


class ReopenLogs(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Open log files anew, in every process."""


class LogLevel(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Change what is logged, in every process, until a restart.

    :param level: ``debug``, ``info``, ``warning`` or ``error``.
    """

    level: str


class Events(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Tell what happens, as it happens, by ``Told`` after ``Told``; answered by the end of the connection.

    :param last: begin with as many that have happened, as far as they are remembered.
    :param follow: or else that is all, answered by ``Done``.
    """

    last: int = 0
    follow: bool = True


Command = Reload | Upgrade | Refork | Stop | Scale | Recycle | Dump | Pause | Resume | ReopenLogs | LogLevel
"""What changes something, or makes somebody do something: not for those who may only look."""
Request = Ping | Status | Events | Command


# replies that another follows


class Heard(Record, frozen=True, kw_only=True):
    """The command is under way; its outcome follows."""


class Progress(Record, frozen=True, kw_only=True):
    """How far it is.

    :param done: of ``total`` workers of one service, where it is a matter of workers.
    """

    text: str
    service: str = ""
    done: int | None = None
    total: int | None = None


class Told(Record, frozen=True, kw_only=True):
    """Something that happened, as the log says it.

    :param at: seconds of Unix time.
    :param level: as of the log.
    :param event: what kind of thing it was, as ``worker-exited``.
    :param service: empty where it concerns the whole instance; ``slot``, ``pid`` and ``generation`` likewise.
    """

    at: float
    level: str
    event: str
    text: str
    service: str = ""
    slot: int | None = None
    pid: int | None = None
    generation: int | None = None


class RequestStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A request under way.

    :param number: in the worker's life.
    :param label: what its handler says it is doing, or empty.
    """

    peer: str
    number: int
    age_seconds: float
    label: str = ""


class MemoryStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker used when it was last weighed.

    :param measure: ``uss``, what it has alone, or ``pss``, its share of what others have as well.
    """

    bytes: int
    measure: str
    ago_seconds: float


class WorkerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One worker.

    :param pid: ``None`` until it is born.
    :param state: ``starting``, ``idle``, ``busy``, ``retiring``, ``expelled`` (for a request beyond the hard limit) or
        ``killed``.
    :param state_seconds: since it is that; busy and idle count as one.
    :param age_seconds: since it became ready; ``None`` before that.
    :param requests: it has served, ``errors`` those of them that raised.
    :param busy_seconds: that all its requests took together, without those under way.
    :param memory: where anything depends on what it weighs, and it was weighed.
    :param why: it retires or was killed.
    """

    slot: int
    pid: int | None
    generation: int
    state: str
    state_seconds: float
    age_seconds: float | None = None
    requests: int = 0
    errors: int = 0
    busy_seconds: float = 0.0
    current: list[RequestStatus] = []
    memory: MemoryStatus | None = None
    why: str = ""


class Workers(Record, frozen=True, kw_only=True):
    """Some workers of a service; more of them may follow."""

    service: str
    workers: list[WorkerStatus]


# replies that end an answer


class Done(Record, frozen=True, kw_only=True):
    text: str = ""


class Pong(Record, frozen=True, kw_only=True):
    """:param package: the version of the master's code."""

    name: str
    pid: int
    package: str


class Refused(Record, frozen=True, kw_only=True):
    """Nothing was done."""

    why: str


class Failed(Record, frozen=True, kw_only=True):
    """It was tried; everything serves on as before."""

    why: str


class Degraded(msgspec.Struct, frozen=True, kw_only=True):
    """Why a service has fewer workers than it should.

    :param failures: in a row.
    :param next_try_seconds: until a replacement is tried.
    """

    why: str
    failures: int
    next_try_seconds: float


class LoadStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How the last attempt to load a generation ended.

    :param generation: ``None`` where it was refused before it had a number.
    :param outcome: ``serves``, ``abandoned`` or ``refused``.
    :param why: in the last two; and of one that serves although it has failed its probation.
    """

    generation: int | None
    outcome: str
    ago_seconds: float
    why: str = ""


class QueueStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Who waits to be accepted at one bind.

    :param waiting: connections, or datagrams.
    :param limit: connections beyond which clients are held off or refused; ``None`` of datagrams.
    :param dropped: UDP datagrams that found no room, ever; ``None`` of anything else.
    :param overflows: attempts to connect by TCP that found no room, ever; clients repeat them, and each counts.
    """

    bind: str
    waiting: int
    limit: int | None = None
    dropped: int | None = None
    overflows: int | None = None


class Recent(msgspec.Struct, frozen=True, kw_only=True):
    """What was served lately.

    :param seconds: how long that is.
    :param busy_seconds: that requests took together, those under way so far.
    :param service_times: how many requests took how long, by the buckets of ``prefork/histogram.py``.
    """

    seconds: float
    requests: int
    errors: int
    busy_seconds: float
    service_times: list[int]


class ProcessStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A process of the instance that is no worker.

    :param kind: ``master``, ``mold`` or ``admin``.
    """

    kind: str
    pid: int
    service: str = ""
    generation: int | None = None


class ServiceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One service.

    :param phase: ``starting``, ``healthy``, ``degraded``, ``reloading``, ``stopping`` or ``failed``.
    :param generation: that serves; 0 until one does. ``coming``: that is being brought in.
    :param probation_seconds: for how long it can still be rolled back; ``None`` where it cannot.
    :param configured: the least and the most workers by the configuration; ``wanted`` by it, operators and the load.
    :param orphaned: dead workers whose children still finish requests.
    :param requests: served since the master started, also by workers that are gone; ``errors``, ``busy_seconds`` and
        ``service_times`` likewise, the last by the buckets of ``prefork/histogram.py``.
    :param recent: of that, what was served in the last minute or so.
    :param at_once: requests that one worker serves at once.
    :param all_busy_seconds: for at least as long no ready worker had room for another request; ``None`` where one has.
    :param is_paused: by an operator: nobody is accepted.
    :param started: workers that became ready since the master started.
    :param ended: how many ended, by the reason.
    :param loads: how many reloads ended how, as ``LoadStatus``.
    :param settings: those that are not as by default, as one would write them.
    """

    name: str
    target: str
    binds: list[str]
    mode: str
    concurrency: str
    phase: str
    generation: int
    coming: int | None
    probation_seconds: float | None = None
    configured: tuple[int, int]
    wanted: int
    starting: int
    ready: int
    retiring: int
    orphaned: int
    busy: int
    idle: int
    requests: int
    errors: int
    degraded: Degraded | None = None
    last_load: LoadStatus | None = None
    failed: str = ""
    queues: list[QueueStatus] = []
    busy_seconds: float = 0.0
    service_times: list[int] = []
    recent: Recent | None = None
    at_once: int = 1
    all_busy_seconds: float | None = None
    is_paused: bool = False
    started: int = 0
    ended: dict[str, int] = {}
    loads: dict[str, int] = {}
    settings: dict[str, str] = {}


class Snapshot(Record, frozen=True, kw_only=True):
    """The instance and its services; the workers came before it.

    :param package: the version of the master's code.
    :param processes: all that are no workers.
    :param admin: where the admin process listens; ``admin_restarts``: how often it had to be started anew.
    """

    name: str
    pid: int
    package: str
    uptime_seconds: float
    services: list[ServiceStatus]
    log_level: str = ""
    processes: list[ProcessStatus] = []
    admin: list[str] = []
    admin_restarts: int = 0


Reply = Heard | Progress | Workers | Told | Done | Pong | Refused | Failed | Snapshot


class ProtocolError(ValueError):
    """What came is no record that this end knows; the text, one line, says what it is instead."""


class _Envelope(msgspec.Struct):
    """What a record of any version has, for ever."""

    kind: str
    version: int


_encoder = msgspec.json.Encoder()
_envelope = msgspec.json.Decoder(_Envelope)
_requests: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Request)
_replies: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Reply)


def encode(record: Request | Reply) -> bytes:
    """One line. What UTF-8 cannot say, as a file name of odd bytes in a traceback, is replaced."""
    try:
        return _encoder.encode(record) + b"\n"
    except UnicodeEncodeError:
        return json.dumps(msgspec.to_builtins(record), ensure_ascii=False).encode(errors="replace") + b"\n"


def read_request(line: bytes) -> Request:
    """:raises ProtocolError: it is no request of this version."""
    request: Request = _read(line, _requests)
    return request


def read_reply(line: bytes) -> Reply:
    """:raises ProtocolError: it is no reply of this version."""
    reply: Reply = _read(line, _replies)
    return reply


def _read(line: bytes, decoder: msgspec.json.Decoder[Any]) -> Any:
    try:
        version = _envelope.decode(line).version
        if version != VERSION:
            remedy = "use the command of the version that runs"
            raise ProtocolError(
                f"the other end speaks version {version} of the protocol, and this one {VERSION}; {remedy}"
            )
        return decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        why = " ".join(str(error).split())
        raise ProtocolError(f"not a record of version {VERSION} of the protocol: {why}") from None
