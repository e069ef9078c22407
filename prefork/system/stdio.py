"""Standard input, output and error: they may be closed, full, or gone, and nothing may fail for it but what is printed.

It must not know what is printed. Invariant: numbers 0 to 2 never name anything else of ours.
"""

import contextlib
import io
import os
import select
import sys
from typing import Any

from prefork.errors import OutputError

OUTPUT, ERROR = 1, 2


def hold_numbers() -> None:
    """Open the null device under those of 0, 1 and 2 that are closed, so that no socket or pipe becomes one of them."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(fd)


def guard() -> None:
    """Let what cannot be printed be one error that says so, and what standard error does not take be dropped.

    What a terminal has no letter for is printed as its number. Streams that somebody has put in their place are his.
    """
    if sys.stdout is sys.__stdout__:
        sys.stdout = _text(_Output(OUTPUT, "w", closefd=False), sys.stdout)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _text(_Stream(ERROR, "w", closefd=False), sys.stderr)


def _text(raw: "_Stream", before: Any) -> io.TextIOWrapper:
    """:param before: the stream it stands for; ``None`` if that was closed when we began."""
    encoding = "utf-8" if before is None else before.encoding
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, errors="backslashreplace", line_buffering=True)


class _Stream(io.FileIO):
    """Fails once, and takes everything from then on: buffers are written again when we end."""

    _has_failed = False

    def write(self, data: Any) -> int:
        if self._has_failed:
            return len(data)
        try:
            while (count := super().write(data)) is None:  # somebody who holds it too has made it non-blocking
                select.select((), (self,), ())
        except OSError as error:
            self._has_failed = True
            self._tell(error)
            return len(data)
        return count

    def _tell(self, error: OSError) -> None:
        """Of standard error there is nowhere left to say it; the exit code does."""


class _Output(_Stream):
    def _tell(self, error: OSError) -> None:
        if isinstance(error, BrokenPipeError):  # its reader has read enough, which is no failure
            raise error
        why = (error.strerror or str(error)).lower()
        remedy = "make room there, or send it elsewhere; what was done stays done"
        raise OutputError(f"standard output: nothing can be written to it: {why}; {remedy}") from None


def is_journal(fd: int) -> bool:
    """Whether journald reads what is written to ``fd``; who knows its own protocol should speak that, systemd.exec(5).

    The variable alone says nothing: what it tells of may have been replaced since.
    """
    try:
        status = os.fstat(fd)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def flush() -> None:
    """Write out what was printed, as far as somebody takes it; before a fork, so that nothing is printed twice."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OutputError, OSError, ValueError):  # None, full, gone, closed
            stream.flush()
