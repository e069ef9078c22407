"""Where settings come from: defaults, then a TOML file, then the environment, then the command line; later wins.

It must not know what a setting means. Every value carries the place where it was written, for errors and ``check``.
Invariant: everything is read and checked before anything is touched.
"""

import os
import re
from collections.abc import Mapping
from typing import IO, Any, NamedTuple

import msgspec

from prefork.config.instance import LONGEST_NAME, Instance
from prefork.config.service import Service
from prefork.config.settings import advice, convert, convert_service, setting_names
from prefork.errors import UsageError

DEFAULT_FILE = "prefork.toml"
COMMAND_LINE = "command line"
# ours to workers and commands, never read
OUTPUTS = tuple(f"PREFORK_{name}" for name in ("NAME", "SLOT", "GENERATION", "SERVICE", "EVENT", "OUTCOME", "WHY"))
_LARGEST = 2**20  # bytes of a file
_LISTS = ("bind", "pythonpath")  # settings that environment and command line write with commas
_TABLES = ("rlimits",)


class Place(NamedTuple):
    """Where a value may be set: a setting of the instance, or of the service of that name."""

    service: str | None
    setting: str


class Read(NamedTuple):
    """:param origins: where each value that is no default was written."""

    instance: Instance
    origins: Mapping[Place, str]


class Value(NamedTuple):
    value: Any
    origin: str


Layer = dict[Place, Value]


def read(
    config: str | None = None,
    target: str | None = None,
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Read:
    """The instance that all sources together describe.

    :param config: a file's path. Without one ``prefork.toml`` is read if it exists and no target is given.
    :param target: a service of its own, labelled by the last part of its module.
    :param flags: values of the command line by setting; those of a service hold for all services.
    :param environ: ``PREFORK_WORKERS`` holds for all services, ``PREFORK_SERVICE_ECHO_WORKERS`` for one.
    :raises UsageError: naming the place, the setting, the value and the remedy.
    """
    if config is None and target is None and os.path.exists(DEFAULT_FILE):
        config = DEFAULT_FILE
    layer, services = ({}, []) if config is None else _of_file(config)
    label = ""
    if target is not None:
        label = target.partition(":")[0].rpartition(".")[2]
        layer[Place(label, "target")] = Value(target, COMMAND_LINE)
        services += [label] if label not in services else []
    if not services:
        raise UsageError("nothing to run; give a TARGET as mymodule:Handler, or a file with -c")
    layer |= _of_environment(environ or {}, services)
    layer |= _of_command_line(flags or {}, services)
    return _assemble(layer, services, label or _directory(config or ""), config or COMMAND_LINE)


def read_file(path: str) -> Instance:
    """The instance that a ``prefork.toml`` alone describes. See ``read``."""
    return read(config=path).instance


def from_command_line(target: str, service: Mapping[str, Any], instance: Mapping[str, Any]) -> Instance:
    """The instance that a target and flags alone describe. See ``read``."""
    return read(target=target, flags={**service, **instance}).instance


def _assemble(layer: Layer, services: list[str], derived_name: str, fallback: str) -> Read:
    """Check every table, with the place of each value at hand."""
    tables = {}
    for name in services:
        home = fallback if fallback == COMMAND_LINE else f"{fallback}: [service.{name}]"
        values, origins = _of_one(layer, name)
        tables[name] = convert_service(values, home, origins)
    values, origins = _of_one(layer, None)
    name = values.get("name") or derived_name or "prefork"
    instance: Instance = convert({**values, "name": name, "service": tables}, Instance, fallback, origins)
    instance = msgspec.structs.replace(instance, is_named=bool(values.get("name")))
    return Read(instance, {place: value.origin for place, value in layer.items()})


def _of_one(layer: Layer, service: str | None) -> tuple[dict[str, Any], dict[str, str]]:
    """Values and their origins, of one service or of the instance."""
    own = {place.setting: value for place, value in layer.items() if place.service == service}
    return {name: v.value for name, v in own.items()}, {name: v.origin for name, v in own.items()}


# the file


def _of_file(path: str) -> tuple[Layer, list[str]]:
    """What the file says, and the services it names."""
    import tomllib  # a 50th of what it takes to start; who gives a TARGET alone has no file

    try:
        with open(path, "rb") as file:
            text = _beginning(file).decode()
        raw = tomllib.loads(text)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}; give the path of a prefork.toml with -c") from None
    except (ValueError, RecursionError) as error:  # of TOML, or of UTF-8
        raise UsageError(f"{path} is not TOML: {error}") from None
    tables = raw.pop("service", {})
    if not isinstance(tables, dict) or not tables or not all(isinstance(table, dict) for table in tables.values()):
        raise UsageError(f"{path}: service: there is no table of one; write [service.NAME] above its settings")
    lines = _lines(text)
    layer: Layer = {}
    for name, table in tables.items():
        for setting, value in table.items():
            line = lines.get((f"service.{name}", setting))
            layer[Place(name, setting)] = Value(value, f"{_at(path, line)}: [service.{name}]")
    for setting, value in raw.items():
        layer[Place(None, setting)] = Value(value, _at(path, lines.get(("", setting))))
    return layer, list(tables)


def _beginning(file: IO[bytes]) -> bytes:
    """All of it, but not of what has no end, as a device.

    :raises ValueError: it goes on.
    """
    data = file.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise ValueError(f"it has more than {_LARGEST} bytes")
    return data


def _lines(text: str) -> dict[tuple[str, str], int]:
    """The line of each ``key =`` by its table, as far as it is written plainly; tomllib does not tell."""
    lines: dict[tuple[str, str], int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[\s*([^\[\]]+?)\s*\]", line):
            table = header[1].replace('"', "")
        elif key := re.match(r"\s*\"?([\w-]+)\"?\s*=", line):
            lines.setdefault((table, key[1]), number)
    return lines


def _at(path: str, line: int | None) -> str:
    return path if line is None else f"{path}:{line}"


def _directory(path: str) -> str:
    """A name from the directory of the file, as far as its characters may stand in one."""
    directory = os.path.basename(os.path.dirname(os.path.abspath(path)))
    return "".join(c for c in directory if c.isalnum() or c in "-_.")[:LONGEST_NAME]


# the environment


def _of_environment(environ: Mapping[str, str], services: list[str]) -> Layer:
    """What ``PREFORK_…`` variables say; those of one service win over those of all.

    :raises UsageError: a variable of our name sets nothing.
    """
    known = {f"PREFORK_{setting.upper()}": [Place(None, setting)] for setting in setting_names(Instance)}
    for setting in setting_names(Service):
        known[f"PREFORK_{setting.upper()}"] = [Place(name, setting) for name in services]
        for name in services:
            known[f"PREFORK_SERVICE_{_shout(name)}_{setting.upper()}"] = [Place(name, setting)]
    ours = [variable for variable in environ if variable.startswith("PREFORK_") and variable not in OUTPUTS]
    layer: Layer = {}
    for variable in sorted(ours, key=lambda variable: variable.startswith("PREFORK_SERVICE_")):
        if variable not in known:
            remedy = advice(variable, known, otherwise="unset it")
            raise UsageError(f"environment {variable}: there is no such setting; {remedy}")
        for place in known[variable]:
            layer[place] = Value(_from_text(place.setting, environ[variable]), f"environment {variable}")
    return layer


def _shout(name: str) -> str:
    return re.sub(r"\W|-|\.", "_", name).upper()


# the command line


def _of_command_line(flags: Mapping[str, Any], services: list[str]) -> Layer:
    """What flags say; those of a service hold for all."""
    layer: Layer = {}
    for setting, value in flags.items():
        places = [Place(None, setting)] if setting in setting_names(Instance) else [Place(n, setting) for n in services]
        for place in places:
            layer[place] = Value(_from_text(setting, value), COMMAND_LINE)
    return layer


def _from_text(setting: str, value: Any) -> Any:
    """A list is written with commas where there is only text, and so is a table, each with a sign of equality."""
    if setting in _TABLES and isinstance(value, str):
        return dict(part.strip().partition("=")[::2] for part in value.split(",") if part)
    if setting in _LISTS and isinstance(value, str):
        return [part for part in value.split(",") if part]
    return list(value) if isinstance(value, tuple) else value
