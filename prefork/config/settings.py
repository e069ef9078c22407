"""How plain values, as a file, a variable or a flag has them, become the records of ``service.py`` and ``instance.py``.

It must not know where a value came from, only how that place is called.
Invariant: whatever a user writes becomes a valid record, or one line with place, name, value and remedy.
Read next: ``sources.py``, where values come from; ``units.py``, durations, sizes and commands.
"""

import difflib
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Literal, get_args

import msgspec

from prefork.config.service import Service
from prefork.config.units import Bytes, Command, Seconds, parse_bytes, parse_command, parse_seconds
from prefork.errors import UsageError

_OURS = ("is_named", "why_workers", "privileges", "logs")  # fields that no user sets
_NOWHERE: Mapping[str, str] = MappingProxyType({})
_EXPECTED: dict[Any, str] = {
    str: "is not text; put it in quotes",
    int: "is not a whole number; write it as 4",
    int | None: "is not a whole number; write it as 4",
    int | Literal["auto"] | None: 'is not a whole number; write it as 4, or "auto"',
    bool: "is neither true nor false; write true or false",
    dict[str, int | str]: "is not a table of limits; write it as { nofile = 4096, core = 0 }",
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
    remedy = advice(name, known, otherwise=f"there are {', '.join(known)}")
    return UsageError(f"{place}: there is no setting {name}; {remedy}")


def advice(name: str, known: Iterable[str], otherwise: str) -> str:
    """What to try instead of a name that is none: the one that was probably meant."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"perhaps {near[0]}" if near else otherwise


def _read(name: str, value: Any, kind: Any, place: str) -> Any:
    """One value as its field wants it. Text stands for a number or a truth, for so the command line brings them."""
    if kind == dict[str, Service]:
        tables = value if isinstance(value, dict) else {"": value}
        return {key: convert_service(table, f"{place}: [service.{key}]") for key, table in tables.items()}
    try:
        if Seconds in (kind, *get_args(kind)):
            return parse_seconds(value)
        if Bytes in (kind, *get_args(kind)):
            return parse_bytes(value)
        if kind is Command:
            return parse_command(value)
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
