"""What can be set: one frozen record an instance, one a service, checked where they are born.

It must not know where a value came from; ``sources.py`` does.
Invariant: a record of these is valid, so nothing behind it checks again.
"""

from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from prefork.address import Address, parse
from prefork.config.units import Seconds, parse_seconds
from prefork.errors import UsageError
from prefork.system.sockets import DEFAULT_BACKLOG

DEFAULT_WORKERS = 4
MOST_WORKERS = 4000


class Service(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
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
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: {getattr(self, name)} is negative; write 0 or more")

    @property
    def addresses(self) -> tuple[Address, ...]:
        return tuple(parse(bind) for bind in self.bind)


class Instance(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One master and its services.

    :param name: in titles, logs and the exclusive name.
    :param is_named: whether the name was given, so that a second instance of it is refused.
    """

    service: dict[str, Service]
    name: str = ""
    log_file: str = ""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    is_named: bool = False

    def __post_init__(self) -> None:
        if not self.service:
            raise ValueError("service: none is configured; add a [service.NAME] table with a target and a bind")
        for name in (self.name, *self.service):
            if name and not all(c.isalnum() or c in "-_." for c in name):
                raise ValueError(f"name: {name!r} may hold only letters, digits, '-', '_' and '.'")
        refuse_twice([address for service in self.service.values() for address in service.addresses])


def refuse_twice(addresses: Iterable[Address]) -> None:
    """:raises ValueError: two of the addresses are the same; port 0 is a new one each time."""
    seen: set[Address] = set()
    for address in addresses:
        if address in seen:
            raise ValueError(f"{address} is given twice; every bind has an address of its own")
        if address.is_unix or address.port:
            seen.add(address)


def convert(raw: object, kind: type[Any], place: str) -> Any:
    """Check plain values and make a record of them.

    :param place: where the values were written, for the error.
    :raises UsageError: naming the place, the field, the value and the remedy.
    """
    try:
        return msgspec.convert(raw, kind, dec_hook=_read, strict=False)
    except msgspec.ValidationError as error:
        raise UsageError(f"{place}: {_plain(str(error))}") from None


def _read(kind: type[Any], value: Any) -> Any:
    if kind is Seconds:
        return parse_seconds(value)
    raise NotImplementedError


def _plain(text: str) -> str:
    """msgspec's ``Expected `int`, got `str` - at `$.workers` `` as ``workers: expected int, got str``."""
    text, _, path = text.partition(" - at `$")
    path = path.rstrip("`").lstrip(".").removesuffix("[...]")
    text = text.replace("`", "")
    if text.startswith("Object contains unknown field "):
        text = text.replace("Object contains unknown field", "there is no setting")
    if path and not text.startswith(path):
        return f"{path}: {text[0].lower()}{text[1:]}"
    return text
