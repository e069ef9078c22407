"""Log lines of many processes into one place: standard error, or a file that all append to.

Each record is one write(2) on a descriptor with O_APPEND, so lines of different processes never mix. Whoever writes
notices when the file was moved away, and tells; opening it anew is not his decision, for others write there too.
It must not know what is logged. Invariant: after ``reopen`` nothing is written to a file that was moved away; what is
said in a signal handler waits for nobody's lock.
Read next: ``logsockets.py``, other places; ``logs.py``, which of them it is.
"""

import logging
import os
from collections.abc import Callable

from prefork.system import logfeed
from prefork.system.logline import Who, formatter


class Log(logging.Handler):
    """Where the records of this process go.

    :param form: of its lines, one of ``logline.FORMATS``.
    """

    def __init__(self, form: str = "console") -> None:
        super().__init__()
        self.form = form

    def sign(self, who: Who) -> None:
        """Sign the lines from now on as ``who``; a process forked from another is somebody else."""
        self.setFormatter(formatter(self.form, who))

    def fileno(self) -> int:
        """Where what cannot be a record is written, the same for ever."""
        return 2

    def reach(self) -> None:
        """Find who collects the records, where somebody does.

        :raises OSError: nobody is there; whoever comes later is found all the same.
        """

    @property
    def sockets(self) -> list[int]:
        """Descriptors of those it sends by, which many processes may share."""
        return []

    @property
    def has_moved(self) -> bool:
        """Whether it should be opened anew, for somebody has moved it away."""
        return False

    def warn(self, name: str, text: str, *args: object, stack: str = "", **extra: object) -> None:
        """Say it here and nowhere else.

        For signal handlers: what they interrupted may hold a lock of one of the application's handlers.

        :param name: of the logger, by whose level it goes.
        :param stack: lines that follow it.
        """
        if logging.getLogger(name).isEnabledFor(logging.WARNING):
            record = logging.LogRecord(name, logging.WARNING, "", 0, text, args, None, sinfo=stack.rstrip() or None)
            record.__dict__.update(extra)
            self.handle(record)

    def reopen(self, teller: "Log | None" = None) -> None:
        """Open it anew, where that means anything.

        :param teller: says so if that fails; itself, where none is given.
        """


class LogFile(Log):
    """Write records to ``path``, or to standard error where it is empty.

    :param fd: where it is open already.
    :raises OSError: the file cannot be opened.
    :ivar when_moved: called before a record is written to a file that is no longer at its path.
    :ivar mirrors: other descriptors that name the file, and go on to the next.
    """

    def __init__(self, path: str = "", fd: int | None = None, form: str = "console") -> None:
        super().__init__(form)
        self._path = path
        self._fd = self._open() if fd is None else fd
        self._identity = _identify(os.fstat(self._fd)) if path else None
        self.when_moved: Callable[[], object] | None = None
        self.mirrors: tuple[int, ...] = ()

    def _open(self) -> int:
        if not self._path:
            return 2
        # a named pipe that nobody reads is ENXIO then, and not a master that waits for a reader
        fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o640)
        os.set_blocking(fd, True)
        return fd

    def fileno(self) -> int:
        return self._fd

    @property
    def has_moved(self) -> bool:
        if not self._path:
            return False
        try:
            return _identify(os.stat(self._path)) != self._identity
        except FileNotFoundError:
            return True
        except OSError:  # it is not for us to see
            return False

    def mirror(self, fds: tuple[int, ...]) -> None:
        """Let these name the file as well, and programs that are started inherit them."""
        self.mirrors = fds
        for fd in fds:
            os.dup2(self._fd, fd)

    def reopen(self, teller: Log | None = None) -> None:
        """Open the path anew; if that fails, say so and go on with what is open."""
        if not self._path:
            return
        try:
            fresh = self._open()
        except OSError as error:
            (teller or self).warn("prefork", "cannot reopen %s: %s; still writing to the old file", self._path, error)
            return
        os.dup2(fresh, self._fd, inheritable=False)
        for fd in self.mirrors:
            os.dup2(fresh, fd)
        self._identity = _identify(os.fstat(fresh))
        os.close(fresh)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if self.when_moved is not None and self.has_moved:
                self.when_moved()
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

    def __init__(self, path: str, feed: int, form: str = "console") -> None:
        self._feed = feed
        super().__init__(path, form=form)

    def _open(self) -> int:
        return logfeed.take(self._feed)


def _identify(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
