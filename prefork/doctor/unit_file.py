"""A service unit as systemd would read it: from its file, or from systemd itself, which knows all drop-ins.

It must not know which directives matter, but for those whose names differ between the two.
Sources: systemd.syntax(7); systemctl(1) on ``show``; systemd.unit(5) on where units are.
"""

import os
import pwd
import shlex
import shutil
import subprocess

from prefork.doctor.commands import ADDING
from prefork.doctor.facts import Unit
from prefork.errors import UsageError

_LIMIT = 5.0  # seconds for systemctl
_PLACES = ("/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system")
_AS_SHOWN = {"TimeoutStopUSec": "TimeoutStopSec", "WatchdogUSec": "WatchdogSec", "ExecStart": ""}


def read_unit(named: str) -> Unit:
    """:param named: the path of a unit, or the name of one that is installed.

    :raises UsageError: it is no unit of a service, or cannot be read.
    """
    path = _path(named)
    try:
        with open(path) as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", "") or "it is no text"
        remedy = "give the path of a .service file, or the name of an installed unit"
        raise UsageError(f"--unit: cannot read {path}: {why.lower()}; {remedy}") from None
    values = parse(text)
    if not values:
        raise UsageError(f"--unit: {path} has no [Service]; give the path of a .service file")
    missing = tuple(_missing(values.get("ExecStart", "")))
    return Unit(os.path.abspath(path), values, missing, _has_user(values.get("User", "")))


def _path(named: str) -> str:
    """A file here comes before a unit of that name; what is neither stays as it was named."""
    if os.path.exists(named) or "/" in named:
        return named
    name = named if named.endswith(".service") else f"{named}.service"
    return next((path for place in _PLACES if os.path.exists(path := os.path.join(place, name))), named)


def parse(text: str) -> dict[str, str]:
    """The directives of ``[Service]``: the last one holds, but of lists all do; an empty one forgets those before."""
    values: dict[str, str] = {}
    section = ""
    for line in text.replace("\\\n", " ").splitlines():
        line = line.strip()
        if not line or line[0] in "#;":
            continue
        if line.startswith("["):
            section = line.strip("[]")
        elif section == "Service" and "=" in line:
            name, _, value = (part.strip() for part in line.partition("="))
            values[name] = f"{values.get(name, '')} {value}".strip() if name in ADDING and value else value
    return values


def ask_systemd(unit: str) -> Unit:
    """Of a unit that systemd has loaded.

    :raises OSError: it cannot be asked.
    """
    program = shutil.which("systemctl")
    if program is None:
        raise FileNotFoundError("there is no systemctl here")
    try:
        told = subprocess.run(
            [program, "show", unit], capture_output=True, text=True, timeout=_LIMIT, check=True
        ).stdout
    except subprocess.SubprocessError as error:
        raise OSError(f"systemctl show {unit} fails: {error}") from None
    pairs = (line.partition("=")[::2] for line in told.splitlines())
    values = {_AS_SHOWN.get(name, name): value for name, value in pairs if value}
    values.pop("", None)
    return Unit(unit, values)


def _has_user(name: str) -> bool:
    """Whether there is one of that name; what systemd has to fill in is not known to us."""
    try:
        pwd.getpwnam(name)
    except KeyError:
        return not name or name.isdecimal() or "%" in name
    return True


def _missing(command: str) -> list[str]:
    """The program of a command line, where it has a full path and is not there."""
    try:
        words = shlex.split(command.lstrip("@-:+!|"))
    except ValueError:
        return []
    program = words[0] if words else ""
    return [program] if program.startswith("/") and not os.access(program, os.X_OK) else []
