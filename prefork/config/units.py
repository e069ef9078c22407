"""Durations, sizes and commands as people write them: ``"30s"``, ``1.5``; ``"256MiB"``, ``65536``; ``"touch a"``.

Invariant: a number that is read here is not negative, and one that the kernel can count; a command names a program
that is there.
"""

import os
import re
import shlex

_SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
LONGEST = 100 * 365.25 * 86400  # seconds; a timer of the kernel holds 292 years of nanoseconds
_REMEDY = "write it as 30s, 250ms, 2m or a number of seconds"
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
LARGEST_SIZE = 2**63 - 1  # what a loff_t of the kernel holds


class Seconds(float):
    """A duration. A bare number is seconds."""


def parse_seconds(value: object) -> Seconds:
    """:raises ValueError: it is no duration."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|)", str(value).strip())
    if match is None or isinstance(value, bool):
        raise ValueError(f"{value!r} is no duration; {_REMEDY}")
    seconds = float(match[1]) * _SECONDS[match[2]]
    if seconds > LONGEST:
        raise ValueError(f"{value!r} is longer than a hundred years; {_REMEDY}")
    return Seconds(seconds)


class Bytes(int):
    """A size. A bare number is bytes."""

    def __str__(self) -> str:
        for letter, power in zip("TGMK", (4, 3, 2, 1), strict=True):
            if self and self % 1024**power == 0:
                return f"{self // 1024**power}{letter}iB"
        return super().__repr__()


def parse_bytes(value: object) -> Bytes:
    """``MiB`` and ``M`` are 1024 times 1024, as for the kernel and systemd; ``MB`` is a thousand thousands.

    :raises ValueError: it is no size.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?b)?", str(value).strip().lower())
    if match is not None and not isinstance(value, bool) and not (match[3] == "ib" and not match[2]):
        size = float(match[1]) * (1000 if match[2] and match[3] == "b" else 1024) ** _POWERS[match[2]]
        if size <= LARGEST_SIZE:
            return Bytes(size)
    raise ValueError(f"{value!r} is no size; write it as 256MiB, 2GiB or a number of bytes")


class Command(tuple[str, ...]):
    """A program, by its full path, and its arguments; empty is none."""

    def __str__(self) -> str:
        return shlex.join(self)


def parse_command(value: object) -> Command:
    """Text is split into words as a shell does, and that is all of a shell there is.

    :raises ValueError: it is no command, or no such program can be run.
    """
    try:
        words = shlex.split(value) if isinstance(value, str) else value
    except ValueError as error:
        raise ValueError(
            f"{value!r} cannot be split into words: {str(error).lower()}; quote it as a shell wants"
        ) from None
    if not isinstance(words, list) or not all(isinstance(word, str) and "\0" not in word for word in words):
        raise ValueError(f'{value!r} is no command; write it as "touch /run/ready", or as a list of its words')
    if not words:
        return Command()
    directories = os.get_exec_path() if "/" not in words[0] else [""]
    paths = [os.path.abspath(os.path.join(directory, words[0])) for directory in directories]
    program = next((path for path in paths if os.path.isfile(path) and os.access(path, os.X_OK)), None)
    if program is None:
        raise ValueError(f"{value!r}: there is no program {words[0]!r} that we may run; give its full path")
    return Command([program, *words[1:]])
