"""What can be set: one frozen record an instance, one a service, checked where they are born.

It must not know where a value came from; ``sources.py`` does.
Invariant: a record of these is valid, so nothing behind it checks again.
"""

import difflib
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Literal, get_args

import msgspec

from prefork.address import Address, parse
from prefork.config.units import Seconds, parse_seconds
from prefork.errors import UsageError
from prefork.system.sockets import DEFAULT_BACKLOG

DEFAULT_WORKERS = 4
LARGEST = 2**31 - 1  # what an int of the kernel holds
MOST_WORKERS = 4000
LONGEST_NAME = 60  # bytes; with the uid it must fit into an abstract socket's name
_OURS = ("is_named",)  # fields that no user sets


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """One service: what to run, where, how many. ``docs/configuration.md`` describes each field for its users."""

    target: str
    bind: tuple[str, ...]
    workers: int = DEFAULT_WORKERS
    balance: Literal["warm", "even"] = "warm"
    backlog: int = DEFAULT_BACKLOG
    preload: bool = True
    graceful_timeout: Seconds = Seconds(30.0)
    quick_timeout: Seconds = Seconds(1.0)
    boot_timeout: Seconds = Seconds(60.0)
    request_hard: Seconds | None = None
    max_requests: int = 0
    max_requests_jitter: int = 0
    chdir: str = ""
    pythonpath: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        module, colon, name = self.target.partition(":")
        if not (colon and all(part.isidentifier() for part in (module + "." + name).split("."))):
            raise ValueError(f"target: {self.target!r} is not MODULE:CLASS, as myapp.handlers:Echo")
        if not self.bind:
            raise ValueError("bind: no address to listen on; give at least one, as tcp://127.0.0.1:9000")
        try:
            refuse_twice(self.addresses)
        except ValueError as error:
            raise ValueError(f"bind: {error}") from None
        if not 0 <= self.workers <= MOST_WORKERS:
            raise ValueError(f"workers: {self.workers} is not between 0 and {MOST_WORKERS}")
        for name in ("backlog", "max_requests", "max_requests_jitter"):
            if not 0 <= getattr(self, name) <= LARGEST:
                raise ValueError(f"{name}: {getattr(self, name)} is out of range; write 0 or more, at most {LARGEST}")

    @property
    def addresses(self) -> tuple[Address, ...]:
        return tuple(parse(bind) for bind in self.bind)


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
        if address.is_unix or address.port:
            seen.add(address)


_NOWHERE: Mapping[str, str] = MappingProxyType({})
_EXPECTED: dict[Any, str] = {
    str: "is not text; put it in quotes",
    int: "is not a whole number; write it as 4",
    bool: "is neither true nor false; write true or false",
    tuple[str, ...]: 'is not a list of texts; write it as ["…", "…"]',
}
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
            near = difflib.get_close_matches(name, fields, n=1)
            remedy = f"perhaps {near[0]}" if near else f"there are {', '.join(fields)}"
            raise UsageError(f"{places.get(name, place)}: there is no setting {name}; {remedy}")
    for name, field in fields.items():
        if field.required and name not in raw:
            raise UsageError(f"{place}: {name}: it is not given; write it as {_EXAMPLES[name]}")
    values = {name: _read(name, value, fields[name].type, places.get(name, place)) for name, value in raw.items()}
    try:
        return kind(**values)
    except ValueError as error:
        name = str(error).partition(":")[0]
        raise UsageError(f"{places.get(name, place)}: {error}") from None


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
        expected = _EXPECTED.get(kind) or f"is not one of {', '.join(get_args(kind))}; choose one of them"
        raise UsageError(f"{place}: {name}: {value!r} {expected}") from None
    except ValueError as error:
        raise UsageError(f"{place}: {name}: {error}") from None


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
