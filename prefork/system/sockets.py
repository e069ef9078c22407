"""Listening sockets: opened from an address, never stolen from the living, their paths removed by their owner alone.

It must not know who accepts. Every listener is non-blocking for life, for that flag belongs to all holders of the
socket; nobody sets it, or a timeout, again.
Invariant: a path that another process serves is never replaced, and a path that is not ours is never removed.
Read next: ``draining.py``, how a listener stops admitting without losing what it has.
"""

import contextlib
import errno
import fcntl
import grp
import math
import os
import pwd
import socket
import stat
import struct
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from prefork.address import Address
from prefork.system import unixdiag

LOCK_LIMIT = 2.0  # seconds another starter may hold the directory
_NAMES = "prefork"  # what the abstract names begin with that instances hold
PROBES = 4  # unanswered, after which a connection is dead
LONGEST_TIMEOUT = 2_000_000.0  # seconds, 23 days: poll(2) has milliseconds in an int, and longer ones begin anew
LONGEST_KEEP_ALIVE = 32767  # seconds, tcp(7)
KEEP = -1  # an owner or group that chown(2) leaves alone
_KINDS = {
    "tcp": socket.SOCK_STREAM,
    "udp": socket.SOCK_DGRAM,
    "unix": socket.SOCK_STREAM,
    "unixgram": socket.SOCK_DGRAM,
}


class Listener(NamedTuple):
    """An open bind.

    :param address: as asked for, with the port the kernel chose where it was 0.
    :param socket: bound, listening where it is a stream, non-blocking.
    :param inode: device and inode of a Unix socket's path; ``None`` where there is none.
    """

    address: Address
    socket: socket.socket
    inode: tuple[int, int] | None = None


def kind_of(address: Address) -> int:
    """The type of its socket, socket(2)."""
    return _KINDS[address.scheme]


def highest_backlog() -> int:
    """``net.core.somaxconn``: what the kernel silently cuts a longer backlog to, listen(2)."""
    try:
        with open("/proc/sys/net/core/somaxconn") as file:
            return int(file.read())
    except (OSError, ValueError):
        return socket.SOMAXCONN


DEFAULT_BACKLOG = min(2048, highest_backlog())


def open_listener(address: Address, backlog: int) -> Listener:
    """Open, bind and, for a stream, listen.

    :param backlog: connections the kernel may hold for us, cut to ``highest_backlog()``.
    :raises OSError: EADDRINUSE, EACCES and the other reasons of bind(2); EEXIST for a path that is no socket.
    :raises LookupError: no such user or group.
    """
    if address.is_inherited:
        return inherit(address, address.fd)
    if address.is_unix:
        return _open_unix(address, backlog)
    return _open_inet(address, backlog)


def inherit(address: Address, fd: int) -> Listener:
    """Take over a listener that whoever started us left open.

    :raises OSError: EBADF, ENOTSOCK; EINVAL where it is bound to nothing, or a stream that does not listen.
    """
    listener = socket.socket(fileno=fd)
    try:
        is_bound = listener.family == socket.AF_UNIX or listener.getsockname()[1]
        is_stream = listener.type == socket.SOCK_STREAM
        if not is_bound or listener.type == socket.SOCK_RAW or (is_stream and not _is_listening(listener)):
            raise OSError(errno.EINVAL, "it is a socket, but it does not listen")
    except BaseException:
        listener.detach()  # it is not ours
        raise
    os.set_inheritable(fd, False)
    listener.setblocking(False)
    return Listener(address, listener)


def take_back(address: Address, fd: int, backlog: int) -> Listener | None:
    """Take back a listener that was opened for the very same address, and kept for us.

    :param backlog: as it is to be now; who queues stays.
    :returns: ``None`` where clients that go to the address would not come to it; it is closed then.
    """
    try:
        kept = inherit(address, fd)
    except OSError:
        os.close(fd)
        return None
    with contextlib.suppress(OSError):
        if address.is_unix:
            kept = kept._replace(inode=_inode_of(address, kept.socket))
            _listen(kept.socket, backlog)
            return kept
        family, kind, _, (host, *_) = _resolve(address)
        bound_to, port, *_ = kept.socket.getsockname()
        if (kept.socket.family, kept.socket.type, bound_to) == (family, kind, host) and address.port in (0, port):
            _listen(kept.socket, backlog)
            return kept._replace(address=address._replace(port=port))
    kept.socket.close()
    return None


def discard(fd: int) -> None:
    """Close a listener of ours that nobody needs; a stream's for all who hold it, so that its address is free."""
    try:
        listener = socket.socket(fileno=fd)
    except OSError:  # it is no socket
        os.close(fd)
        return
    with listener, contextlib.suppress(OSError):  # it does not listen
        if listener.type == socket.SOCK_STREAM:
            listener.shutdown(socket.SHUT_RD)


def _inode_of(address: Address, listener: socket.socket) -> tuple[int, int] | None:
    """Device and inode of the path, none of an abstract name.

    :raises OSError: it is bound to another, or its path is gone.
    """
    if address.is_abstract:
        return None
    status = os.stat(address.path)
    is_there = stat.S_ISSOCK(status.st_mode) and listener.getsockname() == address.path
    with contextlib.suppress(OSError, struct.error):  # the kernel does not tell: the name has to do
        bound = unixdiag.ask(listener, unixdiag.FILE)
        is_there = is_there and (bound is None or bound[0] == status.st_ino & 0xFFFFFFFF)
    if not is_there:
        raise FileExistsError(errno.EEXIST, "another socket is bound there", address.path)
    return status.st_dev, status.st_ino


def _is_listening(listener: socket.socket) -> bool:
    return bool(listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def _open_inet(address: Address, backlog: int) -> Listener:
    family, kind, proto, sockaddr = _resolve(address)
    with _closed_on_error(socket.socket(family, kind, proto)) as listener:
        if address.v6only is not None:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address.v6only))
        if address.is_stream:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted sockets inherit it, tcp(7)
        listener.bind(sockaddr)
        if address.is_stream:
            listener.listen(backlog)
        listener.setblocking(False)
        return Listener(address._replace(port=listener.getsockname()[1]), listener)


def keep_alive(listener: socket.socket, seconds: float) -> None:
    """Let the kernel probe clients that are silent for so long, and end the connection of one that does not answer.

    Accepted sockets inherit it, tcp(7). Nothing, where it is no TCP socket.

    :param seconds: rounded up; 0 probes nobody.
    """
    if listener.family not in (socket.AF_INET, socket.AF_INET6) or listener.type != socket.SOCK_STREAM:
        return
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, int(seconds > 0))
    if seconds > 0:
        idle = min(math.ceil(seconds), LONGEST_KEEP_ALIVE)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, idle // PROBES))
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)


def _resolve(address: Address) -> tuple[int, int, int, Any]:
    """Family, type, protocol and socket address of the first thing the name means, getaddrinfo(3)."""
    try:
        family, kind, proto, _, sockaddr = socket.getaddrinfo(
            address.host, address.port, type=_KINDS[address.scheme], flags=socket.AI_PASSIVE
        )[0]
    except UnicodeError:  # a name that no resolver could be asked for
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known") from None
    return family, kind, proto, sockaddr


def _open_unix(address: Address, backlog: int) -> Listener:
    with _closed_on_error(socket.socket(socket.AF_UNIX, _KINDS[address.scheme])) as listener:
        inode = None
        if address.is_abstract:
            listener.bind("\0" + address.path[1:])
            _listen(listener, backlog)
        else:
            inode = bind_path(listener, address.path, address.mode, address.user, address.group, backlog=backlog)
        listener.setblocking(False)
        return Listener(address, listener, inode)


def _listen(listener: socket.socket, backlog: int) -> None:
    if listener.type != socket.SOCK_DGRAM:
        listener.listen(backlog)


def bind_path(
    listener: socket.socket,
    path: str,
    mode: int | None,
    user: str = "",
    group: str = "",
    *,
    backlog: int | None = None,
) -> tuple[int, int]:
    """Bind to a path nobody serves, and give it its mode and owner before anyone but us may use it.

    :param mode: permission bits; ``None`` leaves them to the umask.
    :param user: by name or number; empty leaves the owner alone. ``group`` likewise.
    :param backlog: listen as well, before another starter may look: who finds a path that is bound and not listened on
        takes it for stale. ``None`` leaves that to the caller.
    :returns: device and inode of the path.
    :raises OSError: EADDRINUSE where somebody serves it, EEXIST where it is no socket, and those of bind(2), chown(2).
    :raises LookupError: no such user or group.
    """
    owners = _uid(user), _gid(group)
    with _locked(os.path.dirname(path) or "."):
        if mode is not None:
            os.fchmod(listener.fileno(), 0o600)  # the mode the path is born with, unix(7); the umask only takes away
        try:
            listener.bind(path)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            _remove_stale(path)
            listener.bind(path)
        try:
            if owners != (KEEP, KEEP):
                os.chown(path, *owners)
            if mode is not None:
                os.chmod(path, mode)
            if backlog is not None:
                _listen(listener, backlog)
        except OSError:
            os.unlink(path)
            raise
        status = os.stat(path)
        return status.st_dev, status.st_ino


def _uid(name: str) -> int:
    if not name:
        return KEEP
    return int(name) if name.isdecimal() else pwd.getpwnam(name).pw_uid


def _gid(name: str) -> int:
    if not name:
        return KEEP
    return int(name) if name.isdecimal() else grp.getgrnam(name).gr_gid


@contextlib.contextmanager
def _locked(directory: str) -> Iterator[None]:
    """Hold the directory's own lock, so that two starters do not both find the same path stale. Leaves no file.

    :raises OSError: EAGAIN where another program holds it for longer than a start takes.
    """
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        deadline = time.monotonic() + LOCK_LIMIT
        while not _try_lock(fd):
            if time.monotonic() >= deadline:
                raise OSError(errno.EAGAIN, "another program holds the lock of its directory", directory)
            time.sleep(LOCK_LIMIT / 100)
        yield
    finally:
        os.close(fd)


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _remove_stale(path: str) -> None:
    """Remove a socket that nobody listens on. Connecting is the only honest question: refused means nobody."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise FileExistsError(errno.EEXIST, "the path exists and is not a socket", path)
    except FileNotFoundError:
        return
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_UNIX, kind) as probe:
            probe.setblocking(False)
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                os.unlink(path)
                return
            except OSError as error:
                if error.errno == errno.EPROTOTYPE:  # somebody of the other kind: ask again as that kind
                    continue
                if error.errno != errno.EAGAIN:  # EAGAIN: alive, with a full backlog
                    raise
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE), path)


def remove_path(listener: Listener) -> None:
    """Remove the path of a Unix socket, if it is still the one we made."""
    if listener.inode is None:
        return
    with contextlib.suppress(OSError):
        status = os.stat(listener.address.path)
        if (status.st_dev, status.st_ino) == listener.inode:
            os.unlink(listener.address.path)


@contextlib.contextmanager
def _closed_on_error(sock: socket.socket) -> Iterator[socket.socket]:
    """Hands on an open socket, and closes it if what follows fails."""
    try:
        yield sock
    except BaseException:
        sock.close()
        raise


def hold_name(name: str) -> socket.socket | None:
    """Hold ``name`` for this user until the socket is closed or the process ends, by an abstract Unix socket.

    :returns: the socket, or ``None`` where somebody else holds the name.
    """
    holder = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        holder.bind(f"\0{_NAMES}/{os.getuid()}/{name}")
    except OSError as error:
        holder.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise
    return holder


def held_names() -> list[tuple[int, str]]:
    """User and name of each instance of this network namespace; nothing where the kernel does not tell, proc(5).

    What any other program binds to a name of this form is among them.
    """
    try:
        with open("/proc/net/unix", "rb") as file:
            paths = [fields[7] for line in file if len(fields := line.split()) == 8]
    except OSError:
        return []
    parts = [os.fsdecode(path).split("/") for path in paths]
    return sorted((int(p[1]), p[2]) for p in parts if len(p) == 3 and p[0] == f"@{_NAMES}" and p[1].isdecimal())


class Peer(NamedTuple):
    """Who is at the other end of a Unix stream, as it was when it connected, or began to listen.

    :param pid: 0 where it is in a namespace that ours cannot see.
    """

    pid: int
    uid: int
    gid: int


def peer_of(connection: socket.socket) -> Peer:
    """SO_PEERCRED, unix(7)."""
    layout = struct.Struct("iII")
    return Peer(*layout.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, layout.size)))
