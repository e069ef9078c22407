"""Templates: files of this package with ``@NAME@`` where a value of the site is filled in, as autoconf writes it.

Nothing else in them means anything to us: ``$host`` of nginx, ``%t`` of systemd and ``{{ $value }}`` of Prometheus
stand as they are. A template has the path of the file it becomes, with ``shop`` where the instance's name is filled in.
It must not know which there are. Invariant: what is filled in has no ``@NAME@`` left.
Read next: ``site.py``, the values; ``kits.py``, the files.
"""

import re
import string
from collections.abc import Mapping
from importlib.resources import files

EXAMPLE_NAME = "shop"  # in the paths of templates
_HOME = files("prefork.init") / "templates"


_PATTERN = r"@(?:(?P<named>[A-Z][A-Z_]*)@|(?P<braced>(?!))|(?P<escaped>(?!))|(?P<invalid>(?!)))"
_NAMES = re.compile(_PATTERN)


class _AtSigns(string.Template):
    flags = re.RegexFlag(0)  # else small letters were names too
    pattern = _PATTERN  # type: ignore[assignment]


def names(kit: str) -> list[str]:
    """Paths of the templates of a kit, ``systemd/shop.service``, in the order in which one reads them."""
    return sorted(f"{kit}/{entry.name}" for entry in (_HOME / kit).iterdir() if entry.is_file())


def render(template: str, values: Mapping[str, str | None]) -> str:
    """The template's text with the values filled in.

    :raises KeyError: it wants one that is not there.
    """
    return fill((_HOME / template).read_text(encoding="utf-8"), values)


def fill(text: str, values: Mapping[str, str | None]) -> str:
    """A line with a value that is ``None`` is left out; one that is only a value may have several lines."""
    return "".join(_fill_line(line, values) for line in text.splitlines(keepends=True))


def _fill_line(line: str, values: Mapping[str, str | None]) -> str:
    wanted = [found["named"] for found in _NAMES.finditer(line)]
    if any(values[name] is None for name in wanted):
        return ""
    return _AtSigns(line).substitute(values)


def fill_words(text: str, values: Mapping[str, str | None]) -> str:
    """Words with one space between them; what there is not takes none."""
    return " ".join(_AtSigns(text).substitute({name: value or "" for name, value in values.items()}).split())


def path(template: str, name: str) -> str:
    """Of the file that a template becomes for the instance ``name``."""
    return re.sub(rf"\b{EXAMPLE_NAME}\b", name, template)


def adopted(text: str, values: Mapping[str, str | None]) -> str:
    """The template of a file written for a site with these values: directives, then words, the longest first."""
    for directive, name in _DIRECTIVES.items():
        text = re.sub(rf"(?m)^{directive}={re.escape(values[name] or '')}(s?)$", rf"{directive}=@{name}@\1", text)
    words = {name: value for name in _WORDS if (value := values[name])}
    for name, value in sorted(words.items(), key=lambda word: -len(word[1])):
        text = re.sub(rf"(?<![\w@.-]){re.escape(value)}(?![\w@])", f"@{name}@", text)
    return text


_WORDS = (
    "NAME",
    "TARGET",
    "PROGRAM",
    "CONFIG",
    "DIRECTORY",
    "LISTEN",
    "UPSTREAM",
    "SOCKET",
    "ADMIN",
    "PORT",
    "ADMIN_PORT",
    "LOG_DIRECTORY",
    "LOG_FILES",
)
_DIRECTIVES = {
    "User": "USER",
    "Group": "GROUP",
    "Requires": "SOCKET_UNITS",
    "After": "AFTER",
    "TimeoutStopSec": "STOP_SECONDS",
    "ProtectHome": "PROTECT_HOME",
}
