"""The operator's end of the control socket: find the instance, ask it, read what it answers.

It waits, for it serves nobody; but a master that does not even say that it has heard is given up after a limit.
It must not know what is printed.
Invariant: whoever answers is the instance's own user, or root: a stranger who took the address is not believed.
Read next: ``messages.py``; ``prefork/cli``, the commands.
"""

import contextlib
import errno
import os
import pwd
import select
import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

from prefork.address import Address
from prefork.control.messages import (
    Heard,
    Progress,
    ProtocolError,
    Refused,
    Reply,
    Request,
    Snapshot,
    Status,
    Told,
    Workers,
    WorkerStatus,
    address_of,
    encode,
    read_reply,
)
from prefork.control.report import Report
from prefork.errors import CommandError, NoInstanceError, UsageError
from prefork.system import processes, sockets

DEFAULT_TIMEOUT = 10.0  # seconds
_NOBODY = (errno.ECONNREFUSED, errno.ENOENT)
_TOO_LATE = (TimeoutError, BlockingIOError)  # the second is what a socket says that has no time at all
_MORE_FOLLOWS = (Heard, Progress, Workers, Told)


class Place(NamedTuple):
    """Where an instance is reached.

    :param shown: how errors call it.
    :param users: who may be at the other end; ``None`` is anybody.
    :param is_held: whether somebody holds the instance's name, so that it runs.
    """

    address: Address
    shown: str
    users: frozenset[int] | None
    is_held: bool


class Target(NamedTuple):
    """Who is watched or steered.

    :param name: of the instance, or ``control``, the path of its control socket.
    :param service: ``None`` is all.
    :param timeout: seconds for it to show that it hears.
    """

    name: str | None
    control: str | None
    service: str | None
    timeout: float


def find(name: str | None = None, path: str | None = None) -> Place:
    """The instance meant.

    :param name: ``None`` is the only one that runs: of this user, or for root of anybody.
    :param path: of its control socket, where that was configured.
    :raises NoInstanceError: there is none.
    :raises UsageError: there are several.
    """
    own = os.getuid()
    if path is not None:
        users = None if own == 0 else frozenset((own, 0))
        return Place(Address("unix", path=path), path, users, is_held=False)
    found = [(uid, n) for uid, n in sockets.held_names() if own in (uid, 0) and name in (n, None)]
    found = [one for one in found if one[0] == own] if name is not None and (own, name) in found else found
    if len(found) > 1:
        names = ", ".join(f"{n} (user {_user(uid)})" if uid != own else n for uid, n in found)
        remedy = "say which by --name" if name is None else "become one of these users"
        raise UsageError(f"{len(found)} instances run: {names}; {remedy}")
    if not found and name is None:
        raise NoInstanceError(f"no instance runs for user {_user(own)} here; start one with prefork run")
    uid, name = found[0] if found else (own, name or "")
    return Place(address_of(name, uid), name, frozenset((uid, 0)), is_held=bool(found))


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


@contextlib.contextmanager
def connect(place: Place, timeout: float = DEFAULT_TIMEOUT) -> Iterator["Connection"]:
    """:param timeout: seconds for the instance to show that it hears.
    :raises NoInstanceError: nobody is there.
    :raises CommandError: it cannot be reached, or does not answer.
    """
    timeout = min(timeout, sockets.LONGEST_TIMEOUT)
    with socket.socket(socket.AF_UNIX) as connection:
        _connect(connection, place, timeout)
        peer = sockets.peer_of(connection)
        if place.users is not None and peer.uid not in place.users:
            raise CommandError(f"{place.shown}: user {_user(peer.uid)} took its address; nothing was asked")
        connection.settimeout(timeout)
        with contextlib.ExitStack() as open_ones:
            pidfd = processes.open_pidfd(peer.pid) if peer.pid else None  # 0: in a namespace that we do not see
            if pidfd is not None:
                open_ones.callback(os.close, pidfd)
            yield Connection(connection, pidfd, place.shown, timeout)


def _connect(connection: socket.socket, place: Place, timeout: float) -> None:
    # a Unix stream that may not block is refused at once where the queue is full: only the kernel's own limit waits
    seconds = max(timeout, 1e-6)
    limit = struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
    path = place.address.path
    try:
        connection.connect("\0" + path[1:] if place.address.is_abstract else path)
    except BlockingIOError:
        raise _no_answer(place.shown, timeout) from None
    except OSError as error:
        if error.errno not in _NOBODY:
            why = (error.strerror or str(error)).lower()
            raise CommandError(f"{place.shown}: cannot connect to {path}: {why}; be its user, or root") from None
        if place.is_held:
            remedy = "give its path by --control, or use signals"
            raise CommandError(f"{place.shown} runs, but has no control socket under its name; {remedy}") from None
        raise NoInstanceError(f"no instance {place.shown} runs here; {_who_runs()}") from None


def _who_runs() -> str:
    own = os.getuid()
    names = [name for uid, name in sockets.held_names() if own in (uid, 0)]
    return f"there is {', '.join(names)}" if names else "start one with prefork run"


def _no_answer(shown: str, timeout: float) -> CommandError:
    remedy = "its master may be stopped by a signal or a debugger; see ps, or wait longer"
    return CommandError(f"{shown} does not answer within {timeout:g} s; {remedy}")


class ConnectionEnded(CommandError):
    """The instance ended, or dropped us, before it had answered."""


class Connection:
    """See ``connect``.

    :param pidfd: of the master, where it can be seen.
    :ivar has_heard: whether the instance has said that the command is under way.
    """

    def __init__(self, connection: socket.socket, pidfd: int | None, shown: str, timeout: float) -> None:
        self._connection = connection
        self._pidfd = pidfd
        self._shown = shown
        self._timeout = timeout
        self._input = b""
        self.has_heard = False

    def ask(self, request: Request) -> Iterator[Reply]:
        """The replies, as they come; the last one ends the answer. After ``Heard`` they may take their time.

        :raises CommandError: the instance refused, or does not answer.
        :raises ConnectionEnded: it ended before the answer.
        """
        with contextlib.suppress(ConnectionError):  # a refusal may lie here to be read
            self._send(encode(request))
        while True:
            reply = self._read()
            if isinstance(reply, Refused):
                raise CommandError(f"{self._shown}: {reply.why}")
            if isinstance(reply, Heard):
                self.has_heard = True
                self._connection.settimeout(None)
            yield reply
            if not isinstance(reply, _MORE_FOLLOWS):
                self._connection.settimeout(self._timeout)
                return

    def wait_end(self) -> bool:
        """Wait until the other end is gone, and its process with it.

        :returns: whether that is gone, as far as it can be seen.
        """
        self._connection.settimeout(None)
        with contextlib.suppress(ConnectionError):
            while self._connection.recv(65536):
                pass
        return self._pidfd is None or bool(select.select([self._pidfd], [], [], self._timeout)[0])

    def _send(self, line: bytes) -> None:
        try:
            self._connection.sendall(line)
        except _TOO_LATE:
            raise _no_answer(self._shown, self._timeout) from None

    def _read(self) -> Reply:
        while b"\n" not in self._input:
            try:
                chunk = self._connection.recv(65536)
            except _TOO_LATE:
                raise _no_answer(self._shown, self._timeout) from None
            except ConnectionError:
                chunk = b""
            if not chunk:
                raise ConnectionEnded(f"{self._shown}: the instance ended before it had answered")
            self._input += chunk
        line, _, self._input = self._input.partition(b"\n")
        try:
            return read_reply(line)
        except ProtocolError as error:
            raise CommandError(f"{self._shown}: {error}") from None


def ask_status(connection: Connection) -> Report:
    """:raises CommandError: as ``Connection.ask``."""
    workers: dict[str, list[WorkerStatus]] = {}
    for reply in connection.ask(Status()):
        if isinstance(reply, Workers):
            workers.setdefault(reply.service, []).extend(reply.workers)
        elif isinstance(reply, Snapshot):
            return Report(reply, {service.name: workers.get(service.name, []) for service in reply.services})
    raise CommandError("the instance answered something else than its status")
