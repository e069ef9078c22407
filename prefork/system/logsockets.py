"""Log lines to whoever collects them on this machine or elsewhere: syslog, and journald by its own protocol.

Each record is one datagram on a socket that never waits: what its reader does not take is dropped and counted, and the
count is told with the first record that is taken again. A reader that comes, or comes back, is found by its address.
It must not know what is logged.
Invariant: a collector that is stopped, slow, gone or not there yet holds nobody up, and is no error.
Sources: syslog(3) of glibc, RFC 3164; systemd's "native journal protocol".
"""

import contextlib
import errno
import fcntl
import logging
import os
import socket
import time

from prefork.binds import parse
from prefork.system.logfile import Log
from prefork.system.logline import Line, Who, extras

JOURNAL = "/run/systemd/journal/socket"
_FACILITIES = "kern user mail daemon auth syslog lpr news uucp cron authpriv ftp ntp security console solaris-cron"
# their place is their number, RFC 5424, 6.2.1
FACILITIES = (*_FACILITIES.split(" "), *(f"local{number}" for number in range(8)))
_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec"
_CRITICAL, _ERROR, _WARNING, _INFO, _DEBUG = 2, 3, 4, 6, 7
_CUT = " …".encode()
_LOST = "%d records before this one were lost: nobody took them"


def priority(level: int) -> int:
    """The severity of syslog(3) for a level of ``logging``."""
    steps = ((logging.CRITICAL, _CRITICAL), (logging.ERROR, _ERROR), (logging.WARNING, _WARNING), (logging.INFO, _INFO))
    return next((severity for least, severity in steps if level >= least), _DEBUG)


class _Collector(Log):
    """A socket that takes a record a datagram. It stays the same, whoever reads, so that forks may share it.

    :param where: the address, of ``family``; nothing is resolved, for that could take its time.
    :ivar is_reached: whether somebody was there when it was made.
    """

    def __init__(self, form: str, family: int, where: str | tuple[str, int]) -> None:
        super().__init__(form)
        self._who = Who("master", "prefork")
        self._lost = 0
        self._where = where
        self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.is_reached = False
        with contextlib.suppress(OSError):  # each record looks again
            self.reach()
            self.is_reached = True

    def close(self) -> None:
        self._socket.close()
        super().close()

    def reach(self) -> None:
        self._socket.connect(self._where)

    def sign(self, who: Who) -> None:
        self._who = who
        super().sign(who)

    @property
    def sockets(self) -> list[int]:
        return [self._socket.fileno()]

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if self._lost and self._deliver(_lost(self._lost)):
                self._lost = 0
            if self._lost or not self._deliver(record):
                self._lost += 1
        except Exception:
            self.handleError(record)

    def _deliver(self, record: logging.LogRecord) -> bool:
        """Send it, if need be to who is at the address by now. Whether somebody took it."""
        datagram = self._encode(record)
        for is_again in (False, True):
            try:
                if is_again:
                    self.reach()
                self._send(datagram)
            except BlockingIOError:
                return False
            except OSError:  # ECONNREFUSED, ENOTCONN: it was started anew, is gone, or was not there yet
                continue
            return True
        return False

    def _send(self, datagram: bytes) -> None:
        self._socket.send(datagram)

    def _encode(self, record: logging.LogRecord) -> bytes:
        raise NotImplementedError

    def _text(self, record: logging.LogRecord) -> str:
        """For people it begins with who in the instance says it; JSON says so itself."""
        text = self.format(record)
        return f"{self._who.role}: {text}" if self._who.role and self.form == "console" else text


def _lost(count: int) -> logging.LogRecord:
    record = logging.makeLogRecord({"name": "prefork", "msg": _LOST, "args": (count,), "lost": count})
    record.levelno, record.levelname = logging.WARNING, "WARNING"
    return record


class Syslog(_Collector):
    """syslog(3): ``<14>Nov 21 12:03:00 shop[4711]: echo worker 2 g3: text``.

    :param address: ``unix:/dev/log`` or ``udp://10.0.0.7:514``.
    :param facility: one of ``FACILITIES``.
    """

    def __init__(self, address: str, facility: str, form: str = "console") -> None:
        self._address = parse(address)
        self._facility = FACILITIES.index(facility)
        if self._address.is_unix:
            super().__init__(form, socket.AF_UNIX, self._address.path)
        else:
            family = socket.AF_INET6 if ":" in self._address.host else socket.AF_INET
            super().__init__(form, family, (self._address.host, self._address.port))

    def sign(self, who: Who) -> None:
        super().sign(who)
        if self.form == "console":  # time, level, instance and pid stand in front of it
            self.setFormatter(Line(who, has_head=False))

    def _send(self, datagram: bytes) -> None:
        """What is too long for one, as the stacks of many threads, is cut."""
        while True:
            try:
                super()._send(datagram)
                return
            except OSError as error:
                if error.errno != errno.EMSGSIZE:
                    raise
            datagram = datagram[: len(datagram) // 2] + _CUT

    def _encode(self, record: logging.LogRecord) -> bytes:
        number = self._facility << 3 | priority(record.levelno)
        host = "" if self._address.is_unix else f"{socket.gethostname()} "
        head = f"<{number}>{_moment(record.created)} {host}{self._who.instance}[{record.process}]: "
        return (head + self._text(record)).encode(errors="backslashreplace")


def _moment(seconds: float) -> str:
    """``Nov  1 12:03:00``, of the local clock and in English, RFC 3164, 4.1.2."""
    local = time.localtime(seconds)
    month = _MONTHS.split(" ")[local.tm_mon - 1]
    return f"{month} {local.tm_mday:2} {local.tm_hour:02}:{local.tm_min:02}:{local.tm_sec:02}"


class Journal(_Collector):
    """journald, with what is known as fields of its own: ``PREFORK_SERVICE``, ``PREFORK_SLOT`` and so on."""

    def __init__(self, form: str = "console", path: str = "") -> None:
        super().__init__(form, socket.AF_UNIX, path or JOURNAL)

    def sign(self, who: Who) -> None:
        super().sign(who)
        if self.form == "console":
            self.setFormatter(Line(who, has_head=False))

    def _encode(self, record: logging.LogRecord) -> bytes:
        fields: dict[str, object] = {
            "MESSAGE": self._text(record),
            "PRIORITY": priority(record.levelno),
            "SYSLOG_IDENTIFIER": self._who.instance,
            "LOGGER": record.name,
        }
        known = self._who.fields()
        known |= extras(record, signed=known)
        fields |= {f"PREFORK_{key.upper()}": value for key, value in known.items() if _is_field(key)}
        return b"".join(_field(name, value) for name, value in fields.items())

    def _send(self, datagram: bytes) -> None:
        try:
            self._socket.send(datagram)
        except OSError as error:
            if error.errno not in (errno.EMSGSIZE, errno.ENOBUFS):
                raise
            self._send_by_file(datagram)

    def _send_by_file(self, datagram: bytes) -> None:
        """What is too long for a datagram goes in a sealed file, whose descriptor is the datagram."""
        fd = os.memfd_create("prefork-record", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            with open(fd, "wb", closefd=False) as file:
                file.write(datagram)
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
            socket.send_fds(self._socket, [b""], [fd])
        finally:
            os.close(fd)


def _is_field(key: str) -> bool:
    return key.isascii() and key.isidentifier() and len(key) <= 50  # journald takes names of at most 64


def _field(name: str, value: object) -> bytes:
    data = str(value).encode(errors="backslashreplace")
    if b"\n" in data:
        return b"%b\n%b%b\n" % (name.encode(), len(data).to_bytes(8, "little"), data)
    return b"%b=%b\n" % (name.encode(), data)
