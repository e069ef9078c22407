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


class _AtSigns(string.Template):
    flags = re.RegexFlag(0)  # else small letters were names too
    pattern = r"@(?:(?P<named>[A-Z][A-Z_]*)@|(?P<braced>(?!))|(?P<escaped>(?!))|(?P<invalid>(?!)))"  # type: ignore[assignment]


def names(kit: str) -> list[str]:
    """Paths of the templates of a kit, ``systemd/shop.service``, in the order in which one reads them."""
    return sorted(f"{kit}/{entry.name}" for entry in (_HOME / kit).iterdir() if entry.is_file())


def render(template: str, values: Mapping[str, str]) -> str:
    """The template's text with the values filled in.

    :raises KeyError: it wants one that is not there.
    """
    return fill((_HOME / template).read_text(), values)


def fill(text: str, values: Mapping[str, str]) -> str:
    """A value that stands alone on its line may have several lines, each indented like it, or none."""

    def lines(found: re.Match[str]) -> str:
        return "".join(f"{found[1]}{line}\n" for line in values[found[2]].splitlines())

    return _AtSigns(re.sub(r"(?m)^([ \t]*)@([A-Z][A-Z_]*)@\n", lines, text)).substitute(values)


def path(template: str, name: str) -> str:
    """Of the file that a template becomes for the instance ``name``."""
    return re.sub(rf"\b{EXAMPLE_NAME}\b", name, template)


def adopted(text: str, values: Mapping[str, str]) -> str:
    """The template of a file written for a site with these values: directives, then words, the longest first."""
    for directive, name in _DIRECTIVES.items():
        text = re.sub(rf"(?m)^{directive}={re.escape(values[name])}$", f"{directive}=@{name}@", text)
    words = {name: value for name, value in values.items() if name not in _DIRECTIVES.values()}
    for name, value in sorted(words.items(), key=lambda word: -len(word[1])):
        text = re.sub(rf"(?<![\w@.-]){re.escape(value)}(?![\w@])", f"@{name}@", text)
    return text


# values that are no words of their own: known by the directive of a unit that has them
_DIRECTIVES = {"User": "USER", "Group": "GROUP", "TimeoutStopSec": "STOP_SECONDS", "LimitNOFILE": "DESCRIPTORS"}
