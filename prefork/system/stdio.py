"""Standard input, output and error: they may be closed, full, or gone, and nothing may fail for it.

It must not know what is printed. Invariant: numbers 0 to 2 never name anything else of ours.
"""

import contextlib
import os
import sys

ERROR = 2


def hold_numbers() -> None:
    """Open the null device under those of 0, 1 and 2 that are closed, so that no socket or pipe becomes one of them."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(fd)


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
        with contextlib.suppress(AttributeError, OSError, ValueError):  # None, full or gone, closed
            stream.flush()
