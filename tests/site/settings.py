"""``docs/settings.md``: every setting, made from the records of ``prefork/config`` and the flags of ``prefork run``.

It must not know what a setting is good for: the flag's own help says it, and ``docs/configuration.md`` at length.
Invariant: a setting without a flag, or a flag whose default is not that of the record, is an error here.
"""

import copy
import types
from collections.abc import Callable, Iterator
from typing import Any, Literal, Union, get_args, get_origin

import click
import msgspec

from prefork.cli.run import run
from prefork.config.instance import Instance
from prefork.config.service import LARGEST, RANGES, Service
from prefork.config.settings import setting_names
from prefork.config.sources import OUTPUTS
from prefork.config.units import Bytes, Command, Seconds, parse_seconds
from prefork.config.written import written
from prefork.errors import UsageError
from prefork.master.opening import refuse_restarts

_KINDS: dict[Any, str] = {
    Seconds: "a duration",
    Bytes: "a size",
    Command: "a command",
    bool: "`true` or `false`",
    tuple[str, ...]: "a list of texts",
    dict[str, int | str]: "a table of limits by name",
}
_BOUNDS = {name: (least, most) for name, least, most in RANGES}
_TEXTS = {"target": "MODULE:NAME"}  # what is no flag
_WORDS = {"target": "What to run."}
_DEFAULTS = {  # where the record has only part of it
    "target": "none: it has to be given",
    "bind": "none: it has to be given",
    "name": "from the target, or the directory of the file",
    "backlog": "2048, or as many as the kernel allows where that is less",
    "max_requests_jitter": "none",
    "max_age_jitter": "none",
}
_OPTIONS = {option.name: option for option in run.params if isinstance(option, click.Option)}
_BEFORE = Instance(service={"a": Service(target="a:b", bind=("tcp://127.0.0.1:9",), memory_soft=Bytes(1))})


def of_instance(_: str) -> str:
    return _sections(Instance, _variable)


def of_services(_: str) -> str:
    return _sections(Service, lambda name: f"{_variable(name)}, `PREFORK_SERVICE_NAME_{name.upper()}`")


def _variable(name: str) -> str:
    variable = f"PREFORK_{name.upper()}"
    return "no variable, for that of its name tells workers where they are" if variable in OUTPUTS else f"`{variable}`"


def default_of(kind: type[Any], name: str) -> Any:
    """What the record has where nothing is said, before anything is settled; a required field has ``None``."""
    field = next(field for field in msgspec.structs.fields(kind) if field.name == name)
    return None if field.required else field.default if field.default is not msgspec.NODEFAULT else {}


def _sections(kind: type[Any], variables: Callable[[str], str]) -> str:
    return "\n\n".join("\n".join(_section(kind, name, variables(name))) for name in setting_names(kind))


def _section(kind: type[Any], name: str, variables: str) -> Iterator[str]:
    text, default = _said(name)
    yield f"### {name}"
    yield ""
    yield text
    yield ""
    yield f"- takes {_takes(kind, name)}; default: {_default(kind, name, default)}"
    yield f"- {_flag(name)}; {variables}"
    yield f"- changes with a {'restart' if _wants_restart(kind, name) else 'reload'}"


def _said(name: str) -> tuple[str, str]:
    """The help of its flag, and the default that this names."""
    option = _OPTIONS.get(name)
    if option is None or option.help is None:
        return _WORDS[name], ""
    text, _, default = option.help.partition("  [default: ")
    return text, default.removesuffix("]")


def _flag(name: str) -> str:
    option = _OPTIONS.get(name)
    if option is None:
        return "the argument of `prefork run`"
    flags = [*option.opts, *option.secondary_opts]
    metavar = "" if option.is_flag or option.is_bool_flag else f" {option.metavar}"
    return f"`{'`, `'.join(flags)}{metavar}`"


def _takes(kind: type[Any], name: str) -> str:
    field = next(field for field in msgspec.structs.fields(kind) if field.name == name)
    parts = get_args(field.type) if get_origin(field.type) in (Union, types.UnionType) else (field.type,)
    said = [_part(part, name) for part in parts if part is not type(None)]
    return " or ".join(said)


def _part(kind: Any, name: str) -> str:
    if kind is int:
        least, most = _BOUNDS.get(name, (-20, 19) if name == "nice" else (0, LARGEST))
        return f"a whole number from {least} to {most}" if most < LARGEST else f"a whole number from {least} on"
    if kind is str:
        option = _OPTIONS.get(name)
        return f"a text: {_TEXTS.get(name) or (option and option.metavar)}"
    if get_origin(kind) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(kind))
    return _KINDS[kind]


def _default(kind: type[Any], name: str, said: str) -> str:
    """What the record has; where that means nothing or no limit, the word of the flag.

    :raises AssertionError: the flag names another.
    """
    if name in _DEFAULTS:
        return _DEFAULTS[name]
    default = default_of(kind, name)
    if isinstance(default, bool):
        return f"`{written(default)}`"
    if not default:
        return said or "nothing"
    is_same = parse_seconds(said) == default if isinstance(default, Seconds) else written(default) in said
    assert is_same, f"{name}: its flag says {said!r}, its record {default!r}"
    return f"`{said}`"


def _wants_restart(kind: type[Any], name: str) -> bool:
    """By asking what a reload refuses."""
    after = copy.copy(_BEFORE)
    if kind is Instance:
        msgspec.structs.force_setattr(after, name, "another")
    else:
        service = copy.copy(_BEFORE.service["a"])
        msgspec.structs.force_setattr(service, name, 3)
        msgspec.structs.force_setattr(after, "service", {"a": service})
    try:
        refuse_restarts(_BEFORE, after)
    except UsageError:
        return True
    return False
