"""What can be set: one frozen record an instance, one a service, checked where they are born.

It must not know where a value came from; ``sources.py`` does.
Invariant: a record of these is valid, so nothing behind it checks again.
"""

import difflib
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, get_args

import msgspec

from prefork.address import Address, parse
from prefork.config.units import Seconds, parse_seconds
from prefork.errors import UsageError
from prefork.system.sockets import DEFAULT_BACKLOG

DEFAULT_WORKERS = 4
LARGEST = 2**31 - 1  # what an int of the kernel holds
MOST_WORKERS = 4000
DEFAULT_THREADS = 64
HARD_AFTER_SOFT = 5.0  # seconds that an interrupted request has to end, unless request_hard is set
DEFAULT_CHILDREN = 40  # socketserver.ForkingMixIn.max_children
MOST_AT_ONCE = 1000  # requests in one worker
NO_BIND = ("none",)  # the server brings its own work
LONGEST_NAME = 60  # bytes; with the uid it must fit into an abstract socket's name
_OURS = ("is_named",)  # fields that no user sets


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

    ``workers``, ``threads`` and ``children`` are numbers once the record is made, whatever was left out.

    :param concurrency: how a worker handles its requests; ``None`` as the target's class says, by its mix-in.
    """

    target: str
    bind: tuple[str, ...]
    handler: str = ""
    mode: Literal["sync", "thread", "fork", "prefork", "hybrid"] | None = None
    workers: int | None = None
    concurrency: Literal["sync", "thread", "fork"] | None = None
    threads: int | None = None
    children: int | None = None
    balance: Literal["warm", "even"] = "warm"
    backlog: int = DEFAULT_BACKLOG
    preload: bool = True
    graceful_timeout: Seconds = Seconds(30.0)
    quick_timeout: Seconds = Seconds(1.0)
    boot_timeout: Seconds = Seconds(60.0)
    timeout: Seconds | None = None
    on_timeout: Literal["retire", "keep"] = "retire"
    request_slow: Seconds | None = None
    request_hard: Seconds | None = None
    idle_timeout: Seconds | None = None
    keepalive: Seconds | None = None
    max_requests: int = 0
    max_requests_jitter: int = 0
    chdir: str = ""
    pythonpath: tuple[str, ...] = ()
    worker_start: str = ""
    worker_stop: str = ""

    def __post_init__(self) -> None:
        for setting, example in _TARGETS.items():
            text = getattr(self, setting)
            if (text or setting == "target") and not _is_target(text):
                raise ValueError(f"{setting}: {text!r} is not MODULE:NAME, as {example}")
        self._settle_mode()
        self._settle_limits()
        self._settle_bind()
        for name, most in (("workers", MOST_WORKERS), ("threads", MOST_AT_ONCE), ("children", MOST_AT_ONCE)):
            least = 0 if name == "workers" else 1
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name}: {getattr(self, name)} is not between {least} and {most}")
        for name in ("backlog", "max_requests", "max_requests_jitter"):
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
        _settle(self, "workers", mode.workers if mode and mode.workers else DEFAULT_WORKERS)
        _settle(self, "threads", DEFAULT_THREADS)
        _settle(self, "children", DEFAULT_CHILDREN)

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
    def count(self) -> int:
        """How many workers are configured."""
        assert self.workers is not None, "settled when the record was made"
        return self.workers

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
}


def _is_target(text: str) -> bool:
    module, colon, name = text.partition(":")
    return bool(colon) and all(part.isidentifier() for part in f"{module}.{name}".split("."))


def _settle(service: Service, setting: str, default: Any) -> None:
    """Give a setting that was left out its value: a record is frozen once it is made."""
    if getattr(service, setting) is None:
        msgspec.structs.force_setattr(service, setting, default)


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """One master and its services.

    :param name: in titles, logs and the exclusive name.
    :param is_named: whether the name was given, so that a second instance of it is refused.
    """

    service: dict[str, Service]
    name: str = "prefork"
    log_file: str = ""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    is_named: bool = False

    def __post_init__(self) -> None:
        if not self.service:
            raise ValueError("service: none is configured; add a [service.NAME] table with a target and a bind")
        _refuse_odd_name("name", self.name)
        for name in self.service:
            _refuse_odd_name("service", name)
        try:
            refuse_twice(address for service in self.service.values() for address in service.addresses)
        except ValueError as error:
            raise ValueError(f"bind: {error}") from None


def _refuse_odd_name(field: str, name: str) -> None:
    """A name goes into titles, log lines and the name of a socket.

    :raises ValueError: it would not fit there.
    """
    if not name or not all(c.isalnum() or c in "-_." for c in name):
        raise ValueError(f"{field}: {name!r} is no name; use letters, digits, '-', '_' and '.'")
    if len(name.encode()) > LONGEST_NAME:
        raise ValueError(f"{field}: {name!r} is too long; write a shorter one, of at most {LONGEST_NAME} bytes")


def refuse_twice(addresses: Iterable[Address]) -> None:
    """:raises ValueError: two of the addresses are the same; port 0 is a new one each time."""
    seen: set[Address] = set()
    for address in addresses:
        if address in seen:
            raise ValueError(f"{address} is given twice; every bind has an address of its own")
        if address.is_unix or address.is_inherited or address.port:
            seen.add(address)


_NOWHERE: Mapping[str, str] = MappingProxyType({})
_EXPECTED: dict[Any, str] = {
    str: "is not text; put it in quotes",
    int: "is not a whole number; write it as 4",
    int | None: "is not a whole number; write it as 4",
    bool: "is neither true nor false; write true or false",
    tuple[str, ...]: 'is not a list of texts; write it as ["…", "…"]',
}
_LATER = {"mode": ("select",), "concurrency": ("select",)}
_EXAMPLES = {"target": "myapp.handlers:Echo", "bind": '["tcp://127.0.0.1:9000"]', "service": "[service.NAME]"}


def setting_names(kind: type[Any]) -> list[str]:
    """The settings of a ``Service`` or an ``Instance`` that its users may write, without the tables of services."""
    return [field.name for field in msgspec.structs.fields(kind) if field.name not in ("service", *_OURS)]


def convert(raw: Mapping[str, Any], kind: type[Any], place: str, places: Mapping[str, str] = _NOWHERE) -> Any:
    """Check plain values and make a record of them.

    :param kind: ``Service`` or ``Instance``.
    :param place: where the values were written, for the error.
    :param places: the same for single settings, where it is known more exactly.
    :raises UsageError: naming the place, the field, the value and the remedy.
    """
    fields = {field.name: field for field in msgspec.structs.fields(kind) if field.name not in _OURS}
    for name in raw:
        if name not in fields:
            raise no_setting(name, fields, places.get(name, place))
    for name, field in fields.items():
        if field.required and name not in raw:
            raise UsageError(f"{place}: {name}: it is not given; write it as {_EXAMPLES[name]}")
    values = {name: _read(name, value, fields[name].type, places.get(name, place)) for name, value in raw.items()}
    try:
        return kind(**values)
    except ValueError as error:
        name = str(error).partition(":")[0]
        raise UsageError(f"{places.get(name, place)}: {error}") from None


def no_setting(name: str, known: Iterable[str], place: str) -> UsageError:
    """The error for a setting that is none, with the one that was probably meant."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    remedy = f"perhaps {near[0]}" if near else f"there are {', '.join(known)}"
    return UsageError(f"{place}: there is no setting {name}; {remedy}")


def _read(name: str, value: Any, kind: Any, place: str) -> Any:
    """One value as its field wants it. Text stands for a number or a truth, for so the command line brings them."""
    if kind == dict[str, Service]:
        tables = value if isinstance(value, dict) else {"": value}
        return {key: convert_service(table, f"{place}: [service.{key}]") for key, table in tables.items()}
    try:
        if Seconds in (kind, *get_args(kind)):
            return parse_seconds(value)
        return msgspec.convert(value, kind, strict=not isinstance(value, str))
    except msgspec.ValidationError:
        if value in _LATER.get(name, ()):
            raise UsageError(f"{place}: {name}: {value!r} is not in this version; leave it out") from None
        expected = _EXPECTED.get(kind) or f"is not one of {', '.join(_choices(kind))}; choose one of them"
        raise UsageError(f"{place}: {name}: {value!r} {expected}") from None
    except ValueError as error:
        raise UsageError(f"{place}: {name}: {error}") from None


def _choices(kind: Any) -> tuple[str, ...]:
    """What a ``Literal``, or one that may be left out, allows."""
    literal = next((part for part in get_args(kind) if get_args(part)), kind)
    return get_args(literal)


def convert_service(table: Any, place: str, places: Mapping[str, str] = _NOWHERE) -> Service:
    """The service of a ``[service.NAME]`` table.

    :raises UsageError: as ``convert``.
    """
    if isinstance(table, Service):
        return table
    if not isinstance(table, dict):
        raise UsageError(f"{place}: {table!r} is no table; write [service.NAME] above a service's settings")
    service: Service = convert(table, Service, place, places)
    return service
