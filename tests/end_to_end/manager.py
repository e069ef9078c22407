"""A stand-in for the service manager: it starts masters as systemd does, hears what they say, and keeps what they give.

    with Manager(directory) as manager, manager.master(STREAM, "-b", TCP, "-w", "2") as master:
        manager.wait_told("READY=1")

It must not know what is told. Real ones are tried in ``tests/deploy``; this one makes each moment visible.
Invariant: what is kept is passed to the next master that it starts, under the name it was given.
"""

import contextlib
import os
import select
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

from tests.end_to_end.clients import LIMIT
from tests.end_to_end.harness import Master

# what becomes the master, with descriptors from 3 on and the variables that name them
_START = """
import fcntl, os, sys
address, watchdog, names, fds, *command = sys.argv[1:]
given = [int(fd) for fd in fds.split(",") if fd]
fds = [fcntl.fcntl(fd, fcntl.F_DUPFD, 100) for fd in given]
for fd in given:
    os.close(fd)
for number, fd in enumerate(fds, 3):
    os.dup2(fd, number, inheritable=True)
    os.close(fd)
os.environ |= {"NOTIFY_SOCKET": address, "LISTEN_PID": str(os.getpid())}
os.environ |= {"LISTEN_FDS": str(len(fds)), "LISTEN_FDNAMES": names}
os.environ |= {"WATCHDOG_USEC": watchdog} if watchdog else {}
os.execv(command[0], command)
"""


class Message(NamedTuple):
    """What was said at once: a value a variable."""

    variables: dict[str, str]
    fds: tuple[int, ...] = ()


class Manager:
    """:param directory: for its socket.
    :ivar kept: descriptors by name.
    :ivar told: all messages so far that were no matter of keeping.
    """

    def __init__(self, directory: Path) -> None:
        self.address = str(directory / "notify")
        self.kept: dict[str, int] = {}
        self.told: list[dict[str, str]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)
        self._socket.setblocking(False)

    def master(self, *arguments: str, passes: dict[str, int] | None = None, watchdog: float = 0, **how: Any) -> Master:
        """A master with these sockets, and all that was kept.

        :param passes: descriptors of sockets by name.
        :param watchdog: seconds within which it has to show that it lives.
        """
        passed = {**(passes or {}), **self.kept}
        microseconds = str(int(watchdog * 1e6)) if watchdog else ""
        fds = ",".join(map(str, passed.values()))
        prefix: Sequence[str] = (sys.executable, "-c", _START, self.address, microseconds, ":".join(passed), fds)
        return Master(*arguments, prefix=prefix, pass_fds=tuple(passed.values()), **how)

    def hear(self) -> None:
        """All that was said meanwhile."""
        with contextlib.suppress(BlockingIOError):
            while True:
                text, fds, _, _ = socket.recv_fds(self._socket, 65536, 8)
                self._obey(Message(dict(line.split("=", 1) for line in text.decode().split("\n")), tuple(fds)))

    def _obey(self, message: Message) -> None:
        match message.variables:
            case {"FDSTORE": "1", "FDNAME": name}:
                (self.kept[name],) = message.fds
            case {"FDSTOREREMOVE": "1", "FDNAME": name}:
                if name in self.kept:
                    os.close(self.kept.pop(name))
            case variables:
                self.told.append(variables)

    def wait_told(self, assignment: str, count: int = 1) -> dict[str, str]:
        """Wait until ``count`` messages have said so; the last of them."""
        name, _, value = assignment.partition("=")
        deadline = time.monotonic() + LIMIT
        while True:
            self.hear()
            found = [message for message in self.told if message.get(name) == value]
            if len(found) >= count:
                return found[count - 1]
            left = deadline - time.monotonic()
            if left <= 0:
                raise AssertionError(f"waited {LIMIT:g} s for {assignment}, {count} times; told: {self.told}")
            select.select([self._socket], [], [], left)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._socket.close()
        for fd in self.kept.values():
            os.close(fd)
