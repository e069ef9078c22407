"""Notify: what a process tells the service manager that started it, and when it has to.

One datagram a message, ``VARIABLE=value`` a line, to the socket in ``NOTIFY_SOCKET``; descriptors to keep travel with
it. The protocol is that of sd_notify(3), the watchdog's of sd_watchdog_enabled(3). It must not know what is told.
Invariants: nothing here blocks or raises; what the manager has no room for is said later, in its order, and grows no
longer meanwhile; each message is one that systemd reads, whatever it is made of.
Read next: ``prefork/master/manager.py``, who knows what to say; ``activation.py``, the other direction.
"""

import array
import os
import re
import socket
from collections import deque
from collections.abc import MutableMapping
from typing import NamedTuple

_SOCKET = "NOTIFY_SOCKET"
_WATCHDOG = ("WATCHDOG_USEC", "WATCHDOG_PID")
_FLEETING = ("STATUS=", "WATCHDOG=", "EXTEND_TIMEOUT_USEC=")  # the last one counts, whatever was said before
_LONGEST = 2048  # bytes of an assignment: of a message beyond 4096, or with a zero byte, systemd hears not a word
_UNFIT = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")  # line breaks, and what a terminal would obey
_PERIODS = 3  # how often we show a sign of life within the time in which one is due; sd_watchdog_enabled(3) asks for 2


class _Message(NamedTuple):
    lines: tuple[str, ...]
    fds: tuple[int, ...]

    def without(self, beginnings: tuple[str, ...]) -> "_Message":
        return self._replace(lines=tuple(line for line in self.lines if not line.startswith(beginnings)))


class Notifier:
    """The manager's ear.

    :param address: of its socket; one that begins with ``@`` lives in the abstract namespace.
    :param every: seconds from one sign of life to the next; ``None`` where nobody watches.
    :raises OSError: EMFILE, ENFILE.
    """

    def __init__(self, address: str, every: float | None = None) -> None:
        self.every = every
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)
        self._unsaid: deque[_Message] = deque()

    def say(self, *assignments: str, fds: tuple[int, ...] = ()) -> None:
        """Tell it, now or as soon as it has room.

        :param assignments: as ``READY=1``; what cannot stand in one becomes a space, and what is too long is cut.
        :param fds: to be kept; they have to stay open until they were said.
        """
        lines = tuple(_line(assignment) for assignment in assignments)
        outdated = tuple(beginning for beginning in _FLEETING if any(line.startswith(beginning) for line in lines))
        left = (message.without(outdated) for message in self._unsaid)
        self._unsaid = deque([*(message for message in left if message.lines), _Message(lines, fds)])
        self.go_on()

    def forget(self, name: str) -> None:
        """Let it close what it keeps under that name."""
        self.say("FDSTOREREMOVE=1", f"FDNAME={name}")

    def go_on(self) -> None:
        """Say what there was no room for."""
        while self._unsaid:
            try:
                self._send(self._unsaid[0])
            except BlockingIOError:
                return
            except OSError:  # nobody is there, or it takes no such thing: the next message may find it
                pass
            self._unsaid.popleft()

    def _send(self, message: _Message) -> None:
        # not socket.send_fds: it drops the address, Python 3.11 to 3.13
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", message.fds))] if message.fds else []
        self._socket.sendmsg(["\n".join(message.lines).encode()], rights, 0, self._address)

    @property
    def has_more(self) -> bool:
        """Whether something is still unsaid."""
        return bool(self._unsaid)

    def close(self) -> None:
        self._socket.close()


def _line(assignment: str) -> str:
    text = _UNFIT.sub(" ", assignment).encode(errors="backslashreplace")
    return text.decode() if len(text) <= _LONGEST else text[:_LONGEST].decode(errors="ignore") + "…"


def find_manager(environ: MutableMapping[str, str]) -> Notifier | None:
    """Whoever started us and wants to hear of it; ``None`` where nobody does.

    :param environ: loses the variables, so that no program of ours speaks for us.
    """
    address = environ.pop(_SOCKET, "")
    microseconds, pid = (environ.pop(variable, "") for variable in _WATCHDOG)
    if not address.startswith(("/", "@")):  # a virtual machine's host (vsock) is not ours to talk to
        return None
    is_ours = pid in ("", str(os.getpid()))
    is_watched = is_ours and microseconds.isascii() and microseconds.isdecimal() and int(microseconds) > 0
    try:
        return Notifier(address, int(microseconds) / 1e6 / _PERIODS if is_watched else None)
    except OSError:
        return None
