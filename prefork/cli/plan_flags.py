"""What the flags of ``prefork plan`` say, read from how people write it.

It must not know what they are for. Invariant: what is wrong is one line that names the flag and shows the way.
"""

import math
import re

from prefork.config.units import parse_bytes
from prefork.errors import UsageError
from prefork.lab.fleet import Machine

MOST_CPUS = 1_000_000


def read_number(flag: str, text: str) -> float:
    """:raises UsageError: it is none, or below 0; likewise all of these."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise UsageError(f"{flag}: {text!r} is no number of 0 or more")
    return value


def read_percent(flag: str, text: str) -> float:
    """``20%`` is 0.2."""
    if not text.endswith("%"):
        raise UsageError(f"{flag}: {text!r} is no share; write it as 20%")
    return read_number(flag, text[:-1]) / 100


def read_utilisation(text: str) -> float:
    """``0.7`` or ``70%``."""
    value = read_percent("--max-utilisation", text) if text.endswith("%") else read_number("--max-utilisation", text)
    if not 0 < value <= 1:
        raise UsageError(f"--max-utilisation: {text} is not above 0 and at most 1; write it as 0.7")
    return value


def read_rolling(text: str) -> float:
    """Below 1 a share of the machines, else a number of them."""
    if text.endswith("%"):
        value = read_percent("--rolling", text)
        if not 0 < value < 1:
            raise UsageError(f"--rolling: {text} is not between 0% and 100%; write it as 10%")
        return value
    if not re.fullmatch(r"[1-9][0-9]{0,4}", text):
        raise UsageError(f"--rolling: {text!r} is no number of machines; write it as 1 or 10%")
    return float(text)


def read_machine(text: str) -> Machine:
    """A size: its CPUs, its memory, and maybe its price."""
    parts = [part.partition("=") for part in text.split(",")]
    given = {name: value for name, _, value in parts}
    is_twice = len(given) < len(parts)
    try:
        cpus = read_number("cpus", given.pop("cpus"))
        price = read_number("price", given.pop("price")) if "price" in given else None
        machine = Machine(cpus, int(parse_bytes(given.pop("memory"))), price)
    except (KeyError, ValueError, UsageError):
        machine = None
    if machine is None or given or is_twice or not 0 < machine.cpus <= MOST_CPUS:
        raise UsageError(f"--machine: {text!r} is no size; write it as cpus=4,memory=8GiB, and maybe ,price=0.2")
    return machine
