"""Log lines of many processes into one place: standard error, or a file that all append to.

Each record is one write(2) on a descriptor with O_APPEND, so lines of different processes never mix.
It must not know what is logged. Invariant: after ``reopen`` nothing is written to a file that was moved away.
"""

import logging
import os
import time

from prefork.system import logfeed

LEVELS = ("debug", "info", "warning", "error")


class LogFile(logging.Handler):
    """Write records to ``path``, or to standard error where it is empty.

    :param fd: where it is open already.
    :raises OSError: the file cannot be opened.
    """

    def __init__(self, path: str = "", fd: int | None = None) -> None:
        super().__init__()
        self._path = path
        self._fd = self._open() if fd is None else fd

    def _open(self) -> int:
        if not self._path:
            return 2
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def fileno(self) -> int:
        """The descriptor that is written to, the same for ever."""
        return self._fd

    def sign(self, who: str) -> None:
        """Sign the lines from now on as ``who``; a process forked from another is somebody else."""
        self.setFormatter(_Line(who))

    def reopen(self) -> None:
        """Open the path anew; if that fails, say so and go on with what is open."""
        if not self._path:
            return
        try:
            fresh = self._open()
        except OSError as error:
            logging.getLogger("prefork").warning(
                "cannot reopen %s: %s; still writing to the old file", self._path, error
            )
            return
        os.dup2(fresh, self._fd, inheritable=False)
        os.close(fresh)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            os.write(self._fd, (self.format(record) + "\n").encode(errors="backslashreplace"))
        except OSError:
            pass  # a full disk or a reader that left is no reason to fail
        except Exception:  # a record that cannot be formatted: the standard library tells it its own way
            self.handleError(record)


class FedLogFile(LogFile):
    """A log file that somebody else opens for us; see ``logfeed.py``.

    :param path: how it is called.
    :raises OSError: it cannot be had.
    """

    def __init__(self, path: str, feed: int) -> None:
        self._feed = feed
        super().__init__(path)

    def _open(self) -> int:
        return logfeed.take(self._feed)


class _Line(logging.Formatter):
    """``2026-11-21T12:03:00.123Z INFO shop/echo worker 2 [4711] text``."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self, who: str) -> None:
        super().__init__(f"%(asctime)s %(levelname)s {who.replace('%', '%%')} [%(process)d] %(message)s")


def set_up(path: str, level: str, who: str, feed: int = -1, fd: int | None = None) -> LogFile:
    """Send this process' log records to ``path``, each line signed ``who``.

    :param level: one of ``LEVELS``.
    :param feed: where the descriptor of ``path`` is taken from; -1 where this process opens it itself.
    :param fd: where it is open already.
    :raises OSError: it cannot be opened, or had.
    """
    handler = FedLogFile(path, feed) if path and feed != -1 else LogFile(path, fd)
    handler.sign(who)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    return handler
