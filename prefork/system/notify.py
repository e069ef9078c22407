"""Notify: what a process tells the service manager that started it, and when it has to.

One datagram a message, ``VARIABLE=value`` a line, to the socket in ``NOTIFY_SOCKET``; descriptors to keep travel with
it. The protocol is that of sd_notify(3), the watchdog's of sd_watchdog_enabled(3). It must not know what is told.
Invariant: nothing here blocks or raises; what the manager has no room for is said later, in its order.
Read next: ``prefork/master/manager.py``, who knows what to say; ``activation.py``, the other direction.
"""

import array
import os
import socket
from collections import deque
from collections.abc import MutableMapping
from typing import NamedTuple

_SOCKET = "NOTIFY_SOCKET"
_WATCHDOG = ("WATCHDOG_USEC", "WATCHDOG_PID")
_PERIODS = 3  # how often we show a sign of life within the time in which one is due; sd_watchdog_enabled(3) asks for 2


class _Message(NamedTuple):
    text: bytes
    fds: tuple[int, ...]


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

        :param assignments: as ``READY=1``; a line break in one becomes a space.
        :param fds: to be kept; they have to stay open until they were said.
        """
        text = "\n".join(" ".join(assignment.splitlines()) for assignment in assignments)
        self._unsaid.append(_Message(text.encode(errors="backslashreplace"), fds))
        self.go_on()

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
        self._socket.sendmsg([message.text], rights, 0, self._address)

    @property
    def has_more(self) -> bool:
        """Whether something is still unsaid."""
        return bool(self._unsaid)

    def close(self) -> None:
        self._socket.close()


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
