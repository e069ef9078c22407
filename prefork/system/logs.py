"""Logs: what a process is told about where its records go, made into the one handler that takes them there.

It must not know who the process is, but signs for it. Plain values, for they cross to molds as JSON.
Invariant: after ``set_up`` the root logger has one handler, and it is ours.
Read next: ``logfile.py`` and ``logsockets.py``, the places; ``logline.py``, the lines.
"""

import logging
from typing import NamedTuple

from prefork.system import stdio
from prefork.system.logfile import FedLogFile, Log, LogFile
from prefork.system.logline import Who

LEVELS = ("debug", "info", "warning", "error")
PLACES = ("stderr", "syslog", "journald")
NO_ACCESS_LOG = "none"
INTO_LOG = "log"


class Logs(NamedTuple):
    """Where the records of a process go.

    :param file: a path; empty where they go to ``to``, one of ``PLACES``. Standard error that is the journal is told by
        the journal's own protocol.
    :param feed: where the file's descriptor is taken from; -1 where this process opens it itself.
    :param form: of lines: ``console`` or ``json``.
    :param syslog: its address; ``facility``: of its records.
    :param access: ``none``, ``log``, or the path of a file with a line a request; ``access_feed`` as ``feed``.
    :param captures: whether what Python code prints becomes records too.
    """

    file: str = ""
    feed: int = -1
    to: str = "stderr"
    level: str = "info"
    form: str = "console"
    syslog: str = ""
    facility: str = "user"
    access: str = NO_ACCESS_LOG
    access_feed: int = -1
    captures: bool = False

    @property
    def feeds(self) -> list[int]:
        """Descriptors that a process needs for it."""
        return [feed for feed in (self.feed, self.access_feed) if feed != -1]

    @property
    def has_access_file(self) -> bool:
        return self.access not in (NO_ACCESS_LOG, INTO_LOG)


def open_log(logs: Logs, fd: int | None = None) -> Log:
    """:param fd: of the file, where it is open already.
    :raises OSError: it cannot be opened, or had. A collector that is not there is no error.
    """
    if logs.file and logs.feed != -1:
        return FedLogFile(logs.file, logs.feed, logs.form)
    if logs.file or (logs.to == "stderr" and not stdio.is_journal(stdio.ERROR)):
        return LogFile(logs.file, fd, logs.form)
    from prefork.system.logsockets import Journal, Syslog  # who logs to a file pays nothing for it

    if logs.to == "syslog":
        return Syslog(logs.syslog, logs.facility, logs.form)
    journal = Journal(logs.form)
    if logs.to == "stderr" and not journal.is_reached:  # it is hidden from us, as in a root of our own
        journal.close()
        return LogFile("", fd, logs.form)
    return journal


def open_access_file(logs: Logs) -> LogFile:
    """The file of its own that the access log has.

    :raises OSError: it cannot be opened, or had.
    """
    if logs.access_feed == -1:
        return LogFile(logs.access, form=logs.form)
    return FedLogFile(logs.access, logs.access_feed, logs.form)


def set_up(logs: Logs, who: Who, fd: int | None = None) -> Log:
    """Send this process' log records where ``logs`` says, each line signed by ``who``.

    :param fd: of the file, where it is open already.
    :raises OSError: it cannot be opened, or had. A collector that is not there is no error.
    """
    handler = open_log(logs, fd)
    handler.sign(who)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logs.level.upper())
    return handler


def number_of(level: str) -> int:
    """Of ``logging``, for one of ``LEVELS``."""
    return logging.getLevelNamesMapping()[level.upper()]


def heed_level(number: int) -> None:
    """Log from ``number`` on; 0 leaves it as it is."""
    root = logging.getLogger()
    if number and root.level != number:
        root.setLevel(number)
