"""Process titles, as ``ps`` shows them (design: ``prefork: worker shop/echo 1 g3 busy 10.0.0.7:51022 #1841``).

A title is set in full where a process changes its part in life, and then merely shown, twice a request: ``show`` stores
it in the memory that the kernel reads the command line from, without a system call.
It must not know what a title says.
Invariant: titles are decoration; where they cannot be set, nothing else changes.
Sources: proc(5) on ``cmdline`` and ``stat``; setproctitle, which moves the environment away from behind the arguments.
"""

import ctypes
import os

try:
    from setproctitle import setproctitle as _set
except ImportError:  # pragma: no cover - it is a dependency, but no reason to fail

    def _set(title: str) -> None:
        pass


PREFIX = b"prefork: "
_NOTHING = memoryview(bytearray())

# A forked child inherits all three with the memory they name, which is at the same address there and its own
_area = _NOTHING  # where titles are, at most so long
_shown = _NOTHING  # the part of it that any title ever covered; the rest is zero
_is_sought = False  # whether somebody looked for the area, with or without success


def set_title(title: str) -> None:
    """Show ``prefork: <title>`` in the process list, and its beginning as the name of the process.

    Call it once before ``os.environ`` is edited.
    """
    global _area, _is_sought
    text = PREFIX + os.fsencode(title)
    _set(os.fsdecode(text))
    if not _is_sought:
        _area, _is_sought = _find_area(text), True
    _store(text)


def show(title: bytes) -> None:
    """Show ``prefork: <title>`` in the list of command lines; the name stays what ``set_title`` made it. 0.1 µs."""
    text = PREFIX + title
    if len(text) <= len(_shown):
        _shown[:] = text.ljust(len(_shown), b"\0")
    elif _area:
        _store(text)
    else:
        _set(os.fsdecode(text))


class Title:
    """A title whose beginning stays: only the rest is stored, and the beginning once.

    :param beginning: of a process that has called ``set_title`` before.
    :param room: bytes for the rest; what is longer is cut.
    """

    def __init__(self, beginning: str, room: int) -> None:
        global _shown
        self._beginning = os.fsencode(beginning)
        start, end = len(PREFIX) + len(self._beginning), len(PREFIX) + len(self._beginning) + room
        self._room = room
        self._rest: memoryview | None = None
        if len(_area) >= end:
            _area[len(PREFIX) : start] = self._beginning
            _shown = _area[: max(end, len(_shown))]
            self._rest = _area[start : len(_shown)]
            self._room = len(self._rest)

    def show(self, rest: bytes) -> None:
        """0.1 µs."""
        if self._rest is None:
            show(self._beginning + rest)
        else:
            self._rest[:] = rest[: self._room].ljust(self._room, b"\0")


def _store(text: bytes) -> None:
    """Store a title of any length, and see that later ones cover it."""
    global _shown
    text = text[: len(_area)]
    _shown = _area[: max(len(text), len(_shown))]
    _shown[:] = text.ljust(len(_shown), b"\0")


def _find_area(text: bytes) -> memoryview:
    """The memory that shows ``text``, which was just set; nothing where that is not certain."""
    try:
        with open("/proc/self/stat", "rb") as file:
            first, end_of_arguments, environment, end = map(int, file.read().rpartition(b")")[2].split()[45:49])
        if environment != end_of_arguments or os.environ.get("SPT_NOENV"):  # the environment stays where it is
            end = end_of_arguments
        size = end - first - 1  # the last byte stays zero
        with open("/proc/self/cmdline", "rb") as file:
            is_here = size > 0 and file.read().rstrip(b"\0") == text[:size]
        return memoryview((ctypes.c_char * size).from_address(first)).cast("B") if is_here else _NOTHING
    except (OSError, ValueError):  # no /proc, or an unknown one
        return _NOTHING
