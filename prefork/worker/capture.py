"""Capture: what Python code prints becomes records of the log, a line each, signed like all others.

Each process writes its own, straight to its log: the master has no part in it, and no logger of the application's is
asked, which may print in turn. Descriptors 1 and 2 name the log file meanwhile, where there is one, so what C code and
programs print lands there too, as it is.
It must not know who prints. Invariant: what was printed and ended by a line break is in the log, also of a process that
then dies.
"""

import io
import logging
import sys
import threading
from typing import Any, Literal

from prefork.system.logfile import Log, LogFile

LONGEST = 8192  # bytes of a line; what is longer becomes several
_LEVELS = {"stdout": logging.INFO, "stderr": logging.WARNING}


class _Printed(io.RawIOBase):
    """What is written here is read as lines.

    :param fd: of the stream that it stands for, for those who ask.
    """

    def __init__(self, stream: Literal["stdout", "stderr"], fd: int, log: Log) -> None:
        self._stream = stream
        self._fd = fd
        self._log = log
        self._begun: dict[int, bytes] = {}  # the line that each thread has begun

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def write(self, data: Any) -> int:
        thread = threading.get_ident()
        written = bytes(data)
        *lines, begun = (self._begun.pop(thread, b"") + written).split(b"\n")
        *parts, rest = _parts(begun)
        if rest:
            self._begun[thread] = rest
        for line in lines:
            for part in _parts(line):
                self._tell(part)
        for part in parts:
            self._tell(part)
        return len(written)

    def forget_lines(self) -> None:
        self._begun.clear()

    def end_lines(self) -> None:
        """Nobody will write any more."""
        while self._begun:
            _, line = self._begun.popitem()
            self._tell(line)

    def _tell(self, line: bytes) -> None:
        text = line.decode(errors="backslashreplace").rstrip()
        if not text:
            return
        level = _LEVELS[self._stream]
        fields = {"name": "prefork.output", "msg": text, "levelno": level, "levelname": logging.getLevelName(level)}
        self._log.handle(logging.makeLogRecord({**fields, "stream": self._stream}))


def _parts(line: bytes) -> list[bytes]:
    """Of at most ``LONGEST`` bytes each, at least one; no character of UTF-8 is in two of them."""
    parts = []
    while len(line) > LONGEST:
        end = next((end for end in range(LONGEST, LONGEST - 4, -1) if line[end] & 0xC0 != 0x80), LONGEST)
        parts.append(line[:end])
        line = line[end:]
    return [*parts, line]


_printed: list[_Printed] = []


def begin(log: Log) -> None:
    """From here on, in this process and in those it forks."""
    streams = {"stdout": 1, "stderr": 2}
    for name, fd in streams.items():
        printed = _Printed(name, fd, log)  # type: ignore[arg-type]  # its keys are those
        _printed.append(printed)
        text = io.TextIOWrapper(printed, encoding="utf-8", errors="backslashreplace", write_through=True)  # type: ignore[type-var]
        setattr(sys, name, text)
    logging.captureWarnings(True)
    if isinstance(log, LogFile) and log.fileno() != 2:
        log.mirror((1, 2))


def forget() -> None:
    """In a newborn: what its parent has begun to print is the parent's."""
    for printed in _printed:
        printed.forget_lines()


def end() -> None:
    """Tell also what was printed without a line break; the process is about to end, or to fork somebody."""
    for printed in _printed:
        printed.end_lines()
