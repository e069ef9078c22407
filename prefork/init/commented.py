"""A ``prefork.toml`` with comments: what was chosen is set, what may be of use has its default, commented out.

Defaults come from the records of ``prefork/config``, and what a setting does from the help of its flag.
It must not know where the file goes.
Invariant: the file says what was chosen, and a line without its ``#`` changes nothing.
"""

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from prefork.config.instance import Instance
from prefork.config.service import DEFAULT_WORKERS, MODES, Service
from prefork.config.settings import setting_names
from prefork.config.units import Seconds
from prefork.config.written import as_toml

_INSTANCE = tuple(setting_names(Instance))
_SERVICE = {
    "what is served, and where": ("target", "handler", "bind", "chdir", "pythonpath"),
    "how many requests at a time": (
        "mode",
        "workers",
        "max_workers",
        "min_workers",
        "concurrency",
        "threads",
        "backlog",
    ),
    "what a request may take": ("timeout", "request_slow", "request_hard", "idle_timeout", "keepalive"),
    "how long a worker lives": ("max_requests", "max_requests_jitter", "max_age", "memory_soft", "memory_hard"),
    "start, reload and stop": ("preload", "health", "boot_timeout", "graceful_timeout", "probation", "on_failed"),
    "as whom, and with which limits": ("user", "group", "umask", "rlimits", "no_new_privs"),
}
_WIDTH = 34  # of a setting; what it does stands behind it, or above it, where that would be too wide
_WIDEST = 120
_OPEN = "…"  # there is a default that cannot be written down


class Chosen(NamedTuple):
    """:param settings: what was given, by name, as it was typed.
    :param help: what each setting does, by name; a default in brackets at its end.
    """

    instance: Instance
    settings: Mapping[str, Any]
    help: Mapping[str, str]


def lines(chosen: Chosen, path: str) -> Iterator[str]:
    """Of the file, which will be at ``path``."""
    path = shlex.quote(path)
    label, service = next(iter(chosen.instance.service.items()))
    yield f"# What prefork runs as {chosen.instance.name}, and how."
    yield "#"
    yield f"#     prefork check -c {path}     says what would run, and where each value comes from"
    yield f"#     prefork run -c {path}       runs it"
    yield "#"
    yield "# A setting behind a # has the value shown: take the # away to change it. prefork run --help has more."
    yield ""
    yield from _settings(_INSTANCE, chosen, chosen.instance)
    yield ""
    yield f"[service.{label if label.isascii() else json.dumps(label, ensure_ascii=False)}]"
    shown = {name for names in _SERVICE.values() for name in names}
    others = tuple(name for name in setting_names(Service) if name in chosen.settings and name not in shown)
    for number, (title, names) in enumerate({**_SERVICE, **({"besides": others} if others else {})}.items()):
        yield from ([""] if number else [])
        yield f"# {title}"
        yield from _settings(names, chosen, service)


def _settings(names: tuple[str, ...], chosen: Chosen, record: msgspec.Struct) -> Iterator[str]:
    for name in names:
        if name not in _decided(chosen.settings):
            yield from _setting(name, chosen, record)


def _decided(settings: Mapping[str, Any]) -> set[str]:
    """Settings that another one has made senseless: beside it they are errors."""
    mode = settings.get("mode")
    decided = {"concurrency"} if mode else set()
    if (mode and MODES[mode].workers) or "max_workers" in settings:
        decided |= {"workers"}
    if (mode and MODES[mode].workers) or "workers" in settings:
        decided |= {"max_workers", "min_workers"}
    return decided - set(settings)


def _setting(name: str, chosen: Chosen, record: msgspec.Struct) -> Iterator[str]:
    what, _, default = chosen.help.get(name, "").partition("  [default: ")
    if name in chosen.settings:
        line = f"{name} = {_given(name, chosen.settings[name], record)}"
    elif (written := _default(name, record)) is None:
        line = f"# {name} = {_OPEN}"
        what = f"{what.rstrip('.')}; {default.rstrip(']')}." if default else what
    else:
        line = f"#{name} = {written}"
    if not what:
        yield line
    elif len(beside := f"{line:{_WIDTH}}  # {what}") <= _WIDEST:
        yield beside
    else:
        yield from (f"# {what}", line)


def _given(name: str, typed: Any, record: msgspec.Struct) -> str:
    """As the record has it; or as it was typed, where that depends on the machine."""
    if name == "bind":
        return as_toml(tuple(typed))
    return as_toml(str(typed) if typed == "auto" else getattr(record, name))


def _default(name: str, record: msgspec.Struct) -> str | None:
    """As it is written in the file; ``None`` where that cannot be done, or depends on the machine."""
    field = {field.name: field for field in msgspec.structs.fields(record)}[name]
    if name == "backlog" or field.required:
        return None
    if name == "workers":
        return as_toml(DEFAULT_WORKERS)
    if field.default is None:
        # 0 is never; but a limit may follow from another one that was given
        return as_toml(getattr(record, name) or Seconds(0)) if field.type == Seconds | None else None
    return as_toml(field.default if field.default is not msgspec.NODEFAULT else field.default_factory())
