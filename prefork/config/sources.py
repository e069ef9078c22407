"""Where settings come from: a TOML file, or the command line.

It must not know what a setting means. Invariant: a file is read whole and checked whole before anything is touched.
"""

import os
import tomllib
from typing import Any

import msgspec

from prefork.config.settings import LONGEST_NAME, Instance, Service, convert
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
    except ValueError as error:  # of TOML, or of UTF-8
        raise UsageError(f"{path} is not TOML: {error}") from None
    is_named = bool(raw.get("name", ""))
    directory = os.path.basename(os.path.dirname(os.path.abspath(path)))
    name = raw["name"] if is_named else "".join(c for c in directory if c.isalnum() or c in "-_.")[:LONGEST_NAME]
    return _instance({"service": {}, **raw, "name": name or "prefork"}, path, is_named=is_named)


def from_command_line(target: str, service: dict[str, Any], instance: dict[str, Any]) -> Instance:
    """The instance with one service that the flags describe, named after its target where no name is given.

    :param service: flags of the service, under the names of its settings.
    :param instance: flags of the instance.
    :raises UsageError: a flag is wrong.
    """
    place = "command line"
    checked = convert({"target": target, **service}, Service, place)
    label = target.partition(":")[0].rpartition(".")[2]
    name = instance.get("name", "")
    raw = {**instance, "service": {label: checked}, "name": name or label}
    return _instance(raw, place, is_named=bool(name))


def _instance(raw: dict[str, Any], place: str, *, is_named: bool) -> Instance:
    instance: Instance = convert(raw, Instance, place)
    return msgspec.structs.replace(instance, is_named=is_named)
