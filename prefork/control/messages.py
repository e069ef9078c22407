"""What crosses the control socket: records as JSON, one a line, each with the version of the protocol.

An operator asks, the master answers: with any number of ``Heard``, ``Progress`` and ``Workers``, then with one record
that ends the answer. It must not know sockets, nor what the master does with it.
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


Request = Ping | Status | Reload | Upgrade | Refork | Stop | Scale


# replies that another follows


class Heard(Record, frozen=True, kw_only=True):
    """The command is under way; its outcome follows."""


class Progress(Record, frozen=True, kw_only=True):
    text: str


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


class ServiceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One service.

    :param phase: ``starting``, ``healthy``, ``degraded``, ``reloading``, ``stopping`` or ``failed``.
    :param generation: that serves; 0 until one does. ``coming``: that is being brought in.
    :param probation_seconds: for how long it can still be rolled back; ``None`` where it cannot.
    :param configured: the least and the most workers by the configuration; ``wanted`` by it, operators and the load.
    :param orphaned: dead workers whose children still finish requests.
    :param requests: served since the master started, also by workers that are gone; ``errors`` likewise.
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


class Snapshot(Record, frozen=True, kw_only=True):
    """The instance and its services; the workers came before it.

    :param package: the version of the master's code.
    """

    name: str
    pid: int
    package: str
    uptime_seconds: float
    services: list[ServiceStatus]


Reply = Heard | Progress | Workers | Done | Pong | Refused | Failed | Snapshot


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
