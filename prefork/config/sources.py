"""Where settings come from: a TOML file, or the command line.

It must not know what a setting means. Invariant: a file is read whole and checked whole before anything is touched.
"""

import os
import tomllib
from typing import Any

from prefork.config.settings import Instance, Service, convert
from prefork.errors import UsageError


def read_file(path: str) -> Instance:
    """The instance that a ``prefork.toml`` describes.

    :raises UsageError: it cannot be read, is no TOML, or holds a wrong setting.
    """
    try:
        with open(path, "rb") as file:
            raw = tomllib.load(file)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}; give the path of a prefork.toml with -c") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not TOML: {error}") from None
    tables = raw.pop("service", {})
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise UsageError(f"{path}: service is no table of tables; write [service.NAME] above a service's settings")
    services = {key: convert(table, Service, f"{path}: [service.{key}]") for key, table in tables.items()}
    name = raw.get("name") or os.path.basename(os.path.dirname(os.path.abspath(path))) or "prefork"
    return _instance({**raw, "name": name}, services, path, is_named="name" in raw)


def from_command_line(target: str, service: dict[str, Any], instance: dict[str, Any]) -> Instance:
    """The instance with one service that the flags describe, named after its target where no name is given.

    :param service: flags of the service, under the names of its settings.
    :param instance: flags of the instance.
    :raises UsageError: a flag is wrong.
    """
    label = target.partition(":")[0].rpartition(".")[2] or "prefork"
    services = {label: convert({"target": target, **service}, Service, "command line")}
    raw = {**instance, "name": instance.get("name") or label}
    return _instance(raw, services, "command line", is_named=bool(instance.get("name")))


def _instance(raw: dict[str, Any], services: dict[str, Service], place: str, *, is_named: bool) -> Instance:
    instance: Instance = convert({**raw, "service": services, "is_named": is_named}, Instance, place)
    return instance
