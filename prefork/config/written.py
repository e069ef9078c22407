"""Settings as one would write them, for those who are shown what holds.

It must not know where they came from. Invariant: what is as by default is not shown.
Read next: ``settings.py``; ``units.py``, what durations and sizes are.
"""

import json
from typing import Any

from msgspec.structs import fields

from prefork.config.service import NO_BIND, Service
from prefork.config.settings import setting_names
from prefork.config.units import Command, Seconds

_SHOWN_ELSEWHERE = {"target", "bind", "mode", "concurrency", "workers", "min_workers", "max_workers"}
_NAMES = [name for name in setting_names(Service) if name not in _SHOWN_ELSEWHERE]
_DEFAULTS = {
    f.name: getattr(service, f.name) for service in [Service(target="a:b", bind=NO_BIND)] for f in fields(service)
}


def settings_of(service: Service) -> dict[str, str]:
    """Those that are not as by default, but for what says what runs where, how, and how many."""
    values = ((name, getattr(service, name)) for name in _NAMES)
    return {name: written(value) for name, value in values if value != _DEFAULTS[name]}


def written(value: Any) -> str:
    """One value, with its unit."""
    match value:
        case bool():
            return str(value).lower()
        case Seconds():
            return f"{value:g}s"
        case dict():
            return ", ".join(f"{name}={part}" for name, part in value.items())
        case tuple():
            return " ".join(value)
    return str(value)


def as_toml(value: Any) -> str:
    """One value, as a ``prefork.toml`` has it. Texts are quoted alike in TOML and JSON."""
    match value:
        case bool():
            return written(value)
        case Seconds():
            return as_toml(written(value))
        case Command():
            return as_toml(str(value))
        case int():
            return str(int(value))
        case dict():
            parts = [f"{name} = {as_toml(part)}" for name, part in value.items()]
            return f"{{ {', '.join(parts)} }}" if parts else "{}"
        case tuple():
            return f"[{', '.join(map(as_toml, value))}]"
    return json.dumps(str(value), ensure_ascii=False)
